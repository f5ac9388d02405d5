"""Packed spikes: what goes in comes out, in as little room as is said."""

import pytest
import torch

from msg.kernels import PackedSpikes, operators, pack, reference

SHAPES = [(5, 3, 32), (4, 1, 1), (3, 70, 33), (7, 5, 8), (2, 4, 100), (0, 3, 32), (300, 2, 64)]


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bool, torch.int64], ids=str)
def test_round_trip(shape, dtype):
    spikes = (torch.rand(shape) < 0.4).to(dtype)
    packed = pack(spikes)
    assert packed.words.dtype == torch.int32
    assert packed.words.shape == (*shape[:2], -(-shape[2] // 32))
    assert packed.timesteps == shape[1]
    assert torch.equal(packed.unpack(), spikes.float())
    assert torch.equal(packed.unpack(torch.float64), spikes.double())
    assert torch.equal(packed.rates(torch.float64), spikes.double().mean(1))
    assert torch.equal(packed.words, reference.pack(spikes))


def test_bit_of_a_neuron():
    spikes = torch.zeros(1, 1, 40)
    spikes[0, 0, [0, 31, 33]] = 1
    assert pack(spikes).words.tolist() == [[[1 - 2**31, 2]]]


def test_what_is_above_zero_is_a_spike():
    spikes = torch.tensor([[[0.5, -1.0, torch.nan, 0.0, torch.inf]]])
    assert pack(spikes).unpack().tolist() == [[[1.0, 0.0, 0.0, 0.0, 1.0]]]


def test_rows_that_are_not_contiguous():
    spikes = (torch.rand(6, 4, 32) < 0.5).float()
    turned = spikes.transpose(0, 1)
    assert torch.equal(pack(turned).unpack(), turned)
    packed = PackedSpikes(pack(spikes).words.transpose(0, 1), 32)
    assert torch.equal(packed.unpack(), turned)


@pytest.mark.parametrize("wrong", [torch.zeros(3, 4), torch.zeros(1, 2, 3, dtype=torch.complex64)])
def test_what_is_no_train_is_refused(wrong):
    with pytest.raises(ValueError, match="real of shape"):
        pack(wrong)


def test_a_thirty_second_of_the_memory():
    spikes = torch.zeros(10, 15, 64)
    assert 32 * pack(spikes).words.nbytes == spikes.nbytes


def test_counts_are_exact():
    words = pack(torch.ones(2, 300, 5)).words
    assert operators.count(words, 5).tolist() == [[300] * 5] * 2
