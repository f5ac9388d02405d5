import copy
import io

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

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
    waiting, found = IF("auto"), IF("auto")
    waiting.fit_threshold(torch.zeros(3))
    found.threshold = 1.0
    waiting.load_state_dict(found.state_dict())
    assert waiting.fitted


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


def fitted(x, edge_index, scale=1.0):
    torch.manual_seed(0)
    model = SpikingGNN(5, 3, 8, neuron=LIF(threshold="auto")).eval()
    model(scale * x, edge_index)
    return model


def test_a_call_with_other_buffers_has_their_thresholds(edge_index):
    x = torch.rand(7, 5)
    first, second = fitted(x, edge_index), fitted(x, edge_index, 0.3)
    given = {**dict(second.named_parameters()), **dict(second.named_buffers())}
    torch.testing.assert_close(torch.func.functional_call(first, given, (x, edge_index)), second(x, edge_index))
    torch.testing.assert_close(first(x, edge_index), fitted(x, edge_index)(x, edge_index))  # and has its own again


def test_what_is_copied_into_its_buffer_is_its_threshold(edge_index):
    x = torch.rand(7, 5)
    first, second = fitted(x, edge_index), fitted(x, edge_index, 0.3)
    with torch.no_grad():
        for mine, other in zip((*first.parameters(), *first.buffers()), (*second.parameters(), *second.buffers())):
            mine.copy_(other)
    assert torch.equal(first(x, edge_index), second(x, edge_index))


def test_an_average_of_weights_has_it(edge_index):
    x = torch.rand(7, 5)
    model = SpikingGNN(5, 3, 8, neuron=LIF(threshold="auto")).eval()
    average = AveragedModel(model, use_buffers=True)
    model(x, edge_index)
    average.update_parameters(model)
    torch.testing.assert_close(average(0.1 * x, edge_index), model(0.1 * x, edge_index))


@pytest.mark.slow  # torch exports
def test_a_loaded_one_is_exported(edge_index):
    x = torch.rand(7, 5)
    first, second = fitted(x, edge_index), SpikingGNN(5, 3, 8, neuron=LIF(threshold="auto")).eval()
    second.load_state_dict(first.state_dict())
    program = torch.export.export(second, (x, edge_index))
    torch.testing.assert_close(program.module()(x, edge_index), first(x, edge_index))


def test_one_that_was_set_is_kept_with_the_weights(edge_index):
    x = torch.rand(7, 5)
    torch.manual_seed(0)
    balanced = SpikingGNN(5, 3, 8, neuron=LIF()).eval()
    plain = balanced.state_dict()
    for number, layer in enumerate(list(balanced.stack.layers)[:-1]):
        layer.neuron.threshold = 0.2 + 0.1 * number
    again = SpikingGNN.from_config(balanced.config).eval()
    again.load_state_dict(balanced.state_dict())
    assert torch.equal(again(x, edge_index), balanced(x, edge_index))
    assert not torch.equal(SpikingGNN.from_config(balanced.config)(x, edge_index), balanced(x, edge_index))
    balanced.load_state_dict(plain)  # weights from before say nothing of thresholds
    assert balanced.stack.layers[0].neuron.threshold == 0.2


@pytest.mark.parametrize("bad", [-1.0, 0.0, float("nan")])
def test_no_threshold(bad):
    neuron = IF()
    with pytest.raises(ValueError, match="threshold must be positive"):
        neuron.threshold = bad
    with pytest.raises(ValueError, match="threshold must be positive"):
        IF(bad)
    assert neuron.threshold == 1.0


def test_it_is_not_learned():
    learned = torch.nn.Parameter(torch.ones(()))
    with pytest.raises(ValueError, match="is not learned: scale what drives the neuron"):
        LIF(threshold=learned)
    neuron = LIF()
    with pytest.raises(ValueError, match="is not learned"):
        neuron.threshold = learned.sum()


def test_within_a_transformation_nothing_is_fitted_and_nothing_is_lost(edge_index):
    model, x = MSG(5, 3, "E4", 2, 4, IF("auto")), torch.rand(7, 5)
    with pytest.raises(ValueError, match=r"cannot be kept within torch\.func.*run the network once before"):
        torch.func.jacrev(lambda x: model(x, edge_index))(x)
    neuron = model.stack.layers[0].neuron
    assert not neuron.fitted
    model(x, edge_index)
    assert float(neuron.fitted_threshold) == neuron.threshold
    torch.func.jacrev(lambda x: model(x, edge_index))(x)


def test_a_threshold_that_cannot_be_written_is_not_taken():
    neuron = IF("auto")

    def inside(x):
        neuron.threshold = 0.3
        return x

    with pytest.raises(RuntimeError):
        torch.func.grad(inside)(torch.ones(()))
    assert not neuron.fitted


def test_an_exporter_is_told_before_anything_is_fitted(edge_index):
    model, x = MSG(5, 3, "E4", 2, 4, IF("auto")).eval(), torch.rand(7, 5)
    with pytest.raises(Exception, match="run the network once before, or give a number"):
        torch.export.export(model, (x, edge_index))
    assert not model.stack.layers[0].neuron.fitted
    model(x, edge_index)
    program = torch.export.export(model, (x, edge_index)).module()
    torch.testing.assert_close(program(x, edge_index), model(x, edge_index))
