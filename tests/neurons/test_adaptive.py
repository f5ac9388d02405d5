"""ALIF against its equations in Python floats, its gradient against autograd of them, and what refractory means."""

import copy
import math
import pickle

import pytest
import torch

from msg.gradients import DvM, SurrogateBPTT, simulation
from msg.neurons import ALIF, ALIFState, ATan, Sigmoid, Triangle, heaviside
from msg.nn import MSG, Graph, SpikingGNN

SETTINGS = [
    {},
    {"beta": 0.0},
    {"refractory": 2},
    {"tau": 5.0, "tau_adaptation": 30.0, "beta": 0.6, "threshold": 0.4, "refractory": 3, "dt": 2.0},
    {"tau_adaptation": 25.0, "beta": torch.tensor([0.0, 0.5, 1.0, 2.0, 4.0])},
]
NARROW = {"tau": 5.0, "tau_adaptation": 30.0, "threshold": 0.4}


@pytest.fixture(params=SETTINGS, ids=str)
def settings(request):
    return request.param


def _currents(steps: int, *shape: int, dtype=torch.float64, scale: float = 1.0):
    return (torch.randn(steps, *shape, dtype=dtype) + 0.7) * scale


def _scale(settings):
    # a current of some twenty thresholds: with (1 - alpha) near 1/20 that is about one
    return 20 * settings.get("threshold", 0.01)


def _loop(currents, neuron, beta):
    """The equations of the paper for one neuron, in Python floats: spikes, potentials, adaptations; and how near the
    threshold a potential comes.
    """
    alpha, rho = math.exp(-neuron.dt / neuron.tau), math.exp(-neuron.dt / neuron.tau_adaptation)
    v = b = z = 0.0
    last, nearest = -math.inf, math.inf
    out = []
    for t, i in enumerate(currents):
        b = rho * b + (1 - rho) * z
        threshold = neuron.threshold + beta * b
        v = alpha * v + (1 - alpha) * i - z * threshold
        nearest = min(nearest, abs(v - threshold))
        z = float((v - threshold) / threshold > 0 and t - last > neuron.refractory)
        last = t if z else last
        out.append((z, v, b))
    return out, nearest


def _run(neuron, currents, state=None, **kwargs):
    spikes, states = [], []
    for current in currents:
        z, state = neuron(current, state, **kwargs)
        spikes.append(z)
        states.append(state)
    return torch.stack(spikes), states


def test_equals_the_slow_loop(settings, dtype):
    neuron = ALIF(**settings).to(dtype)
    currents = _currents(200, 3, 5, dtype=dtype, scale=_scale(settings))
    spikes, states = _run(neuron, currents)
    assert 0.01 < spikes.mean() < 0.7
    assert all(part.dtype == dtype for part in states[-1])
    betas = torch.as_tensor(neuron.beta, dtype=torch.float64).expand(5).tolist()
    rounding = 1e-13 if dtype == torch.float64 else 3e-6
    tolerance, compared = 20 * rounding, 0
    for n in range(3):
        for j in range(5):
            want, nearest = _loop(currents[:, n, j].tolist(), neuron, betas[j])
            # where the difference to the threshold is within rounding, either side of it is right
            if nearest < rounding:
                continue
            compared += 1
            assert spikes[:, n, j].tolist() == [z for z, _, _ in want]
            assert [float(s.potential[n, j]) for s in states] == pytest.approx([v for _, v, _ in want], abs=tolerance)
            assert [float(s.adaptation[n, j]) for s in states] == pytest.approx([b for _, _, b in want], abs=tolerance)
    assert compared >= 12


def test_without_beta_it_is_a_leaky_neuron():
    # V and θ scaled by 1/(1-α) and the reset moved to the end of the step: a LIF, but that its reset leaks less
    neuron = ALIF(tau=5.0, beta=0.0, threshold=0.4)
    currents = _currents(300, 4, scale=2.0)
    spikes, _ = _run(neuron, currents)
    alpha, v, z = math.exp(-1 / 5), torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    for current, got in zip(currents, spikes):
        v = alpha * v + (1 - alpha) * current - 0.4 * z
        z = (v > 0.4).double()
        assert torch.equal(got, z)
    # and whether it adapted does not matter to it
    fast, _ = _run(ALIF(tau=5.0, tau_adaptation=3.0, beta=0.0, threshold=0.4), currents)
    assert torch.equal(fast, spikes)


def test_adapting_neurons_fire_less_and_recover(dtype):
    constant = torch.full((400, 1), 3.0, dtype=dtype)
    plain, _ = _run(ALIF(beta=0.0, **NARROW), constant)
    adaptive, states = _run(ALIF(beta=2.0, **NARROW), constant)
    assert adaptive.sum() < 0.8 * plain.sum()
    assert adaptive[:20].sum() > adaptive[-20:].sum()
    # 30 ms of silence, one time constant, leave 1/e of the adaptation
    _, quiet = _run(ALIF(beta=2.0, **NARROW), torch.zeros(31, 1, dtype=dtype), states[-1])
    ratio = quiet[-1].adaptation / quiet[0].adaptation
    assert ratio.item() == pytest.approx(math.exp(-1), rel=1e-5)


@pytest.mark.parametrize("refractory", [0, 1, 4])
def test_refractory_neurons_rest_exactly_that_long(refractory, dtype):
    spikes, states = _run(ALIF(beta=0.0, threshold=0.01, refractory=refractory), torch.full((40, 2), 50.0, dtype=dtype))
    fired = spikes[:, 0].nonzero().flatten().diff()
    assert set(fired.tolist()) == {refractory + 1}
    # silence is blocked firing, not a clamped membrane
    assert states[-1].potential.min() > 1.0


def test_a_blocked_step_passes_no_gradient():
    neuron = ALIF(refractory=1)
    current = torch.full((2, 1), 1.0, dtype=torch.float64, requires_grad=True)
    first, state = neuron(current[0])
    second, _ = neuron(current[1], state)
    assert (first.item(), second.item()) == (1.0, 0.0)
    (grad,) = torch.autograd.grad(second.sum(), current)
    assert torch.equal(grad, torch.zeros_like(grad))


def test_no_state_is_rest_and_the_state_continues(settings):
    neuron, currents = ALIF(**settings).double(), _currents(30, 2, 5, scale=_scale(settings))
    rest = ALIFState(*[torch.zeros(2, 5, dtype=torch.float64)] * 4)
    whole, states = _run(neuron, currents)
    again, _ = _run(neuron, currents, rest)
    first, middle = _run(neuron, currents[:13])
    second, end = _run(neuron, currents[13:], middle[-1])
    assert torch.equal(whole, again)
    assert torch.equal(whole, torch.cat([first, second]))
    for a, b in zip(states[-1], end[-1]):
        assert torch.equal(a, b)


def test_the_given_state_is_not_written_to(settings):
    neuron, current = ALIF(**settings).double(), torch.rand(2, 5, dtype=torch.float64)
    _, state = neuron(current)
    kept = [part.clone() for part in state]
    neuron(current, state)
    for part, before in zip(state, kept):
        assert torch.equal(part, before)


@pytest.mark.parametrize("surrogate", [Triangle(0.3), ATan(), Sigmoid(2.0)], ids=repr)
@pytest.mark.parametrize("detach_reset", [True, False])
def test_gradient_equals_the_chain_rule_by_hand(settings, surrogate, detach_reset):
    neuron = ALIF(**settings).double()
    beta, b0 = torch.as_tensor(neuron.beta, dtype=torch.float64), neuron.threshold
    alpha, rho = math.exp(-neuron.dt / neuron.tau), math.exp(-neuron.dt / neuron.tau_adaptation)
    steps = 25
    currents = _currents(steps, 3, 5, scale=_scale(settings)).requires_grad_()
    upstream, final = torch.randn(steps, 3, 5).double(), torch.randn(2, 3, 5).double()
    spikes, states = _run(neuron, currents, fire=surrogate, detach_reset=detach_reset)
    loss = (spikes * upstream).sum() + (states[-1].potential * final[0] + states[-1].adaptation * final[1]).sum()
    (got,) = torch.autograd.grad(loss, currents)

    # backward by hand: dv, db, dz are derivatives by what a step hands to the next
    z, v, b = ([getattr(s, name).detach() for s in states] for name in ("spikes", "potential", "adaptation"))
    dv, db, dz = final[0], final[1], torch.zeros(3, 5).double()
    want = torch.zeros_like(upstream)
    for t in reversed(range(steps)):
        threshold = b0 + beta * b[t]
        blocked = sum((z[k] for k in range(max(0, t - neuron.refractory), t)), torch.zeros(3, 5).double()) > 0
        du = (dz + upstream[t]) * surrogate.derivative((v[t] - threshold) / threshold) * ~blocked
        dv = dv + du / threshold
        before = z[t - 1] if t else torch.zeros(3, 5).double()
        db = db + beta * (-du * v[t] / threshold**2 - dv * before)
        dz = (1 - rho) * db - (0 if detach_reset else dv * threshold)
        want[t] = (1 - alpha) * dv
        dv, db = alpha * dv, rho * db
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("surrogate", [Triangle(0.3), ATan()], ids=repr)
def test_the_surrogate_never_changes_the_spikes(settings, surrogate):
    neuron, currents = ALIF(**settings).double(), _currents(50, 2, 5, scale=_scale(settings))
    assert torch.equal(_run(neuron, currents, fire=surrogate)[0], _run(neuron, currents, fire=heaviside)[0])


def test_rate_is_that_of_the_loop(settings, dtype):
    neuron = ALIF(**settings).to(dtype)
    current = _currents(1, 6, 5, dtype=dtype, scale=_scale(settings))[0].requires_grad_()
    rate = neuron.rate(current, 40)
    assert not rate.requires_grad
    torch.testing.assert_close(rate, _run(neuron, current.detach().expand(40, 6, 5))[0].mean(0))


def test_copies_pickles_and_an_empty_state_dict(settings):
    neuron, current = ALIF(**settings), torch.rand(4, 5)
    assert neuron.state_dict() == {}
    for twin in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        assert torch.equal(twin.rate(current, 30), neuron.rate(current, 30))
        assert repr(twin) == repr(neuron)


def test_a_given_beta_is_copied_and_follows_the_module():
    beta = torch.tensor([0.0, 1.0])
    neuron = ALIF(beta=beta)
    beta += 1
    assert torch.equal(neuron.beta, torch.tensor([0.0, 1.0]))
    assert neuron.double().beta.dtype == torch.float64


def test_repr_shows_the_settings():
    assert repr(ALIF(refractory=3)) == (
        "ALIF(tau=20, tau_adaptation=1200, beta=1.7, threshold=0.01, refractory=3, dt=1)"
    )
    assert "beta=0..2" in repr(ALIF(beta=torch.tensor([0.0, 2.0])))


def test_times_that_are_changed_are_read():
    changed, current = ALIF(20.0, 100.0, 1.0), 0.1 * torch.rand(30, 50)

    def train(neuron):
        state, spikes = None, []
        for step in current:
            out, state = neuron(step, state)
            spikes.append(out)
        return torch.stack(spikes)

    before = train(changed)
    changed.tau, changed.tau_adaptation, changed.dt = 2.0, 5.0, 3.0
    assert torch.equal(train(changed), train(ALIF(2.0, 5.0, 1.0, dt=3.0)))
    assert not torch.equal(train(changed), before)


@pytest.mark.parametrize(
    "bad",
    [
        {"tau": 0.0},
        {"tau_adaptation": -1.0},
        {"dt": 0.0},
        {"threshold": 0.0},
        {"beta": -0.1},
        {"beta": torch.tensor([1.0, -1.0])},
        {"beta": float("nan")},
        {"refractory": -1},
    ],
    ids=str,
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        ALIF(**bad)


# -------------------------------------------------------------------------------- inside the models


NODES, FEATURES, WIDTH, STEPS = 7, 4, 5, 9


def _model(kind, rule):
    torch.manual_seed(5)
    neuron = ALIF(tau=3.0, tau_adaptation=8.0, beta=0.8, threshold=0.05, refractory=1)
    if kind is MSG:
        return MSG(FEATURES, 3, f"E{WIDTH}", 2, STEPS, neuron, rule, step_size=1.0).double()
    return SpikingGNN(FEATURES, 3, WIDTH, 2, STEPS, neuron, rule).double()


@pytest.mark.parametrize(("kind", "rule"), [(MSG, DvM()), (MSG, SurrogateBPTT(Triangle(0.3))), (SpikingGNN, None)])
@pytest.mark.parametrize("train", [False, True], ids=["constant", "train"])
@pytest.mark.parametrize("elements", [1, 250_000])
def test_layers_of_it_fire_as_in_the_loop_over_time(kind, rule, train, elements, edge_index, monkeypatch):
    monkeypatch.setattr(simulation, "_CHUNK_ELEMENTS", elements)
    model = _model(kind, rule)
    x = torch.randn(*([STEPS] if train else []), NODES, FEATURES, dtype=torch.float64)
    activity = model.activity(x, edge_index)
    graph, states = Graph(edge_index, None, NODES), [None] * 3
    counts = [torch.zeros(NODES, WIDTH, dtype=torch.float64) for _ in range(3)]
    with torch.no_grad():
        for t in range(STEPS):
            spikes = x[t] if train else x
            for i, layer in enumerate(model.stack.layers[: len(activity.rates)]):
                spikes, states[i] = layer.neuron(layer.current(spikes, graph), states[i])
                counts[i] += spikes
    for rate, count in zip(activity.rates, counts):
        torch.testing.assert_close(rate.detach(), count / STEPS, rtol=1e-12, atol=1e-14)
    assert 0.05 < activity.rates[0].mean() < 0.95
    model(x, edge_index).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_spikes_and_state_have_the_type_of_the_current(dtype):
    for beta in (torch.tensor([0.0, 1.8], dtype=torch.float64), torch.tensor([0.0, 1.8])):
        neuron, state = ALIF(beta=beta), None
        for _ in range(3):
            spikes, state = neuron(torch.full((3, 2), 4.0, dtype=dtype), state)
            assert {spikes.dtype, state.potential.dtype, state.adaptation.dtype} == {dtype}
