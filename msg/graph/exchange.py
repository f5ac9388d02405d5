"""What crosses between the processes that hold the parts of a graph: rows of border nodes, in one all-to-all."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


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
        return self._here(rows.index_select(0, self.send))

    def back(self, rows: Tensor) -> Tensor:
        """The other way: what others have for the rows that :attr:`send` names, from the halo's ``[H, ...]``."""
        return self._all_to_all(rows.contiguous(), self.receive_counts, self.send_counts)

    def halo_words(self, words: Tensor, channels: int) -> Tensor:
        """:meth:`halo` of packed spikes ``[N, T, ceil(d / 32)]``, of which whole bytes of ``d`` bits cross."""
        size = -(-channels // 8)
        # the first byte of a word holds its first eight bits on every machine that torch runs on
        crossed = self._here(words.index_select(0, self.send).view(torch.uint8)[..., :size].contiguous())
        halo = torch.zeros(*crossed.shape[:2], 4 * words.size(2), dtype=torch.uint8, device=words.device)
        halo[..., :size] = crossed
        return halo.view(torch.int32)

    def halo_counts(self, counts: Tensor, channels: int, levels: int) -> Tensor:
        """:meth:`halo` of counts ``[N, c]`` from 0 to ``levels``, of which bits of the first ``channels`` cross."""
        rows = counts[self.send, :channels]
        place = torch.arange(8, dtype=torch.uint8, device=counts.device)
        rows = torch.nn.functional.pad(rows, (0, -channels % 8))
        planes = torch.empty(len(rows), planes_of(levels), rows.size(1) // 8, dtype=torch.uint8, device=rows.device)
        for plane in range(planes.size(1)):  # one at a time: a plane of bytes takes as much as the counts
            bits = ((rows >> plane) & 1).to(torch.uint8).unflatten(1, (-1, 8))
            planes[:, plane] = (bits << place).sum(-1, dtype=torch.uint8)
        planes = self._here(planes)
        halo = counts.new_zeros(planes.size(0), counts.size(1))
        for plane in range(planes.size(1)):
            bits = (planes[:, plane, :, None] >> place) & 1
            halo[:, :channels] += bits.flatten(1)[:, :channels].to(counts.dtype) << plane
        return halo

    def total(self, numbers: Tensor) -> Tensor:
        """The sum of what all processes give, the same in each."""
        numbers = numbers.clone()
        if len(self.send_counts) > 1:
            dist.all_reduce(numbers, group=self.group)
        return numbers

    def _here(self, sent: Tensor) -> Tensor:
        return self._all_to_all(sent, self.send_counts, self.receive_counts)

    def _all_to_all(self, rows: Tensor, sizes: list[int], arriving: list[int]) -> Tensor:
        out = rows.new_empty(sum(arriving), *rows.shape[1:])
        if len(sizes) > 1:
            dist.all_to_all_single(out, rows, arriving, sizes, self.group)
            self.sent += rows.numel() * rows.element_size()
        return out
