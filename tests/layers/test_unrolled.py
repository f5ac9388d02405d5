import pytest
import torch

from msg.energy import count
from msg.layers import SpikeLinear, StepwiseBatchNorm, Unrolled, make_norm
from msg.neurons import DecayingThresholdLIF, ScaledLIF, Sigmoid, SuperSpike


@pytest.mark.parametrize("neuron", [ScaledLIF(2.0, 0.4), DecayingThresholdLIF(2.0)], ids=repr)
@pytest.mark.parametrize("detach_state", [False, True])
def test_is_the_loop(neuron, detach_state):
    module = Unrolled(neuron, Sigmoid(2.0), detach_state=detach_state).double()
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
    assert module.neuron is not neuron
    for a, b in zip(*(torch.autograd.grad((out * upstream).sum(), currents) for out in (got, want))):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_a_detached_state_leaves_steps_to_themselves():
    module = Unrolled(ScaledLIF(2.0, 0.4), SuperSpike(), detach_state=True)
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


@pytest.mark.parametrize("name", ["none", "batch", "layer"])
def test_norms_by_name(name):
    x = torch.randn(9, 4) * 3 + 1
    dim = {"none": None, "batch": 0, "layer": 1}[name]
    want = x if dim is None else (x - x.mean(dim, True)) / (x.var(dim, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(make_norm(name, 4)(x), want)


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="unknown norm 'instance'"):
        make_norm("instance", 4)


@pytest.mark.parametrize("nodes", [1, 8])
def test_stepwise_norm_is_one_call_a_step(nodes):
    steps, x = 5, torch.randn(nodes, 5, 3, dtype=torch.float64) * 2 + 1
    ours, theirs = StepwiseBatchNorm(3).double(), torch.nn.BatchNorm1d(3).double()
    with torch.no_grad():
        for norm in (ours, theirs):
            norm.weight.copy_(torch.tensor([1.0, 2.0, 0.5]))
            norm.bias.copy_(torch.tensor([0.1, -1.0, 0.0]))
    if nodes > 1:
        want = torch.stack([theirs(x[:, t]) for t in range(steps)], 1)
        torch.testing.assert_close(ours(x), want, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        torch.testing.assert_close(ours.running_var, theirs.running_var)
    # one node alone has no variance: it is normalised as in evaluation
    got = ours(x) if nodes == 1 else ours.eval()(x)
    torch.testing.assert_close(got, torch.stack([theirs.eval()(x[:, t]) for t in range(steps)], 1))
    with torch.no_grad(), count(ours.eval()) as ops:
        ours(x)
    assert not ops.unknown
