"""What drawn neighbours and neurons that scale their current or lower their threshold cost."""

import pytest
import torch

from msg.energy import count
from msg.energy.counts import CONVENTIONS, OUTSIDE
from msg.layers import picked_mean
from msg.neurons import DecayingThresholdLIF, ScaledLIF


@pytest.mark.parametrize(("kind", "adapts"), [(ScaledLIF, 0), (DecayingThresholdLIF, 1)])
@pytest.mark.parametrize("tau", [2.0, 1.0], ids=["leaky", "forgetful"])
def test_neurons(kind, tau, adapts):
    neuron, remembers = kind(tau, 0.3), tau > 1
    with torch.no_grad(), count(neuron) as ops:
        spikes, _ = neuron(torch.tensor([0.1, 0.5, 2.0, 3.0]))
    assert not ops.unknown
    total, fired = ops.total(), int(spikes.sum())
    assert (total["state_update"], total["comparison"], total["spike"]) == (4, 4, fired)
    # a threshold of its own is one number more to keep, to let decay and to raise; what is forgotten is not kept
    assert total["multiply"] == 4 * (remembers + adapts)
    assert total["accumulate"] == fired * (remembers + adapts)
    assert total["state"] == 2 * 4 * (remembers + adapts)


def test_drawn_means_add_rows():
    x, picks = torch.rand(6, 3), torch.randint(0, 6, (2, 5, 4))
    with torch.no_grad(), count(torch.nn.Identity()) as ops:
        picked_mean(x, picks)
    assert not ops.unknown
    found = ops.modules[OUTSIDE].nonzero
    assert (found["accumulate"], found["multiply"]) == (2 * 5 * 4 * 3, 2 * 5 * 3)


def test_random_numbers_are_not_counted():
    with count(torch.nn.Identity()) as ops:
        torch.rand(7)
        torch.empty(5).uniform_()
        torch.randperm(9)
    assert not ops.unknown
    assert not any(found.under(kind) for found in ops.modules.values() for kind in CONVENTIONS)
