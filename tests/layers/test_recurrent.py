"""The recurrent layer against a dense loop over time, with and without a graph in the recurrence."""

import copy

import dense
import pytest
import torch
from torch import nn
from torch_geometric.nn import GATConv, GCNConv

from msg.neurons import ALIF, IF, LIF, ATan, ParametricLIF, Triangle, heaviside
from msg.nn import Graph, RecurrentSpikingLayer, RecurrentState

NODES, FEATURES, WIDTH, STEPS = 7, 3, 4, 15
NEURONS = {
    "IF": IF(0.7),
    "LIF": LIF(threshold=0.6),
    "ParametricLIF": ParametricLIF(threshold=0.6),
    "ALIF": ALIF(tau=5.0, tau_adaptation=30.0, beta=torch.tensor([0.0, 0.0, 1.7, 1.7]), threshold=0.1, refractory=2),
}
CONVS = [None, "gcn", "sage", "gin"]


@pytest.fixture(params=list(NEURONS))
def neuron(request):
    return copy.deepcopy(NEURONS[request.param])


def _layer(neuron, conv=None, dtype=torch.float64):
    return RecurrentSpikingLayer(FEATURES, WIDTH, neuron, conv).to(dtype)


def _train(*lead: int, dtype=torch.float64):
    return torch.randn(*lead, NODES, FEATURES, dtype=dtype) + 0.3


def _adjacency(edge_index, conv):
    """Dense ``[target, source]`` matrix of the named aggregation."""
    if conv == "gcn":
        return dense.gcn(edge_index, NODES)
    a = dense.counted(edge_index, NODES)
    return a / a.sum(1, keepdim=True).clamp(min=1) if conv == "sage" else a + torch.eye(NODES)


def _recurrence(layer, conv, edge_index):
    """From spikes to the current they cause, all matrices dense."""
    if conv is None:
        weight = layer.recurrent.weight * (1 - torch.eye(WIDTH, dtype=torch.float64))
        return lambda z: z @ weight.t()
    a, synapse = _adjacency(edge_index, conv), layer.recurrent.conv
    if conv == "sage":
        return lambda z: a @ z @ synapse.lin_l.weight.t() + z @ synapse.lin_r.weight.t()
    weight = synapse.lin.weight if conv == "gcn" else synapse.nn.weight
    return lambda z: a @ z @ weight.t()


def _oracle(layer, x, conv, edge_index, fire, detach_reset):
    """Spikes by the slow loop."""
    recur = _recurrence(layer, conv, edge_index)
    z, state, train = x.new_zeros(NODES, WIDTH), None, []
    for now in x:
        z, state = layer.neuron(now @ layer.input.weight.t() + recur(z), state, fire, detach_reset)
        train.append(z)
    return torch.stack(train)


@pytest.mark.parametrize("conv", CONVS)
@pytest.mark.parametrize("detach_reset", [True, False])
def test_spikes_and_gradients_are_those_of_the_dense_loop(neuron, conv, detach_reset, edge_index):
    layer, x = _layer(neuron, conv), _train(STEPS).requires_grad_()
    graph = None if conv is None else edge_index
    got, state = layer(x, None, graph, Triangle(0.8), detach_reset)
    want = _oracle(layer, x, conv, edge_index, Triangle(0.8), detach_reset)
    assert 0.02 < got.mean() < 0.9
    assert torch.equal(got, want)
    assert torch.equal(state.spikes, want[-1])
    upstream = torch.randn_like(got)
    inputs = [x, *layer.parameters()]
    a = torch.autograd.grad((got * upstream).sum(), inputs)
    b = torch.autograd.grad((want * upstream).sum(), inputs)
    assert all(g.abs().max() > 1e-3 for g in b)
    for one, two in zip(a, b):
        torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("conv", CONVS)
def test_two_halves_with_the_state_passed_on_are_the_whole(neuron, conv, edge_index, dtype, dyadic):
    # currents of the whole train are one product, of another shape than those of its halves
    layer, x = _layer(neuron, conv, dtype), dyadic(_train(STEPS, dtype=dtype))
    dyadic(layer.input)
    graph = None if conv is None else edge_index
    whole, end = layer(x, None, graph)
    first, state = layer(x[:6], None, graph)
    second, last = layer(x[6:], state, graph)
    assert whole.dtype == dtype
    assert torch.equal(whole, torch.cat([first, second]))
    assert torch.equal(end.spikes, last.spikes)
    upstream = torch.randn_like(whole)
    a = torch.autograd.grad((whole * upstream).sum(), layer.input.weight)[0]
    b = torch.autograd.grad((torch.cat([first, second]) * upstream).sum(), layer.input.weight)[0]
    # a weight's gradient sums over steps and nodes: rounding is relative to the terms, not to what they leave
    assert (a - b).abs().max() <= (1e-5 if dtype == torch.float32 else 1e-13) * b.abs().max()


def test_one_step_is_a_train_of_one(neuron):
    layer, x = _layer(neuron), _train(2)
    spikes, state = layer(x[0])
    assert isinstance(state, RecurrentState)
    again, _ = layer(x[:1])
    assert torch.equal(spikes, again[0])
    following, _ = layer(x[1], state)
    assert torch.equal(following, layer(x)[0][1])


def test_no_neuron_hears_itself():
    layer = _layer(IF())
    charge = torch.tensor([-1.5, 0.5, 2.25, 9.5], dtype=torch.float64)
    with torch.no_grad():
        layer.recurrent.weight.copy_(100 * torch.eye(WIDTH))
        layer.input.weight.zero_()[:, 0] = charge
    x = torch.zeros(6, NODES, FEATURES, dtype=torch.float64)
    x[0, :, 0] = 1.0
    spikes, _ = layer(x)
    # what is left over after the first spike drains at a threshold a step, and nothing adds to it
    assert torch.equal(spikes.sum(0), (charge.ceil() - 1).clamp(0, 6).expand(NODES, WIDTH))
    spikes.sum().backward()
    assert torch.equal(layer.recurrent.weight.grad.diagonal(), torch.zeros(WIDTH, dtype=torch.float64))
    assert layer.recurrent.weight.grad.abs().sum() > 0


def test_spikes_reach_the_neighbours_one_step_later_and_no_further(edge_index):
    layer = _layer(IF(), "gcn")
    with torch.no_grad():
        layer.recurrent.conv.lin.weight.fill_(10.0)
        layer.input.weight.fill_(2.0)
    x = torch.zeros(2, NODES, FEATURES, dtype=torch.float64)
    x[0, 1] = 0.3
    spikes, _ = layer(x, None, edge_index)
    assert spikes[0].nonzero()[:, 0].unique().tolist() == [1]
    assert spikes[1].nonzero()[:, 0].unique().tolist() == [0, 1, 2]  # itself, by gcn's loop, and its targets


def test_a_graph_object_and_its_edges_are_the_same(edge_index):
    layer, x = _layer(LIF(threshold=0.5), "gcn"), _train(STEPS)
    assert torch.equal(layer(x, None, edge_index)[0], layer(x, None, Graph(edge_index, None, NODES))[0])
    weight = torch.rand(edge_index.size(1), dtype=torch.float64)
    assert not torch.equal(layer(x, None, edge_index)[0], layer(x, None, Graph(edge_index, weight, NODES))[0])


def test_any_convolution_can_recur(edge_index):
    layer = _layer(LIF(threshold=0.4), lambda i, o: GATConv(i, o))
    spikes, _ = layer(_train(STEPS), None, edge_index)
    spikes.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in layer.parameters())
    plain = _layer(LIF(threshold=0.4), lambda i, o: GCNConv(i, o, bias=False))
    named = copy.deepcopy(plain)
    named.recurrent = _layer(LIF(), "gcn").recurrent
    named.load_state_dict(plain.state_dict())
    x = _train(STEPS)
    assert torch.equal(plain(x, None, edge_index)[0], named(x, None, edge_index)[0])


def test_rows_of_a_batch_are_apart(neuron):
    layer, x = _layer(neuron), _train(STEPS)
    whole, _ = layer(x)
    for n in range(NODES):
        assert torch.equal(whole[:, n], layer(x[:, n : n + 1])[0][:, 0])


def test_fire_and_prototype_are_the_callers():
    prototype = ParametricLIF()
    layer = _layer(prototype)
    assert layer.neuron is not prototype
    x = _train(STEPS)
    assert torch.equal(layer(x, fire=heaviside)[0], layer(x, fire=ATan())[0])
    assert not layer(x, fire=heaviside)[0].requires_grad


def test_weights_start_as_published_and_come_back():
    layer = RecurrentSpikingLayer(400, 300, IF())
    assert layer.input.weight.std().item() == pytest.approx(400**-0.5, rel=0.02)
    assert layer.recurrent.weight.std().item() == pytest.approx(300**-0.5, rel=0.02)
    before = copy.deepcopy(layer.state_dict())
    nn.init.zeros_(layer.recurrent.weight)
    torch.manual_seed(1)
    layer.reset_parameters()
    assert not torch.equal(layer.recurrent.weight, before["recurrent.weight"])
    assert layer.recurrent.weight.std() > 0


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.int64])
def test_spikes_of_others_may_be_integers(kind):
    layer, train = _layer(IF()), (_train(STEPS) > 0).to(kind)
    _, state = layer(train)
    numbers = train.to(layer.input.weight.dtype)
    assert torch.equal(layer(train, state)[0], layer(numbers, layer(numbers)[1])[0])


def test_impossible_inputs_are_refused(edge_index):
    dense, graph = _layer(IF()), _layer(IF(), "gcn")
    for x in (_train()[0], _train(2, 2), _train(0), _train(2)[..., :2]):
        with pytest.raises(ValueError, match=r"x has shape.*num_nodes, 3"):
            dense(x)
    with pytest.raises(ValueError, match=r"GCNConv.*edge_index"):
        graph(_train(2))
    with pytest.raises(ValueError, match=r"no convolution.*conv='gcn'"):
        dense(_train(2), None, edge_index)
    with pytest.raises(ValueError, match=r"refers to node 5"):
        graph(_train(2)[:, :4], None, edge_index)
    with pytest.raises(ValueError, match="unknown conv"):
        _layer(IF(), "transformer")


def test_states_of_other_nodes_are_refused(neuron):
    layer = _layer(neuron)
    _, state = layer(torch.rand(NODES, FEATURES, dtype=torch.float64))
    with pytest.raises(ValueError, match=rf"the state is of {NODES} nodes, but x has 1"):
        layer(torch.rand(STEPS, 1, FEATURES, dtype=torch.float64), state)
    with pytest.raises(ValueError, match="grow_state"):
        layer(torch.rand(NODES + 1, FEATURES, dtype=torch.float64), state)
    with pytest.raises(ValueError, match=r"the state is torch\.float64, but x is torch\.float32"):
        layer.float()(torch.rand(NODES, FEATURES), state)


def test_a_state_of_another_neuron_or_width_is_refused():
    x = torch.rand(NODES, FEATURES, dtype=torch.float64)
    plain, adaptive = _layer(IF()), _layer(ALIF())
    told = []
    plain.neuron.register_forward_hook(lambda *_: told.append(1))
    _, state = plain(x)
    for layer, other in ((adaptive, state), (plain, adaptive(x)[1]), (plain, state.spikes)):
        with pytest.raises(ValueError, match=r"parts or widths.*another model"):
            layer(x, other)
    with pytest.raises(ValueError, match=r"parts or widths.*another model"):
        plain(x, index_columns(state, 2))
    plain(x, state)
    assert len(told) == 2  # steps, and no look at what a state is made of


def index_columns(state, number):
    return state._replace(spikes=state.spikes[:, :number], neuron=state.neuron[:, :number])
