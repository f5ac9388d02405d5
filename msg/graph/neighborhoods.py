"""What two nodes of a graph have in common: their shared neighbours, counted and weighed."""

from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

_CHUNK = 2**16
"""Pairs whose neighbours are compared together."""

_ROWS = 256
"""Rows that are dense at a time."""


class Neighborhoods:
    r"""The neighbours of every node of an undirected graph, from which pairs of nodes are scored.

    Of a pair :math:`(i, j)`, with :math:`\Gamma` for neighbours, :math:`d` for their number and :math:`A` for the
    adjacency matrix without the edge between ``i`` and ``j`` itself,

    .. math::
        \mathrm{CN} = |\Gamma_i \cap \Gamma_j|, \qquad
        \mathrm{AA} = \sum_{k \in \Gamma_i \cap \Gamma_j} \frac{1}{\log d_k}, \qquad
        \mathrm{RA} = \sum_{k \in \Gamma_i \cap \Gamma_j} \frac{1}{d_k}, \qquad
        \mathrm{L3} = \sum_{k, l} \frac{A_{ik} A_{kl} A_{lj}}{d_k d_l}.

    Since the edge between the two does not count, a training edge has the score that it would have if it were held out:
    all can be read in training without a leak. In the first three it does not occur; a walk of three steps may begin or
    end with it, and with :math:`S_i = \sum_{k \in \Gamma_i} 1/d_k` those that do are

    .. math:: \frac{S_i}{d_i} + \frac{S_j}{d_j} - \frac{1}{d_i d_j}.

    :meth:`degrees` leave the edge out too.

    Sources: `Liben-Nowell & Kleinberg 2007 <https://doi.org/10.1002/asi.20591>`_ (common neighbours); `Adamic & Adar
    2003 <https://doi.org/10.1016/S0378-8733(03)00009-1>`_; `Zhou et al. 2009 <https://arxiv.org/abs/0901.0553>`_
    (resource allocation, and walks of three steps without weights); `Kovács et al. 2019
    <https://doi.org/10.1038/s41467-019-09177-y>`_ (the same with :math:`1/\sqrt{d_k d_l}`; here a walk weighs as much
    as a walker that chooses among all neighbours, as in resource allocation).

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

    def shared(self, pairs: Tensor) -> Tensor:
        """CN, AA and RA alone, which cost far less than walks.

        Shapes:
            ``pairs``: ``[2, M]``; returns ``[M, 3]``, float32, on the CPU.
        """
        return torch.from_numpy(np.asarray(self.common(pairs) @ self._weights))

    def counts(self, pairs: Tensor) -> Tensor:
        """CN, AA, RA and L3.

        Those of the graph's own edges are computed once and looked up.

        Shapes:
            ``pairs``: ``[2, M]``; returns ``[M, 4]``, float32, on the CPU.
        """
        place, found = self._place(pairs)
        if not found.any():
            return self._counted(pairs)
        counts = self._edges[1][torch.from_numpy(place)]
        if not found.all():
            others = torch.from_numpy(~found)
            counts[others] = self._counted(pairs.cpu()[:, others])
        return counts

    def degrees(self, pairs: Tensor) -> Tensor:
        """Number of neighbours of both ends, the other end not counted.

        Shapes:
            ``pairs``: ``[2, M]``; returns ``[M, 2]``, float32, on the CPU.
        """
        source, target = pairs.cpu().numpy()
        joined = self._place(pairs)[1]
        return torch.from_numpy(np.stack([self.degree[source] - joined, self.degree[target] - joined], axis=1))

    def _counted(self, pairs: Tensor) -> Tensor:
        """Counts in which an edge between the two would be seen."""
        return torch.cat([self.shared(pairs), torch.from_numpy(self._walks(pairs))[:, None]], dim=1)

    def _walks(self, pairs: Tensor) -> np.ndarray:
        """L3 with the edge between the two: from the end of fewer neighbours on, the other is two steps away."""
        source, target = pairs.cpu().numpy()
        turned = self.degree[source] > self.degree[target]
        near, far = np.where(turned, target, source), np.where(turned, source, target)
        found = np.zeros(len(near), np.float32)
        order = np.argsort(far, kind="stable")
        for start in range(0, len(near), _CHUNK):
            chunk = order[start : start + _CHUNK]
            steps = self.adjacency[near[chunk]]
            lengths = np.diff(steps.indptr)
            rows = np.repeat(np.arange(len(chunk)), lengths)
            weights = self._from(np.repeat(far[chunk], lengths), steps.indices) * self._weights[steps.indices, 2]
            found[chunk] = np.bincount(rows, weights, minlength=len(chunk))
        return found

    def _from(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Entries of :attr:`_two_steps` of sorted rows, some of which at a time are made dense: searching is slower."""
        found = np.zeros(len(rows), np.float32)
        asked, place = np.unique(rows, return_inverse=True)
        bounds = np.searchsorted(place, np.arange(0, len(asked) + _ROWS, _ROWS))
        for number, begin in enumerate(range(0, len(asked), _ROWS)):
            some = slice(bounds[number], bounds[number + 1])
            dense = self._two_steps[asked[begin : begin + _ROWS]].toarray()
            found[some] = dense[place[some] - begin, columns[some]]
        return found

    @cached_property
    def _two_steps(self) -> sp.csr_matrix:
        """RA of all pairs."""
        two: Any = self.adjacency @ sp.diags(self._weights[:, 2]) @ self.adjacency
        return sp.csr_matrix(two, dtype=np.float32)

    @cached_property
    def _weights(self) -> np.ndarray:
        """Of a node on the way in CN, AA and RA, ``[N, 3]``."""
        one = np.ones_like(self.degree)
        # a shared neighbour has two neighbours at least
        return np.stack([one, one / np.log(np.maximum(self.degree, 2)), one / np.maximum(self.degree, 1)], axis=1)

    @cached_property
    def _edges(self) -> tuple[np.ndarray, Tensor]:
        """Sorted codes of the graph's own edges, and their counts without themselves."""
        above = sp.triu(self.adjacency, k=1, format="coo")
        codes = np.sort(above.row.astype(np.int64) * self.num_nodes + above.col)
        source, target = codes // self.num_nodes, codes % self.num_nodes
        counts = self._counted(torch.from_numpy(np.stack([source, target])))
        weight = self._weights[:, 2]
        around = weight * np.asarray(self.adjacency @ weight)
        own = around[source] + around[target] - weight[source] * weight[target]
        counts[:, 3] = (counts[:, 3] - torch.from_numpy(own)).clamp(min=0)  # may round below
        return codes, counts

    def _place(self, pairs: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Where pairs stand among the graph's own edges, and whether they do."""
        ends = np.sort(pairs.cpu().numpy().astype(np.int64), axis=0)
        wanted, codes = ends[0] * self.num_nodes + ends[1], self._edges[0]
        if not len(codes):
            return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
        place = np.searchsorted(codes, wanted).clip(max=len(codes) - 1)
        return place, codes[place] == wanted
