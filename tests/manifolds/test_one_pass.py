"""The kernels of steps and logarithms against the functions of the families, which are their oracle."""

import geoopt
import pytest
import torch
from spaces import SIGNATURES, space
from torch.autograd import gradcheck, gradgradcheck

from msg.kernels import status
from msg.manifolds import bound_length, exp0, log0, move, one_pass, path, resolve, squared_distances
from msg.manifolds.hyperboloid import Hyperboloid

pytestmark = pytest.mark.covering

SCALES = [0.0, 1e-160, 1e-6, 1e-2, 0.3, 2.0, 20.0, 60.0]


@pytest.fixture(autouse=True)
def _compiled():
    if status().backend != "numba":
        pytest.skip(f"no compiled kernels: {status().reason}")
    torch.manual_seed(0)


def everything(manifold, start, vectors, max_step):
    z, *v = (t.clone().requires_grad_() for t in (start, *vectors))
    end, moved = path(manifold, v, 0.7, max_step), move(manifold, z, v[0])
    results = [end, moved, log0(manifold, moved), log0(manifold, end), bound_length(v[1], 2.0)]
    draw = torch.Generator().manual_seed(1)
    loss = sum((r * torch.randn(r.shape, generator=draw, dtype=r.dtype)).sum() for r in results)
    learned = [p for p in manifold.parameters() if p.requires_grad]
    return [*results, *torch.autograd.grad(loss, [z, *v, *learned])]


@pytest.mark.parametrize("max_step", [None, 1.3])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("signature", SIGNATURES)
def test_values_and_gradients(signature, scale, max_step, monkeypatch):
    manifold, dim = space(signature)
    vectors = [torch.randn(17, dim, dtype=torch.float64) * scale for _ in range(3)]
    start = exp0(manifold, torch.randn(17, dim, dtype=torch.float64) * min(scale, 3.0)).detach()
    found = everything(manifold, start, vectors, max_step)
    monkeypatch.setenv("MSG_KERNELS", "torch")
    want = everything(manifold, start, vectors, max_step)
    for a, b in zip(found, want):
        # at the radius bound of a hyperboloid errors of rounding grow by e^20
        tolerance = (1e-12 if scale <= 2 else 1e-6) * (1 + float(b.detach().abs().max()))
        torch.testing.assert_close(a, b, rtol=1e-9, atol=tolerance)


@pytest.mark.parametrize("signature", [*SIGNATURES[:-1], pytest.param(SIGNATURES[-1], marks=pytest.mark.slow)])
def test_by_finite_differences(signature):
    manifold, dim = space(signature)
    v, w = (torch.randn(2, dim, dtype=torch.float64, requires_grad=True) for _ in range(2))
    learned = [p for p in manifold.parameters() if p.requires_grad]

    def run(v, w, *_):
        return log0(manifold, move(manifold, path(manifold, [v, w], 0.4, 1.0), v))

    assert gradcheck(run, (v, w, *learned))
    one = (t[:1].detach().requires_grad_() for t in (v, w))  # a row heeds no other
    assert gradgradcheck(run, (*one, *learned), atol=1e-4)


@pytest.mark.parametrize("kind", [geoopt.Lorentz, geoopt.Stereographic])
@pytest.mark.parametrize("learnable", [True, False])
def test_a_curvature_given_for_a_call_is_that_of_its_derivatives(kind, learnable):
    """By the time of the backward pass the manifold has its own again."""
    module = torch.nn.Module()
    module.manifold = kind(torch.tensor(1.0, dtype=torch.float64), learnable=learnable)
    v = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    k = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    pairs = torch.tensor([[0, 1, 0], [1, 0, 2]])

    def measured(v):
        z = path(module.manifold, [v, v.flip(0)], 0.4, 1.0)
        return log0(module.manifold, z).square().sum() + squared_distances(module.manifold, z, pairs).sum()

    module.forward = measured
    run = lambda v, k: torch.func.functional_call(module, {"manifold.k": k}, (v,))  # noqa: E731
    assert gradcheck(run, (v, k))
    assert gradgradcheck(run, (v, k), fast_mode=True)
    plain, graphed = (torch.autograd.grad(run(v, k), (v, k), create_graph=how) for how in (False, True))
    for one, other in zip(plain, graphed):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_second_derivatives_where_a_vector_depends_on_another(monkeypatch):
    manifold, dim = space("H4")
    v = torch.randn(3, dim, dtype=torch.float64, requires_grad=True)

    def run():
        first = torch.autograd.grad(path(manifold, [v, v * v.roll(1)], 0.4, 1.0).sum(), v, create_graph=True)[0]
        return torch.autograd.grad(first.square().sum(), v)[0]

    found = run()
    monkeypatch.setenv("MSG_KERNELS", "torch")
    torch.testing.assert_close(found, run())


@pytest.mark.parametrize("signature", ["H4", "S4", "P4", "U4", "L4", "H2xS2"])
def test_third_derivatives(signature, monkeypatch):
    manifold, dim = space(signature)
    vectors = torch.randn(3, dim, dtype=torch.float64) / 2
    learned = [p for p in manifold.parameters() if p.requires_grad]

    def run():
        v = vectors.clone().requires_grad_()
        z = move(manifold, exp0(manifold, v), v.roll(1, 0))
        first, pairs = log0(manifold, z).pow(3).sum(), torch.tensor([[0, 1], [1, 2]])
        found = [first + squared_distances(manifold, z, pairs).square().sum()]
        for _ in range(3):
            found = torch.autograd.grad(sum(one.sin().sum() for one in found), [v, *learned], create_graph=True)
        return found

    found = run()
    monkeypatch.setenv("MSG_KERNELS", "torch")
    for ours, want in zip(found, run(), strict=True):
        torch.testing.assert_close(ours, want, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("signature", ["H4", "S4", "P4", "H2xS2"])
def test_shapes(signature, monkeypatch):
    """Leading dimensions, none, and a point for all."""
    manifold, dim = space(signature)
    cases = [((2, 3), (2, 3)), ((), ()), ((0,), (0,)), ((1,), (5,)), ((5,), (1,)), ((4, 1), (4, 3))]

    def run():
        torch.manual_seed(1)
        drawn = [
            (exp0(manifold, torch.randn(*p, dim, dtype=torch.float64)), torch.randn(*v, dim, dtype=torch.float64))
            for p, v in cases
        ]
        moved = [move(manifold, z, v) for z, v in drawn]
        return [*moved, *[log0(manifold, z) for z in moved]]

    found = run()
    monkeypatch.setenv("MSG_KERNELS", "torch")
    for a, b in zip(found, run()):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("signature", ["H4", "S4", "P4"])
def test_vectors_of_single_precision(signature, monkeypatch):
    manifold, dim = space(signature)
    vectors = [torch.randn(6, dim, requires_grad=True) for _ in range(3)]

    def run():
        end = path(manifold, vectors, 0.1, 1.0)
        return [end, *torch.autograd.grad(end.square().sum(), vectors)]

    found = run()
    monkeypatch.setenv("MSG_KERNELS", "torch")
    for a, b in zip(found, run()):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_the_antipode(monkeypatch):
    sphere = geoopt.Sphere()
    z = torch.tensor([[-1.0, 0.0, 0.0], [-1.0, 1e-170, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)

    def run():
        point, v = z.clone().requires_grad_(), torch.full((3, 2), 0.3, dtype=torch.float64, requires_grad=True)
        out = [log0(sphere, point), move(sphere, point, v)]
        return [*out, *torch.autograd.grad(sum(o.sum() for o in out), [point, v])]

    found = run()
    monkeypatch.setenv("MSG_KERNELS", "torch")
    for a, b in zip(found, run()):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("value", [torch.nan, 1e200, torch.inf])
def test_vectors_that_are_no_numbers(value, monkeypatch):
    v = torch.full((2, 3), value, dtype=torch.float64, requires_grad=True)

    def run():
        out = bound_length(v, 0.5)
        return [out, *torch.autograd.grad(out.sum(), v)]

    found = run()
    monkeypatch.setenv("MSG_KERNELS", "torch")
    for a, b in zip(found, run()):
        torch.testing.assert_close(a, b, equal_nan=True)


def test_a_family_of_ones_own_runs_its_own_functions(monkeypatch):
    manifold, _ = resolve("H3")
    assert one_pass.applies(manifold, torch.zeros(2, 3))

    class Mine(Hyperboloid):
        pass

    monkeypatch.setattr(one_pass, "find", lambda _: Mine("mine", geoopt.Lorentz, geoopt.Lorentz))
    assert not one_pass.applies(manifold, torch.zeros(2, 3))


def test_other_tensors_take_the_functions():
    manifold, _ = resolve("H3")
    assert not one_pass.applies(manifold, torch.zeros(2, 3, device="meta"))
    assert not one_pass.applies(manifold, torch.zeros(2, 3, dtype=torch.float16))
