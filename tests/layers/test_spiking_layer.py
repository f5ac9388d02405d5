import pytest
import torch
from torch_geometric.nn import GATv2Conv

from msg.energy import Count, count
from msg.names import GRADIENTS
from msg.neurons import IF, ParametricLIF
from msg.nn import MSG, Graph, SpikingLayer, make_synapse
from msg.testing import assert_model


def test_current_is_the_synapses(edge_index):
    layer = SpikingLayer(make_synapse("gcn", 4, 3), IF(), 3)
    x, graph = torch.randn(7, 4), Graph(edge_index, None, 7)
    assert torch.equal(layer.current(x, graph), layer.synapse(x, graph))
    assert layer.linear is layer.synapse.linear is True


def test_a_wrong_width_is_explained(edge_index):
    layer = SpikingLayer(make_synapse(lambda i, o: GATv2Conv(i, o, heads=2), 4, 3), IF(), 3)
    assert not layer.linear
    with pytest.raises(ValueError, match=r"GATv2Conv returned width 6.*3 channels.*concat=False"):
        layer.current(torch.randn(7, 4), Graph(edge_index, None, 7))
    with pytest.raises(ValueError, match="concat=False"):
        MSG(4, 2, "E3", conv=lambda i, o: GATv2Conv(i, o, heads=2))(torch.randn(7, 4), edge_index)


def test_reset_parameters_resets_both():
    layer = SpikingLayer(make_synapse("gcn", 4, 3), ParametricLIF(), 3)
    with torch.no_grad():
        layer.neuron.weight.fill_(9.0)
        layer.synapse.conv.lin.weight.fill_(9.0)
    layer.reset_parameters()
    assert layer.neuron.tau == pytest.approx(2.0)
    assert not bool((layer.synapse.conv.lin.weight == 9.0).any())
    SpikingLayer(make_synapse("gcn", 4, 3), None, 3).reset_parameters()


@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("rule", ["dvm", "rate", "bptt", "checkpointed"])
def test_the_first_current_is_normalised_whatever_the_rule(norm, rule, edge_index):
    x = 50 * torch.rand(7, 5, dtype=torch.float64)
    model = MSG(5, 3, "E4", 3, 6, IF(0.7), GRADIENTS[rule](), norm=norm).double()
    first = model.stack.layers[0]
    activity = model.activity(x, edge_index)
    graph = model.prepare(x, edge_index)[1]
    raw = first.synapse(x, graph)
    dim = {"layer": 1, "batch": 0}[norm]
    want = (raw - raw.mean(dim, keepdim=True)) / (raw.var(dim, correction=0, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(activity.currents[0], want, atol=1e-12)
    count, u = torch.zeros_like(want), torch.zeros_like(want)
    for _ in range(6):
        u = u + want
        spikes = (u > 0.7).double()
        u, count = u - 0.7 * spikes, count + spikes
    assert torch.allclose(activity.rates[0], count / 6)
    model(x, edge_index).square().sum().backward()
    learned = [p.grad for p in first.norm.parameters()]
    assert all(grad is not None and grad.isfinite().all() and grad.any() for grad in learned)


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_a_normalisation_is_counted_and_reset(norm, edge_index):
    x = torch.rand(7, 5)
    plain, normed = (MSG(5, 3, "E4", 2, 6, IF(0.01), norm=one).eval() for one in ("none", norm))
    normed.load_state_dict(plain.state_dict(), strict=False)
    found = []
    for model in (plain, normed):
        with torch.no_grad(), count(model) as ops:
            model(x, edge_index)
        assert not ops.unknown
        found.append(ops)
    counted = found[1].modules.get("stack.layers.0.norm", Count())
    # a batch norm is folded into the weights
    assert counted.dense["multiply_accumulate"] == (2 * 7 * 4 if norm == "layer" else 0)
    assert_model(lambda: MSG(5, 3, "H4", 3, 6, IF(0.4), norm=norm), x, edge_index)


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="unknown norm 'group'"):
        MSG(5, 3, "E4", norm="group")
