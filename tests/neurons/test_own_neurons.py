"""Neurons that users make of ours: what computes a step for them must not compute it as the class above would."""

import pytest
import torch

from msg.gradients import OTTT, CheckpointedBPTT, DvM, RateBackprop, SurrogateBPTT
from msg.neurons import ALIF, IF, LIF, Neuron, ParametricLIF, ScaledLIF
from msg.nn import MSG, SpikingGCN, SpikingGNN

T = 9


class LeakyIF(IF):
    def decay(self, state):
        return 0.5 * state


class Refractory(IF):
    def forward(self, current, state=None, fire=None, detach_reset=True):
        potential, rests = (torch.zeros_like(current),) * 2 if state is None else state
        spikes, potential = super().forward(current * (1 - rests), potential, fire, detach_reset)
        return spikes, (potential, spikes.detach())


class Loud(IF):
    def drive(self, current):
        return 2 * current


class Eager(Neuron):
    def level(self, potential):
        return 0.5 * self.threshold


def halved(neuron):
    neuron.decay = lambda state: 0.5 * state
    return neuron


OWN = {
    "a decay": LeakyIF,
    "a forward": Refractory,
    "a drive": Loud,
    "a level": Eager,
    "of one alone": lambda: halved(IF()),
}


@pytest.fixture
def x():
    return 2 * torch.rand(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def rate_of(neuron, current):
    total, state = torch.zeros_like(current), None
    for _ in range(T):
        spikes, state = neuron(current, state, lambda u, level: (u > level).to(u))
        total += spikes
    return total / T


@pytest.mark.parametrize("make", OWN.values(), ids=OWN)
def test_rates_are_those_of_its_own_steps(make, x):
    neuron = make()
    assert torch.equal(neuron.rate(x, T), rate_of(neuron, x))
    assert neuron.constants() is None or type(neuron).decay is Neuron.decay


@pytest.mark.parametrize("make", OWN.values(), ids=OWN)
@pytest.mark.parametrize("rule", [DvM(), RateBackprop(), CheckpointedBPTT()], ids=["DvM", "rate", "checkpointed"])
def test_all_rules_compute_the_same_spikes(make, rule, x, edge_index):
    if make is Refractory and isinstance(rule, RateBackprop):
        pytest.skip("its state has a part that no derivative goes through")
    torch.manual_seed(0)
    model = MSG(5, 3, "E4", 2, T, make(), SurrogateBPTT()).double()
    want = model.activity(x, edge_index).rates[0]
    model.gradient = rule
    assert torch.equal(model.activity(x, edge_index).rates[0], want)


def test_a_layer_of_its_own_level_has_the_exact_gradient(x, edge_index):
    torch.manual_seed(0)
    model = SpikingGNN(5, 3, 8, 1, T, Eager(), SurrogateBPTT()).double()
    found = []
    for rule in (SurrogateBPTT(), RateBackprop()):
        model.gradient = rule
        found.append(torch.autograd.grad(model(x, edge_index).square().sum(), list(model.parameters())))
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-12)


def heard(neuron):
    calls = []
    neuron.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize("rule", ["bptt", "rate", "checkpointed", "dvm"])
def test_hooks_hear_every_step(rule, x, edge_index):
    model = MSG(5, 3, "E4", 2, T, IF(), rule).double()
    calls = heard(model.stack.layers[0].neuron)
    model(x, edge_index)
    assert len(calls) == T


def test_hooks_hear_every_step_of_rates_that_are_kept(x, edge_index):
    model = SpikingGCN(5, 3, timesteps=T, neuron=IF()).double()
    model(x, edge_index)
    calls = heard(model.stack.layers[0].neuron)
    for forwards in (1, 2):
        model(x, edge_index)
        assert len(calls) == T * forwards


@pytest.mark.parametrize("rule", ["bptt", "rate", "checkpointed", "dvm"])
def test_a_hook_that_silences_acts_in_training_too(rule, x, edge_index):
    model = MSG(5, 3, "E4", 2, T, IF(), rule).double()
    model.stack.layers[0].neuron.register_forward_hook(lambda _, given, out: (out[0] * 0, out[1]))
    assert model.activity(x, edge_index).rates[0].count_nonzero() == 0
    with torch.no_grad():
        assert model.activity(x, edge_index).rates[0].count_nonzero() == 0


class ZeroLIF(LIF):
    def forward(self, current, state=None, fire=None, detach_reset=True):
        spikes, potential = super().forward(current, state, fire, detach_reset)
        return spikes, potential * (1 - spikes)


class ChannelLIF(LIF):
    def decay(self, state):
        return state * torch.linspace(0.1, 0.9, 4).to(state)


@pytest.mark.parametrize("neuron", [ZeroLIF(), ChannelLIF(), LIF(reset="zero"), ALIF()], ids=lambda n: type(n).__name__)
def test_what_has_no_trace_is_refused(neuron):
    with pytest.raises(ValueError, match="OTTT needs IF or LIF neurons"):
        SpikingGNN(5, 3, 4, neuron=neuron, gradient=OTTT())


class Short(Neuron):
    def forward(self, current, state):
        potential = current if state is None else state + current
        spikes = (potential > 1).to(current.dtype)
        return spikes, potential - spikes


@pytest.mark.parametrize("model", [MSG, SpikingGNN])
def test_a_neuron_without_what_rules_hand_it_is_refused(model):
    with pytest.raises(ValueError, match=r"Short\.forward must take \(current, state=None, fire=.*detach_reset=True\)"):
        model(5, 3, neuron=Short())
    with pytest.raises(ValueError, match=r"a neuron is named, as in \{'name': 'if'\}, but \{'tau': 3.0\} has no name"):
        model(5, 3, neuron={"tau": 3.0})


class Mixing(Neuron):
    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Parameter(torch.eye(4))

    def drive(self, current):
        return current @ self.mix if current.dim() else current


def test_parameters_that_mix_channels_have_no_rate_gradient(edge_index):
    model = SpikingGNN(5, 3, 4, neuron=Mixing(), gradient="rate")
    with pytest.raises(ValueError, match=r"mix of Mixing has shape \[4, 4\]: use SurrogateBPTT"):
        model(torch.rand(7, 5), edge_index)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's compiler asks for it
@pytest.mark.parametrize("neuron", [ParametricLIF(), ScaledLIF(learn_tau=True), ALIF(threshold=0.3)])
def test_what_neurons_learn_is_learned_in_compiled_code(neuron, x, edge_index):
    torch.manual_seed(0)
    model = SpikingGNN(5, 3, 8, 2, 4, neuron, "rate").double()
    found = []
    for run in (model, torch.compile(model, backend="aot_eager")):
        parameters = list(model.parameters())
        found.append(torch.autograd.grad(run(x, edge_index).square().sum(), parameters, allow_unused=True))
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=1e-9)


def test_a_learned_scale_of_adaptation_is_a_setting():
    neuron = ALIF(beta=torch.nn.Parameter(torch.ones(3)))
    assert not neuron.beta.requires_grad
    assert not list(neuron.parameters())
