"""Rules of tensor operators, for what runs outside the modules that are known: one table, by the operator's name."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from msg.energy.counts import Count
from msg.energy.products import aggregation, edges_in, operand, synapses, with_events

Rule = Callable[[tuple[Any, ...], Any], Count]
"""From the arguments and the output of an operator to a count."""

_FOREACH = "aten::_foreach_"
_RULES: dict[str, Callable[[tuple[Any, ...], Any], Count | None]] = {}


def count_operator(name: str, args: tuple[Any, ...], output: Any) -> Count | None:
    """What one call of an operator costs, ``None`` if it is not known.

    Args:
        name: as ``torch.ops`` has it, ``aten::mm`` say. An operator in place costs what the other does.
        args: its positional arguments.
        output: what it returned.
    """
    rule = _RULES.get(name) or _RULES.get(name.removesuffix("_"))
    if rule is None and name.startswith(_FOREACH):
        return _count_each("aten::" + name.removeprefix(_FOREACH), args, output)
    return None if rule is None else rule(args, output)


def _count_each(name: str, args: tuple[Any, ...], output: Any) -> Count | None:
    """An operator on every tensor of a list, as optimizers call it; in place it returns nothing."""
    lists = [value if isinstance(value, list | tuple) else repeat(value) for value in args]
    counts = [
        count_operator(name, tuple(one), result)
        for *one, result in zip(*lists, args[0] if output is None else output, strict=False)
    ]
    known = [one for one in counts if one is not None]
    return sum(known, Count()) if len(known) == len(counts) else None


def _register(names: str, rule: Callable[[tuple[Any, ...], Any], Count | None]) -> None:
    _RULES.update(dict.fromkeys((f"aten::{name}" for name in names.split()), rule))


def _tensors(values: Any) -> Iterable[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)


def _size(values: Any) -> int:
    return sum(t.numel() if t.layout == torch.strided else t.values().numel() for t in _tensors(values))


def _free(args: tuple[Any, ...], output: Any) -> Count:
    return Count()


def _moves(args: tuple[Any, ...], output: Any) -> Count:
    return Count.of({"activations": 2 * _size(output)}, {"activations": 2 * _size(output)})


def _gathers(args: tuple[Any, ...], output: Any) -> Count:
    chosen = sum(t.numel() for t in _tensors(args[1:]) if t.dtype in (torch.int32, torch.int64))
    size = _size(output)
    return Count.of(
        {"activations": 2 * size, "indices": chosen}, {"activations": _size(args[0]) + size, "indices": chosen}
    )


def _each(**kinds: int) -> Rule:
    """Operations on every entry of the output; comparing or moving integers and truth values is addressing."""

    def rule(args: tuple[Any, ...], output: Any) -> Count:
        operands = [t for t in _tensors([args, output]) if t.is_floating_point() or t.is_complex()]
        if not operands:
            return Count()
        size, touched = _size(output), _size([args, output])
        return Count.of(
            {**{kind: number * size for kind, number in kinds.items()}, "activations": touched},
            {"activations": touched},
        )

    return rule


def _distinct(tensor: Tensor) -> int:
    """Entries, those of an expanded one counted once."""
    return math.prod(size for size, stride in zip(tensor.shape, tensor.stride()) if stride or size < 2)


def _divides(args: tuple[Any, ...], output: Any) -> Count:
    """A quotient each; where several are divided by the same number a quotient for that, and products with it."""
    inverses = _distinct(args[1]) if isinstance(args[1], Tensor) else 0  # else constants
    if inverses == _size(output):
        return _each(transcendental=1)(args, output)
    return _each(multiply=1)(args, output) + Count.of({"transcendental": inverses})


def _powers(args: tuple[Any, ...], output: Any) -> Count:
    square = isinstance(args[1], int | float) and args[1] == 2
    return _each(multiply=square, transcendental=not square)(args, output)


def _reduces(rooted: bool = False, divided: bool = False, **kinds: int) -> Rule:
    """Operations on every entry of the input, and perhaps a root or quotient on every entry of the output."""

    def rule(args: tuple[Any, ...], output: Any) -> Count:
        if not args[0].is_floating_point():
            return Count()
        size, results = _size(args[0]), _size(output)
        counts = Counter({kind: number * size for kind, number in kinds.items()})
        counts["transcendental"] += results * rooted
        counts["multiply"] += results * divided
        counts["activations"] += size + results
        return Count.of(counts, {"activations": size + results})

    return rule


def _orders(args: tuple[Any, ...], output: Any) -> Count | None:
    """Integers are addresses; how often numbers are compared depends on them."""
    return None if args[0].is_floating_point() else Count()


def _multiplies(left: int, bias: bool = False) -> Rule:
    """A matrix product, its operand ``left`` (dense or sparse) multiplied by its non-zeros, or added by its ones.

    A sparse matrix that is square is a graph, any other is features.
    """

    def rule(args: tuple[Any, ...], output: Tensor) -> Count:
        a, b = args[left], args[left + 1]
        vector = b.dim() == 1
        columns = 1 if vector else b.size(-1)
        results = _size(output)
        if a.layout != torch.strided and a.dim() == 2 and a.size(0) == a.size(1):
            return aggregation(edges_in(a), columns) + Count.of({"accumulate": results * bias})

        def counts(inputs: int) -> Counter[str]:
            traffic = {"activations": inputs * (1 + columns) + results}
            return Counter({**synapses(inputs, columns), "accumulate": results * bias, **traffic})

        x = operand(a)
        footprint = Counter({"activations": x.entries + b.numel() + results})
        return Count(counts(x.found), counts(x.entries), footprint, with_events(counts(x.found), x, columns))

    return rule


def _multiplies_and_reduces(args: tuple[Any, ...], output: Any) -> Count | None:
    """The product of a sparse matrix whose terms are added up; the largest of them, say, is another matter."""
    return _multiplies(0)(args, output[0]) if args[2] == "sum" else None


def _scatters(source: int) -> Rule:
    """Additions of every entry of a source at a place an index names: how PyG aggregates."""

    def rule(args: tuple[Any, ...], output: Tensor) -> Count:
        if not output.is_floating_point():
            return Count()
        added = args[source].numel()
        largest = any(kind in ("amax", "amin") for kind in args if isinstance(kind, str))
        indices = args[source].size(0)
        counts = {"comparison" if largest else "accumulate": added, "message": added, "indices": indices}
        counts["synaptic_ac"] = 0 if largest else added
        return Count.of(
            {**counts, "activations": added + _size(output)},
            {"activations": added + _size(output), "indices": indices},
        )

    return rule


_register(
    "view _unsafe_view reshape expand permute transpose t slice select unsqueeze squeeze detach alias as_strided "
    "unbind split split_with_sizes chunk narrow diagonal unfold view_as_real view_as _reshape_alias numel "
    "is_same_size sym_size sym_numel sym_stride empty empty_like empty_strided new_empty new_empty_strided zeros "
    "zeros_like new_zeros ones ones_like new_ones full full_like new_full scalar_tensor arange eye fill zero resize "
    "_local_scalar_dense lift_fresh is_nonzero equal crow_indices col_indices values indices _values _indices _nnz "
    "_sparse_csr_tensor_unsafe _sparse_compressed_tensor_unsafe _sparse_coo_tensor_unsafe _coalesced is_coalesced "
    "bincount unique_consecutive _unique2 unique_dim nonzero repeat_interleave searchsorted "
    "sparse_compressed_tensor sparse_coo_tensor _to_sparse to_sparse _to_dense _to_sparse_csr sparse_dim dense_dim "
    "_conj set_data isfinite isinf record_stream dropout",
    _free,
)
_register(
    "clone copy _to_copy cat stack repeat flip roll constant_pad_nd contiguous tril triu masked_fill index_fill "
    "scatter slice_backward select_backward unsqueeze_copy slice_scatter select_scatter",
    _moves,
)
_register("index_select gather index embedding take masked_select index_select_backward", _gathers)
_register("add sub rsub cumsum", _each(accumulate=1))
_register("mul square neg_mul", _each(multiply=1))
_register(
    "neg abs sign floor ceil round trunc bitwise_and bitwise_or bitwise_not logical_and logical_not any all", _each()
)
_register(
    "eq ne lt le gt ge maximum minimum fmax fmin clamp clamp_min clamp_max relu where hardtanh threshold "
    "threshold_backward isnan nan_to_num heaviside",
    _each(comparison=1),
)
_register("leaky_relu leaky_relu_backward hardtanh_backward", _each(comparison=1, multiply=1))
_register(
    "reciprocal exp expm1 exp2 log log1p log2 log10 sqrt rsqrt sin cos tan sinh cosh tanh asin acos atan asinh acosh "
    "atanh atan2 erf erfinv remainder fmod floor_divide",
    _each(transcendental=1),
)
_register("div", _divides)
_register("pow", _powers)
_register("sigmoid softplus", _each(transcendental=2, accumulate=1))
_register("elu", _each(comparison=1, transcendental=1, accumulate=1, multiply=1))
_register("silu gelu", _each(transcendental=2, accumulate=1, multiply=1))
_register("sigmoid_backward tanh_backward", _each(multiply=2, accumulate=1))
_register("elu_backward", _each(comparison=1, multiply=2, accumulate=1))
_register("addcmul", _each(multiply=1, multiply_accumulate=1))
_register("addcdiv", _each(transcendental=1, multiply_accumulate=1))
_register("lerp", _each(accumulate=1, multiply_accumulate=1))
_register("_softmax", _each(comparison=1, accumulate=2, transcendental=2))
_register("_log_softmax", _each(comparison=1, accumulate=3, transcendental=1))
_register("_softmax_backward_data", _each(multiply_accumulate=1, multiply=1, accumulate=1))
_register("_log_softmax_backward_data", _each(multiply_accumulate=1, transcendental=1, accumulate=1))
_register("sum", _reduces(accumulate=1))
_register("mean", _reduces(accumulate=1, divided=True))
_register("prod", _reduces(multiply=1))
_register("amax amin max min argmax argmin", _reduces(comparison=1))
_register("sort argsort", _orders)
_register("norm linalg_vector_norm", _reduces(multiply_accumulate=1, rooted=True))
_register("var std", _reduces(accumulate=2, multiply_accumulate=1, divided=True))
_register("dot vdot linalg_vecdot", _reduces(multiply_accumulate=1))
_register("mm bmm mv _sparse_mm", _multiplies(0))
_register("_sparse_mm_reduce_impl", _multiplies_and_reduces)
_register("addmm baddbmm addmv _sparse_addmm", _multiplies(1, bias=True))
_register("scatter_add index_add scatter_reduce index_reduce", _scatters(3))
_register("rand rand_like uniform randint randperm random", _free)
_register("nll_loss_forward", lambda args, output: Count.of({"accumulate": args[1].numel()}))
_register("nll_loss_backward", _free)


def _index_put(args: tuple[Any, ...], output: Tensor) -> Count:
    accumulates = any(args[3:4])
    values = args[2].numel()
    return Count.of({"accumulate": values * accumulates, "activations": 2 * values, "indices": values})


def _embedding_bag(args: tuple[Any, ...], output: Any) -> Count:
    """Rows that an index names are added up."""
    width, chosen = args[0].size(1), args[1].numel()
    added, results = chosen * width, _size(output[0])
    counts = {"accumulate": added, "synaptic_ac": added, "message": added, "multiply": results, "indices": chosen}
    return Count.of(
        {**counts, "activations": added + results}, {"activations": _size(args[0]) + results, "indices": chosen}
    )


_register("_embedding_bag _embedding_bag_forward_only", _embedding_bag)
_register("index_put _index_put_impl", _index_put)
