"""What drawn neighbours and neurons that scale their current or lower their threshold cost."""

import pytest
import torch

from msg.energy import count
from msg.energy.counts import OUTSIDE
from msg.layers import picked_mean
from msg.neurons import DecayingThresholdLIF, ScaledLIF


@pytest.mark.parametrize(("neuron", "adapts"), [(ScaledLIF(2.0, 0.3), 0), (DecayingThresholdLIF(2.0, 0.3), 1)])
def test_neurons(neuron, adapts):
    with torch.no_grad(), count(neuron) as ops:
        spikes, _ = neuron(torch.tensor([0.1, 0.5, 2.0, 3.0]))
    assert not ops.unknown
    total, fired = ops.total(), int(spikes.sum())
    assert (total["state_update"], total["comparison"], total["spike"]) == (4, 4, fired)
    # a threshold of its own is one number more to keep, to let decay and to raise
    assert total["multiply"] == 4 * (1 + adapts)
    assert total["accumulate"] == fired * (1 + adapts)
    assert total["state"] == 2 * 4 * (1 + adapts)


def test_drawn_means_add_rows():
    x, picks = torch.rand(6, 3), torch.randint(0, 6, (2, 5, 4))
    with torch.no_grad(), count(torch.nn.Identity()) as ops:
        picked_mean(x, picks)
    assert not ops.unknown
    found = ops.modules[OUTSIDE].nonzero
    assert (found["accumulate"], found["multiply"]) == (2 * 5 * 4 * 3, 2 * 5 * 3)


def test_a_random_number_is_a_multiply_accumulate():
    with count(torch.nn.Identity()) as ops:
        torch.rand(7)
        torch.empty(5).uniform_()
        torch.randperm(9)
    assert not ops.unknown
    assert ops.modules[OUTSIDE].nonzero["multiply_accumulate"] == 12
