import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from msg.energy import count
from msg.kernels import status
from msg.layers import (
    MembraneShortcut,
    SpikeCount,
    SpikeLinear,
    SpikeProduct,
    SpikeTrain,
    STFNorm,
    TrainBatchNorm,
    make_train_norm,
)
from msg.neurons import (
    ALIF,
    IF,
    LIF,
    ATan,
    DecayingThresholdLIF,
    ParametricLIF,
    ScaledLIF,
    Sigmoid,
    SuperSpike,
    Triangle,
    heaviside,
)
from msg.nn import GASNN, GCSNN, SpikeGCL, SpikeGraphormer, SpikeNet


def test_decay_input_is_a_membrane_that_relaxes_towards_its_input():
    current, tau, threshold = 3 * torch.rand(3, 6, 4, dtype=torch.float64), 2.0, 0.7
    want, v = torch.zeros_like(current), torch.zeros(3, 4, dtype=torch.float64)
    for t in range(6):
        v = v + (current[:, t] - v) / tau
        want[:, t] = (v > threshold).double()
        v = torch.where(v > threshold, 0.0, v)
    assert 0 < want.mean() < 1
    assert torch.equal(SpikeTrain(LIF(tau, threshold, "zero"), decay_input=True)(current), want)
    assert torch.equal(SpikeTrain(LIF(tau, threshold, "zero"))(current / tau), want)


def test_a_learned_leak_scales_the_current_too():
    current = 3 * torch.rand(3, 6, 4, dtype=torch.float64)
    train = SpikeTrain(ParametricLIF(2.0, 0.7, "zero").double(), decay_input=True)
    assert torch.equal(train(current), SpikeTrain(LIF(2.0, 0.7, "zero"), decay_input=True)(current))
    # before the first spike only the factor of the current depends on the leak
    small = torch.full((1, 1, 2), 0.3, dtype=torch.float64)
    train(small).sum().backward()
    leak = torch.tensor(0.5, dtype=torch.float64)
    slope = ATan().derivative(leak * 0.3 - 0.7) * 0.3 * leak * (1 - leak)
    assert torch.allclose(train.neuron.weight.grad, 2 * slope)


def test_a_constant_current_is_a_train_of_it():
    current, train = 2 * torch.rand(3, 4), SpikeTrain(LIF(threshold=0.5), Sigmoid(4.0))
    assert torch.equal(train(current, 5), train(current[:, None].expand(-1, 5, -1)))


@pytest.fixture
def by_kernels(monkeypatch):
    if status().backend != "numba":
        pytest.skip(f"no compiled kernels: {status().reason}")
    monkeypatch.setattr(SpikeTrain, "_simulate", lambda *_: pytest.fail("was run step by step"))


TRAINS = [
    (LIF(2.0, 0.7, "zero"), Sigmoid(4.0), True, True),
    (LIF(3.0, 0.7), ATan(), False, False),
    (LIF(4.0, 0.7), ATan(), True, False),
    (IF(0.7), Triangle(), False, True),
    (ParametricLIF(2.0, 0.7, "zero").requires_grad_(False), Sigmoid(2.0), True, False),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("constant", [False, True], ids=["train", "constant"])
@pytest.mark.parametrize(("neuron", "surrogate", "decay_input", "detach_reset"), TRAINS, ids=repr)
def test_compiled_loops_do_the_same(by_kernels, neuron, surrogate, decay_input, detach_reset, constant, dtype):
    module = SpikeTrain(neuron, surrogate, decay_input, detach_reset)
    steps, shape = 6, (40, 33) if constant else (40, 6, 33)
    current = (2 * torch.randn(shape, dtype=dtype)).requires_grad_()
    upstream = torch.randn(40, 6, 33, dtype=dtype)
    scale = 1 - float(neuron.decay(torch.ones(()))) if decay_input else 1.0
    state, want = None, []
    for t in range(steps):
        now = scale * (current if constant else current[:, t])
        spikes, state = neuron(now, state, surrogate, detach_reset)
        want.append(spikes)
    want, got = torch.stack(want, 1), module(current, steps if constant else None)
    assert 0 < want.mean() < 1
    torch.testing.assert_close(got, want)
    a, b = (torch.autograd.grad((out * upstream).sum(), current)[0] for out in (got, want))
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("decay_input", [False, True], ids=["whole", "relaxing"])
@pytest.mark.parametrize("surrogate", [ATan(), Sigmoid(4.0)], ids=repr)
def test_compiled_loops_have_second_derivatives(surrogate, decay_input):
    module = SpikeTrain(LIF(2.0, 0.7, "zero"), surrogate, decay_input)
    current = torch.randn(5, 4, 3, dtype=torch.float64).requires_grad_()
    upstream = torch.randn(5, 4, 3, dtype=torch.float64).requires_grad_()
    second = []
    for run in (module, lambda x: module._simulate(x, None)):
        (first,) = torch.autograd.grad(run(current), current, upstream, create_graph=True)
        second += [torch.autograd.grad(first.square().sum(), (current, upstream))]
    for a, b in zip(*second):
        assert a.any()
        torch.testing.assert_close(a, b)


def test_neurons_that_learn_are_watched_or_transformed_run_step_by_step():
    current = torch.randn(3, 4, 2, dtype=torch.float64)
    learns = SpikeTrain(ParametricLIF(2.0, 0.7)).double()
    learns(current).sum().backward()
    assert learns.neuron.weight.grad
    watched, seen = SpikeTrain(LIF(2.0, 0.7)), []
    watched.neuron.register_forward_hook(lambda *_: seen.append(1))
    watched(current)
    assert len(seen) == 4
    plain = SpikeTrain(LIF(2.0, 0.7))
    gradient = torch.func.grad(lambda x: plain(x).sum())(current)
    want = current.clone().requires_grad_()
    plain(want).sum().backward()
    torch.testing.assert_close(gradient, want.grad)


def test_what_is_changed_on_an_instance_acts():
    current = torch.randn(3, 4, 2, dtype=torch.float64)
    for name, own in (("drive", lambda c: 3 * c), ("level", lambda u: 0.1), ("decay", lambda s: s * 0.9)):
        module = SpikeTrain(LIF(2.0, 0.7))
        setattr(module.neuron, name, own)
        assert torch.equal(module(current), module._simulate(current, None))
    leak = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    fast = SpikeTrain(ParametricLIF(2.0, 0.7))
    del fast.neuron._parameters["weight"]
    fast.neuron.weight = 2 * leak  # what an inner step of meta-learning puts there
    fast(current).sum().backward()
    assert leak.grad
    assert SpikeTrain(LIF(2.0, 0.7), heaviside)(current).sum() > 0


def test_forward_mode_runs_step_by_step():
    current, tangent = torch.randn(2, 3, 4, 2, dtype=torch.float64).unbind()
    module = SpikeTrain(LIF(2.0, 0.7))
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(module(forward_ad.make_dual(current, tangent))).tangent
    _, want = torch.func.jvp(module, (current,), (tangent,))
    torch.testing.assert_close(found, want)


def test_a_neuron_that_does_not_leak_has_no_scale():
    with pytest.raises(ValueError, match="needs a neuron that leaks, and IF does not"):
        SpikeTrain(IF(), decay_input=True)


def test_spikes_multiply_and_count():
    a, b = (torch.rand(2, 5, 4) > 0.5).float().unbind(0)[0], torch.ones(5, 4)
    assert torch.equal(SpikeProduct()(a, b), a)
    assert torch.equal(SpikeCount(0)(a), a.sum(0, keepdim=True))


def test_a_shortcut_adds_currents():
    x, lin = torch.randn(3, 2, 4), nn.Linear(4, 4)
    shortcut = MembraneShortcut(lin)
    assert torch.allclose(shortcut(x), x + lin(x))
    before = lin.weight.detach().clone()
    shortcut.reset_parameters()
    assert not torch.equal(lin.weight, before)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_over_nodes_and_time(training):
    x = torch.randn(5, 3, 4, dtype=torch.float64) * 3 + 1
    norm = TrainBatchNorm(4).double().train(training)
    out = norm(x)
    if training:
        for k in range(4):
            entries = x[:, :, k]
            want = (entries - entries.mean()) / (entries.var(correction=0) + 1e-5).sqrt()
            assert torch.allclose(out[:, :, k], want)
        assert torch.allclose(norm.norm.running_mean, 0.1 * x.mean((0, 1)))
    else:
        assert torch.allclose(out, x / (1 + 1e-5) ** 0.5)


def slow_stfn(x, threshold, weight, bias, eps=1e-5):
    out = torch.zeros_like(x)
    for n in range(x.size(0)):
        for t in range(x.size(1)):
            seen = x[n, : t + 1].flatten()
            mean = seen.sum() / seen.numel()
            variance = (seen - mean).square().sum() / seen.numel()
            out[n, t] = threshold * (x[n, t] - mean) / (variance + eps).sqrt() * weight + bias
    return out


@pytest.mark.parametrize("detach", [False, True])
def test_stfn_is_over_channels_and_the_time_so_far(detach):
    x = torch.randn(4, 5, 3, dtype=torch.float64, requires_grad=True)
    norm = STFNorm(3, 0.25, rho=2.0, eps=0.1, detach=detach).double()
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    want = slow_stfn(x, 0.5, norm.weight, norm.bias, 0.1)
    assert torch.allclose(norm(x), want)
    weighed = torch.randn_like(x)
    (grad,) = torch.autograd.grad((norm(x) * weighed).sum(), x)
    (slow,) = torch.autograd.grad((want * weighed).sum(), x)
    assert torch.allclose(grad, slow) != detach


@pytest.mark.parametrize("detach", [False, True])
def test_stfn_of_a_constant_is_that_of_its_train(detach):
    x, norm = torch.randn(4, 3, dtype=torch.float64), STFNorm(3, 0.5, detach=detach).double()
    train = norm(x[:, None].expand(-1, 4, -1))
    assert torch.allclose(train, norm(x)[:, None].expand_as(train))
    assert torch.allclose(norm(x[:, None])[:, 0], norm(x))


def test_stfn_needs_no_other_node_and_no_running_statistics():
    x, norm = torch.randn(6, 4, 3), STFNorm(3)
    assert torch.allclose(norm(x)[:2], norm(x[:2]), atol=1e-6)
    assert torch.equal(norm.eval()(x), norm.train()(x))
    assert not list(norm.buffers())


def test_stfn_is_finite_where_nothing_varies_and_far_from_zero():
    norm = STFNorm(3)
    assert torch.equal(norm(torch.zeros(2, 4, 3)), torch.zeros(2, 4, 3))
    x = torch.randn(4, 5, 3, dtype=torch.float64)
    moved = (x + 1000).float()
    assert torch.allclose(norm(moved), slow_stfn(x, 1.0, 1.0, 0.0).float(), atol=1e-2)


def test_stfn_of_large_currents_in_half_precision_does_not_overflow():
    x = 100 * torch.randn(40, 4, 64)
    torch.testing.assert_close(STFNorm(64).half()(x.half()).float(), STFNorm(64)(x), atol=2e-2, rtol=1e-2)


def test_norms_by_name():
    kinds = [type(make_train_norm(name, 3)) for name in ("none", "batch", "layer", "stfn")]
    assert kinds == [nn.Identity, TrainBatchNorm, nn.LayerNorm, STFNorm]
    assert make_train_norm("stfn", 3, 0.25).threshold == 0.25
    with pytest.raises(ValueError, match="unknown norm 'group'"):
        make_train_norm("group", 3)
    with pytest.raises(ValueError, match="rho must be positive"):
        STFNorm(3, rho=0.0)


@pytest.mark.parametrize("neuron", [ScaledLIF(2.0, 0.4), DecayingThresholdLIF(2.0)], ids=repr)
@pytest.mark.parametrize("detach_state", [False, True])
def test_time_may_come_first(neuron, detach_state):
    module = SpikeTrain(neuron, Sigmoid(2.0), detach_reset=False, detach_state=detach_state, dim=0).double()
    currents = torch.rand(6, 4, 3, dtype=torch.float64).requires_grad_()
    upstream = torch.randn(6, 4, 3, dtype=torch.float64)
    state, spikes = None, []
    for current in currents:
        now, state = neuron(current, state, Sigmoid(2.0), False)
        if detach_state:
            state = type(state)(*[part.detach() for part in state]) if isinstance(state, tuple) else state.detach()
        spikes.append(now)
    want = torch.stack(spikes)
    got = module(currents)
    assert torch.equal(got, want)
    for a, b in zip(*(torch.autograd.grad((out * upstream).sum(), currents) for out in (got, want))):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_a_detached_state_leaves_steps_to_themselves():
    module = SpikeTrain(ScaledLIF(2.0, 0.4), SuperSpike(), detach_state=True, dim=0)
    currents = torch.rand(5, 3).requires_grad_()
    (grad,) = torch.autograd.grad(module(currents)[-1].sum(), currents)
    assert not grad[:-1].any()
    assert grad[-1].all()


def test_spikes_add_rows_of_weights():
    layer, spikes = SpikeLinear(4, 3), (torch.rand(2, 5, 4) > 0.5).float()
    with torch.no_grad(), count(layer) as ops:
        out = layer(spikes)
    assert torch.equal(out, torch.nn.functional.linear(spikes, layer.weight, layer.bias))
    assert not ops.unknown
    assert ops.total()["accumulate"] == int(spikes.sum()) * 3 + out.numel()
    assert ops.total()["multiply_accumulate"] == 0
    assert ops.total("dense") == ops.total()


@pytest.mark.parametrize("neuron", [IF(), LIF(), ParametricLIF()])
def test_it_is_traced_in_one_piece(neuron):
    train, current = SpikeTrain(neuron), torch.rand(6, 4, 3)
    compiled = torch.compile(train, backend="eager", fullgraph=True)
    assert torch.equal(compiled(current), train(current))


def test_steps_that_a_current_does_not_have_are_refused():
    fire = SpikeTrain(LIF())
    assert fire(torch.rand(7, 5), 3).shape == (7, 3, 5)
    assert fire(torch.rand(7, 4, 5), 4).shape == (7, 4, 5)
    for current, steps in ((torch.rand(7, 4, 5), 9), (torch.rand(7, 5), 0), (torch.rand(7, 4, 5), 0)):
        with pytest.raises(ValueError, match=f"timesteps={steps} is not the number of steps"):
            fire(current, steps)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SpikeTrain(LIF(threshold="auto")),
        lambda: SpikeNet(5, 3, neuron=DecayingThresholdLIF(threshold="auto")),
        lambda: GCSNN(5, 3, threshold="auto"),
        lambda: GASNN(5, 3, threshold="auto"),
        lambda: SpikeGCL(5, 3, threshold="auto"),
        lambda: SpikeGraphormer(5, 3, threshold="auto"),
    ],
)
def test_a_threshold_that_nothing_here_would_fit_is_refused(make):
    with pytest.raises(ValueError, match=r"'auto' is fitted by networks such as MSG.*give a number"):
        make()


@pytest.mark.parametrize("detach", [False, True])
def test_stfn_in_half_precision_has_the_gradient_of_a_silent_node(detach):
    norm = STFNorm(4, detach=detach)
    current = torch.full((1, 3, 4), 0.5)
    want = torch.autograd.grad(norm(current.requires_grad_()).sum(), current)[0]
    half = current.detach().half().requires_grad_()
    found = torch.autograd.grad(norm.half()(half).sum(), half)[0]
    torch.testing.assert_close(found.float(), want, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("neuron", [ScaledLIF(2.0, 0.6), DecayingThresholdLIF(2.0, 0.6), ALIF(2.0)], ids=str)
def test_a_current_is_not_scaled_twice(neuron):
    with pytest.raises(ValueError, match=f"{type(neuron).__name__} scales its current itself: leave decay_input out"):
        SpikeTrain(neuron, decay_input=True)
    assert SpikeTrain(ScaledLIF(2.0, 0.6, "zero"))(torch.ones(1, 6, 1)).flatten().tolist() == [0, 1, 0, 1, 0, 1]
