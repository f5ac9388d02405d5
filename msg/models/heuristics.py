"""Heuristics of link prediction as models without parameters: what the edges alone tell, with nothing trained."""

from collections.abc import Callable
from functools import partial
from numbers import Real

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from msg.graph import Neighborhoods, as_edges
from msg.layers import GraphDecoder
from msg.models.spec import ModelSpec
from msg.sizes import check_sizes

_BLOCK = 512
"""Nodes from which walks start together."""


class SharedNeighbors(GraphDecoder):
    """A score of :class:`~msg.graph.Neighborhoods` as a decoder; what a model returns is not read but for its length.

    Args:
        measure: ``"common-neighbors"``, ``"adamic-adar"``, ``"resource-allocation"`` or ``"l3"``.

    Shapes:
        as of :class:`~msg.layers.StructuralDecoder`; returns ``[M]``, float32.
    """

    measures = ("common-neighbors", "adamic-adar", "resource-allocation", "l3")

    def __init__(self, measure: str):
        super().__init__()
        if measure not in self.measures:
            raise ValueError(f"unknown measure {measure!r}: use {', '.join(map(repr, self.measures))}")
        self.measure = measure

    def forward(self, z: Tensor, edge_label_index: Tensor, edge_index: Tensor) -> Tensor:
        """Scores of the pairs."""
        graph = self.neighborhoods(edge_index, z.size(0))
        found = graph.counts(edge_label_index) if self.measure == "l3" else graph.shared(edge_label_index)
        return found[:, self.measures.index(self.measure)].to(z.device)

    def extra_repr(self) -> str:
        """The measure."""
        return repr(self.measure)


class PersonalizedPageRank(GraphDecoder):
    r"""Where walks with restart from one node of a pair are found at the other, as a decoder.

    .. math::
        \pi_i(j) + \pi_j(i), \qquad \pi_i = \alpha \sum_{t < K} (1 - \alpha)^t P^t e_i + (1 - \alpha)^K P^K e_i,
        \qquad P = A D^{-1}

    the power iteration of personalised PageRank, ``K`` times from where the walk starts. On an undirected graph
    :math:`d_i\,\pi_i(j) = d_j\,\pi_j(i)`, so only one of the two is walked. Unlike shared neighbours it sees the edge
    between two nodes: of training edges it is no fair feature.

    Sources: `Liben-Nowell & Kleinberg 2007 <https://doi.org/10.1002/asi.20591>`_; the iteration is that of `Gasteiger
    et al. 2019 <https://arxiv.org/abs/1810.05997>`_.

    Args:
        alpha: probability of a restart.
        num_hops: ``K``.

    Shapes:
        as of :class:`~msg.layers.StructuralDecoder`; returns ``[M]``, float32.
    """

    def __init__(self, alpha: float = 0.15, num_hops: int = 10):
        super().__init__()
        check_sizes(num_hops=num_hops)
        if not (isinstance(alpha, Real) and 0 < alpha <= 1):
            raise ValueError(f"PageRank needs 0 < alpha <= 1, not {alpha!r}")
        self.alpha, self.num_hops = alpha, num_hops

    def forward(self, z: Tensor, edge_label_index: Tensor, edge_index: Tensor) -> Tensor:
        """Scores of the pairs."""
        graph = self.neighborhoods(edge_index, z.size(0))
        source, target = graph.ends(edge_label_index)
        starts, place = np.unique(source, return_inverse=True)
        order = np.argsort(place, kind="stable")
        bounds = np.searchsorted(place[order], np.arange(0, len(starts) + _BLOCK, _BLOCK))
        found = np.zeros(len(source), np.float32)
        for number, begin in enumerate(range(0, len(starts), _BLOCK)):
            pairs = order[bounds[number] : bounds[number + 1]]
            reached = self._walk(graph, starts[begin : begin + _BLOCK])
            found[pairs] = reached[target[pairs], place[pairs] - begin]
        degree = np.maximum(graph.degree, 1)
        return torch.from_numpy(found * (1 + degree[source] / degree[target])).to(z.device)

    def _walk(self, graph: Neighborhoods, starts: np.ndarray) -> np.ndarray:
        """Where walks from some nodes are found, ``[N, len(starts)]``."""
        step = (1 - self.alpha) * graph.adjacency @ sp.diags(1 / np.maximum(graph.degree, 1))
        home = np.zeros((graph.num_nodes, len(starts)), np.float32)
        home[starts, np.arange(len(starts))] = 1
        reached, step = home, sp.csr_matrix(step, dtype=np.float32)
        for _ in range(self.num_hops):
            reached = step @ reached
            reached[starts, np.arange(len(starts))] += self.alpha
        return reached

    def extra_repr(self) -> str:
        """Restart and hops."""
        return f"alpha={self.alpha:g}, num_hops={self.num_hops}"


class Heuristic(nn.Module):
    """A model that knows nothing of nodes, with a decoder that scores pairs by the edges alone: no parameters.

    Args:
        in_channels: number of features, which are not read.
        decoder: scores pairs.

    Shapes:
        ``x``: ``[N, F]``; ``edge_index``: ``[2, E]``; returns the number of edges that end in each node, ``[N, 1]``.
    """

    def __init__(self, in_channels: int, decoder: GraphDecoder):
        super().__init__()
        self.in_channels, self.link_decoder = in_channels, decoder

    def reset_parameters(self) -> None:
        """There are none."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Degrees."""
        edge_index, _ = as_edges(edge_index, None, x.size(0))
        return torch.bincount(edge_index[1], minlength=x.size(0))[:, None].to(x.dtype)


class CommonNeighbors(Heuristic):
    """Scores pairs by the number of their common neighbours, see :class:`Heuristic`."""

    def __init__(self, in_channels: int):
        super().__init__(in_channels, SharedNeighbors("common-neighbors"))


class AdamicAdar(Heuristic):
    """Scores pairs by Adamic and Adar's sum over common neighbours, see :class:`Heuristic`."""

    def __init__(self, in_channels: int):
        super().__init__(in_channels, SharedNeighbors("adamic-adar"))


class ResourceAllocation(Heuristic):
    """Scores pairs by the resource allocation index, see :class:`Heuristic`."""

    def __init__(self, in_channels: int):
        super().__init__(in_channels, SharedNeighbors("resource-allocation"))


class L3(Heuristic):
    """Scores pairs by walks of three steps, see :class:`~msg.graph.Neighborhoods` and :class:`Heuristic`."""

    def __init__(self, in_channels: int):
        super().__init__(in_channels, SharedNeighbors("l3"))


class PageRank(Heuristic):
    """Scores pairs by personalised PageRank, see :class:`Heuristic`."""

    def __init__(self, in_channels: int, alpha: float = 0.15, num_hops: int = 10):
        super().__init__(in_channels, PersonalizedPageRank(alpha, num_hops))


def _build(in_channels: int, out_channels: int | None, kind: Callable[[int], Heuristic]) -> Heuristic:
    if out_channels is not None:
        raise ValueError("a heuristic of link prediction has no classes: use another model")
    return kind(in_channels)


def _spec(kind: Callable[[int], Heuristic], about: str) -> ModelSpec:
    build = partial(_build, kind=kind)
    return ModelSpec(build, frozenset(), f"{about}, nothing trained", tasks=("link-prediction",), own_decoder=True)


COMMON_NEIGHBORS_SPEC = _spec(CommonNeighbors, "number of common neighbours")
ADAMIC_ADAR_SPEC = _spec(AdamicAdar, "common neighbours, those of few others more")
RESOURCE_ALLOCATION_SPEC = _spec(ResourceAllocation, "common neighbours, each by one over its degree")
L3_SPEC = _spec(L3, "walks of three steps, each by one over its degrees")
PAGERANK_SPEC = _spec(PageRank, "personalised PageRank of one node at the other")
