"""The two halves of a graph convolution, as all rules count them: a product with weights, and an aggregation.

- A product of ``nonzeros`` inputs with ``width`` columns takes ``nonzeros * width`` multiply-accumulates, and one read
  of a weight for each; an input is read once and an output written once. Counted by events, the inputs of 1 and -1
  among them take an accumulate instead, with the same traffic; and so do those of a bag of words that is normalised,
  all of whose rows have entries of one magnitude, which then multiplies the row's outputs.
- An aggregation sends ``width`` numbers along each edge: an accumulate each (a multiply-accumulate with edge weights),
  one read of the number and one index an edge, and a pointer a node. Degree normalisation scales nodes before and
  after, two multiplications a number; what depends on the graph alone (degrees, normalised weights) is made once.
- Convolutions that are linear are counted in the order that aggregates the fewer columns, whatever order the code
  takes, for every model alike.
"""

from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, GINConv, SAGEConv, SGConv

from msg.energy.counts import Count
from msg.layers import Propagation


class Edges(NamedTuple):
    """A graph as a convolution sees it.

    Attributes:
        nodes: number of nodes.
        fanout: messages that each node sends, self-loops included, int64 ``[N]``.
        weighted: whether a message is multiplied by its edge's weight.
        scaled: how many times a node's numbers are scaled by degrees, 0 to 2, once before sending and once after.
    """

    nodes: int
    fanout: Tensor
    weighted: bool
    scaled: int

    @property
    def messages(self) -> int:
        """Number of edges, self-loops included."""
        return int(self.fanout.sum())


def edges_of(conv: nn.Module, edge_index: Tensor, edge_weight: Tensor | None, nodes: int) -> Edges | None:
    """The graph as a convolution sees it, ``None`` for one without aggregation."""
    if isinstance(conv, nn.Linear):
        return None
    if edge_index.layout != torch.strided:  # a transposed adjacency matrix
        adjacency = edge_index.to_sparse_coo().coalesce()
        edge_weight = adjacency.values() if bool((adjacency.values() != 1).any()) else None
        edge_index = adjacency.indices().flip(0)
    source, target = edge_index
    fanout = torch.bincount(source, minlength=nodes)
    weighted, scaled = edge_weight is not None, 0
    if isinstance(conv, GINConv):
        # a node's own number, times 1 + eps where that is not one
        return Edges(nodes, fanout + 1, weighted, int(isinstance(conv.eps, nn.Parameter) or bool(conv.eps)))
    if isinstance(conv, SAGEConv):
        return Edges(nodes, fanout, weighted, int(conv.aggr == "mean" and not weighted))
    if getattr(conv, "add_self_loops", isinstance(conv, Propagation)):
        fanout = torch.bincount(source[source != target], minlength=nodes) + 1
    if isinstance(conv, GCNConv):
        scaled = 2 * conv.normalize
    elif isinstance(conv, SGConv | Propagation):
        scaled = 2
    return Edges(nodes, fanout, weighted, 0 if weighted else scaled)


def edges_in(adjacency: Tensor) -> Edges:
    """The graph in a sparse matrix, whoever multiplies by it: what normalises it by degrees scales nodes.

    No scaling is needed where all entries are one; one where those of each row, or column, are alike, as in a mean; two
    where :math:`a_{ij} = (n_i m_j)^{-1/2}`, with ``n`` and ``m`` how many entries a row and a column have, or as
    ``gcn_norm`` has it :math:`(n_i n_j)^{-1/2}`. All else is weights.

    Args:
        adjacency: ``[N, N]``, from columns to rows; an entry that stands there twice is two messages.
    """
    coo, nodes = adjacency.detach().to_sparse_coo(), adjacency.size(0)
    (target, source), value = coo._indices(), coo._values().double()
    received, sent = (torch.bincount(ends, minlength=nodes) for ends in (target, source))

    def one_of(ends: Tensor) -> Tensor:
        return value.new_zeros(nodes).index_copy(0, ends, value)[ends]

    def root(degree: Tensor) -> Tensor:
        return degree.double().rsqrt().masked_fill(degree == 0, 0)

    ways = (
        (0, lambda: torch.ones_like(value)),
        (1, lambda: one_of(target)),
        (1, lambda: one_of(source)),
        (2, lambda: root(received)[target] * root(sent)[source]),
        (2, lambda: root(received)[target] * root(received)[source]),
    )
    # as near as float32 rounds them
    scaled = next((times for times, way in ways if torch.allclose(value, way(), rtol=1e-5, atol=0)), None)
    return Edges(nodes, sent, scaled is None, scaled or 0)


_FEW = 256
"""Rows that are looked at before all of them."""


class Operand(NamedTuple):
    """What a product costs depends on of its input.

    Attributes:
        found: entries that are not zero.
        units: entries that are 1 or -1, or would be if a bag of words were not normalised.
        entries: all of them.
        scaled: rows of such a bag, whose products are multiplied afterwards.
    """

    found: int
    units: int
    entries: int
    scaled: int = 0


def operand(x: Tensor) -> Operand:
    """What is to be known of a dense or sparse tensor that is multiplied."""
    kept = _kept(x)
    # three times as fast as comparing with 1 and with -1
    others = kept.abs().sub_(1) if kept.is_floating_point() else kept.long().abs() != 1
    found, units = _truths(kept), kept.numel() - _truths(others)
    if found == units or not kept.is_floating_point() or x.dim() != 2:
        return Operand(found, units, x.numel())
    more, scaled = _alike(x)
    return Operand(found, units + more, x.numel(), scaled)


def _alike(x: Tensor) -> tuple[int, int]:
    """Of a bag of words that is normalised, where all rows' entries are equal but for their sign or zero: those entries
    that a factor of their row makes ones, and how many rows have one. A single entry gains nothing by it.
    """
    # a single row of other entries decides, and where there are any the first rows have one
    if x.layout == torch.strided and x.size(0) > _FEW and _magnitudes(x[:_FEW]) is None:
        return 0, 0
    found = _magnitudes(x)
    if found is None:
        return 0, 0
    largest, length = found
    rows = (length > 1) & (largest != 1)
    return int(length[rows].sum()), int(rows.sum())


def _magnitudes(x: Tensor) -> tuple[Tensor, Tensor] | None:
    """The one magnitude of each row's entries and how many there are, ``None`` if a row has several."""
    if x.layout == torch.strided:
        magnitude = x.abs()
        largest = magnitude.amax(1)
        length = (magnitude != 0).sum(1)
        equal = (magnitude == largest[:, None]).sum(1)
    else:
        coo = x.to_sparse_coo().coalesce()
        row, magnitude = coo.indices()[0], coo.values().abs()
        none = magnitude.new_zeros(x.size(0))
        largest = none.scatter_reduce(0, row, magnitude, "amax")
        length = torch.bincount(row[magnitude != 0], minlength=x.size(0))
        equal = torch.bincount(row[(magnitude == largest[row]) & (magnitude != 0)], minlength=x.size(0))
    return (largest, length) if bool((equal == length).logical_or(length == 0).all()) else None


def numbers(entries: int) -> Operand:
    """What a tensor is taken for that is not at hand: real numbers, none of them 0 or 1."""
    return Operand(entries, 0, entries)


def nonzeros(x: Tensor) -> int:
    """Entries that are not zero, of a dense or sparse tensor."""
    return _truths(_kept(x))


def _kept(x: Tensor) -> Tensor:
    """The entries that a tensor stores."""
    return {torch.strided: lambda: x, torch.sparse_coo: x._values}.get(x.layout, x.values)()


def _truths(entries: Tensor) -> int:
    # ten times as fast as counting floating-point numbers
    return int(entries.bool().count_nonzero())


def product(x: Operand, width: int, outputs: int, bias: bool, weights: int) -> Count:
    """A product with weights.

    Args:
        x: the input.
        width: columns of the weights.
        outputs: entries of the output.
        bias: whether one is added to each of them.
        weights: number of parameters.
    """

    def counts(inputs: int) -> Counter[str]:
        traffic = {"weights": inputs * width + outputs * bias, "activations": inputs + outputs}
        return Counter({**synapses(inputs, width), "accumulate": outputs * bias, **traffic})

    footprint = Counter({"weights": weights, "activations": x.entries + outputs})
    return Count(counts(x.found), counts(x.entries), footprint, with_events(counts(x.found), x, width))


def synapses(inputs: int, width: int) -> dict[str, int]:
    """Multiply-accumulates of inputs with so many columns."""
    return {"multiply_accumulate": inputs * width, "synaptic_mac": inputs * width}


def with_events(counts: Counter[str], x: Operand, width: int) -> Counter[str]:
    """The same counts where ones are added, and rows of them that are scaled are multiplied afterwards."""
    added = x.units * width
    fewer = Counter({**counts, "multiply": counts["multiply"] + x.scaled * width})
    fewer.subtract({"multiply_accumulate": added, "synaptic_mac": added})
    fewer.update({"accumulate": added, "synaptic_ac": added})
    return fewer


def narrow_product(x: Operand, bits: int, width: int, outputs: int, weights: int) -> Count:
    """A product of integers of ``bits`` bits with weights: a multiplier as wide as the integer, and an addition; of
    one bit, the addition alone. All levels take the same multiplier, so that ones are not told apart.

    Source: `Yan et al. 2024, Reconsidering the energy efficiency of spiking neural networks
    <https://arxiv.org/abs/2409.08290>`_.
    """

    def counts(inputs: int) -> Counter[str]:
        return Counter(
            {
                "multiplier_bit": inputs * width * (bits if bits > 1 else 0),
                "accumulate": inputs * width,
                "synaptic_mac" if bits > 1 else "synaptic_ac": inputs * width,
                "weights": inputs * width,
                "activations": inputs + outputs,
            }
        )

    return Count(counts(x.found), counts(x.entries), Counter({"weights": weights, "activations": x.entries + outputs}))


def aggregation(edges: Edges | None, width: int, times: int = 1) -> Count:
    """``times`` aggregations of ``width`` columns."""
    if edges is None:
        return Count()
    messages = edges.messages * width * times
    arithmetic = "multiply_accumulate" if edges.weighted else "accumulate"
    scalings = edges.scaled * edges.nodes * width * times
    counts = {
        arithmetic: messages,
        "synaptic_mac" if edges.weighted else "synaptic_ac": messages,
        "message": messages,
        "multiply": scalings,
        "activations": messages + edges.nodes * width * times + 2 * scalings,
        "indices": (edges.messages + edges.nodes + 1) * times,
        "weights": edges.messages * times * edges.weighted,
    }
    footprint = {
        "activations": 2 * edges.nodes * width,
        "indices": edges.messages + edges.nodes + 1,
        "weights": edges.messages * edges.weighted,
    }
    return Count.of(counts, footprint)


def attention(edges: Edges, heads: int, width: int, times: int = 1) -> Count:
    """Graph attention on what is projected already, ``times`` times: a node's scores are two dot products a head; those
    of an edge a sum, a leaky ReLU and a softmax over its target's neighbours; then a weighted aggregation.

    Args:
        edges: with loops, each weighted by its score.
        heads: number of heads.
        width: columns of all heads.
        times: steps.
    """
    outputs, scores = edges.nodes * width * times, edges.messages * heads * times
    count = Count.of({"multiply_accumulate": 2 * outputs, "weights": 2 * outputs, "activations": 2 * outputs})
    # sum of two scores; leaky ReLU; softmax: maximum, difference, exponential, sum
    count += elementwise(scores, accumulate=3, comparison=2, multiply=1, transcendental=1)
    # what is summed up is divided, not each weight
    count += Count.of({"transcendental": edges.nodes * heads * times, "multiply": outputs})
    return count + aggregation(edges, width, times)


def elementwise(size: int, **kinds: int) -> Count:
    """Operations on each of ``size`` numbers that are read and written once."""
    counts = {kind: number * size for kind, number in kinds.items()}
    return Count.of({**counts, "activations": 2 * size}, {"activations": 2 * size})
