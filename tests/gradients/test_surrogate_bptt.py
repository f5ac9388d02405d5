"""BPTT's own promises; its gradient is checked by the contract in test_rule.py."""

import torch

from msg.gradients import SurrogateBPTT
from msg.neurons import IF, ATan, Sigmoid
from msg.nn import MSG


def _gradient(rule, timesteps=6):
    torch.manual_seed(0)
    model = MSG(5, 3, "E4", 2, timesteps, IF(threshold=0.5), rule).double()
    x, edge_index = torch.randn(9, 5, dtype=torch.float64) * 2, torch.randint(0, 9, (2, 20))
    model(x, edge_index).square().sum().backward()
    return torch.cat([p.grad.flatten() for p in model.stack.layers.parameters()])


def test_defaults():
    assert SurrogateBPTT() == SurrogateBPTT(ATan(2.0), detach_reset=True)


def test_the_settings_matter():
    reference = _gradient(SurrogateBPTT())
    assert not torch.allclose(reference, _gradient(SurrogateBPTT(Sigmoid())))
    assert not torch.allclose(reference, _gradient(SurrogateBPTT(detach_reset=False)))
    # with one step there is no reset to differentiate
    torch.testing.assert_close(_gradient(SurrogateBPTT(), 1), _gradient(SurrogateBPTT(detach_reset=False), 1))
