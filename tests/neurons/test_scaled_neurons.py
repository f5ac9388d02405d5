"""Neurons that scale their current, against their equations in Python floats, and against those there are."""

import copy
import pickle

import pytest
import torch

from msg.gradients import RateBackprop, SurrogateBPTT
from msg.neurons import LIF, ATan, DecayingThresholdLIF, ScaledLIF, Sigmoid, SuperSpike
from msg.nn import SpikingGNN
from msg.testing import assert_neuron

STEPS = 40
SCALED = [
    {"tau": 1.0},
    {"tau": 3.0},
    {"tau": 3.0, "reset": "subtract", "threshold": 0.3},
    {"tau": 1.5, "learn_tau": True, "at_threshold": True},
]
DECAYING = [
    {},
    {"tau": 2.5, "threshold": 0.6},
    {"tau": 2.5, "reset": "subtract", "threshold_decay": 0.9, "kick": 0.4},
    {"tau": 1.0, "learn_tau": True, "at_threshold": True},
]
ALL = [*((ScaledLIF, s) for s in SCALED), *((DecayingThresholdLIF, s) for s in DECAYING)]


def _run(neuron, currents, state=None, **kwargs):
    spikes = []
    for current in currents:
        now, state = neuron(current, state, **kwargs)
        spikes.append(now)
    return torch.stack(spikes), state


def _loop(currents, neuron, decay=1.0, kick=0.0):
    """One neuron in Python floats: spikes, and how near the threshold a potential comes."""
    v, threshold, out, nearest = 0.0, neuron.threshold, [], 1.0
    for current in currents:
        u = v + (current - v) / neuron.tau
        nearest = min(nearest, abs(u - threshold))
        s = float(u >= threshold if neuron.at_threshold else u > threshold)
        v = u - threshold * s if neuron.reset == "subtract" else (1 - s) * u
        threshold = decay * threshold + kick * s
        out.append(s)
    return out, nearest


@pytest.mark.parametrize(("kind", "settings"), ALL, ids=str)
def test_equals_the_slow_loop(kind, settings):
    neuron = kind(**settings).double()
    currents = torch.rand(STEPS, 6, dtype=torch.float64) * 2
    spikes, _ = _run(neuron, currents)
    extra = (neuron.threshold_decay, neuron.kick) if kind is DecayingThresholdLIF else ()
    for j in range(6):
        want, nearest = _loop(currents[:, j].tolist(), neuron, *extra)
        assert nearest > 1e-9
        assert spikes[:, j].tolist() == want
    assert 0.05 < spikes.mean() < 0.98


@pytest.mark.parametrize(("kind", "settings"), ALL, ids=str)
def test_contract(kind, settings, dtype):
    neuron = kind(**settings).to(dtype)
    assert_neuron(neuron, torch.rand(12, 3, 4, dtype=dtype) * 2)
    assert neuron.constants() is None  # no compiled loop may take it for one that it knows
    assert torch.equal(pickle.loads(pickle.dumps(neuron)).rate(torch.ones(3, dtype=dtype), 9),
                       copy.deepcopy(neuron).rate(torch.ones(3, dtype=dtype), 9))  # fmt: skip


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_is_a_lif_that_reads_a_share_of_its_current(reset):
    currents = torch.rand(STEPS, 8, dtype=torch.float64) * 2
    a, _ = _run(ScaledLIF(4.0, 0.7, reset), currents)
    b, _ = _run(LIF(4.0, 0.7, reset), currents / 4)
    assert torch.equal(a, b)


def test_fires_at_the_threshold_if_it_is_told_to(dtype):
    for kind in (ScaledLIF, DecayingThresholdLIF):
        for theta in (1.0, 0.2, 0.7):
            at = torch.tensor([theta], dtype=dtype)
            assert kind(1.0, theta)(at)[0].item() == 0
            assert kind(1.0, theta, at_threshold=True)(at)[0].item() == 1
            below = torch.nextafter(at, torch.zeros_like(at))
            assert kind(1.0, theta, at_threshold=True)(below)[0].item() == 0


def _by_formula(currents, tau, theta, reset, surrogate, decay, kick, detach):
    """Autograd through the equations as they are written, firing by a trick that has the surrogate's derivative."""
    v, total = torch.zeros_like(currents[0]), []
    threshold = torch.full_like(v, theta)
    for current in currents:
        u = v + (current - v) / tau
        x = u - threshold
        s = (x > 0).double() + (x - x.detach()) * surrogate.derivative(x.detach())
        back = s.detach() if detach else s
        v = u - threshold * back if reset == "subtract" else u * (1 - back)
        threshold = decay * threshold + kick * s
        total.append(s)
    return torch.stack(total)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("settings", [{"tau": 2.5}, {"tau": 1.5, "reset": "subtract"}], ids=str)
@pytest.mark.parametrize("decays", [False, True])
def test_gradient_is_that_of_the_equations(settings, decays, detach):
    kind = DecayingThresholdLIF if decays else ScaledLIF
    neuron = kind(**settings, threshold=0.6, learn_tau=True).double()
    currents = (torch.rand(9, 5, dtype=torch.float64) * 2).requires_grad_()
    tau = torch.tensor(settings["tau"], dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(9, 5, dtype=torch.float64)
    surrogate = SuperSpike(2.0)
    extra = (0.7, 0.2) if decays else (1.0, 0.0)
    want = _by_formula(currents, tau, 0.6, neuron.reset, surrogate, *extra, detach)
    got, _ = _run(neuron, currents, fire=surrogate, detach_reset=detach)
    assert torch.equal(got, want)
    a = torch.autograd.grad((got * upstream).sum(), [currents, neuron.time_constant])
    b = torch.autograd.grad((want * upstream).sum(), [currents, tau])
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("settings", SCALED, ids=str)
def test_linearise_is_forward_differentiation(settings, detach):
    neuron, surrogate = ScaledLIF(**settings).double(), Sigmoid(3.0)
    current = torch.rand(5, dtype=torch.float64) * 2
    increment = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    state, tangent, exact = None, None, None
    for _ in range(6):
        fired, state, tangent, change = neuron.linearise(current, state, tangent, surrogate, detach)
        spikes, exact = neuron(current + increment, exact, surrogate, detach)
        assert torch.equal(fired, spikes.detach())
        (want,) = torch.autograd.grad(spikes.sum(), increment, retain_graph=True)
        torch.testing.assert_close(change.detach(), want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("neuron", [ScaledLIF(2.0, 0.3, learn_tau=True), DecayingThresholdLIF(2.0, 0.5)], ids=repr)
def test_rules_know_them_by_their_own_steps(neuron, edge_index):
    gradients = []
    for rule in (RateBackprop(ATan(), False), SurrogateBPTT(ATan(), False)):
        torch.manual_seed(0)
        model = SpikingGNN(4, 3, 5, 1, 9, neuron, rule).double()
        model(torch.rand(7, 4, dtype=torch.float64), edge_index).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)  # under a constant current both are exact


def test_a_threshold_that_decays_never_fires_on_nothing(dtype):
    spikes, _ = _run(DecayingThresholdLIF(), torch.zeros(400, 3, dtype=dtype))
    assert not spikes.any()
    # the weaker the current, the later the first spike: 0.7^t < I
    weak, _ = _run(DecayingThresholdLIF(), torch.tensor([[0.6, 0.06]], dtype=dtype).expand(20, 2))
    assert [int(train.nonzero()[0, 0]) for train in weak.t()] == [2, 8]


def test_learned_time_constant_has_no_bound_and_comes_back():
    neuron = ScaledLIF(3.0, learn_tau=True)
    with torch.no_grad():
        neuron.time_constant.fill_(-0.5)
    assert neuron.tau == -0.5
    neuron.reset_parameters()
    assert neuron.tau == 3.0
    assert list(ScaledLIF(3.0).parameters()) == []


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (ScaledLIF, {"tau": 0.9}),
        (ScaledLIF, {"tau": float("nan")}),
        (ScaledLIF, {"threshold": 0.0}),
        (ScaledLIF, {"reset": "hard"}),
        (DecayingThresholdLIF, {"threshold_decay": 0.0}),
        (DecayingThresholdLIF, {"threshold_decay": 1.1}),
        (DecayingThresholdLIF, {"kick": -0.1}),
    ],
    ids=str,
)
def test_bad_settings_are_refused(kind, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        kind(**bad)


def test_repr_shows_the_settings():
    assert repr(ScaledLIF(3.0, 0.2, learn_tau=True)) == "ScaledLIF(tau=3, threshold=0.2, reset='zero', learn_tau=True)"
    assert "threshold_decay=0.7, kick=0.2" in repr(DecayingThresholdLIF())


def test_it_fires_at_its_threshold_where_the_smallest_numbers_are_flushed():
    neuron = DecayingThresholdLIF(at_threshold=True)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor flushes no small numbers")
    try:
        assert neuron(torch.ones(3))[0].tolist() == [1, 1, 1]
    finally:
        torch.set_flush_denormal(False)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for threshold in (0.03125, 1.0):  # one number of the type below it does not do
            neuron, at = (
                DecayingThresholdLIF(threshold=threshold, at_threshold=True),
                torch.tensor(threshold, dtype=dtype),
            )
            current = torch.stack([at, at * (1 - torch.finfo(dtype).eps / 2)])
            assert current[1] < at
            assert neuron(current)[0].tolist() == [1, 0]
