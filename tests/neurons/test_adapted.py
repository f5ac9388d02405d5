"""Neurons of other libraries beside ours, step by step; each line of the table in docs/conventions.md."""

import pytest
import torch
from torch import nn

from msg.names import ADAPTED
from msg.neurons import (
    IF,
    LIF,
    Adapted,
    ATan,
    QuantizedReLU,
    ScaledLIF,
    Sigmoid,
    SuperSpike,
    adapt,
    adapted,
    heaviside,
    resolve_neuron,
    stepwise_neuron,
)
from msg.nn import SpikingGNN
from msg.testing import assert_neuron


def theirs(library, module, currents):
    """The train of a neuron of another library, from rest."""
    state, train = None, []
    for current in currents:
        if library == "spikingjelly":
            spikes = module(current)
        else:
            spikes, state = module(current, state)
        train.append(spikes.detach())
    if library == "spikingjelly":
        module.reset()
    return torch.stack(train)


@torch.no_grad()
def ours(neuron, currents):
    """The train, and how near a potential came to the threshold."""
    state, train, nearest = None, [], float("inf")
    for current in currents:
        u = neuron.drive(current) if state is None else neuron.decay(state) + neuron.drive(current)
        nearest = min(nearest, float((u - neuron.threshold).abs().min()))
        spikes, state = neuron(current, state, heaviside)
        train.append(spikes)
    return torch.stack(train), nearest


SPIKINGJELLY = {
    "IFNode": ({}, Adapted),
    "IFNode, soft": ({"v_reset": None, "v_threshold": 0.7}, Adapted),
    "LIFNode": ({"tau": 3.0}, ScaledLIF),
    "LIFNode, soft": ({"v_reset": None}, ScaledLIF),
    "LIFNode, not scaled": ({"decay_input": False, "tau": 4.0, "v_reset": None}, Adapted),
    "ParametricLIFNode": ({"init_tau": 3.0}, Adapted),
    "ParametricLIFNode, not scaled": ({"decay_input": False, "v_reset": None}, Adapted),
}
SNNTORCH = {
    "Leaky": ({"beta": 0.9}, Adapted),
    "Leaky, perfect": ({"beta": 1.0}, IF),
    "Leaky, zero": ({"beta": 0.6, "reset_mechanism": "zero"}, LIF),
    "Leaky, zero at once": ({"beta": 0.6, "reset_mechanism": "zero", "reset_delay": False, "threshold": 0.8}, LIF),
    "Leaky, perfect and zero": ({"beta": 1.0, "reset_mechanism": "zero"}, IF),
}


def spikingjelly_neuron(library, case):
    neuron = library("spikingjelly.activation_based.neuron")
    return getattr(neuron, case.split(",")[0])(**SPIKINGJELLY[case][0])


def norse_cells(library, dtype):
    lif, iaf = library("norse.torch.functional.lif_box"), library("norse.torch.functional.iaf")
    module = library("norse.torch.module.lif_box"), library("norse.torch.module.iaf")

    def number(value):
        return torch.tensor(value, dtype=dtype)

    box = lif.LIFBoxParameters(tau_mem_inv=number(400.0), v_leak=number(0.0), v_th=number(0.6))
    whole = iaf.IAFParameters(v_th=number(0.8), v_reset=number(0.0))
    return module[0].LIFBoxCell(box), module[1].IAFCell(whole)


def assert_same_train(library, module, kind, dtype):
    neuron = adapt(module).to(dtype)
    assert type(neuron) is kind
    gain = float(neuron.drive(torch.ones(())).detach())
    currents = (torch.rand(40, 6, 5, dtype=dtype) * 2 - 0.4) * neuron.threshold / gain
    want = theirs(library, module.to(dtype), currents)
    got, nearest = ours(neuron, currents)
    assert nearest > 1e-6  # rounding decides no spike
    assert 0.1 < want.mean() < 0.9
    assert torch.equal(got, want.to(dtype))
    assert_neuron(neuron, currents)


@pytest.mark.parametrize("case", SPIKINGJELLY)
def test_spikingjelly(library, case, dtype):
    assert_same_train("spikingjelly", spikingjelly_neuron(library, case), SPIKINGJELLY[case][1], dtype)


@pytest.mark.parametrize("case", SNNTORCH)
def test_snntorch(library, case, dtype):
    module = library("snntorch").Leaky(**SNNTORCH[case][0])
    assert_same_train("snntorch", module, SNNTORCH[case][1], dtype)


@pytest.mark.parametrize("number", [0, 1])
def test_norse(library, number, dtype):
    assert_same_train("norse", norse_cells(library, dtype)[number], (ScaledLIF, IF)[number], dtype)


def test_a_learned_time_constant_has_the_same_gradient(library):
    """ParametricLIFNode and what it becomes have the same gradient of the same weight under the same surrogate."""
    module = library("spikingjelly.activation_based.neuron").ParametricLIFNode(init_tau=3.0, detach_reset=True).double()
    neuron, currents = adapt(module), torch.rand(20, 8, dtype=torch.float64) * 2
    sum(module(current) for current in currents).sum().backward()
    state, total = None, 0.0
    for current in currents:
        spikes, state = neuron(current, state, Sigmoid(4.0))
        total = total + spikes.sum()
    total.backward()
    torch.testing.assert_close(neuron.weight.grad, module.w.grad)
    with torch.no_grad():
        neuron.weight += 1
    neuron.reset_parameters()
    assert torch.equal(neuron.weight, module.w)


@pytest.mark.parametrize("detach_reset", [True, False])
def test_a_late_reset_is_linearised_as_it_is_run(detach_reset):
    neuron, surrogate = Adapted(0.9, 1.0, drop=1 / 0.9), Sigmoid(3.0)
    currents = torch.rand(9, 6, dtype=torch.float64) * 2
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    state = now = tangent = None
    for current in currents:
        spikes, state = neuron(current + shift, state, surrogate, detach_reset)
        _, now, tangent, change = neuron.linearise(current, now, tangent, surrogate, detach_reset)
    (slope,) = torch.autograd.grad(spikes.sum(), shift)
    torch.testing.assert_close(change.sum(), slope)


# ------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"reset_delay": False}, "above twice the threshold"),
        ({"reset_mechanism": "none"}, "never reset"),
        ({"beta": torch.tensor([0.1, 0.2])}, "beta differs between neurons"),
        ({"beta": 0.0}, "beta=0 subtracts"),
        ({"learn_threshold": True}, "learn_threshold=True"),
        ({"learn_beta": True}, "use ParametricLIF"),
        ({"graded_spikes_factor": 2.0}, "scale the weights above"),
        ({"state_quant": lambda u: u}, "state_quant is set"),
    ],
)
def test_what_snntorch_does_otherwise_is_refused(library, options, reason):
    module = library("snntorch").Leaky(**{"beta": 0.9, **options})
    with pytest.raises(ValueError, match=f"snntorch's Leaky has no equal here: .*{reason}"):
        adapt(module)
    with pytest.raises(ValueError, match=reason):
        SpikingGNN(3, 2, neuron=module)


def test_what_spikingjelly_does_otherwise_is_refused(library):
    neuron = library("spikingjelly.activation_based.neuron")
    with pytest.raises(ValueError, match="v_reset=-1, and here potentials rest at zero"):
        adapt(neuron.IFNode(v_reset=-1.0))
    with pytest.raises(ValueError, match="KLIFNode has no equal here: use one of IFNode, LIFNode"):
        adapt(neuron.KLIFNode())


def test_what_norse_does_otherwise_is_refused(library):
    box = library("norse.torch.functional.lif_box").LIFBoxParameters(v_leak=torch.tensor(0.1))
    with pytest.raises(ValueError, match=r"v_leak=0\.1"):
        adapt(library("norse.torch.module.lif_box").LIFBoxCell(box))
    with pytest.raises(ValueError, match="LIFCell has no equal here"):
        adapt(library("norse.torch.module.lif").LIFCell())


def test_what_is_no_neuron_of_theirs_is_refused():
    with pytest.raises(TypeError, match="none of spikingjelly, snntorch, norse"):
        adapt(nn.Linear(2, 2))
    for options in ({"decay": 1.5}, {"decay": 0.5, "gain": 0.0}, {"decay": 0.5, "threshold": 0.0}):
        with pytest.raises(ValueError, match=r"decay|gain|threshold"):
            Adapted(**options)
    neuron = LIF()
    assert adapt(neuron) is neuron is resolve_neuron(neuron)


def test_models_take_them(library, edge_index):
    model = SpikingGNN(5, 3, neuron=library("snntorch").Leaky(beta=0.9, threshold=0.2))
    rates = model.activity(torch.rand(7, 5), edge_index).rates
    assert all(0 < rate.mean() < 1 for rate in rates)
    assert "decay=0.9, gain=1, threshold=0.2" in repr(model)


# ------------------------------------------------------------------- the table of conventions


def fires(library, module, *currents):
    return theirs(library, module, torch.tensor(currents)[:, None])[:, 0].tolist()


def test_firing_at_the_threshold(library):
    neuron, snn = library("spikingjelly.activation_based.neuron"), library("snntorch")
    assert fires("spikingjelly", neuron.IFNode(), 1.0) == [1]
    assert fires("snntorch", snn.Leaky(beta=0.5), 1.0) == [0]
    for cell in norse_cells(library, torch.float32):
        assert fires("norse", cell, float(cell.p.v_th) / (0.4 if hasattr(cell.p, "tau_mem_inv") else 1)) == [0]


def test_scaling_of_the_input(library):
    neuron, snn = library("spikingjelly.activation_based.neuron"), library("snntorch")
    assert fires("spikingjelly", neuron.LIFNode(tau=2.0), 1.5) == [0]
    assert fires("spikingjelly", neuron.LIFNode(tau=2.0, decay_input=False), 1.5) == [1]
    assert fires("snntorch", snn.Leaky(beta=0.5), 1.5) == [1]
    assert fires("norse", norse_cells(library, torch.float32)[0], 1.4) == [0]  # 0.4 * 1.4 < 0.6


def test_resets(library):
    neuron, snn = library("spikingjelly.activation_based.neuron"), library("snntorch")
    # 1.9 leaves 0.9 if the threshold is subtracted, and half of that, with 0.6, is above one
    assert fires("spikingjelly", neuron.LIFNode(2.0, False), 1.9, 0.6) == [1, 0]
    assert fires("spikingjelly", neuron.LIFNode(2.0, False, v_reset=None), 1.9, 0.6) == [1, 1]
    # snntorch leaks first and subtracts the whole threshold then: 0.95 + 0.6 - 1
    assert fires("snntorch", snn.Leaky(beta=0.5), 1.9, 0.6) == [1, 0]
    assert theirs("snntorch", snn.Leaky(beta=0.5), torch.tensor([[1.9], [1.1]]))[:, 0].tolist() == [1, 1]
    box = library("norse.torch.functional.lif_box").LIFBoxParameters()
    assert float(box.v_reset) == 0
    assert box.reset_method.__name__ == "reset_value"


def test_default_surrogates(library):
    jelly, snn = library("spikingjelly.activation_based.surrogate"), library("snntorch.surrogate")
    neuron = library("spikingjelly.activation_based.neuron").IFNode()
    assert type(neuron.surrogate_function) is jelly.Sigmoid
    u = torch.linspace(-2, 2, 41, dtype=torch.float64)

    def slope(surrogate):
        leaf = u.clone().requires_grad_()
        (grad,) = torch.autograd.grad(surrogate(leaf).sum(), leaf)
        return grad

    torch.testing.assert_close(slope(neuron.surrogate_function), Sigmoid(4.0).derivative(u))
    torch.testing.assert_close(slope(snn.atan()), ATan(2.0).derivative(u))
    norse = library("norse.torch.functional.threshold").threshold
    torch.testing.assert_close(slope(lambda v: norse(v, "super", 100.0)), SuperSpike(1.0).derivative(u))


def test_gradient_through_the_reset(library):
    """Of the second potential in the first current, whose potential fires: with the reset cut, the decay or nothing."""
    neuron, snn = library("spikingjelly.activation_based.neuron"), library("snntorch")
    first = torch.tensor([1.9], requires_grad=True)

    def slope(potential):
        return float(torch.autograd.grad(potential.sum(), first)[0])

    for detached in (False, True):
        module = neuron.IFNode(detach_reset=detached) if detached else neuron.IFNode()
        module(first)
        assert (slope(module.v) == 0) == detached
    leaky = snn.Leaky(beta=0.5)
    _, state = leaky(first, None)
    assert slope(leaky(first.detach(), state)[1]) == 0.5
    box, _ = norse_cells(library, torch.float32)
    assert slope(box(first, None)[1].v) != 0
    assert slope(IF(reset="zero")(first)[1]) == 0


def test_where_the_state_is(library):
    neuron, snn = library("spikingjelly.activation_based.neuron"), library("snntorch")
    current = torch.tensor([0.6])
    module = neuron.IFNode()
    assert [float(module(current)) for _ in range(2)] == [0, 1]
    library("spikingjelly.activation_based.functional").reset_net(module)
    assert float(module(current)) == 0
    hidden = snn.Leaky(beta=1.0, init_hidden=True)
    assert [float(hidden(current)) for _ in range(2)] == [0, 1]
    _, cell = norse_cells(library, torch.float32)
    assert [float(cell(current, None)[0].detach()) for _ in range(2)] == [0, 0]
    assert adapt(hidden)(current)[0] == 0 == adapt(hidden)(current)[0]


def test_what_carries_nothing_or_is_not_fitted_cannot_run_step_by_step():
    assert isinstance(stepwise_neuron(None), IF)
    assert stepwise_neuron({"name": "lif", "tau": 3.0}).tau == 3.0
    with pytest.raises(ValueError, match="no state to carry"):
        stepwise_neuron(QuantizedReLU())
    with pytest.raises(ValueError, match="give a number"):
        stepwise_neuron(LIF(threshold="auto"))
    fitted = LIF(threshold="auto")
    fitted.fit_threshold(torch.ones(3))
    assert stepwise_neuron(fitted).threshold == 2.0


def test_a_threshold_that_is_set_anew_is_that_of_one_made_with_it(library):
    made = library("snntorch").Leaky
    neuron, want = adapt(made(beta=0.9)), adapt(made(beta=0.9, threshold=0.5))
    neuron.threshold = 0.5
    assert neuron.drop == pytest.approx(want.drop)
    current = torch.rand(50, 4)
    torch.testing.assert_close(neuron.rate(current, 20), want.rate(current, 20))


def test_it_is_made_again_as_it_is_now():
    neuron = Adapted(0.9, drop=1 / 0.9)
    neuron.threshold = 0.5
    again = Adapted(**neuron.config)
    assert again.drop == pytest.approx(0.5 / 0.9)
    current = torch.rand(50, 4)
    torch.testing.assert_close(again.rate(current, 20), neuron.rate(current, 20))


def test_a_neuron_of_another_library_has_the_name_of_what_it_becomes(library):
    node = library("spikingjelly.activation_based.neuron").LIFNode(v_threshold=0.2)
    model = SpikingGNN(6, 3, neuron=node)
    again = SpikingGNN.from_config(model.config)
    assert repr(again.stack.layers[0].neuron) == repr(model.stack.layers[0].neuron)


def test_the_libraries_are_those_whose_neurons_are_spelled():
    assert tuple(adapted._KNOWN) == ADAPTED
