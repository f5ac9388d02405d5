"""Parts of arrays inside the kernels, without owner or check: a slice costs ten times this.

Whoever owns the array keeps it alive, by using it afterwards. Indices that begin at zero again are what LLVM needs to
see that a loop may run in vectors.
"""

from numba import types
from numba.np.arrayobj import populate_array

from msg.kernels.jit import inlined, operation, prefetcher, reordering


@operation
def part(typing, array, start, size):
    """``array.ravel()[start:][:size]`` of a contiguous array."""
    found = types.Array(array.dtype, 1, "C")

    def generate(context, builder, signature, args):
        whole = context.make_array(signature.args[0])(context, builder, args[0])
        found = context.make_array(signature.return_type)(context, builder)
        item = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(array.dtype)))
        data = builder.gep(whole.data, [args[1]])
        populate_array(found, data=data, shape=[args[2]], strides=[item], itemsize=item, meminfo=None)
        return found._getvalue()

    return found(array, types.intp, types.intp), generate


@operation
def part_at(typing, address, like, start, size):
    """``size`` numbers from number ``start`` on of an array of the type of ``like`` at an address."""
    part = types.Array(like.dtype, 1, "C")

    def generate(context, builder, signature, args):
        found = context.make_array(signature.return_type)(context, builder)
        item = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(like.dtype)))
        data = builder.gep(builder.inttoptr(args[0], found.data.type), [args[2]])
        populate_array(found, data=data, shape=[args[3]], strides=[item], itemsize=item, meminfo=None)
        return found._getvalue()

    return part(types.intp, like, types.intp, types.intp), generate


@operation
def soon(typing, array, index):
    """Number ``index`` of a contiguous array will be read soon."""

    def generate(context, builder, signature, args):
        start = context.make_array(signature.args[0])(context, builder, args[0]).data
        prefetcher(builder)(builder.gep(start, [args[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@reordering
def add(total, weight, x):
    """``total += weight x``."""
    for j in range(total.size):
        total[j] += weight * x[j]


@inlined
def copy(out, row):
    """``out = row``, in the type of the former; a slice on the left compiles a message on lengths as well."""
    for j in range(out.size):
        out[j] = row[j]
