"""Checkpointing's own promises; that its gradient is BPTT's for every neuron is checked in test_rule.py."""

import pytest
import torch
from torch_geometric.nn import GATConv

from msg.gradients import CheckpointedBPTT, Schedule, SurrogateBPTT, checkpointed_bptt
from msg.neurons import ALIF, IF, LIF, ParametricLIF, QuantizedReLU
from msg.nn import SpikingGNN

pytestmark = pytest.mark.covering

NODES, WIDTH = 12, 4


def _model(rule, timesteps, conv="gcn", neuron=None, layers=3):
    torch.manual_seed(0)
    return SpikingGNN(5, 3, WIDTH, layers, timesteps, neuron or LIF(threshold=0.4), rule, conv=conv).double()


def _data(*lead):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(*lead, NODES, 5, dtype=torch.float64, generator=generator) * 2
    return x, torch.randint(0, NODES, (2, 30), generator=generator)


def _gradient(rule, timesteps, data=None, **options):
    model = _model(rule, timesteps, **options)
    torch.manual_seed(2)
    model(*(data or _data())).square().sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.fixture
def tapes(monkeypatch):
    """Every tape that is made."""
    made = []
    whole = checkpointed_bptt._Tape.__init__

    def init(self, *args):
        whole(self, *args)
        made.append(self)

    monkeypatch.setattr(checkpointed_bptt._Tape, "__init__", init)
    return made


@pytest.mark.parametrize("store", ["hidden", "internal"])
@pytest.mark.parametrize("states", [1, 2, 5, 30, 40])
def test_follows_its_schedule_exactly(store, states, tapes):
    rule = CheckpointedBPTT(states=states, store=store)
    got, want = _gradient(rule, 30), _gradient(SurrogateBPTT(), 30)
    assert (got - want).norm() <= 1e-12 * want.norm()
    (tape,) = tapes
    assert tape.evaluations == rule.schedule(30).evaluations
    assert tape.recorded == {}
    assert set(tape.kept) == {0}


@pytest.mark.parametrize("store", ["hidden", "internal"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("lead", [(), (9,)])
def test_synapses_that_are_not_linear_are_run_again_with_the_same_random_numbers(store, dropout, lead):
    options = {"conv": lambda i, o: GATConv(i, o, dropout=dropout), "data": _data(*lead)}
    # with dropout layers draw in another order than in BPTT, so the reference is the schedule that runs nothing twice
    reference = CheckpointedBPTT(states=9, store="internal") if dropout else SurrogateBPTT()
    want = _gradient(reference, 9, **options)
    for states in (1, 2, 4):
        got = _gradient(CheckpointedBPTT(states=states, store=store), 9, **options)
        assert (got - want).norm() <= 1e-12 * want.norm()


def test_random_numbers_after_it_are_as_if_nothing_had_been_run_again():
    conv = lambda i, o: GATConv(i, o, dropout=0.4)  # noqa: E731
    after = []
    for states in (9, 2):
        _gradient(CheckpointedBPTT(states=states), 9, conv=conv)
        after.append(torch.rand(3))
    assert torch.equal(*after)


class _OwnNumbers(GATConv):
    """Drops by the random numbers of a device, which are not those of the host."""

    device = torch.Generator()

    def forward(self, x, edge_index):
        return super().forward(x * (torch.rand(x.shape, generator=self.device, dtype=x.dtype) > 0.3), edge_index)


def test_random_numbers_of_the_device_are_the_same_again(monkeypatch):
    own = _OwnNumbers.device
    monkeypatch.setattr(checkpointed_bptt, "get_device_states", lambda current: ([0], [own.get_state()]))
    monkeypatch.setattr(checkpointed_bptt, "set_device_states", lambda ids, states, **_: own.set_state(states[0]))
    found = []
    for states in (9, 2):
        own.manual_seed(0)
        gradient = _gradient(CheckpointedBPTT(states=states, store="internal"), 9, conv=_OwnNumbers)
        found.append((gradient, torch.rand(3, generator=own)))
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("store", ["hidden", "internal"])
def test_goes_back_twice_through_a_retained_graph(store):
    model = _model(CheckpointedBPTT(states=3, store=store), 8)
    loss = model(*_data()).square().sum()
    once = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    for a, b in zip(once, torch.autograd.grad(loss, list(model.parameters()))):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("neuron", [IF(threshold=0.5, reset="zero"), ParametricLIF(threshold=0.4)])
def test_learnable_neurons_and_frozen_weights(neuron):
    grads = []
    for rule in (SurrogateBPTT(), CheckpointedBPTT(states=2)):
        model = _model(rule, 7, neuron=neuron)
        model.stack.layers[1].synapse.requires_grad_(False)
        model(*_data()).square().sum().backward()
        assert model.stack.layers[1].synapse.conv.lin.weight.grad is None
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad]))
    torch.testing.assert_close(*grads, rtol=1e-12, atol=0)


def test_a_budget_in_bytes_holds_as_many_states_as_fit(tapes):
    state = 3 * NODES * WIDTH * 8  # the potentials of three layers of neurons
    want = _gradient(SurrogateBPTT(), 20)
    got = _gradient(CheckpointedBPTT(nbytes=5 * state + 7), 20)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=0)
    assert tapes[0].evaluations == Schedule(20, 5).evaluations
    got = _gradient(CheckpointedBPTT(nbytes=60 * state, store="internal"), 20)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=0)
    # a step keeps potentials, spikes and products: some five times what lies between two steps
    assert Schedule(20, 6, "internal").evaluations >= tapes[1].evaluations >= Schedule(20, 30, "internal").evaluations


def test_neurons_that_keep_no_state_need_no_budget():
    want = _gradient(SurrogateBPTT(), 1, neuron=QuantizedReLU())
    torch.testing.assert_close(_gradient(CheckpointedBPTT(nbytes=1), 1, neuron=QuantizedReLU()), want)


def test_budgets_that_say_nothing_or_too_much_are_refused():
    with pytest.raises(ValueError, match="as states or as nbytes"):
        CheckpointedBPTT(states=2, nbytes=100)
    with pytest.raises(ValueError, match="states must be a whole number of at least 1, not 0"):
        CheckpointedBPTT(states=0)
    with pytest.raises(ValueError, match="nbytes must be a whole number of at least 1, not -3"):
        CheckpointedBPTT(nbytes=-3)
    with pytest.raises(ValueError, match=r"states must be a whole number of at least 1, not 2\.5"):
        CheckpointedBPTT(states=2.5)
    with pytest.raises(ValueError, match="unknown store 'all'"):
        CheckpointedBPTT(store="all")
    with pytest.raises(ValueError, match="nbytes=100 does not hold one hidden state, which takes 1152 bytes"):
        _gradient(CheckpointedBPTT(nbytes=100), 4)
    with pytest.raises(ValueError, match="size of a state"):
        CheckpointedBPTT(nbytes=100).schedule(4)


def test_the_model_shows_the_schedule():
    assert f"states=4, nbytes=None, store='hidden') [{Schedule(20, 4)}]" in repr(_model(CheckpointedBPTT(states=4), 20))
    assert CheckpointedBPTT().schedule(100) == Schedule(100, 20)
    assert "nbytes=4096" in repr(_model(CheckpointedBPTT(nbytes=4096), 20))


@pytest.mark.parametrize("store", ["hidden", "internal"])
def test_states_of_several_tensors(store):
    neuron = ALIF(tau=2.0, tau_adaptation=5.0, threshold=0.2, refractory=1)
    for detach_reset in (True, False):
        want = _gradient(SurrogateBPTT(detach_reset=detach_reset), 10, neuron=neuron)
        got = _gradient(CheckpointedBPTT(detach_reset=detach_reset, states=3, store=store), 10, neuron=neuron)
        assert (got - want).norm() <= 1e-12 * want.norm()
