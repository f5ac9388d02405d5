import pytest
import torch

from msg.energy import count
from msg.layers import StepwiseBatchNorm, make_norm


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
        assert ours.num_batches_tracked == theirs.num_batches_tracked == steps
    # one node alone has no variance: it is normalised as in evaluation
    got = ours(x) if nodes == 1 else ours.eval()(x)
    torch.testing.assert_close(got, torch.stack([theirs.eval()(x[:, t]) for t in range(steps)], 1))
    with torch.no_grad(), count(ours.eval()) as ops:
        ours(x)
    assert not ops.unknown
