"""What is recorded is the simulation's own: trains, potentials and rates."""

import numpy as np
import pytest
import torch
from torch import nn

import msg
from msg.gradients import DvM, RateBackprop, SurrogateBPTT
from msg.neurons import ALIF, IF, LIF, ScaledLIF, heaviside
from msg.nn import MSG, Propagated, SpikingGCN, SpikingGNN
from msg.report.figures import to_png

pytestmark = pytest.mark.covering

MODELS = {
    "MSG": lambda: MSG(5, 3, "H4", timesteps=9, neuron=LIF(threshold=0.4), norm="batch"),
    "MSG, sage": lambda: MSG(5, 3, "E4", timesteps=9, conv="sage", neuron=IF(0.3, "zero"), gradient=RateBackprop()),
    "MSG, gat": lambda: MSG(5, 3, "S4", timesteps=9, conv="gat", neuron=ScaledLIF(threshold=0.1)),
    "MSG, two convolutions": lambda: MSG(5, 3, "H4", num_layers=2, timesteps=9, neuron=IF(0.3)),
    "SpikingGNN": lambda: SpikingGNN(5, 3, 6, timesteps=9, neuron=IF("auto")),
    "SpikingGNN, adaptive": lambda: SpikingGNN(5, 3, 6, 2, timesteps=9, neuron=ALIF(tau=2.0, beta=0.1, threshold=0.05)),
    "SpikingGCN": lambda: SpikingGCN(5, 3, timesteps=9, neuron=IF(0.4)),
}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]().eval()


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")  # where torch meets its first one
@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("layout", ["constant", "train", "sparse"])
def test_rates_are_those_of_the_activity(model, edge_index, dtype, gradient, layout):
    model, x = model.to(dtype), 4 * torch.randn(9, 7, 5, dtype=dtype)  # of both signs, so that no model is silent
    x = {"constant": x[0], "train": x, "sparse": x[0].to_sparse_csr()}[layout]
    with torch.set_grad_enabled(gradient), msg.record(model, nodes=[4, 0]) as recording:
        activity = model.activity(x, edge_index)
    assert len(recording.layers) == len(activity.rates)
    for number, rate in enumerate(activity.rates):
        one = recording[number]
        assert one.spikes.shape == one.potentials.shape == (9, 2, rate.size(1))
        assert one.spikes.dtype == dtype
        assert not one.spikes.requires_grad
        assert torch.equal(one.rates, rate[[4, 0]].detach())
    assert sum(float(one.spikes.mean()) for one in recording.layers.values()) > 0


def test_outside_too_where_rounding_decides_nothing(model, edge_index, dyadic):
    model, x = dyadic(model), dyadic(torch.rand(7, 5))
    with torch.no_grad(), msg.record(model) as recording:
        inside = model(x, edge_index)
    with torch.no_grad():
        torch.testing.assert_close(model(x, edge_index), inside)
        for number, rate in enumerate(model.activity(x, edge_index).rates):
            assert torch.equal(recording[number].rates, rate)


@pytest.mark.parametrize("gradient", [DvM(), RateBackprop(), SurrogateBPTT()], ids=repr)
def test_potentials_are_those_of_a_loop_by_hand(edge_index, gradient):
    model = MSG(5, 3, "H4", timesteps=8, neuron=LIF(threshold=0.3), gradient=gradient).double().eval()
    x = torch.rand(7, 5, dtype=torch.float64)
    with msg.record(model, layers=[1]) as recording:
        model(x, edge_index)
    assert list(recording.layers) == [1]
    _, graph = model.prepare(x, edge_index)
    below, above, state, states = *model.stack.layers[:2], None, None
    for step in range(8):
        spikes, state = below.neuron(below.current(x, graph), state, heaviside)
        spikes, states = above.neuron(above.current(spikes, graph), states, heaviside)
        torch.testing.assert_close(recording[1].potentials[step], states)
        assert torch.equal(recording[1].spikes[step], spikes)
    assert recording[1].threshold == 0.3
    assert recording[1].nodes.tolist() == list(range(7))


def test_the_last_forward_is_kept_and_nothing_is_left_behind(edge_index):
    model = SpikingGNN(5, 3, timesteps=6, neuron=IF(0.2)).eval()
    hooks = [len(module._forward_hooks) for module in model.modules()]
    with msg.record(model) as recording:
        with pytest.raises(KeyError, match="call the model inside"):
            recording[0]
        model(torch.zeros(7, 5), edge_index)
        first = recording[0]
        model(torch.rand(7, 5), edge_index)
    assert not torch.equal(recording[0].spikes, first.spikes)
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    with pytest.raises(KeyError, match=r"layer 3 was not recorded; there are \[0, 1, 2\]"):
        recording[3]


def test_a_model_around_a_network(edge_index):
    model = Propagated(MSG(5, 3, "H4", timesteps=6, neuron=IF(0.2))).eval()
    with msg.record(model) as recording:
        model(torch.rand(7, 5), edge_index)
    assert list(recording.layers) == [0, 1]


def test_what_cannot_be_recorded_is_refused(edge_index):
    model, x = MSG(5, 3, "H4", timesteps=6).eval(), torch.rand(7, 5)
    with pytest.raises(ValueError, match="Linear has 0 spiking stacks"), msg.record(nn.Linear(2, 2)):
        pass
    with pytest.raises(ValueError, match=r"layers=\[2\], but .* numbered \[0, 1\]"), msg.record(model, layers=[2]):
        pass
    with pytest.raises(ValueError, match="nodes 0 to 6"), msg.record(model, nodes=[7]):
        model(x, edge_index)
    with pytest.raises(ValueError, match="leave out batch_size"), msg.record(model):
        model(x, edge_index, batch_size=3)
    with pytest.raises(ValueError, match=r"model.eval\(\)"), msg.record(model.train()):
        model(x, edge_index)


def test_raster(edge_index):
    model = MSG(5, 3, "H4", timesteps=6, neuron=IF(0.2)).eval()
    with msg.record(model, nodes=[0, 5]) as recording:
        model(torch.rand(7, 5), edge_index)
    figure = recording.figure(potentials=True)
    assert [axes.get_title() for axes in figure.axes] == ["layer 0", "layer 1", "", ""]
    step, neuron = recording[0].spikes.flatten(1).nonzero(as_tuple=True)
    (dots,) = figure.axes[0].lines
    assert np.array_equal(dots.get_xdata(), step.numpy() + 1)
    assert np.array_equal(dots.get_ydata(), neuron.numpy())
    assert len(figure.axes[2].lines) == 2
    assert to_png(figure).startswith(b"\x89PNG")
    assert len(recording.figure().axes) == 2
