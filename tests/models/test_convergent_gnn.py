import copy
from itertools import pairwise

import dense
import pytest
import torch
import torch.nn.functional as F

from msg.gradients import DvM, EquilibriumPropagation, SettlingBPTT, SurrogateBPTT
from msg.nn import ConvergentGNN

pytestmark = pytest.mark.covering

SHAPES = {"tanh": (2, "tanh", "identity"), "deep": (4, "tanh", "identity"), "sigmoid": (3, "sigmoid", "tanh")}


@pytest.fixture(params=list(SHAPES))
def model(request, dtype):
    layers, activation, out = SHAPES[request.param]
    torch.manual_seed(1)
    model = ConvergentGNN(5, 3, 6, layers, steps=300, activation=activation, out_activation=out)
    with torch.no_grad():
        for conv in model.convs:
            conv.bias.uniform_(-0.3, 0.3)
    return model.to(dtype)


@pytest.fixture
def x(dtype):
    return torch.randn(7, 5, dtype=dtype)


def test_equilibrium_is_a_minimum_of_the_energy(model, x, edge_index, dtype):
    weight = torch.rand(10, dtype=dtype) + 0.2
    system, (states, residual, steps) = model.system(x, edge_index, weight), model.settle(x, edge_index, weight)
    small = 1e-12 if dtype == torch.float64 else 1e-5
    assert residual <= small
    assert steps <= 300
    states = [state.detach().requires_grad_() for state in states]
    lowest = system.energy(states)
    for gradient in torch.autograd.grad(lowest, states):
        assert gradient.abs().max() < 100 * small
    for _ in range(20):
        moved = [s + 0.05 * torch.randn_like(s) * (1 - s.abs()).clamp(0, 1) for s in states]
        if model.activations[0] == "tanh":
            assert system.energy(moved) > lowest


def test_energy_falls_in_every_sweep(x, edge_index, dtype):
    # weights large enough that a simultaneous update would oscillate
    model = ConvergentGNN(5, 3, 6, 2, steps=1).to(dtype)
    with torch.no_grad():
        for conv in model.convs:
            conv.lin.weight.normal_(0, 1.5)
    system = model.system(x, edge_index)
    states, energies = system.start(), []
    with torch.no_grad():
        for sweep in range(60):
            energies.append(float(system.energy(states)))
            states = system.sweep(states, backwards=sweep % 2 == 1)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert all(b <= a + tolerance * abs(a) for a, b in pairwise(energies))
    assert energies[-1] < energies[0] - 1


def test_a_sweep_is_the_slow_loop(model, x, edge_index, dtype):
    weight = torch.rand(10, dtype=dtype) + 0.2
    a = dense.gcn(edge_index, 7, weight).to(dtype)
    functions = [{"identity": lambda u: u}.get(name) or getattr(torch, name) for name in model.activations]
    states = [torch.randn(7, conv.out_channels, dtype=dtype).clamp(-0.9, 0.9) for conv in model.convs]
    nudge = torch.randn(7, 3, dtype=dtype)
    last = len(states) - 1
    for backwards in (False, True):
        got = model.system(x, edge_index, weight).sweep(tuple(states), nudge, backwards)
        want = list(states)
        for l in range(last, -1, -1) if backwards else range(last + 1):
            below = x if l == 0 else want[l - 1]
            u = a @ below @ model.convs[l].lin.weight.t() + model.convs[l].bias
            u = u + a.t() @ want[l + 1] @ model.convs[l + 1].lin.weight if l < last else u - nudge
            want[l] = functions[l](u)
        for one, two in zip(got, want):
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6 if dtype == torch.float32 else 1e-12)


def test_messages_pass_both_ways_by_one_symmetric_coupling(model, x, edge_index):
    system = model.double().system(x.double(), edge_index)
    states = [s.detach().double().requires_grad_() for s in model.settle(x.double(), edge_index).states]
    gradients = torch.autograd.grad(system.energy(states), states, create_graph=True)
    u, v = ([torch.randn_like(s) for s in states] for _ in range(2))

    def product(left, right):
        inner = sum((g * a).sum() for g, a in zip(gradients, right))
        along = torch.autograd.grad(inner, states, retain_graph=True)
        return sum((h * a).sum() for h, a in zip(along, left))

    torch.testing.assert_close(product(u, v), product(v, u), rtol=1e-12, atol=1e-12)
    # neighbours are coupled: moving one node's state pulls at another's
    (mixed,) = torch.autograd.grad(gradients[1][1].sum(), states[0], retain_graph=True)
    assert mixed[0].abs().max() > 1e-3


def test_first_sweep_is_the_forward_pass_of_a_gcn(x, edge_index, dtype):
    model = ConvergentGNN(5, 3, 6, num_layers=2, steps=1).to(dtype)
    hidden = torch.tanh(model.convs[0](x, edge_index))
    want = model.convs[1](hidden, edge_index)
    torch.testing.assert_close(model(x, edge_index), want, rtol=1e-5, atol=1e-6)


def test_isolated_nodes_settle_alone(model, x, edge_index, dtype):
    alone = model(x[6:], torch.empty(2, 0, dtype=torch.long))
    torch.testing.assert_close(model(x, edge_index)[6:], alone, rtol=1e-4, atol=1e-5)
    other = x.clone()
    other[6] += 1
    assert torch.equal(model(x, edge_index)[:6], model(other, edge_index)[:6])


def test_no_nodes(model, x):
    model(x[:0], torch.empty(2, 0, dtype=torch.long)).sum().backward()
    assert all(not parameter.grad.any() for parameter in model.parameters())


def test_it_settles_in_full_precision_under_autocast(model, x, edge_index):
    want = model(x, edge_index)
    want.square().sum().backward()
    grads = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        found = model(x, edge_index)
    assert torch.equal(found, want)
    found.square().sum().backward()
    for parameter, grad in zip(model.parameters(), grads):
        torch.testing.assert_close(parameter.grad, grad)


def test_tolerance_ends_the_free_phase(model, x, edge_index):
    exact = model.settle(x, edge_index)
    model.tolerance = 1e-3
    early = model.settle(x, edge_index)
    assert early.residual <= 1e-3
    assert early.steps < exact.steps
    torch.testing.assert_close(early.states[-1], exact.states[-1], rtol=0, atol=1e-2)
    torch.testing.assert_close(model(x, edge_index), early.states[-1], rtol=0, atol=0)


def test_sparse_features_equal_dense(x, edge_index, dtype):
    dense = x * (x > 0)
    for rule in (EquilibriumPropagation(), SettlingBPTT()):
        model = ConvergentGNN(5, 3, 6, steps=50, gradient=rule).to(dtype)
        grads = []
        for features in (dense, dense.to_sparse_coo()):
            model.zero_grad()
            F.cross_entropy(model(features, edge_index), torch.arange(7) % 3).backward()
            grads.append([p.grad.clone() for p in model.parameters()])
        for a, b in zip(*grads):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("rule", "dtype"),
    [
        (EquilibriumPropagation(0.05, 20, True), torch.float32),
        (SettlingBPTT(), torch.float64),
        pytest.param(EquilibriumPropagation(0.05, 20, True), torch.float64, marks=pytest.mark.slow),
        pytest.param(SettlingBPTT(), torch.float32, marks=pytest.mark.slow),
    ],
)
def test_trains_with_the_users_own_backward(rule, edge_index, dtype):
    # larger steps let couplings grow until the energy has several minima; the loss jumps where states fall into another
    torch.manual_seed(6)
    model, x = ConvergentGNN(5, 3, 16, steps=40, gradient=rule).to(dtype), torch.randn(7, 5).to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x, edge_index), torch.arange(7) % 3)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_copies_and_state(model, x, edge_index):
    want = model(x, edge_index)
    twin = copy.deepcopy(model)
    assert torch.equal(twin(x, edge_index), want)
    twin.reset_parameters()
    assert not torch.equal(twin(x, edge_index), want)
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin(x, edge_index), want)


def test_couplings_start_contractive():
    model = ConvergentGNN(5, 3, 16, num_layers=4)
    for conv in model.convs[1:]:
        values = torch.linalg.svdvals(conv.lin.weight)
        torch.testing.assert_close(values, torch.full_like(values, 0.5))


def test_what_cannot_be_is_refused(edge_index):
    with pytest.raises(ValueError, match="num_layers must be a whole number of at least 2"):
        ConvergentGNN(5, 3, num_layers=1)
    with pytest.raises(ValueError, match="unknown activation 'relu': use one of identity, sigmoid, tanh"):
        ConvergentGNN(5, 3, activation="relu")
    for steps in (0, 2.5):
        with pytest.raises(ValueError, match="steps must be a whole number of at least 1, not "):
            ConvergentGNN(5, 3, steps=steps)
    for number in ("-1", "nan", "inf"):
        with pytest.raises(ValueError, match="needs a finite tolerance >= 0, not "):
            ConvergentGNN(5, 3, tolerance=float(number))
    for rule in (DvM(), SurrogateBPTT()):
        with pytest.raises(
            ValueError, match=rf"{type(rule).__name__} trains layers of spiking neurons.*EquilibriumPropagation"
        ):
            ConvergentGNN(5, 3, gradient=rule)
    model = ConvergentGNN(5, 3)
    for shape in ((7, 6), (7,), (4, 7, 5)):
        with pytest.raises(ValueError, match=r"needs \[num_nodes, 5\]$"):
            model(torch.randn(shape), edge_index)
    with pytest.raises(ValueError, match="float64"):
        model(torch.randn(7, 5).double(), edge_index)
    with pytest.raises(ValueError, match="bipartite"):
        model((torch.randn(7, 5), torch.randn(7, 5)), edge_index)
