"""Steps, logarithms and distances in one pass over the rows each, where the compiled kernels know the manifold.

The derivative is the closed form; where a second one is wanted (``create_graph=True``) the backward pass goes through
the functions of the :class:`~msg.manifolds.Family` instead, whose derivatives are differentiable.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import geoopt
import numpy as np
import torch
from torch import Tensor

from msg.calls import Parameters
from msg.kernels import choice, constants, higher
from msg.kernels.threads import over_rows
from msg.manifolds.euclidean import Euclidean
from msg.manifolds.hyperboloid import Hyperboloid
from msg.manifolds.lookup import find
from msg.manifolds.product import Product
from msg.manifolds.sphere import Sphere
from msg.manifolds.stereographic import Stereographic
from msg.manifolds.switch import bounded

Eager = Callable[..., Tensor]


class _Factor(NamedTuple):
    kind: int
    point: int
    vector: int
    dim: int
    number: Tensor


def _factors(manifold: geoopt.Manifold, dim: int, point: int = 0, vector: int = 0) -> Iterator[_Factor | None]:
    """The rows of the kernels' table; ``None`` for a factor they do not know, such as a family of a user's own."""
    family = find(manifold)
    # of a subclass nothing is known: it may do something else
    if type(family) is Product:
        for factor in family.factors(cast(geoopt.ProductManifold, manifold)):
            start = point + factor.points.start, vector + factor.vectors.start
            yield from _factors(factor.manifold, factor.dim, *start)
    elif type(family) is Euclidean:
        yield _Factor(constants.EUCLIDEAN, point, vector, dim, torch.zeros((), dtype=torch.float64))
    elif type(family) is Hyperboloid:
        yield _Factor(constants.HYPERBOLOID, point, vector, dim, family.scale(cast(geoopt.Lorentz, manifold)))
    elif type(family) is Sphere:
        yield _Factor(constants.SPHERE, point, vector, dim, torch.ones((), dtype=torch.float64))
    elif type(family) is Stereographic:
        yield _Factor(constants.STEREOGRAPHIC, point, vector, dim, cast(Tensor, manifold.k).double())
    else:
        yield None


def _numbers(manifold: geoopt.Manifold, dim: int) -> Tensor:
    return torch.stack([factor.number for factor in _factors(manifold, dim) if factor is not None])


def applies(manifold: geoopt.Manifold, *tensors: Tensor) -> bool:
    """Whether the kernels take these tensors and know the manifold."""
    return bounded() and choice.takes(*tensors, *manifold.parameters()) and None not in list(_factors(manifold, 1))


class _Table:
    """A manifold as the kernels see it, with the parameters that it has now.

    Attributes:
        learned: its parameters that have gradients.
    """

    def __init__(self, manifold: geoopt.Manifold, dim: int):
        self.dim = dim
        rows = [factor[:4] for factor in _factors(manifold, dim) if factor is not None]
        self.factors = np.array(rows, dtype=np.int64).reshape(len(rows), 4)
        self._source = _numbers(manifold, dim)
        self.numbers = self._source.detach().numpy()
        self.kernels: Any = choice.compiled("geometry")
        self._parameters = Parameters(manifold)
        self.learned = self._parameters.learned

    def to_learned(self, to_numbers: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives in the learned parameters, from those in the table's numbers of each row."""
        if not self.learned:
            return ()
        total = to_numbers.sum(0)
        return torch.autograd.grad(self._source, self.learned, total, retain_graph=True, allow_unused=True)

    def derivatives(self, eager: Eager, inputs: Sequence[Tensor], grads: Sequence[Tensor]) -> list[Tensor | None]:
        """Of what the kernels have computed, by functions of the family: differentiable, in the learned ones too."""

        def again(*tensors: Tensor) -> list[Tensor]:
            with self._parameters.restored():
                return [eager(*tensors)]

        return higher.derivatives(again, inputs, grads, self.learned)


def _rows(tensor: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    return tensor.detach().to(dtype).reshape(-1, tensor.size(-1)).contiguous()


class _Walk(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: _Table, step: float, bound: float, eager: Eager, start: Tensor, *rest: Tensor) -> Tensor:
        vectors = rest[: len(rest) - len(table.learned)]
        ctx.table, ctx.options, ctx.eager = table, (step, bound), eager
        ctx.save_for_backward(start, *rest)
        given, points = [_rows(v, v.dtype) for v in vectors], _rows(start)
        out = torch.empty(given[0].size(0), points.size(1), dtype=torch.float64)
        arguments = _arguments(table, points, given, step, bound)
        steps = len(given) if any(ctx.needs_input_grad) else 0
        kept = torch.empty(len(out), steps, len(table.factors), table.kernels.KEPT, dtype=torch.float64)
        outputs = out.numpy(), kept.numpy()
        over_rows(len(out), lambda first, last: table.kernels.walk(*arguments, first, last, *outputs))
        ctx.kept = kept
        return out.view(*vectors[0].shape[:-1], points.size(1))

    @staticmethod
    def backward(ctx, *grads: Tensor):
        start, *rest = ctx.saved_tensors
        table: _Table = ctx.table
        vectors = rest[: len(rest) - len(table.learned)]
        if torch.is_grad_enabled():
            return None, None, None, None, *table.derivatives(ctx.eager, [start, *vectors], grads)
        given, points = [_rows(v, v.dtype) for v in vectors], _rows(start)
        grad, results = _rows(grads[0]), [torch.empty_like(v) for v in given]
        to_start = torch.empty(len(grad) if ctx.needs_input_grad[4] else 0, points.size(1), dtype=torch.float64)
        to_numbers = torch.empty(len(grad), len(table.factors), dtype=torch.float64)
        arguments = (*_arguments(table, points, given, *ctx.options), ctx.kept.numpy())
        outputs = (to_start.numpy(), _addresses(results), to_numbers.numpy())

        def rows(first: int, last: int) -> None:
            table.kernels.walk_back(*arguments, grad.numpy(), first, last, *outputs)

        over_rows(len(grad), rows)
        found = to_start.view(start.shape).to(start.dtype) if ctx.needs_input_grad[4] else None
        to_vectors = (r.view(v.shape) for r, v in zip(results, vectors))
        return None, None, None, None, found, *to_vectors, *table.to_learned(to_numbers)


def _addresses(tensors: Sequence[Tensor]) -> np.ndarray:
    return np.array([t.data_ptr() for t in tensors], dtype=np.intp)


def _arguments(table: _Table, start: Tensor, vectors: Sequence[Tensor], step: float, bound: float) -> tuple[Any, ...]:
    like = vectors[0].numpy()
    step_size = like.dtype.type(step)
    options = table.dim, step_size, bound, table.kernels.ROWS
    return table.factors, table.numbers, start.numpy(), _addresses(vectors), like[:0], *options


def walk(
    manifold: geoopt.Manifold,
    start: Tensor,
    vectors: Sequence[Tensor],
    step: float,
    bound: float | None,
    eager: Callable[[Tensor, Sequence[Tensor]], Tensor],
) -> Tensor:
    """Steps one after another.

    Args:
        manifold: known to the kernels.
        start: ``[..., D]``, or one point ``[1, D]`` for all.
        vectors: of each step, ``[..., d]``, all of one shape and type.
        step: factor of the vectors.
        bound: on the length of a step, if any.
        eager: ``(start, vectors) -> points``, the same by differentiable functions.

    Shapes:
        Returns ``[..., D]`` in float64.
    """
    again: Eager = lambda start, *vectors: eager(start, vectors)  # noqa: E731
    table = _Table(manifold, vectors[0].size(-1))
    return _Walk.apply(table, float(step), float(bound or 0), again, start, *vectors, *table.learned)  # pyright: ignore


class _Log0(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: _Table, dtype: torch.dtype, eager: Eager, z: Tensor, *learned: Tensor) -> Tensor:
        ctx.table, ctx.eager = table, eager
        ctx.save_for_backward(z, *learned)
        points = _rows(z)
        out = torch.empty(len(points), table.dim, dtype=dtype)
        arguments = table.factors, table.numbers, points.numpy(), table.kernels.ROWS
        over_rows(len(out), lambda first, last: table.kernels.log0(*arguments, first, last, out.numpy()))
        return out.view(*z.shape[:-1], table.dim)

    @staticmethod
    def backward(ctx, *grads: Tensor):
        z, *_ = ctx.saved_tensors
        table: _Table = ctx.table
        if torch.is_grad_enabled():
            return None, None, None, *table.derivatives(ctx.eager, [z], grads)
        points, grad = _rows(z), _rows(grads[0], grads[0].dtype)
        to_z = torch.empty_like(points)
        to_numbers = torch.empty(len(grad), len(table.factors), dtype=torch.float64)
        arguments = table.factors, table.numbers, points.numpy(), grad.numpy(), table.kernels.ROWS
        outputs = (to_z.numpy(), to_numbers.numpy())
        over_rows(len(grad), lambda first, last: table.kernels.log0_back(*arguments, first, last, *outputs))
        return None, None, None, to_z.view(z.shape).to(z.dtype), *table.to_learned(to_numbers)


def log0(manifold: geoopt.Manifold, z: Tensor, dim: int, dtype: torch.dtype, eager: Eager) -> Tensor:
    """Logarithm at the origin, ``[..., D]`` to ``[..., d]`` of a type; ``eager`` is the same by the family."""
    table = _Table(manifold, dim)
    return _Log0.apply(table, dtype, eager, z, *table.learned)  # pyright: ignore


class _Vectors:
    """What :class:`_Table` is, for vectors whose pairs are scored by something that is no distance of a manifold."""

    def __init__(self, kind: int, dim: int):
        self.factors, self.numbers = np.array([[kind, 0, 0, dim]]), np.ones(1)

    def to_learned(self, to_numbers: Tensor) -> tuple[Tensor | None, ...]:
        return ()

    def derivatives(self, eager: Eager, inputs: Sequence[Tensor], grads: Sequence[Tensor]) -> list[Tensor | None]:
        return higher.derivatives(lambda *tensors: [eager(*tensors)], inputs, grads)


class _Score(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: _Table | _Vectors, eager: Eager, pairs: Tensor, z: Tensor, *learned: Tensor) -> Tensor:
        kernels: Any = choice.compiled("pairs")
        ctx.table, ctx.eager, ctx.kernels = table, eager, kernels
        rows, ends = z.detach().contiguous(), tuple(end.contiguous() for end in pairs)
        out, kept = torch.empty(len(ends[0]), dtype=torch.float64), len(ends[0]) if any(ctx.needs_input_grad) else 0
        slopes = torch.empty(kept, len(table.factors), kernels.SLOPES, dtype=torch.float64)
        to_numbers = torch.empty(kept, len(table.factors), dtype=torch.float64)
        arguments = table.factors, table.numbers, rows.numpy(), *(end.numpy() for end in ends)
        outputs = out.numpy(), slopes.numpy(), to_numbers.numpy()
        over_rows(len(out), lambda first, last: kernels.score(*arguments, first, last, *outputs))
        ctx.save_for_backward(z, *ends, slopes, to_numbers, *learned)
        return out.to(z.dtype)

    @staticmethod
    def backward(ctx, *grads: Tensor):
        z, one, other, slopes, to_numbers, *_ = ctx.saved_tensors
        table, kernels = ctx.table, ctx.kernels
        if torch.is_grad_enabled():
            return None, None, None, *table.derivatives(ctx.eager, [z], grads)
        grad, rows = grads[0].double().contiguous(), z.detach().contiguous().numpy()
        pairs, nodes, factors = len(grad), len(z), len(table.factors)
        pointers, own = np.zeros(nodes + 1, np.int64), np.zeros((nodes, factors))
        others, weights = np.empty(2 * pairs, np.int64), np.empty((2 * pairs, factors, 2))
        laid_out = pointers, others, weights, own
        kernels.by_node(one.numpy(), other.numpy(), grad.numpy(), slopes.numpy(), *laid_out)
        to_z = torch.zeros(z.shape, dtype=z.dtype)
        arguments = table.factors, rows, *laid_out
        over_rows(nodes, lambda first, last: kernels.score_back(*arguments, first, last, to_z.numpy()))
        return None, None, None, to_z, *table.to_learned(to_numbers * grad[:, None])


def takes_pairs(z: Tensor, pairs: Tensor) -> bool:
    """Whether the kernels may read the rows of ``z`` that pairs name; else torch does, or complains."""
    plain = (
        choice.takes(z)
        and z.dim() == pairs.dim() == 2
        and type(pairs) is Tensor
        and pairs.dtype == torch.long
        and pairs.device.type == "cpu"
    )
    return plain and (not pairs.numel() or (int(pairs.min()) >= 0 and int(pairs.max()) < len(z)))


def squared_distances(manifold: geoopt.Manifold, z: Tensor, dim: int, pairs: Tensor, eager: Eager) -> Tensor:
    """Squared distances of pairs of rows, ``[N, D]`` and ``[2, M]`` to ``[M]``; ``eager`` is the same by the family."""
    table = _Table(manifold, dim)
    return _Score.apply(table, eager, pairs, z, *table.learned)  # pyright: ignore


def inner_products(z: Tensor, pairs: Tensor, eager: Eager) -> Tensor:
    """Inner products of pairs of rows; ``eager`` is the same by torch."""
    return _Score.apply(_Vectors(constants.INNER_PRODUCT, z.size(1)), eager, pairs, z)  # pyright: ignore


def squared_chords(z: Tensor, pairs: Tensor, eager: Eager) -> Tensor:
    """Squared chords between pairs of points of the hyperboloid of curvature -1; ``eager`` is the same by torch."""
    return _Score.apply(_Vectors(constants.CHORD, z.size(1) - 1), eager, pairs, z)  # pyright: ignore
