import pytest
import torch
from torch_geometric.nn import GCN

from msg.neurons import IF, ParametricLIF, ReLU
from msg.nn import SpikingGNN


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_logits_are_linear_in_the_last_rates(layers, edge_index, dtype):
    model = SpikingGNN(5, 3, 4, layers, 6, IF(threshold=0.5)).to(dtype)
    x = torch.randn(7, 5, dtype=dtype) * 3
    rates = model.activity(x, edge_index).rates
    assert len(rates) == layers
    lin = model.stack.layers[-1].synapse.conv
    torch.testing.assert_close(model(x, edge_index), rates[-1] @ lin.weight.t() + lin.bias)


@pytest.mark.parametrize("conv", ["gcn", "sage", "gat"])
def test_the_last_convolution_may_be_the_read_out(conv, edge_index, dtype):
    model = SpikingGNN(5, 3, 4, 3, 6, IF(threshold=0.5), conv=conv, readout="conv").to(dtype)
    x = torch.randn(7, 5, dtype=dtype) * 3
    rates = model.activity(x, edge_index).rates
    assert len(rates) == 2
    last = model.stack.layers[-1].synapse.conv
    if conv != "gat":  # attention reads spikes step by step
        torch.testing.assert_close(model(x, edge_index), last(rates[-1], edge_index))
    assert model(x, edge_index).shape == (7, 3)


def test_a_gcn_whose_relu_does_not_fire_is_the_gcn(edge_index, dtype):
    x = torch.randn(7, 5, dtype=dtype)
    gcn = GCN(5, 4, 3, 2).to(dtype)
    model = SpikingGNN(5, 2, 4, 3, timesteps=1, neuron=ReLU(1.0), readout="conv").to(dtype)
    for layer, conv in zip(model.stack.layers, gcn.convs):
        layer.synapse.conv.load_state_dict(conv.state_dict())
    torch.testing.assert_close(model(x, edge_index), gcn(x, edge_index))


def test_learns_its_time_constants_too(edge_index):
    torch.manual_seed(0)
    model = SpikingGNN(5, 3, 8, 2, 6, ParametricLIF(threshold=0.5))
    x, labels = torch.randn(7, 5) * 3, torch.arange(7) % 3
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=0.05), []
    before = [layer.neuron.tau for layer in model.stack.layers[:-1]]
    for _ in range(20):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x, edge_index), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(abs(layer.neuron.tau - tau) > 1e-4 for layer, tau in zip(model.stack.layers[:-1], before))


def test_bad_sizes_and_repr():
    with pytest.raises(ValueError, match="num_layers"):
        SpikingGNN(5, 3, num_layers=0)
    with pytest.raises(ValueError, match="num_layers must be a whole number of at least 2"):
        SpikingGNN(5, 3, num_layers=1, readout="conv")
    with pytest.raises(ValueError, match="unknown readout 'sum'"):
        SpikingGNN(5, 3, readout="sum")
    assert "SurrogateBPTT" in repr(SpikingGNN(5, 3, timesteps=7))
    assert "timesteps=7" in repr(SpikingGNN(5, 3, timesteps=7))


def test_fitting_a_threshold_moves_no_running_statistics(edge_index):
    x = torch.rand(7, 5)
    models = [SpikingGNN(5, 3, 4, norm="batch", neuron=IF(threshold)) for threshold in ("auto", 1.0)]
    models[1].load_state_dict(models[0].state_dict(), strict=False)
    for model in models:
        model.train()(x, edge_index)
    auto, given = (model.stack.layers[0].norm.norm for model in models)
    assert int(auto.num_batches_tracked) == int(given.num_batches_tracked) == 1
    torch.testing.assert_close(auto.running_mean, given.running_mean)
