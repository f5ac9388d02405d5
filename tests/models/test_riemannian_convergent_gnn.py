import math
from itertools import pairwise

import dense
import geoopt
import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from msg.gradients import DvM, EquilibriumPropagation, SettlingBPTT
from msg.manifolds import bound_length, distance, exp0, log0, move
from msg.nn import RiemannianConvergentGNN
from msg.testing import assert_on_manifold

pytestmark = pytest.mark.covering

SIGNATURES = ["E3", "H3", "S3", "P3", "H2xS2"]


@pytest.fixture(params=SIGNATURES)
def model(request, dtype):
    torch.manual_seed(1)
    return RiemannianConvergentGNN(5, None, request.param, steps=300).to(dtype)


@pytest.fixture
def x(dtype):
    return torch.randn(7, 5, dtype=dtype)


def test_equilibrium_is_a_minimum_of_the_energy(model, x, edge_index):
    system, (states, residual, _) = model.system(x, edge_index), model.settle(x, edge_index)
    assert residual < 1e-12
    (z,) = states
    assert z.dtype == torch.float64
    assert_on_manifold(model.manifold, z)
    v = torch.zeros(7, model.hidden_channels, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(system.energy((move(model.manifold, z, v),)), v)
    assert gradient.abs().max() < 1e-11
    lowest = system.energy((z,))
    for _ in range(20):
        assert system.energy((move(model.manifold, z, 0.05 * torch.randn_like(v)),)) > lowest


def test_energy_is_the_slow_loop(model, x, edge_index, dtype):
    weight = torch.rand(10, dtype=dtype) + 0.2
    z = exp0(model.manifold, torch.randn(7, model.hidden_channels, dtype=torch.float64) / 2)
    current = dense.gcn(edge_index, 7, weight)
    anchors = bound_length((current.to(dtype) @ x @ model.conv.lin.weight.t() + model.conv.bias).detach())
    p = exp0(model.manifold, anchors)
    want = 0.0
    for i in range(7):
        want = want + distance(model.manifold, z[i], p[i]) ** 2 / 2
        for j in range(7):
            if i != j:
                want = want + current[i, j] * distance(model.manifold, z[i], z[j]) ** 2 / 4
    got = model.system(x, edge_index, weight).energy((z,))
    torch.testing.assert_close(got.detach(), want, rtol=1e-5 if dtype == torch.float32 else 1e-10, atol=0)


def test_energy_falls_in_every_sweep(model, x, edge_index):
    system = model.system(x, edge_index)
    states, energies = system.start(), []
    with torch.no_grad():
        for _ in range(30):
            energies.append(float(system.energy(states)))
            states = system.sweep(states)
    assert all(b <= a + 1e-12 for a, b in pairwise(energies))
    assert energies[-1] < energies[0]


def test_flat_equilibrium_solves_a_linear_system(x, edge_index, dtype):
    model = RiemannianConvergentGNN(5, None, "E3", steps=500, coupling=2.0).to(dtype)
    anchor, weight = (t.detach() for t in model.system(x, edge_index).tensors)
    laplacian = torch.eye(7, dtype=torch.float64)
    for s, t, w in zip(*model.system(x, edge_index).edge_index.tolist(), weight):
        for i, j in ((s, t), (t, s)):
            laplacian[i, i] += w / 2
            laplacian[i, j] -= w / 2
    want = torch.linalg.solve(laplacian, anchor)
    torch.testing.assert_close(model(x, edge_index).detach(), want, rtol=1e-9, atol=1e-10)


def test_isolated_nodes_stay_at_their_anchor(model, x, edge_index):
    anchor = model.system(x, edge_index).tensors[0].detach()
    settled = model(x, edge_index).detach()
    torch.testing.assert_close(settled[6], anchor[6], rtol=1e-12, atol=1e-14)
    assert distance(model.manifold, settled[:6], anchor[:6]).min() > 1e-3


def test_without_coupling_points_are_their_anchors(x, edge_index, dtype):
    model = RiemannianConvergentGNN(5, None, "H3", coupling=0.0).to(dtype)
    anchor = model.system(x, edge_index).tensors[0]
    torch.testing.assert_close(model(x, edge_index), anchor, rtol=1e-12, atol=1e-14)


def test_logits_are_linear_in_the_tangent(x, edge_index, dtype):
    model = RiemannianConvergentGNN(5, 3, "H2xS2", steps=60).to(dtype)
    (z,) = model.settle(x, edge_index).states
    want = log0(model.manifold, z).to(dtype) @ model.head.lin.weight.t() + model.head.lin.bias
    torch.testing.assert_close(model(x, edge_index), want)
    assert want.dtype == dtype


@pytest.mark.parametrize(
    ("manifold", "dtype"),
    [
        ("H4", torch.float32),
        ("S4", torch.float64),
        pytest.param("H4", torch.float64, marks=pytest.mark.slow),
        pytest.param("S4", torch.float32, marks=pytest.mark.slow),
    ],
)
def test_trains_with_the_users_own_backward(manifold, dtype, edge_index):
    torch.manual_seed(0)
    rule, x = EquilibriumPropagation(0.05, 10, True), torch.randn(7, 5).to(dtype)
    model = RiemannianConvergentGNN(5, 3, manifold, steps=15, gradient=rule).to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x, edge_index), torch.arange(7) % 3)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="never learn"):
        RiemannianConvergentGNN(5, 3, "U3")
    RiemannianConvergentGNN(5, 3, geoopt.Lorentz(k=2.0), hidden_channels=3)
    for bad in ({"coupling": -1.0}, {"step_size": 0.0}, {"coupling": math.inf}, {"step_size": math.inf}):
        with pytest.raises(ValueError, match="coupling must not be negative and step_size positive"):
            RiemannianConvergentGNN(5, 3, "H3", **bad)
    with pytest.raises(ValueError, match=r"DvM trains layers of spiking neurons.*RiemannianConvergentGNN"):
        RiemannianConvergentGNN(5, 3, "H3", gradient=DvM())


@pytest.mark.parametrize("signature", ["H3", "S3"])
def test_a_gradient_penalty_is_differentiated(signature, edge_index):
    """A sweep differentiates the energy, so this is the third derivative of distances."""
    torch.manual_seed(0)
    model = RiemannianConvergentGNN(5, 3, signature, steps=3, gradient=SettlingBPTT()).double()
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)

    def penalty(weight):
        out = torch.func.functional_call(model, {"conv.lin.weight": weight}, (x, edge_index))
        return torch.autograd.grad(out.square().sum(), x, create_graph=True)[0].square().sum()

    assert torch.autograd.gradcheck(penalty, model.conv.lin.weight, fast_mode=True)


@pytest.mark.slow  # of the compiler
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's compiler asks for it
def test_backpropagation_through_settling_goes_around_the_compiler(edge_index):
    torch.manual_seed(0)
    model = RiemannianConvergentGNN(5, 3, "H3", steps=3, gradient=SettlingBPTT()).double()
    weights = [p for p in model.parameters() if p.requires_grad]
    x = torch.randn(7, 5, dtype=torch.float64)
    found = []
    torch._dynamo.reset()
    for call in (model, torch.compile(model, backend="aot_eager")):
        found.append(torch.autograd.grad(call(x, edge_index).square().sum(), weights))
    torch._dynamo.reset()
    for got, want in zip(*found):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("rule", [EquilibriumPropagation(), SettlingBPTT()])
def test_activations_are_checkpointed_around_it(rule, edge_index):
    model, x, calls = RiemannianConvergentGNN(5, 3, "H3", steps=10, gradient=rule), torch.randn(7, 5), []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    want = torch.autograd.grad(model(x, edge_index).square().sum(), learned)
    out = checkpoint(model, x, edge_index, use_reentrant=False)
    torch.testing.assert_close(torch.autograd.grad(out.square().sum(), learned), want)
    assert len(calls) == 3  # forward; forward and once again on the way back
