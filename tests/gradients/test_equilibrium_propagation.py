"""Equilibrium propagation against backpropagation through the settling, on every network that settles.

The oracle of the layered network is a dense loop written from the formulas; of the Riemannian one, autograd through a
free phase that has converged, and finite differences.
"""

import dense
import pytest
import torch
import torch.nn.functional as F

from msg.gradients import (
    EquilibriumPropagation,
    SettlingBPTT,
    equilibrium_updates,
    relative_rmse,
)
from msg.nn import ConvergentGNN, RiemannianConvergentGNN

NODES, FEATURES, CLASSES = 7, 5, 3
MODELS = {
    "tanh": lambda **kw: ConvergentGNN(FEATURES, CLASSES, 6, steps=300, **kw),
    "two hidden": lambda **kw: ConvergentGNN(FEATURES, CLASSES, 6, num_layers=3, steps=300, **kw),
    "all sigmoid": lambda **kw: ConvergentGNN(
        FEATURES, CLASSES, 6, steps=300, activation="sigmoid", out_activation="sigmoid", **kw
    ),
    "H3": lambda **kw: RiemannianConvergentGNN(FEATURES, CLASSES, "H3", steps=60, **kw),
    "H2xS2": lambda **kw: RiemannianConvergentGNN(FEATURES, CLASSES, "H2xS2", steps=60, **kw),
}
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0])


def _maker(name):
    def make(gradient=None, dtype=torch.float64):
        torch.manual_seed(1)
        return MODELS[name](gradient=gradient).to(dtype)

    return make


LAYERED = list(MODELS)[:-2]
H3, H2xS2 = (pytest.param(name, marks=pytest.mark.slow) for name in ("H3", "H2xS2"))


@pytest.fixture(params=[*LAYERED, "H3", H2xS2])
def make(request):
    return _maker(request.param)


@pytest.fixture(params=[*LAYERED, H3, H2xS2])
def make_layered(request):
    """Where the curved ones, which settle in seconds, go the same way as the others."""
    return _maker(request.param)


def _features(dtype=torch.float64):
    return torch.randn(NODES, FEATURES, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


def _weights(dtype=torch.float64):
    return (torch.rand(10, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.2).to(dtype)


def _gradient(model, x, edge_index, edge_weight=None):
    """Of the mean cross-entropy in features and all parameters, side by side."""
    x = x.clone().requires_grad_()
    loss = F.cross_entropy(model(x, edge_index, edge_weight), LABELS)
    inputs = [x, *(p for p in model.parameters() if p.requires_grad)]
    return torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, inputs)])


# -------------------------------------------------------------------------------- the toy network


def _toy(**kw):
    torch.manual_seed(0)
    x, y = torch.rand(20, 10).double(), torch.rand(20, 5).double()
    model = ConvergentGNN(10, 5, hidden_channels=50, out_activation="tanh", **kw).double()
    return model, x, torch.empty(2, 0, dtype=torch.long), lambda output: (output - y).square().sum() / 2


def test_updates_of_the_toy_network_match_backpropagation_linearly_in_beta():
    model, x, edges, loss = _toy()
    system = model.system(x, edges)
    betas = [0.1, 0.05, 0.02, 0.01, 0.005]
    errors = [relative_rmse(*equilibrium_updates(system, loss, EquilibriumPropagation(b, 80))) for b in betas]
    assert errors[betas.index(0.01)] < 1e-2
    for (beta, error), (smaller, less) in zip(zip(betas, errors), list(zip(betas, errors))[1:]):
        assert error / less == pytest.approx(beta / smaller, rel=0.05)


def test_gradient_of_the_toy_network_is_the_sum_of_the_updates():
    model, x, edges, loss = _toy(gradient=EquilibriumPropagation(0.01, 80))
    updates = equilibrium_updates(model.system(x, edges), loss, model.gradient)
    last = list(model.convs[1].parameters())  # bias, weight: the system's tensors 2 and 1
    bias, weight = torch.autograd.grad(loss(model(x, edges)), last)
    count = weight.numel() + bias.numel()
    want = torch.cat([weight.flatten(), bias])
    torch.testing.assert_close(updates.ep.sum(0)[-count:], want, rtol=1e-6, atol=1e-8)


# -------------------------------------------------------------------------------- every step


def _slow_bptt_updates(model, x, edge_index, steps, loss):
    """Gradient in the second layer's weights, of each of the last sweeps: a dense loop, one copy a sweep."""
    first, second = model.convs
    w1, b1 = first.lin.weight.detach(), first.bias.detach()
    states = [torch.zeros(NODES, 6).double(), torch.zeros(NODES, CLASSES).double()]
    a = dense.gcn(edge_index, NODES)
    copies = [second.lin.weight.detach().clone().requires_grad_() for _ in range(200 + steps)]
    for w in copies:
        states[0] = torch.tanh(a @ x @ w1.t() + b1 + a.t() @ states[1] @ w)
        states[1] = a @ states[0] @ w.t() + second.bias.detach()
    return torch.stack(torch.autograd.grad(loss(states[1]), copies)).flip(0)[:steps]


def test_each_step_is_that_of_a_slow_loop(edge_index):
    torch.manual_seed(1)
    model, x = ConvergentGNN(FEATURES, CLASSES, 6).double(), _features()

    def loss(output):
        return F.cross_entropy(output, LABELS)

    want = _slow_bptt_updates(model, x, edge_index, 10, loss).flatten(1)
    ep, bptt = equilibrium_updates(model.system(x, edge_index), loss, EquilibriumPropagation(1e-4, 10))
    columns = slice(NODES * 6, NODES * 6 + want.size(1))
    torch.testing.assert_close(bptt[:, columns], want, rtol=1e-8, atol=1e-12)
    for t in range(6):
        assert want[t].abs().max() > 1e-8
        assert relative_rmse(ep[t, columns], want[t]) < 1e-3


def test_each_step_of_every_network(make, edge_index):
    model = make()
    system = model.system(_features(), edge_index)
    weight = torch.randn(NODES, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def loss(output):
        return (output * weight[:, : output.size(1)]).sum()

    errors = []
    for beta in (2e-3, 1e-3):
        ep, bptt = equilibrium_updates(system, loss, EquilibriumPropagation(beta, 12))
        # a sigmoid network forgets so fast that only rounding is left of later steps
        errors.append([relative_rmse(ep[t], bptt[t]) for t in range(3)])
    for larger, smaller in zip(*errors):
        assert smaller < 1e-2
        assert larger / smaller == pytest.approx(2, rel=0.1)


# -------------------------------------------------------------------------------- the gradient


@pytest.mark.parametrize("weighted", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_gradient_tends_to_backpropagation(make, edge_index, weighted):
    edge_weight = _weights() if weighted else None
    want = _gradient(make(SettlingBPTT()), _features(), edge_index, edge_weight)
    assert want.abs().max() > 1e-3

    def error(beta, symmetric):
        rule = EquilibriumPropagation(beta, 80, symmetric)
        return relative_rmse(_gradient(make(rule), _features(), edge_index, edge_weight), want)

    once, symmetric = error(0.01, False), error(0.01, True)
    assert once < 1e-2
    assert error(0.02, False) / once == pytest.approx(2, rel=0.1)
    assert error(0.02, True) / symmetric == pytest.approx(4, rel=0.1)
    assert error(1e-3, True) < 1e-5


def test_backpropagation_of_the_layered_network_is_that_of_a_slow_loop(edge_index):
    torch.manual_seed(1)
    model, x = ConvergentGNN(FEATURES, CLASSES, 6, steps=9, gradient=SettlingBPTT()).double(), _features()
    got = torch.autograd.grad(F.cross_entropy(model(x, edge_index), LABELS), list(model.parameters()))
    (b1, w1), (b2, w2) = ((conv.bias, conv.lin.weight) for conv in model.convs)
    a, hidden, output = dense.gcn(edge_index, NODES), 0.0, torch.zeros(NODES, CLASSES).double()
    for _ in range(9):
        hidden = torch.tanh(a @ x @ w1.t() + b1 + a.t() @ output @ w2)
        output = a @ hidden @ w2.t() + b2
    want = torch.autograd.grad(F.cross_entropy(output, LABELS), [b1, w1, b2, w2])
    for one, two in zip(got, want):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-13)


def test_gradient_of_a_quadratic_energy_is_exact(edge_index):
    def gradient(rule):
        torch.manual_seed(1)
        model = RiemannianConvergentGNN(FEATURES, CLASSES, "E3", steps=100, gradient=rule).double()
        return _gradient(model, _features(), edge_index)

    assert relative_rmse(gradient(EquilibriumPropagation(0.5, 100)), gradient(SettlingBPTT())) < 1e-12


def test_gradient_of_learned_edge_weights(make_layered, edge_index):
    def gradient(rule):
        edge_weight = _weights().requires_grad_()
        loss = F.cross_entropy(make_layered(rule)(_features(), edge_index, edge_weight), LABELS)
        return torch.autograd.grad(loss, edge_weight)[0]

    want = gradient(SettlingBPTT())
    assert want.abs().max() > 1e-5
    assert relative_rmse(gradient(EquilibriumPropagation(1e-3, 80, symmetric=True)), want) < 1e-4


def test_gradient_against_finite_differences(make, edge_index):
    model, x = make(EquilibriumPropagation(1e-3, 80, symmetric=True)), _features()
    got = _gradient(model, x, edge_index)[: x.numel()].view_as(x)
    step = 1e-5
    for i, k in [(0, 0), (3, 2), (6, 4)]:
        sides = []
        for sign in (1, -1):
            moved = x.clone()
            moved[i, k] += sign * step
            with torch.no_grad():
                sides.append(F.cross_entropy(model(moved, edge_index), LABELS))
        want = (sides[0] - sides[1]) / (2 * step)
        torch.testing.assert_close(got[i, k], want, rtol=1e-3, atol=1e-7)


def test_float32(make_layered, edge_index):
    want = _gradient(make_layered(SettlingBPTT()), _features(), edge_index)
    rule = EquilibriumPropagation(0.01, 100, symmetric=True)
    got = _gradient(make_layered(rule, torch.float32), _features(torch.float32), edge_index)
    assert got.dtype == torch.float32
    assert relative_rmse(got.double(), want) < 2e-3


def test_a_smaller_loss_nudges_as_far(make_layered, edge_index):
    # a mean over many nodes must not nudge by less than rounding
    model, x = make_layered(EquilibriumPropagation(0.01, 50), torch.float32), _features(torch.float32)
    parameters = [p for p in model.parameters() if p.requires_grad]
    one, tiny = (
        torch.autograd.grad(scale * F.cross_entropy(model(x, edge_index), LABELS), parameters)
        for scale in (1.0, 2.0**-30)
    )
    for a, b in zip(one, tiny):
        torch.testing.assert_close(a, b * 2.0**30)


def test_no_gradient_arrives(make, edge_index):
    model = make(EquilibriumPropagation())
    (0.0 * model(_features(), edge_index)).sum().backward()
    for parameter in model.parameters():
        if parameter.requires_grad:
            assert torch.equal(parameter.grad, torch.zeros_like(parameter))


# -------------------------------------------------------------------------------- as autograd expects


@pytest.mark.parametrize("rule", [EquilibriumPropagation(), SettlingBPTT()], ids=["EP", "BPTT"])
def test_backward_passes_add_up(make_layered, edge_index, rule):
    model, x = make_layered(rule), _features()
    loss = F.cross_entropy(model(x, edge_index), LABELS)
    loss.backward(retain_graph=True)
    once = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    loss.backward()
    F.cross_entropy(model(x, edge_index), LABELS).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert once[name].abs().max() > 0
            torch.testing.assert_close(parameter.grad, 3 * once[name])


def test_every_rule_settles_alike_with_and_without_gradient(make_layered, edge_index):
    x = _features()
    want = make_layered(SettlingBPTT())(x, edge_index).detach()
    model = make_layered(EquilibriumPropagation())
    torch.testing.assert_close(model(x, edge_index).detach(), want, rtol=1e-14, atol=1e-14)
    with torch.no_grad():
        torch.testing.assert_close(model(x, edge_index), want, rtol=1e-14, atol=1e-14)
    with torch.inference_mode():
        torch.testing.assert_close(model(x.clone(), edge_index), want, rtol=1e-14, atol=1e-14)


def test_gradient_goes_on_into_what_lies_before(make_layered, edge_index):
    def gradient(rule):
        encoder = torch.nn.Linear(FEATURES, FEATURES).double()
        with torch.no_grad():
            encoder.weight.copy_(torch.eye(FEATURES))
            encoder.bias.zero_()
        F.cross_entropy(make_layered(rule)(encoder(_features()), edge_index), LABELS).backward()
        return encoder.weight.grad

    assert relative_rmse(gradient(EquilibriumPropagation(1e-3, 80, True)), gradient(SettlingBPTT())) < 1e-4


def test_weights_changed_before_backward_are_refused(edge_index):
    model = ConvergentGNN(FEATURES, CLASSES, 6).double()
    loss = model(_features(), edge_index).sum()
    with torch.no_grad():
        model.convs[1].lin.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_memory_does_not_grow_with_the_sweeps(edge_index):
    def saved(rule, steps):
        torch.manual_seed(1)
        model = ConvergentGNN(FEATURES, CLASSES, 6, steps=steps, gradient=rule).double()
        count = 0

        def pack(tensor):
            nonlocal count
            count += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(_features(), edge_index)
        return count

    assert saved(EquilibriumPropagation(), 20) == saved(EquilibriumPropagation(), 5)
    assert saved(SettlingBPTT(), 20) > 3 * saved(SettlingBPTT(), 5)


# -------------------------------------------------------------------------------- a rule's value


@pytest.mark.parametrize(
    ("beta", "steps", "said"),
    [
        (0.0, 5, r"needs a finite beta > 0, not 0\.0"),
        (-1.0, 5, r"needs a finite beta > 0, not -1\.0"),
        (float("nan"), 5, "needs a finite beta > 0, not nan"),
        (0.1, 0, "steps must be a whole number of at least 1, not 0"),
        (0.1, 2.5, r"steps must be a whole number of at least 1, not 2\.5"),
    ],
)
def test_bad_values_are_refused(beta, steps, said):
    with pytest.raises(ValueError, match=said):
        EquilibriumPropagation(beta, steps)


def test_relative_rmse():
    a, b = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0])
    assert relative_rmse(a, b) == pytest.approx(1 / 5)
    assert relative_rmse(b, a) == pytest.approx(1 / 5)
    assert relative_rmse(0 * a, 0 * a) == 0.0


def test_second_derivatives_are_refused():
    model, x, edges, loss = _toy(gradient=EquilibriumPropagation(0.01, 80))
    with pytest.raises(RuntimeError, match="EquilibriumPropagation has no second derivatives: use SettlingBPTT"):
        torch.autograd.grad(loss(model(x, edges)), list(model.parameters()), create_graph=True)


def test_what_is_no_number_stays_none(edge_index):
    model = ConvergentGNN(FEATURES, CLASSES, 6, steps=5).double()
    (model(_features(), edge_index) * torch.nan).sum().backward()
    assert all(bool(parameter.grad.isnan().any()) for parameter in model.parameters())
