import copy
import io

import pytest
import torch

from msg.neurons import IF, LIF, ParametricLIF
from msg.nn import MSG, SpikingGNN
from msg.testing import assert_model, assert_neuron


@pytest.mark.parametrize("neuron", [IF, LIF, ParametricLIF])
def test_it_is_twice_the_root_mean_square(neuron):
    one = neuron(threshold="auto")
    current = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match="is not fitted yet"):
        one(current)
    one.fit_threshold(current)
    assert one.threshold == pytest.approx(2 * (25 / 4) ** 0.5)
    assert_neuron(one, torch.rand(6, 3, 4) * 8)
    one.reset_parameters()
    assert not one.fitted
    assert "threshold='auto'" in repr(one)


@pytest.mark.parametrize("current", [torch.zeros(3, 2), torch.zeros(0, 2), torch.full((2,), torch.inf)])
def test_without_a_scale_it_is_one_for_now(current):
    neuron = IF("auto")
    neuron.fit_threshold(current)
    assert neuron.threshold == 1.0
    assert not neuron.fitted
    other = IF("auto")
    other.load_state_dict(neuron.state_dict())
    assert not other.fitted
    neuron.fit_threshold(torch.ones(3))
    assert (neuron.threshold, neuron.fitted) == (2.0, True)


def test_a_dry_run_decides_nothing(edge_index):
    x = torch.rand(7, 5)
    model = MSG(5, 3, "E4", 3, 8, IF("auto"), bias=False)
    twin = copy.deepcopy(model)
    for nothing in (torch.zeros(7, 5), torch.full((7, 5), torch.nan)):
        model(nothing, edge_index)
    model(x[:0], edge_index[:, :0])
    assert torch.equal(model(x, edge_index), twin(x, edge_index))


def test_it_is_kept_with_the_weights():
    first, second, third = IF("auto"), IF("auto"), IF("auto")
    first.threshold = 0.3
    second.load_state_dict(first.state_dict())
    assert second.threshold == first.threshold == 0.3
    second.load_state_dict(third.state_dict())
    assert not second.fitted
    buffer = io.BytesIO()
    torch.save(first, buffer)
    buffer.seek(0)
    for twin in (copy.deepcopy(first), torch.load(buffer, weights_only=False), first.double().float()):
        assert twin.threshold == 0.3
    assert not IF(1.0).state_dict()


def test_unknown_words():
    with pytest.raises(ValueError, match="'auto', not 'car'"):
        IF("car")


def test_a_network_fits_layer_by_layer(edge_index):
    x = torch.rand(7, 5)
    model = MSG(5, 3, "E4", 3, 8, IF("auto"))
    want = model(x, edge_index)
    activity = model.activity(x, edge_index)
    graph = model.prepare(x, edge_index)[1]
    first, second = (layer.neuron for layer in list(model.stack.layers)[:2])
    currents = [model.stack.layers[0].current(x, graph), activity.currents[1]]
    for neuron, current in zip((first, second), currents):
        assert neuron.threshold == pytest.approx(2 * float(current.detach().square().mean().sqrt()), rel=1e-5)
    model(100 * x, edge_index)
    assert torch.equal(model(x, edge_index), want)  # the first input alone decides


@pytest.mark.parametrize("scale", [1.0, 2.0**-10, 2.0**10])
def test_units_do_not_matter(scale, edge_index):
    model = MSG(5, 3, "E4", 3, 8, IF("auto"), bias=False)
    torch.nn.init.ones_(model.stack.layers[0].synapse.conv.lin.weight)
    x = torch.arange(35.0).view(7, 5) % 4
    want = model.activity(x, edge_index).rates
    for layer in list(model.stack.layers)[:-1]:
        layer.neuron.reset_parameters()
    found = model.activity(scale * x, edge_index).rates
    assert torch.equal(found[0], want[0])


@pytest.mark.parametrize("make", [MSG, SpikingGNN])
def test_contract(make, edge_index):
    assert_model(lambda: make(5, 3, neuron=IF("auto"), num_layers=2, timesteps=5), torch.rand(7, 5), edge_index)
