import pytest
import torch

from msg.manifolds import PseudoHyperboloid, exp0, log0, parse_signature

SIZES = [(1, 3), (2, 2), (3, 1), (4, 0)]


def _space(time, space, beta=1.7):
    return PseudoHyperboloid(time, space, beta).double()


@pytest.mark.parametrize(("time", "space"), SIZES)
def test_maps_at_the_origin_are_the_two_formulas_of_psi(time, space):
    q, v = _space(time, space), torch.randn(6, time - 1 + space, dtype=torch.float64)
    x, beta = q.exp0(v), 1.7
    for row, point in zip(v, x):
        turn, rest = row[: time - 1], row[time - 1 :]
        angle = float(turn.norm()) / beta**0.5
        unit = torch.zeros(time, dtype=torch.float64)
        unit[0] = torch.cos(torch.tensor(angle))
        unit[1:] = torch.sin(torch.tensor(angle)) * turn / max(float(turn.norm()), 1e-9)
        want = torch.cat([(1 + rest @ rest).sqrt() * beta**0.5 * unit, beta**0.5 * rest])
        assert torch.allclose(point, want, atol=1e-7)
    assert torch.allclose(q.inner(x, x), torch.full((6, 1), -beta, dtype=torch.float64))
    assert torch.allclose(q.log0(x), v, atol=1e-9)


@pytest.mark.parametrize(("time", "space"), SIZES)
def test_translation_stays_and_keeps_what_its_geodesic_keeps(time, space):
    q = _space(time, space)
    x, b = q.exp0(0.7 * torch.randn(20, time - 1 + space, dtype=torch.float64)), torch.randn(3, dtype=torch.float64)
    y = q.translate(x, b)
    assert torch.allclose(q.inner(y, y), torch.full((20, 1), -1.7, dtype=torch.float64), atol=1e-8)
    assert torch.allclose(q.translate(x, torch.zeros(3)), x)
    # the inner product of both ends of a geodesic is said by the length of the step alone
    first = q.translate(q.exp0(torch.zeros(1, 3)), b)
    origin = q.exp0(torch.zeros(1, 3))
    assert torch.allclose(q.inner(x, y), q.inner(origin, first).expand(20, 1), atol=1e-8)


def test_translation_on_the_hyperboloid_is_msgs():
    q, (h, _) = PseudoHyperboloid(1, 3), parse_signature("H3")
    z, b = exp0(h, torch.randn(5, 3, dtype=torch.float64)), torch.randn(3, dtype=torch.float64)
    from msg.manifolds import move

    assert torch.allclose(q.translate(z, b), move(h, z, b.expand(5, 3)), atol=1e-9)


def test_translation_where_no_geodesic_leads():
    q = _space(3, 1).requires_grad_(False)
    # past the antipode of the pole, for the hyperbolic part lengthens time
    x = q.exp0(torch.tensor([[4.0, 0.0, 3.0]], dtype=torch.float64) * 0.9)
    origin = q.exp0(torch.zeros(1, 3))
    assert float(q.inner(origin, x)) > 1.7
    b = torch.tensor([0.3, -0.2, 0.4], dtype=torch.float64)
    y = q.translate(x, b)
    assert torch.allclose(q.inner(y, y), q.inner(x, x))
    # -x is joined with the origin: there the usual formula holds, and -1 carries the geodesic over
    assert torch.allclose(y, -q.translate(-x, b), atol=1e-9)


def test_hard_points_are_finite_with_gradients():
    for time, space in SIZES:
        q = PseudoHyperboloid(time, space)
        for scale in (0.0, torch.pi, 1e6):
            v = torch.full((2, 3), scale, dtype=torch.float64, requires_grad=True)
            b = torch.full((3,), scale, requires_grad=True)
            out = q.log0(q.translate(q.exp0(v), b))
            grads = torch.autograd.grad(out.sum(), [v, b, q.log_beta])
            assert all(t.isfinite().all() for t in (out, *grads)), (time, scale)


def test_at_one_time_dimension_the_origin_maps_are_not_the_exponential_of_the_hyperboloid():
    q, (h, _) = PseudoHyperboloid(1, 2), parse_signature("H2")
    v = torch.ones(1, 2, dtype=torch.float64)
    assert not torch.allclose(q.exp0(v), exp0(h, v), atol=1e-2)
    assert torch.allclose(q.exp0(v)[:, 1:], v)
    assert log0(h, q.exp0(v)).norm() < v.norm()


def test_bad_arguments_and_repr():
    for given in ((0, 3), (1, -1), (1, 0)):
        with pytest.raises(ValueError, match="time_dim"):
            PseudoHyperboloid(*given)
    with pytest.raises(ValueError, match="beta"):
        PseudoHyperboloid(2, 2, beta=-1.0)
    assert "time_dim=2, space_dim=3, beta=1" in repr(PseudoHyperboloid(2, 3))
    assert not PseudoHyperboloid(2, 3, learnable=False).log_beta.requires_grad
