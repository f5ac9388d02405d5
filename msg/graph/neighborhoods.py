"""What two nodes of a graph have in common: their shared neighbours, counted and weighed."""

from functools import cached_property

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

_CHUNK = 2**16
"""Pairs whose neighbours are compared together."""


class Neighborhoods:
    r"""The neighbours of every node of an undirected graph, from which pairs of nodes are scored.

    Of a pair :math:`(i, j)`, with :math:`\Gamma` for neighbours and :math:`d` for their number,

    .. math::
        \mathrm{CN} = |\Gamma_i \cap \Gamma_j|, \qquad
        \mathrm{AA} = \sum_{k \in \Gamma_i \cap \Gamma_j} \frac{1}{\log d_k}, \qquad
        \mathrm{RA} = \sum_{k \in \Gamma_i \cap \Gamma_j} \frac{1}{d_k}.

    None of them sees the edge between ``i`` and ``j`` itself, so a training edge has the score that it would have if it
    were held out: they can be read in training without a leak. :meth:`degrees` leave that edge out too.

    Sources: `Liben-Nowell & Kleinberg 2007 <https://doi.org/10.1002/asi.20591>`_ (common neighbours); `Adamic & Adar
    2003 <https://doi.org/10.1016/S0378-8733(03)00009-1>`_; `Zhou et al. 2009 <https://arxiv.org/abs/0901.0553>`_
    (resource allocation).

    Args:
        edge_index: ``[2, E]``; an edge and its reverse are one, self-loops are left out.
        num_nodes: ``N``.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int):
        source, target = edge_index.cpu().numpy()
        kept = source != target
        ends = np.concatenate([source[kept], target[kept]]), np.concatenate([target[kept], source[kept]])
        adjacency = sp.csr_matrix((np.ones(len(ends[0]), np.float32), ends), shape=(num_nodes, num_nodes))
        adjacency.data[:] = 1  # duplicates have been added up
        adjacency.sort_indices()
        self.adjacency, self.num_nodes = adjacency, num_nodes
        self.degree = np.diff(adjacency.indptr).astype(np.float32)

    def common(self, pairs: Tensor) -> sp.csr_matrix:
        """Which nodes are neighbours of both: a row of ones and zeros for each pair.

        Shapes:
            ``pairs``: ``[2, M]``; returns ``[M, N]``.
        """
        source, target = pairs.cpu().numpy()
        chunks = [slice(start, start + _CHUNK) for start in range(0, max(len(source), 1), _CHUNK)]
        rows = [self.adjacency[source[chunk]].multiply(self.adjacency[target[chunk]]) for chunk in chunks]
        return sp.csr_matrix(sp.vstack(rows))

    def weighed(self, pairs: Tensor, weights: np.ndarray) -> Tensor:
        """Sum of the shared neighbours' weights.

        Shapes:
            ``pairs``: ``[2, M]``; ``weights``: ``[N, K]``; returns ``[M, K]``, float32, on the CPU.
        """
        return torch.from_numpy(np.asarray(self.common(pairs) @ weights.astype(np.float32)))

    def counts(self, pairs: Tensor) -> Tensor:
        """Common neighbours, Adamic–Adar and resource allocation.

        Those of the graph's own edges are computed once and looked up.

        Shapes:
            ``pairs``: ``[2, M]``; returns ``[M, 3]``, float32, on the CPU.
        """
        codes, known = self._edges
        if not len(codes):
            return torch.zeros(pairs.size(1), 3)
        wanted = self._codes(pairs)
        place = np.searchsorted(codes, wanted).clip(max=len(codes) - 1)
        found = torch.from_numpy(codes[place] == wanted)
        counts = known[torch.from_numpy(place)]
        counts[~found] = self.weighed(pairs.cpu()[:, ~found], self._weights)
        return counts

    def degrees(self, pairs: Tensor) -> Tensor:
        """Number of neighbours of both ends, the other end not counted.

        Shapes:
            ``pairs``: ``[2, M]``; returns ``[M, 2]``, float32, on the CPU.
        """
        source, target = pairs.cpu().numpy()
        joined = np.isin(self._codes(pairs), self._edges[0])
        return torch.from_numpy(np.stack([self.degree[source] - joined, self.degree[target] - joined], axis=1))

    @property
    def _weights(self) -> np.ndarray:
        """Of a shared neighbour in the three scores; it has two neighbours at least."""
        degree = np.maximum(self.degree, 2)
        return np.stack([np.ones_like(degree), 1 / np.log(degree), 1 / degree], axis=1)

    @cached_property
    def _edges(self) -> tuple[np.ndarray, Tensor]:
        """Sorted codes of the graph's own edges, and their counts."""
        above = sp.triu(self.adjacency, k=1, format="coo")
        codes = np.sort(above.row.astype(np.int64) * self.num_nodes + above.col)
        pairs = torch.from_numpy(np.stack([codes // self.num_nodes, codes % self.num_nodes]))
        return codes, self.weighed(pairs, self._weights)

    def _codes(self, pairs: Tensor) -> np.ndarray:
        ends = np.sort(pairs.cpu().numpy().astype(np.int64), axis=0)
        return ends[0] * self.num_nodes + ends[1]
