import pytest
import torch
from torch_geometric.nn import GATv2Conv

from msg.neurons import IF, ParametricLIF
from msg.nn import MSG, Graph, SpikingLayer, make_synapse


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
