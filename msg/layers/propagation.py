"""Propagation of features without weights."""

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from msg.graph import Graph, GraphMemo
from msg.sizes import check_sizes


class Propagation(nn.Module):
    r"""``K`` hops of the normalised adjacency without weights: :math:`\hat A^K X` with
    :math:`\hat A = D^{-1/2}(A + I)D^{-1/2}`.

    Args:
        num_hops: ``K``.
        signed: whether what comes out, :math:`h`, is given as :math:`[h, -h]`: on and off channels, so that neurons,
            which fire on positive currents alone, can say both signs.

    Shapes:
        ``x``: ``[N, F]``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; returns ``[N, F]``, or ``[N, 2 F]``.

    Raises:
        ValueError: for a negative number of hops.
    """

    def __init__(self, num_hops: int, signed: bool = False):
        super().__init__()
        check_sizes(0, num_hops=num_hops)
        self.num_hops, self.signed = num_hops, signed
        self._graphs = GraphMemo()

    def reset_parameters(self) -> None:
        """Nothing to learn here."""

    def hops(self, x: Tensor, edge_index: Tensor | Graph, edge_weight: Tensor | None = None) -> Iterator[Tensor]:
        """``x``, then what it is after each hop, one at a time."""
        yield from self._hops(x, self._graphs.graph(edge_index, edge_weight, x.size(0)))

    def along(self, x: Tensor, graph: Graph) -> Tensor:
        """What :meth:`forward` returns, on a graph that layers share: of its targets."""
        return self.channels(deque(self._hops(x, graph), maxlen=1).pop())

    def channels(self, h: Tensor) -> Tensor:
        """What comes out of what has been propagated, ``[N, F]``: itself, or on and off channels ``[N, 2 F]``."""
        return torch.cat([h, -h], dim=-1) if self.signed else h

    def _hops(self, x: Tensor, graph: Graph) -> Iterator[Tensor]:
        yield x
        for part in graph.along([1] * self.num_hops):
            x = part.normalized(x.dtype).matmul(x)
            yield x

    def forward(self, x: Tensor, edge_index: Tensor | Graph, edge_weight: Tensor | None = None) -> Tensor:
        return self.channels(deque(self.hops(x, edge_index, edge_weight), maxlen=1).pop())

    def extra_repr(self) -> str:
        return f"num_hops={self.num_hops}" + (", signed=True" if self.signed else "")
