"""Spikes as bits."""

from typing import NamedTuple

import torch
from torch import Tensor

from msg.kernels import operators


class PackedSpikes(NamedTuple):
    r"""Spike trains of ``N`` nodes with ``d`` neurons each over ``T`` steps, one bit a spike.

    Bit ``j`` of word ``w`` is the spike of neuron ``32 w + j``; bits beyond ``d`` are zero. A train takes
    :math:`\lceil d/32 \rceil` words of four bytes a node and step, a thirty-second of float32 where ``d`` fills them.

    Attributes:
        words: int32, ``[N, T, ceil(d / 32)]``.
        channels: ``d``.
    """

    words: Tensor
    channels: int

    @property
    def timesteps(self) -> int:
        """``T``."""
        return self.words.size(1)

    def unpack(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The spikes as zeros and ones, ``[N, T, d]``."""
        return operators.unpack(self.words, self.channels, dtype)

    def rates(self, dtype: torch.dtype = torch.float32) -> Tensor:
        r"""Firing rates :math:`\frac1T\sum_t s_t`, ``[N, d]``."""
        return operators.count(self.words, self.channels).to(dtype) / self.timesteps


def pack(spikes: Tensor) -> PackedSpikes:
    """Pack spike trains.

    Args:
        spikes: ``[N, T, d]`` of any real type; what is above zero is a spike.

    Raises:
        ValueError: for another number of dimensions, or complex numbers.
    """
    if spikes.dim() != 3 or spikes.is_complex():
        raise ValueError(f"spikes must be real of shape [N, T, d], not {spikes.dtype} of shape {list(spikes.shape)}")
    return PackedSpikes(operators.pack(spikes), spikes.size(2))
