"""LSNN: its read-out against a slow loop, its parts against each other, and the rules it refuses."""

import copy
import math
from dataclasses import dataclass

import pytest
import torch

from msg.gradients import DvM, SurrogateBPTT
from msg.neurons import ALIF, ATan, Triangle
from msg.nn import LSNN, LSNNOutput, RecurrentSpikingLayer

STEPS, ROWS = 40, 7


def _model(dtype=torch.float64, **kwargs):
    torch.manual_seed(2)
    return LSNN(5, 3, **{"hidden_channels": 8, "tau_adaptation": 50.0, "refractory": 2, **kwargs}).to(dtype)


def _train(dtype=torch.float64, steps=STEPS):
    return (torch.rand(steps, ROWS, 5) < 0.2).to(dtype)


def test_the_readout_is_leaky(dtype):
    model, x = _model(dtype, tau_readout=7.0), _train(dtype)
    outputs, spikes, state = model(x)
    assert 0.01 < spikes.mean() < 0.9
    kappa, y = math.exp(-1 / 7), torch.zeros(ROWS, 8, dtype=dtype)
    for t in range(STEPS):
        y = kappa * y + (1 - kappa) * spikes[t]
        torch.testing.assert_close(outputs[t], model.lin(y), rtol=1e-5, atol=1e-5 if dtype == torch.float32 else 1e-13)
    torch.testing.assert_close(state.trace, y @ model.lin.weight.t(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("conv", [None, "gcn"])
def test_it_is_its_layer_under_its_rule(conv, edge_index):
    rule = SurrogateBPTT(ATan(), detach_reset=True)
    model, x = _model(conv=conv, gradient=rule), _train()
    graph = None if conv is None else edge_index
    output = model(x, graph)
    assert isinstance(output, LSNNOutput)
    spikes, _ = model.layer(x, None, graph, ATan(), True)
    assert torch.equal(output.spikes, spikes)
    a = torch.autograd.grad(output.spikes.square().sum() + output.outputs[-1].sum(), model.layer.input.weight)
    kappa = math.exp(-1 / 20)
    kernel = (1 - kappa) * kappa ** torch.arange(STEPS - 1, -1, -1, dtype=torch.float64)
    last = torch.einsum("t,tnh->nh", kernel, spikes) @ model.lin.weight.t()
    b = torch.autograd.grad(spikes.square().sum() + last.sum(), model.layer.input.weight)
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_half_adapt_or_as_many_as_one_says():
    def beta(**kwargs):
        return _model(**kwargs).layer.neuron.beta.tolist()

    assert beta() == pytest.approx([0.0] * 4 + [1.7] * 4, abs=1e-6)
    assert beta(adaptive=1, beta=0.5) == [0.0] * 7 + [0.5]
    assert beta(adaptive=0) == [0.0] * 8
    plain, x = _model(adaptive=0), _train()
    layer = RecurrentSpikingLayer(5, 8, ALIF(beta=0.0, refractory=2)).double()
    layer.load_state_dict(plain.layer.state_dict())
    assert torch.equal(plain(x).spikes, layer(x)[0])
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in _model().parameters())


def test_settings_reach_the_neurons():
    model = _model(tau=5.0, beta=0.3, threshold=0.2, refractory=4, dt=0.5)
    shown = "ALIF(tau=5, tau_adaptation=50, beta=0..0.3, threshold=0.2, refractory=4, dt=0.5)"
    assert repr(model.layer.neuron) == shown
    assert shown in repr(model)
    assert "SurrogateBPTT(surrogate=Triangle(gamma=0.3), detach_reset=False)" in repr(model)


def test_a_time_constant_that_is_changed_is_read():
    changed, x = _model(tau_readout=20.0), _train()
    other = _model(tau_readout=2.0)
    other.load_state_dict(changed.state_dict())
    assert not torch.equal(changed(x).outputs, other(x).outputs)
    changed.tau_readout = 2.0
    assert torch.equal(changed(x).outputs, other(x).outputs)


@pytest.mark.parametrize("conv", [None, "gcn"])
def test_a_train_can_be_cut(conv, edge_index, dtype, dyadic):
    model, x = _model(dtype, conv=conv), _train(dtype)
    dyadic(model.layer.input)  # currents of the whole train are one product, of another shape than those of its parts
    graph = None if conv is None else edge_index
    whole = model(x, graph)
    first = model(x[:13], graph)
    second = model(x[13:], graph, state=first.state)
    assert torch.equal(whole.spikes, torch.cat([first.spikes, second.spikes]))
    torch.testing.assert_close(whole.outputs, torch.cat([first.outputs, second.outputs]))


def test_edge_weights_count(edge_index):
    model, x = _model(conv="gcn"), _train()
    ones = torch.ones(edge_index.size(1), dtype=torch.float64)
    weights = torch.linspace(0.1, 9, edge_index.size(1), dtype=torch.float64)
    assert not torch.equal(model(x, edge_index, ones).spikes, model(x, edge_index, weights).spikes)


def test_every_parameter_learns():
    model = _model()
    outputs, spikes, _ = model(_train())
    (outputs.square().sum() + spikes.sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_the_memory_is_in_the_thresholds():
    # what a spike train of long ago leaves behind reaches the present only through the adaptation
    x = torch.zeros(150, 1, 5, dtype=torch.float64)
    x[:20, 0] = 1.0
    x[-1, 0] = 1.0
    x.requires_grad_()

    def trace_of_the_past(adaptive):
        model = _model(adaptive=adaptive, tau=4.0, tau_adaptation=200.0, tau_readout=1.0)
        with torch.no_grad():
            model.layer.input.weight.abs_().mul_(0.3)
            model.layer.recurrent.weight.zero_()
        (grad,) = torch.autograd.grad(model(x).outputs[-1].sum(), x)
        return grad[:20].abs().max()

    # 130 steps are 32 membrane time constants
    assert trace_of_the_past(8) > 1e3 * trace_of_the_past(0)
    assert trace_of_the_past(8) > 1e-7


@dataclass(frozen=True)
class _Other(SurrogateBPTT):
    """A rule that does something else with time."""


@pytest.mark.parametrize("rule", [DvM(), _Other()], ids=repr)
def test_other_rules_are_refused(rule):
    with pytest.raises(ValueError, match=rf"{type(rule).__name__}.*LSNN.*SurrogateBPTT"):
        _model(gradient=rule)


def test_impossible_settings_and_inputs_are_refused(edge_index):
    for adaptive in (-1, 9):
        with pytest.raises(ValueError, match=r"adaptive must be in 0..hidden_channels=8"):
            _model(adaptive=adaptive)
    with pytest.raises(ValueError, match="out_channels must be a whole number of at least 1, not 0"):
        LSNN(5, 0)
    with pytest.raises(ValueError, match="tau_readout"):
        _model(tau_readout=0.0)
    with pytest.raises(ValueError, match=r"time steps, num_nodes, 5"):
        _model()(_train()[0])
    with pytest.raises(ValueError, match="no convolution"):
        _model()(_train(), edge_index)
    with pytest.raises(ValueError, match="edge_index"):
        _model(conv="gcn")(_train())
    state = _model()(_train()).state
    with pytest.raises(ValueError, match=r"parts or widths.*another model"):
        _model(hidden_channels=9)(_train(), state=state)
    with pytest.raises(ValueError, match=r"parts or widths.*another model"):
        _model()(_train(), state=state._replace(layer=state.layer._replace(neuron=state.layer.spikes)))
    with pytest.raises(ValueError, match=r"a trace of shape \[\d+, 3\].*2\].*another model"):
        LSNN(5, 2, hidden_channels=8, tau_adaptation=50.0, refractory=2).double()(_train(), state=state)
    with pytest.raises(ValueError, match=r"LSNNState.*not tuple"):
        _model()(_train(), state=tuple(state))


def test_state_dict_and_copies():
    model, x = _model(), _train()
    other = _model()
    other.reset_parameters()
    assert not torch.equal(other(x).outputs, model(x).outputs)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x).outputs, model(x).outputs)
    assert torch.equal(copy.deepcopy(model)(x).outputs, model(x).outputs)
    assert not any("beta" in key for key in model.state_dict())
    assert Triangle(0.3) == model.gradient.surrogate


def test_sizes_and_precision_that_do_not_fit_are_told():
    for sizes, name in (((0, 3, 4), "in_channels"), ((5, 3, 0), "hidden_channels"), ((5, 3, 4.5), "hidden_channels")):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1"):
            LSNN(*sizes)
    with pytest.raises(ValueError, match=r"adaptive must be in 0\.\.hidden_channels=6, a whole number, not 2\.5"):
        LSNN(5, 3, 6, adaptive=2.5)
    with pytest.raises(ValueError, match=r"x is torch\.float64, but the weights are torch\.float32"):
        LSNN(5, 3, 4)(torch.randn(2, 3, 5).double())
