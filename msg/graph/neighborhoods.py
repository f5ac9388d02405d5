"""What two nodes of a graph have in common: their shared neighbours, counted and weighed."""

from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from msg.kernels.choice import compiled
from msg.kernels.threads import over_rows

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
        source, target = self.ends(pairs)
        chunks = [slice(start, start + _CHUNK) for start in range(0, max(len(source), 1), _CHUNK)]
        rows = [self.adjacency[source[chunk]].multiply(self.adjacency[target[chunk]]) for chunk in chunks]
        return sp.csr_matrix(sp.vstack(rows))

    def shared(self, pairs: Tensor) -> Tensor:
        """CN, AA and RA alone, which cost far less than walks.

        Shapes:
            ``pairs``: ``[2, M]``; returns ``[M, 3]``, float32, on the CPU.
        """
        if (kernels := compiled("neighborhoods")) is not None:
            return self._compiled(kernels, pairs, 3)
        return torch.from_numpy(np.asarray(self.common(pairs) @ self._weights))

    def counts(self, pairs: Tensor) -> Tensor:
        """CN, AA, RA and L3.

        Those of the graph's own edges are computed once and looked up.

        Shapes:
            ``pairs``: ``[2, M]``; returns ``[M, 4]``, float32, on the CPU.

        Raises:
            IndexError: for pairs of nodes that the graph does not have, as do the others.
        """
        return self._looked_up(pairs, self._place(pairs))

    def degrees(self, pairs: Tensor) -> Tensor:
        """Number of neighbours of both ends, the other end not counted.

        Shapes:
            ``pairs``: ``[2, M]``; returns ``[M, 2]``, float32, on the CPU.
        """
        return self._without(pairs, self._place(pairs))

    def counts_and_degrees(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`counts` and :meth:`degrees` at once."""
        place = self._place(pairs)
        return self._looked_up(pairs, place), self._without(pairs, place)

    def _looked_up(self, pairs: Tensor, place: np.ndarray) -> Tensor:
        joined = place >= 0
        if not joined.any():
            return self._counted(pairs)
        counts = self._of_edges[torch.from_numpy(place)]
        if not joined.all():
            others = torch.from_numpy(~joined)
            counts[others] = self._counted(pairs.cpu()[:, others])
        return counts

    def _without(self, pairs: Tensor, place: np.ndarray) -> Tensor:
        source, target = self.ends(pairs)
        joined = place >= 0
        return torch.from_numpy(np.stack([self.degree[source] - joined, self.degree[target] - joined], axis=1))

    def _counted(self, pairs: Tensor) -> Tensor:
        """Counts in which an edge between the two would be seen."""
        if (kernels := compiled("neighborhoods")) is not None:
            return self._compiled(kernels, pairs, 4)
        return torch.cat([self.shared(pairs), torch.from_numpy(self._walks(pairs))[:, None]], dim=1)

    def _compiled(self, kernels: Any, pairs: Tensor, columns: int) -> Tensor:
        """The first so many counts, of pairs grouped by the end that fewer walks of two steps leave from."""
        source, target = self.ends(pairs)
        turned = self._ways[source] > self._ways[target]
        near, far = np.where(turned, target, source), np.where(turned, source, target)
        pointers = np.concatenate([[0], np.bincount(near, minlength=self.num_nodes).cumsum()])
        found = torch.empty(len(near), columns)
        adjacency, order = self.adjacency, np.argsort(near, kind="stable")
        arguments = adjacency.indptr, adjacency.indices, self._weights, pointers, order, far
        over_rows(self.num_nodes, lambda first, last: kernels.counts(*arguments, first, last, found.numpy()))
        return found

    @cached_property
    def _ways(self) -> np.ndarray:
        """How many walks of two steps leave from a node."""
        return np.asarray(self.adjacency @ self.degree)

    def _walks(self, pairs: Tensor) -> np.ndarray:
        """L3 with the edge between the two: from the end of fewer neighbours on, the other is two steps away."""
        source, target = self.ends(pairs)
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
    def _of_edges(self) -> Tensor:
        """Counts of the graph's own edges without themselves, as they stand in the adjacency matrix."""
        source, target = self._rows, self.adjacency.indices
        counts = self._counted(torch.from_numpy(np.stack([source, target])))
        weight = self._weights[:, 2]
        around = weight * np.asarray(self.adjacency @ weight)
        own = around[source] + around[target] - weight[source] * weight[target]
        counts[:, 3] = (counts[:, 3] - torch.from_numpy(own)).clamp(min=0)  # may round below
        return counts

    @cached_property
    def _rows(self) -> np.ndarray:
        """Row of each entry of the adjacency matrix."""
        return np.repeat(np.arange(self.num_nodes), np.diff(self.adjacency.indptr))

    @cached_property
    def _codes(self) -> np.ndarray:
        """Row and column of each entry as one number, sorted."""
        return self._rows * self.num_nodes + self.adjacency.indices

    def _place(self, pairs: Tensor) -> np.ndarray:
        """Where pairs stand in the adjacency matrix; below zero for those that do not."""
        source, target = self.ends(pairs)
        if (kernels := compiled("neighborhoods")) is not None:
            found = np.empty(len(source), np.int64)
            kernels.places(self.adjacency.indptr, self.adjacency.indices, source, target, found)
            return found
        if not len(self._codes):
            return np.full(len(source), -1)
        wanted = source * self.num_nodes + target
        place = np.searchsorted(self._codes, wanted).clip(max=len(self._codes) - 1)
        return np.where(self._codes[place] == wanted, place, -1)

    def ends(self, pairs: Tensor) -> np.ndarray:
        """Both ends of pairs, ``[2, M]``, looked at: the kernels read what they are given."""
        if pairs.numel() and not 0 <= int(pairs.min()) <= int(pairs.max()) < self.num_nodes:
            raise IndexError(f"pairs must name nodes 0 to {self.num_nodes - 1}: one of them does not")
        return pairs.cpu().numpy().astype(np.int64, copy=False)
