"""Neighbours that are drawn for many nodes at once."""

import torch
from torch import Tensor

from msg.graph.graph import Graph
from msg.graph.sparse import SparseMatrix, WeightedEdges
from msg.kernels.tracing import traced
from msg.sizes import check_sizes


def neighbor_mean(graph: Graph, dtype: torch.dtype) -> SparseMatrix | WeightedEdges:
    """:meth:`Graph.row_normalized` of weights that can be drawn by: the mean over each node's neighbours and itself.

    Args:
        graph: whose weights, where it has some, make the mean a weighted one.
        dtype: of what is multiplied, as in :meth:`Graph.normalized`.

    Raises:
        ValueError: for weights that are negative, or have a gradient.
    """
    weight = graph.edge_weight
    if weight is not None and not traced() and (weight.requires_grad or bool((weight < 0).any())):
        raise ValueError("edge weights are shares of a mean here: constant, and not negative")
    return graph.row_normalized(dtype)


def pick_neighbors(
    matrix: SparseMatrix,
    nodes: Tensor,
    number: int,
    generator: torch.Generator,
    weighted: bool = False,
    distinct: bool = False,
) -> Tensor:
    """Draw neighbours of nodes.

    Args:
        matrix: whose entries of row ``v`` are the neighbours of node ``v``; each row has one at least.
        nodes: whose neighbours are drawn, any shape; one that stands there twice draws twice.
        number: how many each draws.
        generator: what is drawn by, on the device of the matrix.
        weighted: draw in proportion to the entries; else each alike. A row whose entries are all zero has nothing to
            draw by, and draws its last.
        distinct: draw different ones where there are enough, else all, and some of them again. Otherwise, and by
            weight, with replacement.

    Shapes:
        returns ``[*nodes.shape, number]``.

    Raises:
        ValueError: for fewer than one.
    """
    check_sizes(number=number)
    shape, device = (*nodes.shape, number), matrix.columns.device
    # in float64: the product with a large degree has to reach each neighbour
    chance = torch.rand(shape, dtype=torch.float64, generator=generator, device=device)
    begin, end = matrix.pointers[nodes, None].long(), matrix.pointers[nodes + 1, None].long()
    if weighted:
        sums = torch.cat([chance.new_zeros(1), matrix.values.double().cumsum(0)])
        wanted = sums[begin] + chance * (sums[end] - sums[begin])
        place = torch.searchsorted(sums[1:], wanted, right=True)
    else:
        many = end - begin
        place = begin + (_distinct(chance, many) if distinct else (chance * many).long())
    return matrix.columns[torch.minimum(torch.maximum(place, begin), end - 1)].long()


def _distinct(chance: Tensor, many: Tensor) -> Tensor:
    """As many of ``0 .. many - 1`` as there are chances, different ones first; with more chances than these, all come.

    Floyd's algorithm: draw ``j`` is among the first ``many - number + j + 1``, and takes the last of them where it
    meets one that is drawn. Where there are too few, draw ``j`` is ``j`` while there is one, then any.
    """
    number = chance.size(-1)
    enough = many >= number
    drawn = chance.new_empty(chance.shape, dtype=torch.long)
    for j in range(number):
        last = torch.where(enough, many - number + j, many - 1)[..., 0]
        found = (chance[..., j] * (last + 1)).long().minimum(last)
        again = (drawn[..., :j] == found[..., None]).any(-1) & enough[..., 0]
        found = torch.where(again, last, found)
        drawn[..., j] = torch.where(enough[..., 0] | (j >= many[..., 0]), found, j)
    return drawn
