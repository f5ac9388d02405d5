"""Parts of a graph, drawn for mini-batches."""

from collections.abc import Sequence
from contextlib import suppress
from numbers import Integral
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    NegativeSampling,
    NodeSamplerInput,
    NumNeighbors,
    SamplerOutput,
)
from torch_geometric.sampler.base import SubgraphType

from msg.graph.graph import Graph
from msg.kernels import choice, reference_sampling
from msg.kernels.reference_splitmix import GAMMA, mix
from msg.kernels.threads import over_rows


@runtime_checkable
class Neighbours(Protocol):
    """Edges sorted by target, wherever they are kept.

    Attributes:
        pointers: where the edges into each node begin, and the last ones end, int64 ``[N + 1]``.
        columns: the node that each comes from, int32 (int64 for more than 2^31 nodes) ``[E]``.
    """

    pointers: Tensor
    columns: Tensor

    @property
    def num_nodes(self) -> int:
        """``N``."""
        ...


class NeighborSampler(BaseSampler):
    r"""Neighbours of seed nodes or seed links, hop by hop, for PyG's own loaders.

    ``NodeLoader(data, node_sampler=sampler)`` and ``LinkLoader(data, link_sampler=sampler)`` of
    ``torch_geometric.loader`` use it as they use PyG's, which needs pyg-lib or torch-sparse. Compiled by numba where
    that is installed, plain NumPy elsewhere, with the very same sample.

    At hop :math:`h` every node that was met at hop :math:`h-1` draws :math:`k_h` of the :math:`d` edges that lead to
    it. Without replacement each set of :math:`k_h` edges is as likely as another, so an edge is drawn with probability
    :math:`\min(1, k_h / d)`; with replacement there are :math:`k_h` independent draws. With weights, a draw takes edge
    :math:`e` with probability :math:`w_e / \sum_f w_f`, where :math:`f` runs over the edges that are not drawn yet
    (successive sampling), or over all of them with replacement. An edge of weight zero is as if it were not there.

    The output is PyG's: seeds first, in their order, then nodes in the order in which they were met; edges hop by hop,
    from neighbour ``row`` to ``col``, both numbered within the sample; ``num_sampled_nodes`` and ``num_sampled_edges``
    for ``torch_geometric.utils.trim_to_layer``. A seed that is given twice stands there twice, and draws twice.

    Source: `Hamilton, Ying & Leskovec 2017, Inductive Representation Learning on Large Graphs
    <https://arxiv.org/abs/1706.02216>`_; without replacement and with weights, `Efraimidis & Spirakis 2006, Weighted
    random sampling with a reservoir <https://doi.org/10.1016/j.ipl.2005.11.003>`_.

    Args:
        data: a homogeneous graph. Its edges are sorted by target once, here; later changes are not seen. Or
            ``Neighbours``, such as a graph that :func:`msg.datasets.open_graph` maps from disk, whose edges are
            read where they are.
        num_neighbors: :math:`k_h` for each hop; -1 takes all neighbours.
        subgraph_type: ``"directional"``, the edges that were drawn; ``"bidirectional"``, these and their reverses;
            ``"induced"``, all edges between the nodes that were met. The latter two have no ``num_sampled_nodes`` and
            ``num_sampled_edges``.
        replace: draw with replacement.
        disjoint: every seed gets a subgraph of its own, told by ``batch``; else seeds share nodes.
        weight_attr: name of the edges' weights in ``data``: ``[E]``, not negative, finite.
        seed: ``None`` draws from torch's generator of the process that samples, so ``torch.manual_seed`` reproduces
            what the same number of workers drew. With a number, the sample of a batch depends on that number, on the
            epoch (:meth:`set_epoch`) and on the seeds of the batch alone: neither on the process that draws it nor on
            what was drawn before.

    Raises:
        ValueError: if ``data`` is no homogeneous graph, or an argument does not have these values.
    """

    def __init__(
        self,
        data: "Data | Neighbours",
        num_neighbors: Sequence[int] | NumNeighbors,
        subgraph_type: str | SubgraphType = "directional",
        replace: bool = False,
        disjoint: bool = False,
        weight_attr: str | None = None,
        seed: int | None = None,
    ):
        _check_data(data)
        self.num_neighbors = _fanouts(num_neighbors)
        self.subgraph_type = _subgraph_type(subgraph_type)
        self.replace, self.disjoint = replace, disjoint
        if disjoint and self.subgraph_type == SubgraphType.induced:
            raise ValueError("disjoint subgraphs cannot be induced ones: leave out one of the two")
        if seed is not None and not _whole(seed):
            raise ValueError(f"seed must be an integer or None, not {seed!r}")
        self.seed = seed if seed is None else int(seed)
        self.num_nodes = int(data.num_nodes or 0)
        weight = None if weight_attr is None else _weights(data, weight_attr)
        if isinstance(data, Data):
            edge_index = torch.empty(2, 0, dtype=torch.long) if data.edge_index is None else data.edge_index
            graph = Graph(edge_index, weight, self.num_nodes)
            weight = None if weight is None else weight.detach().cpu().double()
            self._pointers, self._source, self._order = _csc(graph.edge_index.cpu(), weight, self.num_nodes)
        else:
            self._pointers, self._source, self._order = data.pointers, data.columns, None
        self._longest = int(self._pointers.diff().max()) if self.num_nodes else 0
        if weight is not None:
            weight = weight if self._order is None else weight[self._order]
            weight = weight / weight.max() if len(weight) else weight
        self._weight = _summed(weight, self._pointers, self._longest) if weight is not None and replace else weight
        self._epoch = torch.zeros((), dtype=torch.long)
        with suppress(RuntimeError):  # no shared memory: then there are no workers either
            self._epoch.share_memory_()
        self._places: list[Any] = []
        # compiled here, so that workers that are forked from this process have nothing to compile
        self._sample(torch.empty(0, dtype=torch.long), np.uint64(0))

    def set_epoch(self, epoch: int) -> None:
        """Draw other samples for the same batches from now on, in workers that are running too.

        Only needed with a ``seed`` and batches that come again, as they do where a loader does not shuffle.

        Args:
            epoch: any number of its own.
        """
        self._epoch.fill_(epoch)

    @property
    def edge_permutation(self) -> Tensor | None:
        """Which edge of ``data`` each edge of the sampler is, ``[E]``; ``None`` where they are the same."""
        return self._order

    def sample_from_nodes(self, index: NodeSamplerInput, **kwargs: Any) -> SamplerOutput:
        """Sample around nodes.

        Args:
            index: the seeds, ``index.node``.
            **kwargs: none.

        Raises:
            ValueError: if seeds are no nodes, or have a time or a type.
        """
        _check_input(index, **kwargs)
        seeds = self._checked(index.node)
        out = self._sample(seeds, self._key(seeds))
        out.metadata = (index.input_id, None)
        return out

    def sample_from_edges(
        self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None, **kwargs: Any
    ) -> SamplerOutput:
        """Sample around both ends of links, and of links that are drawn as negative ones.

        Negative ends are drawn alike, or by the weights of ``neg_sampling``; some may be links, as in PyG.

        Args:
            index: the links, from ``index.row`` to ``index.col``, perhaps with labels.
            neg_sampling: ``"binary"`` draws pairs of nodes, labelled 0; ``"triplet"`` other targets for each source.
            **kwargs: none.

        Raises:
            ValueError: if ends are no nodes, links have a time or a type, or labels come with ``"triplet"``.
        """
        _check_input(index, **kwargs)
        source, target = self._checked(index.row), self._checked(index.col)
        negative: Any = NegativeSampling.cast(neg_sampling)  # of a word or a dict, too
        key = self._key(torch.cat((source, target)))
        links, label = len(source), index.label
        if negative is not None:
            if negative.is_triplet() and label is not None:
                raise ValueError("labels do not go with triplets of links: leave out edge_label, or sample 'binary'")
            generator = torch.Generator().manual_seed(int(key))
            number = int(np.ceil(links * negative.amount))
            if negative.is_binary():
                label = torch.ones(links) if label is None else label
                label = torch.cat((label, label.new_zeros(number, *label.shape[1:])))
                source = torch.cat((source, _drawn(negative.src_weight, number, self.num_nodes, generator)))
            target = torch.cat((target, _drawn(negative.dst_weight, number, self.num_nodes, generator)))
        seeds = torch.cat((source, target))
        end = torch.arange(len(seeds))
        if not self.disjoint:
            seeds, end = seeds.unique(return_inverse=True)
        out = self._sample(seeds, key)
        if out.batch is not None:  # a link's subgraphs, and those of its negatives, have one number
            out.batch = torch.cat((torch.arange(len(source)), torch.arange(len(target))))[out.batch] % links
        if negative is None or negative.is_binary():
            out.metadata = (index.input_id, end.view(2, -1), label, None)
        else:
            other = end[2 * links :].view(-1, links).t()
            other = other[:, 0] if other.size(1) == 1 else other
            out.metadata = (index.input_id, end[:links], end[links : 2 * links], other, None)
        return out

    def _checked(self, nodes: Tensor) -> Tensor:
        nodes = nodes.long().contiguous()
        if nodes.numel() and not 0 <= int(nodes.min()) <= int(nodes.max()) < self.num_nodes:
            raise ValueError(
                f"seeds refer to node {int(nodes.max())} (smallest: {int(nodes.min())}), but data has "
                f"{self.num_nodes} nodes"
            )
        return nodes

    def _key(self, seeds: Tensor) -> np.uint64:
        """What the random numbers of a batch are a function of."""
        if self.seed is None:
            return np.uint64(torch.empty((), dtype=torch.long).random_().item())
        words = np.array([self.seed % 2**64, self.epoch % 2**64, len(seeds)], dtype=np.uint64)
        words = np.concatenate((words, seeds.numpy().view(np.uint64)))
        place = np.arange(1, len(words) + 1, dtype=np.uint64) * np.uint64(GAMMA)
        mixed = mix(words + mix(place))
        return mix(mixed.sum(keepdims=True))[0]

    @property
    def epoch(self) -> int:
        """What :meth:`set_epoch` was told last; zero at first."""
        return int(self._epoch)

    def _sample(self, seeds: Tensor, key: np.uint64) -> SamplerOutput:
        kernels: Any = choice.compiled("sampling") or reference_sampling
        pointers, source = self._pointers.numpy(), self._source.numpy()
        groups, hops = len(seeds) if self.disjoint else 1, len(self.num_neighbors)
        starts = np.zeros((hops + 1, groups + 1), dtype=np.int64)
        starts[0] = np.arange(groups + 1) if self.disjoint else (0, len(seeds))
        nodes, edges = seeds.numpy(), np.empty((3, 0), dtype=np.int64)
        drawn = []
        place = self._place()
        for hop, fanout in enumerate(self.num_neighbors):
            start, known = starts[hop, 0], starts[hop, -1]
            frontier = nodes[start:known]
            offsets = np.empty(len(frontier) + 1, dtype=np.int64)
            kernels.count(pointers, frontier, fanout, self.replace, offsets)
            edges, begin = _longer(edges, offsets[-1]), edges.shape[1]
            row, col, edge = edges[:, begin:]
            origin = np.empty(offsets[-1], dtype=source.dtype)
            self._draw(kernels, (frontier, offsets, int(start)), fanout, key, (edge, origin, col))
            nodes = _longer(nodes[:known], offsets[-1])
            kernels.relabel(nodes, starts, hop, offsets, origin, place, row)
            drawn.append(int(offsets[-1]))
        nodes = nodes[: starts[-1, -1]].copy()
        if self.subgraph_type == SubgraphType.induced:
            edges = kernels.induced(pointers, source, nodes, place)
        self._places.append(place)
        row, col, edge = map(torch.from_numpy, edges)
        out = SamplerOutput(torch.from_numpy(nodes), row, col, edge)
        if self.disjoint:
            out.batch = torch.from_numpy(np.concatenate([np.repeat(np.arange(groups), np.diff(s)) for s in starts]))
        if self.subgraph_type == SubgraphType.directional:
            out.num_sampled_nodes, out.num_sampled_edges = (starts[:, -1] - starts[:, 0]).tolist(), drawn
        return out if self.subgraph_type != SubgraphType.bidirectional else out.to_bidirectional()

    def _place(self) -> Any:
        """A number for each node, all -1; taken out while in use, so no thread and no fork meets it half written."""
        try:
            return self._places.pop()
        except IndexError:
            return np.full(self.num_nodes, -1, dtype=np.int32)

    def _draw(self, kernels: Any, frontier: tuple, fanout: int, key: np.uint64, out: tuple) -> None:
        """Edges that lead to the nodes of a hop, shared out to threads."""
        pointers, source = self._pointers.numpy(), self._source.numpy()
        if self._weight is None or fanout < 0:
            given = (pointers, source, *frontier, fanout, self.replace, key, self._longest)
            draw = kernels.uniform
        else:
            given = (pointers, source, self._weight.numpy(), *frontier, key)
            draw = kernels.proportional if self.replace else kernels.successive
        if kernels is reference_sampling:  # threads would wait for the interpreter
            draw(*given, 0, len(frontier[0]), *out)
        else:
            over_rows(len(frontier[0]), lambda first, last: draw(*given, first, last, *out))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_places": []}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.num_neighbors})"


def _check_data(data: Any) -> None:
    if isinstance(data, HeteroData):
        raise ValueError(
            "data has several types of nodes or edges: convert it with data.to_homogeneous(), or give each edge type, "
            "as a Data of its own, a sampler of its own"
        )
    if not isinstance(data, Data):
        if isinstance(data, Neighbours):
            return
        raise ValueError(f"data must be a torch_geometric.data.Data, not {type(data).__name__}")
    if "adj_t" in data or "adj" in data:
        raise ValueError(
            "data holds a sparse adjacency matrix: give it an edge_index, torch_geometric.utils.to_edge_index"
        )


def _check_input(index: NodeSamplerInput | EdgeSamplerInput, **kwargs: Any) -> None:
    if kwargs:
        raise ValueError(f"unknown arguments: {', '.join(kwargs)}")
    if index.time is not None:
        raise ValueError("sampling by time is not supported: leave out input_time and edge_label_time")
    if index.input_type is not None:
        raise ValueError(f"data is homogeneous, but seeds are of type {index.input_type!r}: give their numbers alone")


def _fanouts(num_neighbors: Sequence[int] | NumNeighbors) -> list[int]:
    values: Any = num_neighbors.values if isinstance(num_neighbors, NumNeighbors) else num_neighbors
    if not isinstance(values, (list, tuple)) or not all(_whole(k) and k >= -1 for k in values):
        raise ValueError(f"num_neighbors must be a list of integers, -1 for all neighbours, not {values!r}")
    return [int(k) for k in values]


def _subgraph_type(name: Any) -> SubgraphType:
    try:
        return SubgraphType(name)
    except ValueError:
        known = ", ".join(kind.value for kind in SubgraphType)
        raise ValueError(f"unknown subgraph_type {name!r}: choose one of {known}") from None


def _whole(number: Any) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)


def _weights(data: "Data | Neighbours", name: str) -> Tensor:
    if not isinstance(data, Data) or name not in data:
        raise ValueError(f"data has no {name!r} to weigh edges by")
    weight = data[name]
    if not isinstance(weight, Tensor) or weight.shape != (data.num_edges,):
        shape = list(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
        raise ValueError(f"{name!r} must be a tensor of one weight for each of {data.num_edges} edges, not {shape}")
    if not bool((torch.isfinite(weight) & (weight >= 0)).all()):
        raise ValueError(f"{name!r} must be finite and not negative to weigh edges by")
    return weight


def _csc(edge_index: Tensor, weight: Tensor | None, num_nodes: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Where the edges into each node begin, what nodes they come from, and which edges they are."""
    source, target = edge_index
    order = None
    if weight is not None and bool((weight == 0).any()):
        order = weight.nonzero()[:, 0]
        source, target = source[order], target[order]
    if bool((target[1:] < target[:-1]).any()):
        narrow = target.int() if num_nodes < 2**31 else target
        by_target = torch.sort(narrow, stable=True).indices
        source, order = source[by_target], by_target if order is None else order[by_target]
    pointers = torch.zeros(num_nodes + 1, dtype=torch.long)
    torch.cumsum(torch.bincount(target, minlength=num_nodes), 0, out=pointers[1:])
    return pointers, source.int() if num_nodes < 2**31 else source.contiguous(), order


def _summed(weight: Tensor, pointers: Tensor, longest: int) -> Tensor:
    """Sums of the weights of each node's edges, up to each edge."""
    total, begin, degree = weight.clone(), pointers[:-1], pointers.diff()
    for j in range(1, longest):
        more = degree > j
        begin, degree = begin[more], degree[more]
        total[begin + j] += total[begin + j - 1]
    return total


def _drawn(weight: Tensor | None, number: int, num_nodes: int, generator: torch.Generator) -> Tensor:
    """Nodes drawn alike, or in proportion to weights ``[N]``, with replacement."""
    if weight is None:
        return torch.randint(num_nodes, (number,), generator=generator)
    if weight.shape != (num_nodes,):
        raise ValueError(f"weights of negative nodes have shape {list(weight.shape)}, but there are {num_nodes} nodes")
    return torch.multinomial(weight.cpu(), number, replacement=True, generator=generator)


def _longer(array: Any, more: int) -> Any:
    """A copy with room for more at the end of its last axis."""
    out = np.empty((*array.shape[:-1], array.shape[-1] + more), dtype=array.dtype)
    out[..., : array.shape[-1]] = array
    return out
