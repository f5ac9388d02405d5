"""Points that are on their manifold, and steps that are isometries."""

from collections.abc import Callable

import geoopt
import torch
from torch import Tensor

from msg.manifolds import ambient_dim, checks, distance, exp0, family, log0, move, transport0
from msg.manifolds.lookup import find
from msg.manifolds.validation import fault

_ON_MANIFOLD = {torch.float64: 1e-12}
_ISOMETRIC = {torch.float64: 1e-8}


def assert_on_manifold(manifold: geoopt.Manifold, z: Tensor, rtol: float | None = None) -> None:
    r"""Assert that every point is finite and on the manifold, relative to the size of its coordinates.

    Each factor of a product is judged by :meth:`msg.manifolds.Family.defect` of its own family: on the hyperboloid
    :math:`|\langle z, z\rangle_L + R^2| / (z_0^2 + |\bar z|^2)` with :math:`z_0 > 0`, on the sphere
    :math:`\bigl||z|^2 - 1\bigr|`, in a ball strictly inside or not. A manifold without one is left to geoopt's own
    check, with ``rtol`` for both of its tolerances.

    Args:
        manifold: a geoopt manifold.
        z: points, ``[..., ambient_dim]``.
        rtol: tolerance; by default ``1e-12`` for float64 points and ``1e-6`` for any other dtype.

    Raises:
        AssertionError: naming the worst row (counted over the leading dimensions), its factor, and its defect.

    """
    rtol = _ON_MANIFOLD.get(z.dtype, 1e-6) if rtol is None else rtol
    rows = z.detach().double().reshape(-1, z.size(-1))
    known = find(manifold)
    dim = None if known is None else known.fixed_dim(manifold)
    if dim is not None and rows.size(-1) != ambient_dim(manifold, dim):
        raise AssertionError(
            f"points of size {rows.size(-1)} do not fit {manifold!r}, which needs {ambient_dim(manifold, dim)}"
        )
    why = fault(manifold, rows, rtol)
    if why is not None:
        raise AssertionError(why)


def assert_isometric(manifold: geoopt.Manifold, z: Tensor, v: Tensor, rtol: float | None = None) -> None:
    r"""Assert that :func:`msg.manifolds.transport0` and :func:`msg.manifolds.move` preserve lengths and angles.

    For each row, with the metric :math:`g_z` (:meth:`msg.manifolds.Family.inner`) and :math:`w` the next row's vector,
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
    with torch.no_grad(), checks(False):  # what is wrong is said below
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


def assert_equivariant(
    manifold: geoopt.Manifold, function: Callable[[Tensor], Tensor], z: Tensor, atol: float | None = None
) -> None:
    r"""Assert that a function of points commutes with isometries: :math:`f(gz) = g f(z)`.

    Tried are a turn about the origin, :math:`\exp_o(Q\log_o z)` with an orthogonal :math:`Q`, and the isometry that
    takes the origin to another point :math:`a`, which is :math:`z \mapsto \exp_a(PT_{o \to a}\log_o z)`; both are drawn
    from torch's generator, for each factor of a product its own. They are isometries of flat space, hyperbolic spaces
    and spheres.

    Args:
        manifold: such a space, or a product of them.
        function: from points ``[N, ambient_dim]`` to points ``[M, ambient_dim]``.
        z: points, which should stay inside :func:`msg.manifolds.max_radius`.
        atol: how far the two may be apart; by default ``1e-7`` for float64 points and ``1e-3`` for any other dtype,
            which suits points within a distance of three from the origin.

    Raises:
        AssertionError: naming the isometry, the worst row, and by how much it fails.

    """
    atol = (1e-7 if z.dtype == torch.float64 else 1e-3) if atol is None else atol
    with torch.no_grad():
        for name, isometry in (("turn", _turn), ("translation", _translation)):
            parts = [(factor, isometry(factor, part)) for factor, part in family(manifold).split(manifold, z)]

            def moved(points: Tensor, parts: list = parts) -> Tensor:
                split = family(manifold).split(manifold, points)
                return torch.cat([g(part) for (_, g), (_, part) in zip(parts, split)], dim=-1)

            got, want = function(moved(z)), moved(function(z))
            apart = distance(manifold, got.double(), want.double())
            _assert_rows(f"distance of f(gz) and g f(z), a {name},", apart, torch.zeros_like(apart), 0.0, atol=atol)


def _turn(manifold: geoopt.Manifold, z: Tensor) -> Callable[[Tensor], Tensor]:
    dim = log0(manifold, z).size(-1)
    turn = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64)).Q.to(z.device)
    return lambda points: exp0(manifold, log0(manifold, points, torch.float64) @ turn).to(points.dtype)


def _translation(manifold: geoopt.Manifold, z: Tensor) -> Callable[[Tensor], Tensor]:
    dim = log0(manifold, z).size(-1)
    there = exp0(manifold, torch.randn(1, dim, dtype=torch.float64, device=z.device) / (2 * dim**0.5))
    return lambda points: move(manifold, there, log0(manifold, points, torch.float64)).to(points.dtype)


def _inner(manifold: geoopt.Manifold, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Metric in float64, ``[N]``."""
    return family(manifold).inner(manifold, z.double(), u.double(), v.double()).squeeze(-1)


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
