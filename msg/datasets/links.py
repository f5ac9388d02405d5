"""Leak-free link splits and negative sampling."""

import copy
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from msg.datasets.arguments import MASKS, as_edge_index, as_int64, seeded
from msg.datasets.splits import parse_percentages, part_sizes


class LinkSplit(NamedTuple):
    """The three parts of a link split, in the attributes of :class:`torch_geometric.transforms.RandomLinkSplit`.

    Attributes:
        train: ``edge_index [2, 2 P]`` holds the P training edges, both directions: the only edges that pass messages.
            ``edge_label_index [2, M]`` holds the pairs to score, positives before negatives, and ``edge_label [M]``
            their labels 1.0 and 0.0. ``excluded`` holds the sorted :func:`pair_codes` that must never be drawn as new
            training negatives: every edge of the graph and the held-out negatives.
        val: The same ``edge_index``, so the training edges; its own pairs to score.
        test: The same.
    """

    train: Data
    val: Data
    test: Data


def pair_codes(edge_index: Tensor, num_nodes: int) -> Tensor:
    r"""Return the sorted, unique codes :math:`i N + j`, :math:`i < j`, of the unordered pairs in ``edge_index [2, E]``.

    An edge and its reverse have the same code, and self-loops have none. Codes are int64, whatever integer type the
    edges have.

    Raises:
        ValueError: If the edges are not integers in ``0..N-1``, or N is so large that codes would not fit.
    """
    edge_index = as_edge_index(edge_index, num_nodes)
    low, high = edge_index.min(dim=0).values, edge_index.max(dim=0).values
    return (low * num_nodes + high)[low != high].unique()


def _pairs(codes: Tensor, num_nodes: int) -> Tensor:
    return torch.stack([codes // num_nodes, codes % num_nodes])


def sample_negatives(num_nodes: int, exclude: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw distinct unordered pairs of nodes, uniformly among all pairs that are not excluded.

    To draw fresh training negatives each epoch::

        sample_negatives(train.num_nodes, train.excluded, num_positives, generator)

    Args:
        num_nodes: The number of nodes N.
        exclude: The pairs that must not be drawn, as sorted unique codes from :func:`pair_codes`, of any integer type.
        count: The number of pairs.
        generator: The source of randomness, on the CPU; the global one if ``None``.

    Shapes:
        Returns ``[2, count]`` with ``i < j`` in each column, in random order, on the device of ``exclude``.

    Raises:
        ValueError: If ``exclude`` is not sorted, unique integers, or fewer than ``count`` pairs remain.
    """
    exclude = as_int64(exclude, "codes to exclude")
    device, exclude = exclude.device, exclude.cpu()  # drawn on the CPU, so that a seed means the same everywhere
    if (exclude[1:] <= exclude[:-1]).any():
        raise ValueError("exclude must hold sorted, unique codes: make them with pair_codes")
    total = num_nodes * (num_nodes - 1) // 2
    if not 0 <= count <= total - exclude.numel():
        raise ValueError(
            f"cannot draw {count} negatives: of {total} pairs of {num_nodes} nodes, {exclude.numel()} are excluded"
        )
    if total <= 4 * (exclude.numel() + count):  # most draws could be refused: list all that remain instead
        every = torch.triu_indices(num_nodes, num_nodes, offset=1)
        codes = _without(every[0] * num_nodes + every[1], exclude)
    else:
        codes = exclude.new_empty(0)
        while codes.numel() < count:
            ends = torch.randint(num_nodes, (2, count + count // 2 + 16), generator=generator)
            codes = torch.cat([codes, _without(pair_codes(ends, num_nodes), exclude)]).unique()
    order = torch.randperm(codes.numel(), generator=generator)[:count]
    return _pairs(codes[order], num_nodes).to(device)


def ranking_negatives(
    pairs: Tensor, num_nodes: int, exclude: Tensor, count: int = 100, generator: torch.Generator | None = None
) -> Tensor:
    """Draw the pairs that each given pair is ranked against: half of them keep its first node, half its second.

    The other end is uniform, with replacement, among the nodes that make neither an excluded pair nor a loop with the
    one that is kept. Where there is none, the pair's other node is kept, and where that has none either, any node.

    Args:
        pairs: ``[2, M]``.
        num_nodes: The number of nodes N.
        exclude: The pairs that must not be drawn, as sorted unique codes from :func:`pair_codes`.
        count: How many are drawn for each pair.
        generator: The source of randomness, on the CPU; the global one if ``None``.

    Shapes:
        Returns ``[2, M, count]``, the node that is kept first, on the device of ``pairs``.

    Raises:
        ValueError: If all pairs are excluded.
    """
    low, high = _pairs(as_int64(exclude, "codes to exclude").cpu(), num_nodes)
    pairs = as_int64(pairs, "pairs")
    nodes = torch.arange(num_nodes)
    taken = torch.cat([low * num_nodes + high, high * num_nodes + low, nodes * num_nodes + nodes]).unique()
    row, col = _pairs(taken, num_nodes)
    begin = torch.searchsorted(row, torch.arange(num_nodes + 1))
    free = num_nodes - begin.diff()
    able = free.nonzero()[:, 0]
    if pairs.numel() and not able.numel():
        raise ValueError(f"cannot draw negatives to rank against: all pairs of {num_nodes} nodes are excluded")
    ends = pairs.cpu()[:, :, None].expand(-1, -1, count).clone()
    ends[:, :, count // 2 :] = ends[:, :, count // 2 :].flip(0)
    first, second = ends
    kept = torch.where(free[first] > 0, first, second)
    spare = free[kept] == 0
    kept[spare] = able[torch.randint(able.numel() or 1, (int(spare.sum()),), generator=generator)]
    # the r-th free node comes after r free ones and as many taken ones as have no more than r free ones before them
    before = col - (torch.arange(taken.numel()) - begin[row])
    rank = (torch.rand(kept.shape, generator=generator, dtype=torch.float64) * free[kept]).long()
    place = torch.searchsorted(row * (num_nodes + 1) + before, kept * (num_nodes + 1) + rank, right=True)
    return torch.stack([kept, rank + place - begin[kept]]).to(pairs.device)


def _without(codes: Tensor, exclude: Tensor) -> Tensor:
    """Return the codes that are not in ``exclude``, which is sorted."""
    if exclude.numel() == 0:
        return codes
    nearest = torch.searchsorted(exclude, codes).clamp_(max=exclude.numel() - 1)
    return codes[exclude[nearest] != codes]


def link_split(data: Data, split: str = "link:85/5/10", seed: int = 0) -> LinkSplit:
    """Split a graph's edges for link prediction, without leaks.

    Undirected edges (an edge and its reverse are one; self-loops are dropped) are shuffled and cut into three parts.
    Only training edges pass messages, in all three parts. Each part has as many negatives as positives; no pair, in
    either direction, is in two parts or is both an edge and a negative.

    Args:
        data: A graph with ``edge_index [2, E]`` of any integer type. Node attributes are kept; node masks, edge
            attributes and adjacency matrices dropped; the parts' indices are int64.
        split: ``link:TRAIN/VAL/TEST`` in percent of the undirected edges, summing to 100.
        seed: The seed of edges and negatives, from 0 to 4,294,967,295. The global random state is neither read nor
            changed.

    Raises:
        ValueError: If the split has another form or does not sum to 100, a part would have no edge, the graph is
            so dense that there are not enough negatives, the edges are no integers or lead outside the graph, or the
            seed is out of range.
    """
    percentages = parse_percentages(split, "link")
    if abs(sum(percentages) - 100) > 1e-9:
        raise ValueError(f"split {split!r} must sum to 100 percent: an edge left out would be neither scored nor known")
    num_nodes = int(data.num_nodes or 0)
    generator = seeded(seed)
    given = as_edge_index(data["edge_index"], num_nodes)
    edges = pair_codes(given.cpu(), num_nodes)
    sizes = part_sizes(edges.numel(), percentages)
    if min(sizes) == 0:
        raise ValueError(f"split {split!r} leaves a part of {edges.numel()} undirected edges empty")
    positives = _pairs(edges[torch.randperm(edges.numel(), generator=generator)], num_nodes).split(sizes, dim=1)
    negatives = sample_negatives(num_nodes, edges, edges.numel(), generator).split(sizes, dim=1)
    message_edges = to_undirected(positives[0], num_nodes=num_nodes)
    parts = [_part(data, split, message_edges, *pairs) for pairs in zip(positives, negatives)]
    held_out = pair_codes(torch.cat(negatives[1:], dim=1), num_nodes)
    parts[0].excluded = torch.cat([edges, held_out]).unique()
    return LinkSplit(*(part.to(given.device) for part in parts))


def _part(data: Data, split: str, edge_index: Tensor, positives: Tensor, negatives: Tensor) -> Data:
    part = copy.copy(data)
    num_nodes = data.num_nodes
    # an adjacency matrix has the edges that are held out
    unwanted = (*MASKS, "adj", "adj_t", *(name for name in data.edge_attrs() if name != "edge_index"))
    for name in [name for name in unwanted if name in data]:
        del part[name]
    part.edge_index = edge_index
    part.num_nodes = num_nodes  # without features it could no longer be told from the edges left
    part.edge_label_index = torch.cat([positives, negatives], dim=1)
    part.edge_label = torch.cat([torch.ones(positives.size(1)), torch.zeros(negatives.size(1))])
    part.split = split
    return part
