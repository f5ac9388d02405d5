"""The contract of every neuron: a new one is one entry in ``NEURONS``."""

import copy
import io
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import forward_ad

from msg.neurons import IF, LIF, ATan, ParametricLIF, Sigmoid, Triangle, heaviside

pytestmark = pytest.mark.covering

# how to make it, and the decay it must have
NEURONS = {
    "IF": (lambda **kw: IF(**kw), 1.0),
    "LIF": (lambda **kw: LIF(**kw), 0.5),
    "LIF(tau=4)": (lambda **kw: LIF(tau=4.0, **kw), 0.75),
    "ParametricLIF": (lambda **kw: ParametricLIF(**kw), 0.5),
    "ParametricLIF(tau=4)": (lambda **kw: ParametricLIF(tau=4.0, **kw), 0.75),
}
SURROGATES = [ATan(), Sigmoid(2.0), Triangle(0.7)]


@pytest.fixture(params=list(NEURONS))
def named(request):
    return NEURONS[request.param]


@pytest.fixture(params=["subtract", "zero"])
def reset(request):
    return request.param


def _loop(currents: list[float], decay: float, threshold: float, reset: str):
    """The three equations of the module, in Python floats; and how near the threshold a potential comes."""
    v, spikes, potentials, nearest = 0.0, [], [], math.inf
    for c in currents:
        u = decay * v + c
        nearest = min(nearest, abs(u - threshold))
        s = 1.0 if u > threshold else 0.0
        v = u - threshold * s if reset == "subtract" else u * (1 - s)
        spikes.append(s)
        potentials.append(v)
    return spikes, potentials, nearest


def test_equals_the_slow_loop(named, reset, dtype):
    make, decay = named
    neuron = make(threshold=0.8, reset=reset).to(dtype)
    currents = torch.randn(12, 5, 3, dtype=dtype) * 0.7 + 0.3
    state, spikes, potentials = None, [], []
    for current in currents:
        s, state = neuron(current, state)
        assert s.dtype == state.dtype == dtype
        spikes.append(s)
        potentials.append(state)
    spikes, potentials = torch.stack(spikes).detach(), torch.stack(potentials).detach()
    assert 0.1 < spikes.mean() < 0.9
    tolerance = 1e-13 if dtype == torch.float64 and not list(neuron.parameters()) else 2e-5
    compared = 0
    for i in range(5):
        for j in range(3):
            want, voltage, nearest = _loop(currents[:, i, j].tolist(), decay, 0.8, reset)
            # where the difference to the threshold is within rounding, either side of it is right
            if nearest > tolerance:
                assert spikes[:, i, j].tolist() == want
                assert potentials[:, i, j].tolist() == pytest.approx(voltage, abs=tolerance)
                compared += 1
    assert compared >= 12


@pytest.mark.parametrize("detach_reset", [True, False])
def test_linearisation_is_forward_mode_differentiation(named, reset, dtype, detach_reset):
    neuron, surrogate = named[0](threshold=0.5, reset=reset).to(dtype), Sigmoid(3.0)
    currents = torch.randn(9, 6, dtype=dtype) * 0.7 + 0.3
    state = tangent = dual = None
    for current in currents:
        spikes, state, tangent, change = neuron.linearise(current, state, tangent, surrogate, detach_reset)
        with forward_ad.dual_level():
            before = None if dual is None else forward_ad.make_dual(*dual)
            now = forward_ad.make_dual(current, torch.ones_like(current))
            fired, after = (forward_ad.unpack_dual(t) for t in neuron(now, before, surrogate, detach_reset))
            dual = after.primal.detach().clone(), after.tangent.detach().clone()
        assert torch.equal(spikes, fired.primal)
        for got, want in [(state, dual[0]), (tangent, dual[1]), (change, fired.tangent)]:
            torch.testing.assert_close(got, want)


def test_the_threshold_is_strict(named, reset, dtype):
    neuron = named[0](threshold=0.5, reset=reset).to(dtype)
    at = torch.tensor([0.5], dtype=dtype)
    spikes, state = neuron(at)
    assert spikes.item() == 0.0
    assert state.item() == 0.5
    spikes, state = neuron(torch.nextafter(at, at + 1))
    assert spikes.item() == 1.0
    assert state.item() == pytest.approx(0.0, abs=1e-6)


def test_nothing_is_remembered_between_calls(named, reset):
    neuron = named[0](reset=reset)
    current = torch.rand(4) * 2
    before = list(neuron.__dict__)
    first = neuron(current)
    neuron(torch.full((4,), 9.0), first[1])
    second = neuron(current)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert list(neuron.__dict__) == before
    assert not list(neuron.buffers())


def test_the_given_state_and_current_are_not_written_to(named, reset):
    neuron = named[0](reset=reset)
    current, state = torch.rand(4) * 2, torch.rand(4)
    kept = current.clone(), state.clone()
    neuron(current, state)
    neuron.rate(current, 5)
    assert torch.equal(current, kept[0])
    assert torch.equal(state, kept[1])


def test_no_state_is_the_resting_state(named, reset):
    neuron = named[0](reset=reset)
    current = torch.randn(20)
    for a, b in zip(neuron(current), neuron(current, torch.zeros(20))):
        assert torch.equal(a, b)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=repr)
def test_the_surrogate_never_changes_the_spikes(named, reset, surrogate):
    neuron = named[0](reset=reset)
    current, state = torch.randn(50), torch.randn(50)
    for a, b in zip(neuron(current, state, surrogate), neuron(current, state, heaviside)):
        assert torch.equal(a, b)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=repr)
@pytest.mark.parametrize("detach_reset", [True, False])
def test_gradient_equals_the_chain_rule_by_hand(named, reset, surrogate, detach_reset):
    make, _ = named
    theta, steps = 0.8, 6
    neuron = make(threshold=theta, reset=reset).double()
    decay = neuron.decay(torch.ones((), dtype=torch.float64)).item()
    currents = (torch.rand(steps, 7, dtype=torch.float64) * 1.5).requires_grad_()
    upstream = torch.randn(steps, 7, dtype=torch.float64)
    final = torch.randn(7, dtype=torch.float64)

    state, total, us, ss = None, 0.0, [], []
    for t in range(steps):
        u = currents[t] if state is None else decay * state + currents[t]
        spikes, state = neuron(currents[t], state, surrogate, detach_reset)
        total = total + (spikes * upstream[t]).sum()
        us.append(u.detach())
        ss.append(spikes.detach())
    (grad,) = torch.autograd.grad(total + (state * final).sum(), currents)

    # backward by hand: a = dL/dv_t, then dL/du_t = a dv/du + dL/ds_t sigma'
    a, expected = final.clone(), torch.zeros_like(upstream)
    for t in reversed(range(steps)):
        slope = surrogate.derivative(us[t] - theta)
        if reset == "subtract":
            dv_du = 1 - (0 if detach_reset else theta * slope)
        else:
            dv_du = 1 - ss[t] - (0 if detach_reset else us[t] * slope)
        expected[t] = a * dv_du + upstream[t] * slope
        a = decay * expected[t]
    torch.testing.assert_close(grad, expected, rtol=1e-12, atol=1e-13)


# -------------------------------------------------------------------------------- rates


def _simulated(neuron, current, timesteps):
    with torch.no_grad():
        total, state = torch.zeros_like(current), None
        for _ in range(timesteps):
            spikes, state = neuron(current, state, heaviside)
            total = total + spikes
        return total / timesteps


AWKWARD = [
    0.0,
    -0.0,
    1e-8,
    -1e-8,
    1e-30,
    0.1,
    0.2,
    0.25,
    0.3,
    0.5,
    0.7,
    0.9,
    1.0,
    1.0 + 1e-7,
    1.5,
    3.0,
    1e8,
    -1e8,
    1e30,
]


@pytest.mark.parametrize("timesteps", [1, 4, 10, 15, 64])
def test_rate_is_that_of_the_loop(named, reset, dtype, timesteps):
    for threshold in (1.0, 0.5, 0.1):
        neuron = named[0](threshold=threshold, reset=reset).to(dtype)
        current = torch.cat([torch.tensor(AWKWARD, dtype=dtype), torch.randn(200, dtype=dtype)]) * threshold
        rate = neuron.rate(current, timesteps)
        assert rate.dtype == dtype
        assert not rate.requires_grad
        assert torch.equal(rate, _simulated(neuron, current, timesteps))
        assert torch.equal(neuron.rate(current[None], timesteps), rate[None])  # of nodes and channels: compiled


def _numbers():
    dyadic = st.builds(lambda n, k: n / 2**k, st.integers(-64, 192), st.integers(0, 7))
    decimal = st.builds(lambda n, k: n / k, st.integers(-30, 60), st.sampled_from([3, 5, 7, 10, 15, 20, 60]))
    return dyadic | decimal | st.floats(-2, 3, width=32)


@settings(max_examples=300, deadline=None)
@given(
    currents=st.lists(_numbers(), min_size=1, max_size=8),
    timesteps=st.integers(1, 40),
    threshold=st.sampled_from([1.0, 0.5, 0.3, 0.1, 1.7]),
    wide=st.booleans(),
)
def test_closed_form_of_if_is_exactly_the_loop(currents, timesteps, threshold, wide):
    neuron = IF(threshold=threshold)
    current = torch.tensor(currents, dtype=torch.float64 if wide else torch.float32) * threshold
    assert torch.equal(neuron.rate(current, timesteps), _simulated(neuron, current, timesteps))
    assert torch.equal(neuron.rate(current[None], timesteps)[0], neuron.rate(current, timesteps))


@pytest.mark.parametrize("multiple", [0.1, 0.2, 0.25, 0.3, 1 / 3, 0.7])
def test_closed_form_of_if_is_exactly_the_loop_around_ties(multiple, dtype):
    x = torch.tensor(multiple, dtype=dtype)
    eps = torch.finfo(dtype).eps
    current = x * (1 + eps * torch.arange(-40, 41, dtype=dtype))
    for timesteps in (10, 30, 100):
        assert torch.equal(IF().rate(current, timesteps), _simulated(IF(), current, timesteps))
        assert torch.equal(IF().rate(current[:, None], timesteps)[:, 0], IF().rate(current, timesteps))


def test_closed_form_of_if_by_hand():
    # x = 3/8, T = 8: potentials 3 6 9* 4 7 10* 5 8 (not above 8) in eighths: two spikes, although T x = 3
    current = torch.tensor([0.375, 0.25, 0.26, 1.0, 1.01, -3.0, 0.0], dtype=torch.float64)
    assert (IF().rate(current, 8) * 8).tolist() == [2.0, 1.0, 2.0, 7.0, 8.0, 0.0, 0.0]


def test_rate_of_a_non_contiguous_or_empty_current():
    current = torch.rand(6, 4).t()
    assert torch.equal(IF().rate(current, 7), _simulated(IF(), current, 7))
    assert IF().rate(torch.zeros(0, 3), 7).shape == (0, 3)


# -------------------------------------------------------------------------------- objects


def test_copies_and_pickles(named, reset):
    neuron = named[0](threshold=0.7, reset=reset)
    current = torch.rand(10) * 2
    want = neuron.rate(current, 9)
    for twin in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        assert torch.equal(twin.rate(current, 9), want)
        assert repr(twin) == repr(neuron)


def test_state_dict_holds_what_is_learned():
    assert IF().state_dict() == LIF().state_dict() == {}
    neuron, other = ParametricLIF(tau=3.0), ParametricLIF(tau=5.0)
    assert list(neuron.state_dict()) == ["weight"]
    buffer = io.BytesIO()
    torch.save(neuron.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer))
    assert other.tau == pytest.approx(3.0)


def test_parametric_lif_starts_at_tau_and_comes_back(dtype):
    neuron = ParametricLIF(tau=3.0).to(dtype)
    assert neuron.tau == pytest.approx(3.0)
    with torch.no_grad():
        neuron.weight += 1.0
    assert neuron.tau != pytest.approx(3.0)
    neuron.reset_parameters()
    assert neuron.tau == pytest.approx(3.0)


def test_parametric_lif_gets_gradient_from_the_second_step():
    neuron = ParametricLIF().double()
    current = torch.full((3,), 0.7, dtype=torch.float64)
    _, state = neuron(current)
    second, _ = neuron(current, state)
    (grad,) = torch.autograd.grad(second.sum(), neuron.weight)
    lam = 0.5
    slope = ATan().derivative(torch.tensor(lam * 0.7 + 0.7 - 1.0, dtype=torch.float64))
    assert grad.item() == pytest.approx(float(-3 * slope * 0.7 * lam * (1 - lam)))


def test_showing_a_parametric_lif_does_not_warn():
    torch.set_warn_always(True)  # torch warns once a process only
    try:
        assert "tau=2" in repr(ParametricLIF())
    finally:
        torch.set_warn_always(False)


def test_repr_shows_the_settings():
    assert repr(IF(threshold=0.5)) == "IF(threshold=0.5, reset='subtract')"
    assert repr(LIF(tau=4.0, reset="zero")) == "LIF(tau=4, threshold=1, reset='zero')"


@pytest.mark.parametrize("make", [IF, LIF, ParametricLIF])
def test_bad_settings_are_refused(make):
    for threshold in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            make(threshold=threshold)
    with pytest.raises(ValueError, match=r"hard.*'subtract' or 'zero'"):
        make(reset="hard")


@pytest.mark.parametrize("make", [LIF, ParametricLIF])
@pytest.mark.parametrize("tau", [1.0, 0.5, -2.0, float("nan"), "3", None])
def test_bad_tau_is_refused(make, tau):
    with pytest.raises(ValueError, match="tau"):
        make(tau=tau)


@pytest.mark.parametrize("tau", [3, np.float32(3), np.int64(3), torch.tensor(3.0)])
def test_tau_is_any_real_number(tau):
    assert LIF(tau).tau == 3.0


@pytest.mark.parametrize(("dtype", "timesteps"), [(torch.bfloat16, 1000), (torch.float16, 4000)])
def test_rates_in_half_precision_do_not_stop_where_it_stops_counting(dtype, timesteps):
    for neuron in (IF(), IF(reset="zero"), LIF(2.0, 0.5)):
        rate = neuron.rate(torch.full((2, 3), 0.75, dtype=dtype), timesteps)
        assert rate.dtype == dtype
        want = neuron.rate(torch.full((2, 3), 0.75), timesteps)
        torch.testing.assert_close(rate.float(), want, rtol=0.01, atol=1 / timesteps)


@pytest.mark.parametrize("timesteps", [0, 1.5, "3"])
def test_a_rate_needs_a_number_of_steps(timesteps):
    with pytest.raises(ValueError, match="timesteps must be a whole number of at least 1"):
        LIF().rate(torch.rand(2, 3), timesteps)
