"""The packed simulation against the one in plain torch: the same spikes, and what rules make of them."""

import pytest
import torch
from torch import nn
from torch_geometric.nn import GCNConv, GINConv

from msg.gradients import CheckpointedBPTT, DvM, RateBackprop, SurrogateBPTT, checkpointed_bptt, packed
from msg.gradients.simulation import SILENT, Dynamics, Firing
from msg.graph import Graph
from msg.kernels import status
from msg.layers import current_layer, spiking_layers
from msg.neurons import ALIF, IF, LIF, ATan, ParametricLIF, Sigmoid, Triangle
from msg.nn import MSG

pytestmark = pytest.mark.covering

CONVS = {
    "gcn": "gcn",
    "sage": "sage",
    "gin": "gin",
    "eps": lambda i, o: GINConv(nn.Linear(i, o), eps=0.3, train_eps=True),
    "plain": lambda i, o: GCNConv(i, o, normalize=False, bias=False),
    "none": nn.Linear,
}
NEURONS = {
    "if": IF(0.5),
    "zero": IF(0.5, reset="zero"),
    "lif": LIF(3.0, 0.4),
    "learned": ParametricLIF(2.0, 0.4),
}


@pytest.fixture(autouse=True)
def _compiled():
    if status().backend != "numba":
        pytest.skip(f"no compiled kernels: {status().reason}")
    torch.manual_seed(0)


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def dtype(request):
    return request.param


def graph(weighted):
    """Twelve nodes, the last of which has no edge."""
    edges = torch.randint(0, 11, (2, 30))
    return Graph(edges, torch.rand(30) if weighted else None, 12)


def dynamics(conv, neuron, weighted=False, timesteps=9, widths=(6, 5, 40, 7), dtype=torch.float64):
    layers = [*spiking_layers(CONVS[conv], widths, neuron), current_layer(CONVS[conv], widths[-1], 4)]
    return Dynamics([layer.to(dtype) for layer in layers], graph(weighted), timesteps)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("conv", CONVS)
def test_the_same_spikes(conv, neuron, weighted, dtype):
    one = dynamics(conv, NEURONS[neuron], weighted, dtype=dtype)
    for current in (torch.randn(12, 5, dtype=dtype), torch.randn(12, 9, 5, dtype=dtype)):
        found = packed.simulate(one, current)
        with torch.no_grad():
            want = one.totals(current, SILENT)
        assert found is not None
        for a, b in zip(found.rates, want.rates):
            assert float((a != b).double().mean()) <= (0.0 if dtype == torch.float64 else 0.01)


@pytest.mark.parametrize(
    ("surrogate", "detach"),
    [
        (ATan(1.5), True),
        (Sigmoid(3.0), False),
        (Triangle(0.7), True),
        pytest.param(ATan(1.5), False, marks=pytest.mark.slow),
        pytest.param(Sigmoid(3.0), True, marks=pytest.mark.slow),
        pytest.param(Triangle(0.7), False, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("neuron", ["if", "zero", "lif"])
@pytest.mark.parametrize("conv", ["gcn", "sage", "eps"])
def test_gradients_are_those_of_torch(conv, neuron, detach, surrogate, monkeypatch):
    edges, x = torch.randint(0, 11, (2, 30)), torch.randn(12, 5, dtype=torch.float64)
    checkpointed = [CheckpointedBPTT(surrogate, detach, 2), CheckpointedBPTT(surrogate, detach, 3, store="internal")]
    for rule in (DvM(), RateBackprop(surrogate, detach), SurrogateBPTT(surrogate, detach), *checkpointed):
        model = MSG(5, 3, "H7", 4, 6, NEURONS[neuron], rule, conv=CONVS[conv]).double()

        def run(model=model):
            out = model(x, edges)
            return [out, *torch.autograd.grad(out.square().sum(), [p for p in model.parameters() if p.requires_grad])]

        monkeypatch.delenv("MSG_KERNELS", raising=False)
        found = run()
        monkeypatch.setenv("MSG_KERNELS", "torch")
        for a, b in zip(found, run()):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("widths", [(6,), (6, 5)])
def test_a_last_layer_that_is_not_linear_sees_every_step(widths):
    """Attention to a mean of spikes is not the mean of attention to spikes."""
    layers = [*spiking_layers("gcn", [3, *widths], IF(0.3))[: len(widths)], current_layer("gat", widths[-1], 4)]
    one = Dynamics([layer.double() for layer in layers], graph(False), 9)
    current = torch.randn(12, widths[0], dtype=torch.float64)
    assert packed.simulate(one, current) is None
    assert packed.through(one, current, Firing(ATan(), True, through_spikes=True)) is None
    states, total = [None] * len(widths), 0.0
    for _ in range(9):
        now = current
        for number, layer in enumerate(layers[:-1]):
            now = layer.current(now, one.graph) if number else now
            now, states[number] = layer.neuron(now, states[number], ATan())
        total = total + layers[-1].synapse.conv(now, one.graph.edge_index)
    for rule in (DvM(), RateBackprop(), SurrogateBPTT(), CheckpointedBPTT(states=2)):
        mean = rule.simulate(one, current)[0][-1]
        torch.testing.assert_close(mean, total / 9)


def test_what_a_layer_received_is_not_computed_again():
    one = dynamics("gcn", IF(0.5))
    current = torch.randn(12, 5, dtype=torch.float64)
    found = packed.simulate(one, current)
    matrix = one.graph.normalized(torch.float64)
    for rate, received in zip(found.rates, found.received):
        torch.testing.assert_close(received, matrix.matmul(rate))
    long = dynamics("gcn", IF(0.5), timesteps=256)
    assert packed.simulate(long, current).received[-1] is None  # more than a byte counts


@pytest.mark.parametrize("store", ["hidden", "internal"])
def test_checkpoints_hold_potentials_and_bits(store):
    one = dynamics("gcn", IF(0.5))
    firing = Firing(ATan(), True, through_spikes=True)
    whole = packed.through(one, torch.randn(12, 5, dtype=torch.float64), firing)
    steps = checkpointed_bptt._PackedSteps(whole, torch.randn(12, 5, dtype=torch.float64))
    potentials, words = 8 * 12 * (5 + 40 + 7), 4 * 12 * (1 + 2 + 1)
    assert steps.nbytes(store) == potentials + (words if store == "internal" else 0)


def test_what_it_does_not_know_it_leaves_alone():
    current = torch.randn(12, 5, dtype=torch.float64)
    assert packed.simulate(dynamics("gcn", ALIF()), current) is None
    assert packed.simulate(dynamics("gcn", IF()), current.half()) is None

    class Mine(IF):
        def decay(self, state):
            return state * 0.5

    assert packed.simulate(dynamics("gcn", Mine()), current) is None
    watched = dynamics("gcn", IF())
    watched.layers[1].synapse.register_forward_hook(lambda *_: None)
    assert packed.simulate(watched, current) is None
    heard = dynamics("gcn", IF())
    heard.layers[1].neuron.register_forward_pre_hook(lambda *_: None)
    assert packed.simulate(heard, current) is None
    weights = dynamics("gcn", IF())
    weights.graph.edge_weight = torch.rand(30, dtype=torch.float64, requires_grad=True)
    assert packed.simulate(weights, current) is None


def test_hooks_are_still_called():
    model, x, edges = MSG(5, 3, "H4", 3, 4), torch.randn(12, 5), torch.randint(0, 12, (2, 30))
    calls = []
    model.stack.layers[1].synapse.register_forward_hook(lambda *_: calls.append(1))
    model(x, edges)
    assert calls


def test_nothing_but_bits_is_kept_for_the_backward_pass():
    model, x, edges = (
        MSG(5, 3, "H32", 4, 64, gradient=SurrogateBPTT()),
        torch.randn(50, 5),
        torch.randint(0, 50, (2, 99)),
    )
    kept = {}

    def keep(tensor):
        if tensor.layout == torch.strided:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        model(x, edges)
    one_train = 64 * 50 * 32 * 4
    assert sum(kept.values()) < one_train


def test_derivatives_of_gradients_are_those_of_torch(monkeypatch):
    x, edges = torch.randn(12, 5, dtype=torch.float64), torch.randint(0, 11, (2, 30))
    model = MSG(5, 3, "H7", 4, 6, IF(0.5), SurrogateBPTT()).double()
    weights = [p for p in model.parameters() if p.requires_grad]

    def run():
        first = torch.autograd.grad(model(x, edges).square().sum(), weights, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), weights)

    found = run()
    monkeypatch.setenv("MSG_KERNELS", "torch")
    for a, b in zip(found, run()):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_a_backward_pass_may_be_repeated_but_not_after_a_change():
    x, edges = torch.randn(12, 5), torch.randint(0, 11, (2, 30))
    model = MSG(5, 3, "H7", 4, 6, IF(0.5), SurrogateBPTT())
    weight = model.stack.layers[1].synapse.conv.lin.weight
    loss = model(x, edges).square().sum()
    first = torch.autograd.grad(loss, weight, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(loss, weight, retain_graph=True)[0], first)
    with torch.no_grad():
        weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, weight)
