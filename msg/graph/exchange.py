"""What crosses between the processes that hold the parts of a graph: rows of border nodes, in one all-to-all."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from msg.kernels import operators


def planes_of(levels: int) -> int:
    r"""Bits of a count from 0 to ``levels``: :math:`\lceil\log_2(\text{levels} + 1)\rceil`."""
    return levels.bit_length()


class Border:
    """Which rows every other part needs of this one, and how many it gets from each; it counts what it sends.

    Args:
        send: own rows to send, those for part 0 first, then those for part 1 and so on.
        send_counts: how many for each part.
        receive_counts: how many come from each part, in that order.
        group: the processes, part ``r`` in that of rank ``r``; ``None`` is all of them.

    Attributes:
        sent: bytes sent to other processes so far, gradients included; those of weights are DDP's and not in it.
    """

    def __init__(self, send: Tensor, send_counts: Sequence[int], receive_counts: Sequence[int], group=None):
        self.send, self.send_counts, self.receive_counts = send, list(send_counts), list(receive_counts)
        self.group = group
        self.sent = 0

    def __getstate__(self) -> dict:
        """Without the processes: a part that is kept or sent belongs to those that read it."""
        return {**vars(self), "group": None, "sent": 0}

    def halo(self, rows: Tensor) -> Tensor:
        """Rows of the halo ``[H, ...]``, where each part has its own ``rows [N, ...]``."""
        return self._all_to_all(rows[self.send], self.send_counts, self.receive_counts)

    def back(self, rows: Tensor) -> Tensor:
        """The other way: what others have for the rows that :attr:`send` names, from the halo's ``[H, ...]``."""
        return self._all_to_all(rows.contiguous(), self.receive_counts, self.send_counts)

    def whole(self, rows: Tensor) -> Tensor:
        """Own rows, then those of the halo."""
        return torch.cat([rows, self.halo(rows)])

    def whole_words(self, words: Tensor, channels: int) -> Tensor:
        """The same for packed spikes ``[N, T, ceil(d / 32)]``, of which whole bytes of ``d`` bits cross."""
        size = -(-channels // 8)
        # the first byte of a word holds its first eight bits on every machine that torch runs on
        crossed = self.halo(words.contiguous().view(torch.uint8)[..., :size].contiguous())
        halo = torch.zeros(*crossed.shape[:2], 4 * words.size(2), dtype=torch.uint8, device=words.device)
        halo[..., :size] = crossed
        return torch.cat([words, halo.view(torch.int32)])

    def whole_counts(self, counts: Tensor, channels: int, levels: int) -> Tensor:
        """The same for counts ``[N, c]`` from 0 to ``levels`` in the first ``channels`` columns, as planes of bits."""
        place = torch.arange(planes_of(levels), device=counts.device)
        planes = (counts[:, None, :channels].long() >> place[:, None]) & 1
        words = self.halo_words(operators.pack(planes.to(torch.uint8)), channels)
        halo = (operators.unpack(words, channels, torch.int64) << place[:, None]).sum(1)
        filled = counts.new_zeros(halo.size(0), counts.size(1))
        filled[:, :channels] = halo.to(counts.dtype)
        return torch.cat([counts, filled])

    def halo_words(self, words: Tensor, channels: int) -> Tensor:
        """Those of :meth:`whole_words` that came from others."""
        return self.whole_words(words, channels)[words.size(0) :]

    def _all_to_all(self, rows: Tensor, sizes: list[int], arriving: list[int]) -> Tensor:
        out = rows.new_empty(sum(arriving), *rows.shape[1:])
        if len(sizes) > 1:
            dist.all_to_all_single(out, rows, arriving, sizes, self.group)
            self.sent += rows.numel() * rows.element_size()
        return out
