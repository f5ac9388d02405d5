r"""Symmetric positive definite matrices (:class:`geoopt.SymmetricPositiveDefinite`) with the affine-invariant metric.

A point is the flattened matrix, :math:`n^2` coordinates of a manifold of :math:`d = n(n+1)/2` dimensions; the origin is
the identity. A vector ``v`` stands for the symmetric matrix ``V`` with :math:`\|V\|_F = |v|`: entries of the diagonal
as they are, those beside it divided by :math:`\sqrt2`.

.. math::
    \exp_o(v) = e^V, \qquad \log_o(Z) = \ln Z, \qquad PT_{o \to Z}(v) = Z^{1/2} V Z^{1/2}, \qquad
    \exp_Z(PT_{o \to Z} v) = Z^{1/2} e^V Z^{1/2}, \qquad d(X, Y) = \|\ln(X^{-1/2} Y X^{-1/2})\|_F .

Source: `Pennec, Fillard & Ayache 2006, A Riemannian Framework for Tensor Computing
<https://doi.org/10.1007/s11263-005-3222-z>`_.
"""

import math
from collections import Counter
from collections.abc import Callable

import geoopt
import torch
from torch import Tensor

from msg.manifolds.family import Family
from msg.manifolds.trigonometry import norm, squared_norm

_RADIUS = 8.0
"""A matrix that far out may have a condition of e^16, whose logarithm keeps half of float64's digits."""

_NEAR = 1e-5
"""Eigenvalues nearer than this have a slope in place of a quotient of differences, which would lose as many digits."""

_Function = Callable[[Tensor], Tensor]


class _OfSymmetric(torch.autograd.Function):
    r"""A function of symmetric matrices, :math:`U f(\lambda) U^\top`, with the derivative of Daleckii and Krein,

    .. math::
        U\bigl(\Gamma \circ U^\top\,dZ\,U\bigr)U^\top, \qquad
        \Gamma_{ij} = \frac{f(\lambda_i) - f(\lambda_j)}{\lambda_i - \lambda_j},

    which is smooth where eigenvalues meet, as all do at the identity; that of the eigenvectors themselves is not.
    """

    @staticmethod
    def forward(ctx, z: Tensor, f: _Function, slope: _Function, relative: bool) -> Tensor:
        values, vectors = torch.linalg.eigh(z)
        ctx.save_for_backward(values, vectors)
        ctx.rule = f, slope, relative
        return vectors @ (f(values).unsqueeze(-1) * vectors.mT)

    @staticmethod
    def backward(ctx, *grads: Tensor):
        if torch.is_grad_enabled():  # somebody keeps the graph of this derivative
            raise RuntimeError(
                "maps of symmetric positive definite matrices are differentiable once: do without create_graph, or "
                "take Fréchet means under torch.no_grad()"
            )
        values, vectors = ctx.saved_tensors
        f, slope, relative = ctx.rule
        one, other = values.unsqueeze(-1), values.unsqueeze(-2)
        middle, gap, apart = (one + other) / 2, one - other, f(one) - f(other)
        near = gap.abs() <= _NEAR * (middle if relative else 1.0)
        quotient = torch.where(near, slope(middle), apart / torch.where(near, 1.0, gap))
        grad = (grads[0] + grads[0].mT) / 2
        return vectors @ (quotient * (vectors.mT @ grad @ vectors)) @ vectors.mT, None, None, None


def _of(z: Tensor, f: _Function, slope: _Function, relative: bool = True) -> Tensor:
    result = _OfSymmetric.apply(z, f, slope, relative)
    assert isinstance(result, Tensor)
    return result


def _exp(v: Tensor) -> Tensor:
    return _of(v, torch.exp, torch.exp, relative=False)


def _log(z: Tensor) -> Tensor:
    return _of(z, torch.log, torch.reciprocal)


def _root(z: Tensor) -> Tensor:
    return _of(z, torch.sqrt, lambda values: values.rsqrt() / 2)


def _inverse_root(z: Tensor) -> Tensor:
    return _of(z, torch.rsqrt, lambda values: -(values**-1.5) / 2)


def _size(dim: int) -> int:
    """Rows of the matrices of so many dimensions.

    Raises:
        ValueError: if there are none.
    """
    rows = (math.isqrt(8 * dim + 1) - 1) // 2
    if rows * (rows + 1) // 2 != dim:
        below, above = rows * (rows + 1) // 2, (rows + 1) * (rows + 2) // 2
        raise ValueError(f"no symmetric matrices have {dim} dimensions: use n (n + 1) / 2, such as {below} or {above}")
    return rows


def _basis(rows: int, like: Tensor) -> Tensor:
    """Flattened matrices of an orthonormal frame at the identity, ``[d, n * n]``."""
    row, column = torch.triu_indices(rows, rows, device=like.device)
    number = torch.arange(len(row), device=like.device)
    basis = like.new_zeros(len(row), rows, rows)
    entry = torch.where(row == column, like.new_tensor(1.0), like.new_tensor(math.sqrt(0.5)))
    basis[number, row, column] = entry
    basis[number, column, row] = entry
    return basis.flatten(1)


def _matrix(z: Tensor) -> Tensor:
    """Points or ambient vectors as matrices, made symmetric against rounding."""
    rows = math.isqrt(z.size(-1))
    z = z.unflatten(-1, (rows, rows))
    return (z + z.mT) / 2


def _of_vector(v: Tensor) -> Tensor:
    """The symmetric matrix of a vector."""
    rows = _size(v.size(-1))
    return (v @ _basis(rows, v)).unflatten(-1, (rows, rows))


def _vector(matrix: Tensor) -> Tensor:
    """The vector of a symmetric matrix."""
    return matrix.flatten(-2) @ _basis(matrix.size(-1), matrix).T


class SPD(Family[geoopt.SymmetricPositiveDefinite]):
    """Matrices whose logarithms are vectors. Curvature is not constant, between -1/2 and 0.

    Each map takes eigenvectors, so it is slow beside the formulas of other families; gradients are exact, and first
    ones alone. It has no letter: pass ``manifold=geoopt.SymmetricPositiveDefinite()`` with ``hidden_channels`` as
    1, 3, 6, 10, 15, ...
    """

    def check(self, manifold: geoopt.SymmetricPositiveDefinite) -> None:
        """Raise ``ValueError`` for another metric than the affine-invariant one."""
        if manifold.default_metric.value != "AIM":
            raise ValueError(
                f"SymmetricPositiveDefinite has the metric {manifold.default_metric.value!r} here: use the "
                "affine-invariant one, default_metric='AIM'"
            )

    def curvature(self, manifold: geoopt.SymmetricPositiveDefinite) -> float:
        """Not constant."""
        return 0.0

    def ambient_dim(self, manifold: geoopt.SymmetricPositiveDefinite, dim: int) -> int:
        """The entries of the matrix."""
        return _size(dim) ** 2

    def intrinsic_dim(self, manifold: geoopt.SymmetricPositiveDefinite, size: int) -> int:
        """Those on one side of the diagonal, and it."""
        rows = math.isqrt(size)
        return rows * (rows + 1) // 2

    def max_radius(self, manifold: geoopt.SymmetricPositiveDefinite) -> float:
        return _RADIUS

    def origin(
        self, manifold: geoopt.SymmetricPositiveDefinite, dim: int, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """The identity, flattened."""
        return torch.eye(_size(dim), dtype=dtype, device=device).flatten()

    def exp0(self, manifold: geoopt.SymmetricPositiveDefinite, v: Tensor) -> Tensor:
        length = norm(v)
        inside = v * torch.where(length > _RADIUS, _RADIUS / torch.where(length > _RADIUS, length, 1.0), 1.0)
        return _exp(_of_vector(inside)).flatten(-2)

    def log0(self, manifold: geoopt.SymmetricPositiveDefinite, z: Tensor) -> Tensor:
        return _vector(_log(_matrix(z)))

    def transport0(self, manifold: geoopt.SymmetricPositiveDefinite, z: Tensor, v: Tensor) -> Tensor:
        root = _root(_matrix(z))
        return (root @ _of_vector(v) @ root).flatten(-2)

    def move(self, manifold: geoopt.SymmetricPositiveDefinite, z: Tensor, v: Tensor) -> Tensor:
        root = _root(_matrix(z))
        moved = (root @ _exp(_of_vector(v)) @ root).flatten(-2)
        vector = self.log0(manifold, moved)
        return torch.where(norm(vector) > _RADIUS, self.exp0(manifold, vector), moved)

    def _between(self, x: Tensor, y: Tensor) -> Tensor:
        """The logarithm of ``y`` seen from ``x``, a vector."""
        back = _inverse_root(_matrix(x))
        between = back @ _matrix(y) @ back
        return _vector(_log((between + between.mT) / 2))

    def distance(self, manifold: geoopt.SymmetricPositiveDefinite, x: Tensor, y: Tensor) -> Tensor:
        same = (x == y).all(-1, keepdim=True)
        return torch.where(same, 0.0, norm(self._between(x, y)))

    def squared_distance(self, manifold: geoopt.SymmetricPositiveDefinite, x: Tensor, y: Tensor) -> Tensor:
        return squared_norm(self._between(x, y))

    def inner(self, manifold: geoopt.SymmetricPositiveDefinite, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
        r""":math:`\operatorname{tr}(Z^{-1} U Z^{-1} V)`."""
        point = _matrix(z)
        one, other = (torch.linalg.solve(point, _matrix(given)) for given in (u, v))
        return (one * other.mT).sum((-2, -1)).unsqueeze(-1)

    def defect(self, manifold: geoopt.SymmetricPositiveDefinite, rows: Tensor) -> Tensor:
        """Asymmetry against the size of the matrix; infinite where an eigenvalue is not positive."""
        size = math.isqrt(rows.size(-1))
        z = rows.unflatten(-1, (size, size))
        apart = (z - z.mT).flatten(1).norm(dim=1) / z.flatten(1).norm(dim=1)
        positive = torch.linalg.eigvalsh(_matrix(rows)).amin(-1) > 0
        return torch.where(positive, apart, math.inf)

    def move_operations(self, manifold: geoopt.SymmetricPositiveDefinite, dim: int) -> Counter[str]:
        """Two functions of matrices, two products between them, and the eigenvalues that the bound looks at."""
        return Counter({"multiply_accumulate": 4 * _size(dim) ** 3, "eigendecomposition": 3})

    def exp0_operations(self, manifold: geoopt.SymmetricPositiveDefinite, dim: int) -> Counter[str]:
        """One function of a matrix."""
        return Counter({"multiply_accumulate": _size(dim) ** 3, "eigendecomposition": 1})

    def log0_operations(self, manifold: geoopt.SymmetricPositiveDefinite, dim: int) -> Counter[str]:
        """One function of a matrix."""
        return self.exp0_operations(manifold, dim)
