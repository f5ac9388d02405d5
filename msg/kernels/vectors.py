"""Vectors of 32 numbers, a word's worth, as values inside the kernels.

What LLVM finds by itself in a loop over 32 elements it unrolls for longer ones, and then runs number by number. Written
with these, a neuron's state stays in registers over all steps.

.. code-block:: python

    u = decay * v + load(current, at)  # decay = splat(number, like=current)
    fired = u > threshold
    v = u - select(fired, threshold, zero)
"""

import math
import operator
from fractions import Fraction
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model

from msg.kernels.jit import operation

LANES = 32
"""Bits of a word, and numbers in a vector."""

_LONG = ir.IntType(64)
_LN2 = Fraction("0.6931471805599453094172321214581766")


def llvm_vector(dtype: Any) -> tuple[ir.VectorType, int]:
    """LLVM's vector of numbers of a type, and the alignment that one number has."""
    wide = dtype == types.float64
    return ir.VectorType(ir.DoubleType() if wide else ir.FloatType(), LANES), 8 if wide else 4


def llvm_splat(builder: Any, value: Any, vector: ir.VectorType) -> Any:
    """The same number in every place."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


class Vector(types.Type):
    """32 numbers of one type."""

    def __init__(self, dtype: Any):
        self.dtype = dtype
        super().__init__(f"Vector({dtype})")


class Mask(types.Type):
    """32 truth values: a word."""

    def __init__(self):
        super().__init__("Mask")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, llvm_vector(kind.dtype)[0])


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.VectorType(ir.IntType(1), LANES))


class _Arithmetic(AbstractTemplate):
    def generic(self, args, kws):
        if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
            return signature(args[0], *args)
        return None


class _Comparison(AbstractTemplate):
    def generic(self, args, kws):
        if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
            return signature(Mask(), *args)
        return None


def _define() -> None:
    arithmetic = {operator.add: "fadd", operator.sub: "fsub", operator.mul: "fmul", operator.truediv: "fdiv"}
    for python, name in arithmetic.items():
        infer_global(python)(type(f"_{name}", (_Arithmetic,), {}))  # pyright: ignore[reportOptionalCall]
        lower_builtin(python, Vector, Vector)(
            lambda context, builder, signature, args, name=name: getattr(builder, name)(*args)
        )
    infer_global(operator.gt)(type("_Above", (_Comparison,), {}))  # pyright: ignore[reportOptionalCall]
    # ordered: NaN is above nothing
    lower_builtin(operator.gt, Vector, Vector)(
        lambda context, builder, signature, args: builder.fcmp_ordered(">", *args)
    )


_define()


def _place(context, builder, array: Any, value: Any, index: Any) -> tuple[Any, int]:
    vector, align = llvm_vector(array.dtype)
    data = context.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer()), align


@operation
def load(typing, array, at):
    """``array.ravel()[at:][:32]``."""

    def generate(context, builder, signature, args):
        place, align = _place(context, builder, signature.args[0], *args)
        loaded = builder.load(place)
        loaded.align = align
        return loaded

    return Vector(array.dtype)(array, types.intp), generate


@operation
def store(typing, vector, array, at):
    """``array.ravel()[at:][:32] = vector``."""

    def generate(context, builder, signature, args):
        place, align = _place(context, builder, signature.args[1], *args[1:])
        builder.store(args[0], place).align = align
        return context.get_dummy_value()

    return types.void(vector, array, types.intp), generate


@operation
def store_bytes(typing, vector, array, at):
    """``array.ravel()[at:][:32] = vector``, whole numbers up to 255, as bytes."""

    def generate(context, builder, signature, args):
        bytes_ = ir.VectorType(ir.IntType(8), LANES)
        data = context.make_array(signature.args[1])(context, builder, args[1]).data
        place = builder.bitcast(builder.gep(data, [args[2]]), bytes_.as_pointer())
        whole = builder.fptoui(args[0], ir.VectorType(ir.IntType(32), LANES))
        builder.store(builder.trunc(whole, bytes_), place).align = 1
        return context.get_dummy_value()

    return types.void(vector, array, types.intp), generate


@operation
def splat(typing, number, like):
    """A number, of the type of an array's, in every place."""

    def generate(context, builder, signature, args):
        return llvm_splat(builder, args[0], llvm_vector(signature.args[0])[0])

    return Vector(like.dtype)(like.dtype, like), generate


@operation
def select(typing, mask, vector, other):
    """One number where the mask is true, the other where not."""

    def generate(context, builder, signature, args):
        return builder.select(*args)

    return vector(mask, vector, vector), generate


@operation
def word(typing, mask):
    """The mask as an integer."""

    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(mask), generate


@operation
def mask(typing, word):
    """The integer as a mask."""

    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], ir.VectorType(ir.IntType(1), LANES))

    return Mask()(types.int32), generate


def _known(builder: Any, name: str, dtype: Any, count: int = 1) -> Any:
    """A function of so many numbers that LLVM knows, for each number of vectors."""
    kind, align = llvm_vector(dtype)
    function = ir.FunctionType(kind, [kind] * count)
    found = cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.v{LANES}f{8 * align}")
    return lambda *given: builder.call(found, given)


def _by_llvm(name: str) -> Any:
    """A function of one number that LLVM knows, for each number of a vector."""

    def typed(typing, vector):
        def generate(context, builder, signature, args):
            return _known(builder, name, signature.args[0].dtype)(*args)

        return vector(vector), generate

    return operation(typed)


absolute, ceiling, nearest = (_by_llvm(name) for name in ("fabs", "ceil", "rint"))


@operation
def exponential(typing, vector):
    r"""Of each number, :math:`e^x = 2^n e^{x - n\ln 2}` with the nearest whole number n to :math:`x / \ln 2`.

    LLVM's own would be 32 calls of the C library. The series ends where the next term, of at most
    :math:`(\ln 2 / 2)^k / k!`, is beyond the type's digits. What leaves the range of normal numbers ends at its bounds.
    """

    def generate(context, builder, signature, args):
        kind, align = llvm_vector(signature.args[0].dtype)
        bits, digits, terms, bound = (64, 52, 14, 708.0) if align == 8 else (32, 23, 8, 87.0)
        whole = ir.VectorType(ir.IntType(bits), LANES)

        def each(number, type_=kind):
            return ir.Constant(type_, [number] * LANES)

        dtype = signature.args[0].dtype
        add, nearest_ = _known(builder, "fmuladd", dtype, 3), _known(builder, "rint", dtype)
        x = args[0]
        for sign, outside in ((-1, "<"), (1, ">")):  # NaN is outside of neither
            x = builder.select(builder.fcmp_ordered(outside, x, each(sign * bound)), each(sign * bound), x)
        n = nearest_(builder.fmul(x, each(1 / math.log(2))))
        # of few enough digits that n times it is exact, and what is left of it
        fine = 2.0 ** (16 if align == 4 else 40)
        high = math.floor(math.log(2) * fine) / fine
        low = float(_LN2 - Fraction(high))
        rest = add(n, each(-low), add(n, each(-high), x))
        total = each(1 / math.factorial(terms - 1))
        for k in range(terms - 2, -1, -1):
            total = add(total, rest, each(1 / math.factorial(k)))
        exponent = builder.add(builder.fptosi(n, whole), each((1 << (bits - digits - 2)) - 1, whole))
        power = builder.bitcast(builder.shl(exponent, each(digits, whole)), kind)
        return builder.fmul(total, power)

    return vector(vector), generate
