"""Assertions about manifolds, points and steps, for the tests of this library and for your own.

They raise :class:`AssertionError` with the row and the factor that failed, and by how much. None of them needs a test
framework.
"""

from typing import cast

import geoopt
import torch
from torch import Tensor

from msg.manifolds import ambient_dim, distance, move, transport0

_ON_MANIFOLD = {torch.float64: 1e-12}
_ISOMETRIC = {torch.float64: 1e-8}


def assert_on_manifold(manifold: geoopt.Manifold, z: Tensor, rtol: float | None = None) -> None:
    r"""Assert that every point is finite and on the manifold, relative to the size of its coordinates.

    ========================= ==============================================================================
    manifold                  must not exceed ``rtol``
    ========================= ==============================================================================
    ``geoopt.Lorentz``        :math:`|\langle z, z\rangle_L + R^2| / (z_0^2 + |\bar z|^2)`, and :math:`z_0 > 0`
    ``geoopt.Sphere``         :math:`\bigl||z|^2 - 1\bigr|`
    ``geoopt.Stereographic``  nothing: :math:`-\kappa|x|^2 < 1` strictly
    ``geoopt.Euclidean``      nothing: any finite point
    product                   each factor by its own rule
    any other                 geoopt's own check, with ``rtol`` for both of its tolerances
    ========================= ==============================================================================

    Args:
        manifold: a geoopt manifold.
        z: points, ``[..., ambient_dim]``.
        rtol: tolerance; by default ``1e-12`` for float64 points and ``1e-6`` for any other dtype.

    Raises:
        AssertionError: naming the worst row (counted over the leading dimensions), its factor, and its defect.

    """
    rtol = _ON_MANIFOLD.get(z.dtype, 1e-6) if rtol is None else rtol
    rows = z.detach().double().reshape(-1, z.size(-1))
    if not isinstance(manifold, geoopt.ProductManifold):
        _assert_factor(manifold, rows, rtol, type(manifold).__name__)
        return
    if rows.size(-1) != manifold.n_elements:
        raise AssertionError(
            f"points of size {rows.size(-1)} do not fit {manifold!r}, which needs {manifold.n_elements}"
        )
    for index, (factor, part) in enumerate(zip(manifold.manifolds, manifold.slices)):
        _assert_factor(cast(geoopt.Manifold, factor), rows[:, part], rtol, f"factor {index} ({type(factor).__name__})")


def assert_isometric(manifold: geoopt.Manifold, z: Tensor, v: Tensor, rtol: float | None = None) -> None:
    r"""Assert that :func:`msg.manifolds.transport0` and :func:`msg.manifolds.move` preserve lengths and angles.

    For each row, with the metric :math:`g_z` of geoopt and :math:`w` the vector of the next row,
    :math:`g_z(PT v, PT v) = |v|^2`, :math:`g_z(PT v, PT w) = \langle v, w\rangle`, and the distance between ``z`` and
    ``move(z, v)`` is :math:`|v|`. The last holds only for steps that stay inside
    :func:`msg.manifolds.max_radius` and are shorter than the way round a sphere: choose ``z`` and ``v`` accordingly.

    Args:
        manifold: a manifold known to :mod:`msg.manifolds`.
        z: points, ``[N, ambient_dim]``.
        v: tangent vectors at the origin in an orthonormal frame, ``[N, d]``.
        rtol: tolerance relative to the lengths (distances are allowed a few roundings of the point besides); by default
            ``1e-8`` for float64 points and ``1e-4`` for any other dtype, which suits points within a distance of three
            from the origin.

    Raises:
        AssertionError: naming the worst row, and by how much it fails.

    """
    rtol = _ISOMETRIC.get(z.dtype, 1e-4) if rtol is None else rtol
    expected_size = ambient_dim(manifold, v.size(-1))
    if z.size(-1) != expected_size:
        raise AssertionError(f"points of size {z.size(-1)} do not fit vectors of size {v.size(-1)} on {manifold!r}")
    with torch.no_grad():
        w = v.roll(-1, dims=0)
        carried_v, carried_w = transport0(manifold, z, v), transport0(manifold, z, w)
        wide = v.double(), w.double()
        length, other = (vector.norm(dim=-1) for vector in wide)
        _assert_rows("squared length of transport0(z, v)", _inner(manifold, z, carried_v, carried_v), length**2, rtol)
        _assert_rows(
            "inner product of transport0(z, v) and transport0(z, w)",
            _inner(manifold, z, carried_v, carried_w),
            (wide[0] * wide[1]).sum(-1),
            rtol,
            scale=length * other,
        )
        rounding = 16 * torch.finfo(z.dtype).eps * (1 + z.double().norm(dim=-1))
        moved = distance(manifold, z, move(manifold, z, v)).double()
        _assert_rows("distance(z, move(z, v))", moved, length, rtol, atol=rounding)


def _inner(manifold: geoopt.Manifold, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Metric of geoopt in float64, ``[N]``; on a product the sum over factors, each with its own dtype of curvature."""
    if isinstance(manifold, geoopt.ProductManifold):
        factors = [cast(geoopt.Manifold, factor) for factor in manifold.manifolds]
        parts = zip(factors, manifold.slices)
        return torch.stack([_inner(f, z[..., part], u[..., part], v[..., part]) for f, part in parts]).sum(0)
    if isinstance(manifold, geoopt.Euclidean):  # its ndim decides whether geoopt sums
        return (u.double() * v.double()).sum(-1)
    # with keepdim=False geoopt's Stereographic returns [N, N]
    return manifold.inner(z.double(), u.double(), v.double(), keepdim=True).squeeze(-1)


def _assert_rows(
    what: str, actual: Tensor, expected: Tensor, rtol: float, scale: Tensor | None = None, atol: Tensor | float = 0.0
) -> None:
    excess = ((actual - expected).abs() - rtol * (expected if scale is None else scale) - atol).nan_to_num(
        nan=torch.inf
    )
    if excess.numel() and not bool((excess <= 0).all()):
        row = int(excess.argmax())
        raise AssertionError(
            f"row {row}: {what} is {float(actual[row]):.9g}, expected {float(expected[row]):.9g}: "
            f"off by {float((actual - expected)[row].abs()):.3g} with rtol={rtol:g}"
        )


def _assert_factor(manifold: geoopt.Manifold, rows: Tensor, rtol: float, name: str) -> None:
    finite = rows.isfinite().all(-1)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        raise AssertionError(f"row {row}, {name}: not finite: {rows[row].tolist()}")
    defect = _defect(manifold, rows)
    if defect is None:
        explained = manifold.check_point_on_manifold(rows, explain=True, rtol=rtol, atol=rtol)
        ok, reason = cast(tuple[bool, str | None], explained)
        if not ok:
            raise AssertionError(f"{name}: {reason}")
        return
    if defect.numel() and not bool((defect <= rtol).all()):
        row = int(defect.argmax())
        raise AssertionError(
            f"row {row}, {name}: off the manifold by {float(defect[row]):.3g} > rtol={rtol:g}: {rows[row].tolist()}"
        )


def _defect(manifold: geoopt.Manifold, rows: Tensor) -> Tensor | None:
    """Relative distance from the manifold of each row, infinite on the wrong sheet or at a ball's boundary."""
    squared = rows.square()
    if isinstance(manifold, geoopt.Lorentz):
        time, space = squared[:, 0], squared[:, 1:].sum(-1)
        defect = (space - time + manifold.k.detach().double()).abs() / (time + space)
        return torch.where(rows[:, 0] > 0, defect, torch.inf)
    if isinstance(manifold, geoopt.Sphere):
        return (squared.sum(-1) - 1).abs()
    if isinstance(manifold, geoopt.Stereographic):
        inside = -manifold.k.detach().double() * squared.sum(-1) < 1
        return torch.where(inside, 0.0, torch.inf).double()
    if isinstance(manifold, geoopt.Euclidean):
        return torch.zeros(rows.size(0), dtype=rows.dtype)
    return None
