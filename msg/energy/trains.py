"""Rules of what reads and normalises trains of spikes: a spike adds a row of weights, a product of spikes is a mask."""

import torch
from torch import Tensor
from torch_geometric.nn import SAGEConv
from torch_geometric.utils import add_remaining_self_loops

from msg.energy.counts import Count
from msg.energy.modules import bias_additions, parameters, rule, synapse_count
from msg.energy.products import Edges, aggregation, attention, elementwise, nonzeros, operand, product
from msg.energy.spikes import rows_of_weights
from msg.energy.spiking import train_count
from msg.graph import Graph
from msg.layers import GraphAttention, SpikeCount, SpikeProduct, SpikeSynapse, SpikeTrain, STFNorm, Synapse
from msg.models.peers.spikenet import OwnAndMean
from msg.models.peers.stfn import MeanOfMessages


@rule(SpikeTrain, leave_children=True)
def _train(module: SpikeTrain, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """The neurons count themselves; a factor of their current is folded into what computes it."""
    return Count()


@rule(SpikeSynapse)
def _synapse(synapse: SpikeSynapse, args: tuple, kwargs: dict, output: Tensor) -> Count | None:
    x, graph = args
    if isinstance(x, Tensor) and x.dim() == 3:
        return train_count(synapse, x, graph, output.size(-1))
    return synapse_count(synapse.conv, getattr(x, "csr", x), graph.edge_index, graph.edge_weight, output)


@rule(OwnAndMean)
def _own_and_mean(module: OwnAndMean, args: tuple, kwargs: dict, output: Tensor) -> Count | None:
    """As of PyG's ``SAGEConv``, with one bias."""
    *_, x, graph = args
    index, weight = add_remaining_self_loops(graph.edge_index, graph.edge_weight, 1.0, graph.num_nodes)
    with torch.device("meta"):  # draws nothing
        conv = SAGEConv(x.size(-1), output.size(-1))
    if isinstance(x, Tensor) and x.dim() == 3:
        return train_count(Synapse(conv), x.transpose(0, 1), Graph(index, weight, graph.num_nodes), output.size(-1))
    return synapse_count(conv, getattr(x, "csr", x), index, weight, output)


@rule(SpikeProduct)
def _product(module: SpikeProduct, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Each spike of the first looks whether the second fires too."""
    spikes, both = nonzeros(args[0]), nonzeros(output)
    return Count.of({"comparison": spikes, "activations": 2 * spikes + both}, {"activations": 2 * output.numel()})


@rule(SpikeCount)
def _count(module: SpikeCount, args: tuple, kwargs: dict, output: Tensor) -> Count:
    spikes = nonzeros(args[0])
    return Count.of(
        {"accumulate": spikes, "activations": spikes + output.numel()},
        {"activations": args[0].numel() + output.numel()},
    )


@rule(STFNorm)
def _stfn(module: STFNorm, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """As a layer norm; the statistics of all steps so far are updated by those of each step."""
    size, rows = output.numel(), output.numel() // output.size(-1)
    count = elementwise(size, accumulate=2, multiply_accumulate=2, multiply=1)
    each = Count.of({"multiply": 2 * rows, "accumulate": rows, "transcendental": 2 * rows})
    if output.dim() == 2:
        return count + each
    return count + each + Count.of({"accumulate": 4 * rows, "multiply_accumulate": 2 * rows, "state": 4 * rows})


def _product_of_input(x: Tensor, width: int, outputs: int, weights: int) -> Count:
    """Features ``[N, F]`` times weights; of a train ``[N, T, d]`` each spike adds a row of them."""
    if x.dim() == 3:
        return rows_of_weights(nonzeros(x), width, outputs, False, weights, x.numel())
    return product(operand(x), width, outputs, False, weights)


@rule(MeanOfMessages)
def _mean_of_messages(module: MeanOfMessages, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Weighted messages in each step, without self-loops; a bias where there are neighbours."""
    x, graph = getattr(args[0], "csr", args[0]), args[1]
    outputs, width, steps = output.numel(), output.size(-1), output.size(1) if output.dim() == 3 else 1
    source, target = graph.edge_index
    edges = Edges(graph.num_nodes, torch.bincount(source, minlength=graph.num_nodes), True, 0)
    count = _product_of_input(x, width, outputs, parameters(module)) + aggregation(edges, width, steps)
    return count + bias_additions(target.unique().numel() * steps * width, True)


@rule(GraphAttention)
def _attention(module: GraphAttention, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """As PyG's ``GATConv`` in each step, but that a spike adds a row of weights."""
    x, graph = getattr(args[0], "csr", args[0]), args[1]
    outputs, width, steps = output.numel(), output.size(-1), output.size(1) if output.dim() == 3 else 1
    source, target = graph.edge_index
    fanout = torch.bincount(source, minlength=graph.num_nodes)
    if module.add_self_loops:
        fanout = torch.bincount(source[source != target], minlength=graph.num_nodes) + 1
    edges = Edges(graph.num_nodes, fanout, True, 0)
    count = _product_of_input(x, width, outputs, parameters(module)) + attention(edges, module.heads, width, steps)
    if module.mean:
        count += Count.of({"multiply": outputs})
    return count + bias_additions(outputs, module.bias is not None)
