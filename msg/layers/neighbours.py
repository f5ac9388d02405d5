"""Numbers of edges and rows of their ends, several beside each other, with derivatives of any order.

What is compiled is in :mod:`msg.kernels.edges`; without it, on other devices, and where operations are watched, torch
does the same.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu
from torch_geometric.utils import add_self_loops, remove_self_loops

from msg.graph import Graph, SparseMatrix
from msg.graph.sparse import wide
from msg.kernels import choice
from msg.kernels.threads import over_rows
from msg.kernels.tracing import traced

_CHUNK = 2**18
"""Numbers that are gathered together: 1 MB of float32."""


class Neighbours(NamedTuple):
    """Edges row by row, as attention reads them.

    Attributes:
        matrix: ones at the edges; ``None`` in code that is compiled, exported or transformed by ``torch.func``.
        target: row of each edge, ``[E]``.
        source: column of each edge, ``[E]``.
    """

    matrix: SparseMatrix | None
    target: Tensor
    source: Tensor

    @classmethod
    def of(cls, graph: Graph, dtype: torch.dtype, self_loops: bool) -> "Neighbours":
        """The edges of a graph; with ``self_loops`` exactly one at each node, else those that are there."""
        dtype = wide(dtype)

        def edges(whole: Graph) -> tuple[Tensor, torch.dtype]:
            if not self_loops:
                return whole.edge_index, dtype
            return add_self_loops(remove_self_loops(whole.edge_index)[0], num_nodes=whole.num_nodes)[0], dtype

        matrix = graph.matrix(("neighbours", dtype, self_loops), edges)
        return cls(matrix if isinstance(matrix, SparseMatrix) else None, *matrix.indices())

    def scores(self, source: Tensor, target: Tensor, negative_slope: float) -> Tensor:
        """Leaky ReLU of the sum of a number at an edge's source and one at its target, less the highest at the target,
        which has no gradient: ``[N, K]`` both, to ``[E, K]``.
        """
        if (kernels := self._kernels(source, target)) is None:
            score = leaky_relu(source[self.source] + target[self.target], negative_slope)
            with torch.no_grad():
                highest = torch.full_like(target, -math.inf)
                highest.scatter_reduce_(0, self.target[:, None].expand_as(score), score, "amax")
            return score - highest[self.target]
        score: Any = _Join.apply(source, target, source.detach(), target.detach(), self, negative_slope)
        pointers, _, _ = self._rows()
        value = score.detach().numpy()  # in place: no derivative reads the scores
        over_rows(len(target), lambda first, last: kernels.lower(pointers, first, last, value))
        return score

    def weigh(self, weight: Tensor, x: Tensor) -> Tensor:
        """:math:`y_k = A_k x_k` for matrices ``A_k`` with entries ``[E, K]`` at these edges, ``x`` ``[N, K, C]``."""
        if self.matrix is None or traced():
            sent = weight[..., None] * x.index_select(0, self.source)
            return torch.zeros_like(x).index_add(0, self.target, sent)
        return _Weigh.apply(weight, x, self, False)  # pyright: ignore

    def _kernels(self, *tensors: Tensor) -> Any:
        return _compiled() if self.matrix is not None and choice.takes(*tensors) else None

    def _rows(self, back: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pointers, columns and places as the kernels read them; ``back``: those of the transpose."""
        matrix, order = self.matrix, np.empty(0, np.int64)
        assert matrix is not None
        if back:
            matrix, order = matrix.T, matrix.transposed_order.numpy()
        return matrix.pointers.numpy(), matrix.columns.numpy(), order


class _Weigh(torch.autograd.Function):
    """:meth:`Neighbours.weigh`, or the same along edges from target to source. With :class:`_Compare` its derivatives
    of any order are of these two again.
    """

    @staticmethod
    def forward(ctx, weight: Tensor, x: Tensor, edges: Neighbours, back: bool) -> Tensor:
        ctx.save_for_backward(weight, x)
        ctx.edges, ctx.back = edges, back
        if (kernels := edges._kernels(weight, x)) is not None:
            out = torch.zeros(x.shape, dtype=x.dtype)
            given = *edges._rows(back), *_arrays(weight, x)
            over_rows(len(x), lambda first, last: kernels.weigh(*given, first, last, out.numpy()))
            return out
        matrix = edges.matrix
        assert matrix is not None
        if back:  # entries are put in order once for all columns
            matrix, weight = matrix.T, weight.index_select(0, matrix.transposed_order)
        columns = zip(weight.unbind(1), x.unbind(1))
        return torch.stack([matrix.with_values(w).product(h.contiguous()) for w, h in columns], dim=1)

    @staticmethod
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's doing
        (weight, x), (grad,) = ctx.saved_tensors, grads
        at_target, at_source = (x, grad) if ctx.back else (grad, x)
        compared: Any = _Compare.apply(at_target, at_source, ctx.edges) if ctx.needs_input_grad[0] else None
        sent: Any = _Weigh.apply(weight, grad, ctx.edges, not ctx.back) if ctx.needs_input_grad[1] else None
        return compared, sent, None, None


class _Compare(torch.autograd.Function):
    """Inner products of what is at the two ends of each edge, ``[N, K, C]`` both: ``[E, K]``."""

    @staticmethod
    def forward(ctx, at_target: Tensor, at_source: Tensor, edges: Neighbours) -> Tensor:
        ctx.save_for_backward(at_target, at_source)
        ctx.edges = edges
        if (kernels := edges._kernels(at_target, at_source)) is None:
            return _inner_products(at_target, at_source, edges)
        out = torch.empty(len(edges.target), at_target.size(1), dtype=at_target.dtype)
        pointers, columns, _ = edges._rows()
        given = pointers, columns, *_arrays(at_target, at_source)
        over_rows(len(at_target), lambda first, last: kernels.compare(*given, first, last, out.numpy()))
        return out

    @staticmethod
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's doing
        (at_target, at_source), (grad,) = ctx.saved_tensors, grads
        one: Any = _Weigh.apply(grad, at_source, ctx.edges, False) if ctx.needs_input_grad[0] else None
        other: Any = _Weigh.apply(grad, at_target, ctx.edges, True) if ctx.needs_input_grad[1] else None
        return one, other, None


class _Join(torch.autograd.Function):
    """``d (at_source + at_target)`` of an edge's ends, ``[N, K]`` to ``[E, K]``, with the derivative ``d`` of the leaky
    ReLU at ``source + target``: the leaky ReLU itself, where these are the same. With :class:`_Sum` its derivatives of
    any order are of these two again. Compiled code alone takes them.
    """

    @staticmethod
    def forward(
        ctx, at_source: Tensor, at_target: Tensor, source: Tensor, target: Tensor, edges: Neighbours, slope: float
    ) -> Tensor:
        ctx.save_for_backward(source, target)
        ctx.edges, ctx.slope = edges, slope
        out = torch.empty(len(edges.target), target.size(1), dtype=target.dtype)
        pointers, columns, _ = edges._rows()
        given = pointers, columns, *_arrays(at_target, at_source, target, source, target.new_tensor([slope]))
        over_rows(len(target), lambda first, last: _compiled().join(*given, first, last, out.numpy()))
        return out

    @staticmethod
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's doing
        summed = partial(_Sum.apply, *grads, *ctx.saved_tensors, ctx.edges, ctx.slope)
        return *(summed(back) if ctx.needs_input_grad[not back] else None for back in (True, False)), *[None] * 4


class _Sum(torch.autograd.Function):
    """Sums of ``d value`` over the edges of each target, or with ``back`` of each source, ``[E, K]`` to ``[N, K]``."""

    @staticmethod
    def forward(
        ctx, value: Tensor, source: Tensor, target: Tensor, edges: Neighbours, slope: float, back: bool
    ) -> Tensor:
        ctx.save_for_backward(source, target)
        ctx.edges, ctx.slope, ctx.back = edges, slope, back
        out = torch.zeros(target.shape, dtype=target.dtype)
        ends = (source, target) if back else (target, source)
        given = *edges._rows(back), *_arrays(value, *ends, target.new_tensor([slope]))
        over_rows(len(target), lambda first, last: _compiled().sums(*given, first, last, out.numpy()))
        return out

    @staticmethod
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's doing
        (source, target), (grad,) = ctx.saved_tensors, grads
        none = torch.zeros_like(grad)
        ends = (grad, none) if ctx.back else (none, grad)
        return _Join.apply(*ends, source, target, ctx.edges, ctx.slope), *[None] * 5


def _compiled() -> Any:
    return choice.compiled("edges")


def _arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.detach().contiguous().numpy() for tensor in tensors)


def _inner_products(a: Tensor, b: Tensor, edges: Neighbours) -> Tensor:
    """Of a row of ``a`` at the target and one of ``b`` at the source of each edge: ``[N, K, C]`` to ``[E, K]``."""
    rows, columns = a.flatten(1), b.flatten(1)
    out = a.new_empty(len(edges.target), a.size(1))
    # rows of few edges at a time stay in a core's cache, which is six times as fast as all at once
    chunk = max(1, (_CHUNK if a.device.type == "cpu" else 64 * _CHUNK) // max(1, rows.size(1)))
    for start in range(0, len(out), chunk):
        part = slice(start, start + chunk)
        products = rows.index_select(0, edges.target[part])
        products *= columns.index_select(0, edges.source[part])
        torch.sum(products.view(-1, *a.shape[1:]), -1, out=out[part])
    return out
