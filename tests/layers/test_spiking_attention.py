from functools import partial

import pytest
import torch

from msg.layers import SpikeTrain, SpikingAttention, SpikingMLP
from msg.neurons import LIF


def fires(threshold):
    return SpikeTrain(LIF(2.0, threshold, "zero"), decay_input=True)


def drawn(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module.double().eval()


def slow_neurons(current, threshold):
    out, v = torch.zeros_like(current), torch.zeros_like(current[0])
    for t in range(len(current)):
        v = v / 2 + current[t] / 2
        out[t] = (v > threshold).double()
        v = v * (1 - out[t])
    return out


def slow_projection(sequence, s):
    """Linear map and batch norm in evaluation, of ``[T, d]``."""
    lin, norm = sequence[0], sequence[1].norm
    current = s @ lin.weight.t() + lin.bias
    return (current - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias


@pytest.mark.parametrize("over_heads", [False, True])
def test_formula(over_heads):
    nodes, steps, width, heads = 5, 4, 3, 2
    block = drawn(SpikingAttention(width, heads, fires, 0.4, 0.5, over_heads))
    x = 2 * torch.randn(nodes, steps, width, dtype=torch.float64)
    spikes = [slow_neurons(x[n], 0.4) for n in range(nodes)]
    q, k, v = (
        [slow_neurons(slow_projection(part, s), 0.4) for s in spikes] for part in (block.query, block.key, block.value)
    )
    out = block(x)
    for n in range(nodes):
        if over_heads:
            count = sum(
                k[n][:, h * width : (h + 1) * width] * v[n][:, h * width : (h + 1) * width] for h in range(heads)
            )
            mask = slow_neurons(count, 0.5).repeat(1, heads)
        else:
            mask = slow_neurons(sum(k[m] * v[m] for m in range(nodes)), 0.5)
        assert torch.allclose(out[n], slow_projection(block.out, q[n] * mask))


def test_nodes_see_each_other_unless_the_sum_is_over_heads():
    x = 2 * torch.randn(6, 4, 16, dtype=torch.float64)
    other = torch.cat([x[:3], 2 * torch.randn(3, 4, 16, dtype=torch.float64)])
    seen = {}
    for over_heads in (False, True):
        # several, since in one of them no channel of the mask may hang on those that change
        blocks = [drawn(SpikingAttention(16, 2, fires, 0.4, 0.5, over_heads)) for _ in range(8)]
        seen[over_heads] = any(not torch.equal(block(x)[:3], block(other)[:3]) for block in blocks)
    assert seen == {False: True, True: False}


def test_mlp():
    mlp = drawn(SpikingMLP(3, 6, partial(fires), 0.4))
    x = 2 * torch.randn(5, 4, 3, dtype=torch.float64)
    for n in range(5):
        h = slow_projection(mlp.body[1:3], slow_neurons(x[n], 0.4))
        assert torch.allclose(mlp(x)[n], slow_projection(mlp.body[4:6], slow_neurons(h, 0.4)))


def test_reset_draws_anew():
    block = SpikingAttention(3, 2, fires)
    before = block.query[0].weight.detach().clone()
    block.reset_parameters()
    assert not torch.equal(block.query[0].weight, before)
    with pytest.raises(ValueError, match="heads must be a whole number of at least 1, not 0"):
        SpikingAttention(3, 0, fires)
    assert "over_heads=False" in repr(block)
