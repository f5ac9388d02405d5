"""Rules of linear maps that read spikes, and of spikes that are drawn at random."""

import torch
from torch import Tensor

from msg.energy.counts import Count
from msg.energy.modules import known, parameters, rule
from msg.energy.products import aggregation, edges_of, elementwise, nonzeros
from msg.graph import SparseMatrix
from msg.layers import BernoulliEncoder, BernoulliLinear, Propagation, SpikeLinear
from msg.models import BernoulliSpikingGCN, SpikeGCL


def rows_of_weights(spikes: int, width: int, outputs: int, bias: bool, weights: int, inputs: int) -> Count:
    """A product of spikes with weights: each spike adds one row of them.

    Args:
        spikes: how many.
        width: columns of the weights.
        outputs: entries of the output.
        bias: whether one is added to each of them.
        weights: number of parameters.
        inputs: entries of the input, spikes or not.
    """
    added = spikes * width
    counts = {
        "accumulate": added + outputs * bias,
        "synaptic_ac": added,
        "weights": added + outputs * bias,
        "accumulators": 2 * added,
        "activations": spikes,
    }
    return Count.of(counts, {"weights": weights, "activations": inputs + outputs, "accumulators": outputs})


@rule(SpikeLinear)
def _spike_linear(module: SpikeLinear, args: tuple, kwargs: dict, output: Tensor) -> Count:
    x, bias = args[0], module.bias is not None
    return rows_of_weights(nonzeros(x), output.size(-1), output.numel(), bias, parameters(module), x.numel())


def _drawn(probabilities: Tensor, timesteps: int) -> Count:
    """A random number for each spike that chance decides: a multiply-accumulate (a linear congruence), compared."""
    number = int(((probabilities > 0) & (probabilities < 1)).count_nonzero()) * timesteps
    return Count.of({"multiply_accumulate": number, "comparison": number, "activations": 2 * number})


@rule(BernoulliEncoder)
def _bernoulli(module: BernoulliEncoder, args: tuple, kwargs: dict, output: Tensor) -> Count:
    return _drawn(args[0], output.size(0))


@rule(BernoulliLinear)
def _bernoulli_linear(module: BernoulliLinear, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Spikes are as many as their probabilities say in the mean."""
    x, steps, weights = args[0], output.size(0), parameters(module)
    spikes = round(float(x.clamp(0, 1).sum(dtype=torch.float64)) * steps)
    added = rows_of_weights(spikes, output.size(-1), output.numel(), False, weights, x.numel())
    return _drawn(x, steps) + added + Count.of({"spike": spikes})


@rule(SpikeGCL, leave_children=True)
def _spikegcl(model: SpikeGCL, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Dense features are propagated in an inference, though the network keeps them; beside its modules it adds."""
    features, graph = model.prepare(*args, **kwargs)
    nodes = graph.num_nodes
    added = model.residual * len(model.layers) * nodes * model.first.count * model.first.weight.size(1)
    count = elementwise(added, accumulate=1)
    if isinstance(features, SparseMatrix):
        return count
    edges = edges_of(Propagation(1), graph.edge_index, graph.edge_weight, nodes)
    return count + aggregation(edges, features.size(1), 1)


@rule(BernoulliSpikingGCN, leave_children=True)
def _bernoulli_spikinggcn(model: BernoulliSpikingGCN, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Features are propagated in an inference, though the network keeps them; spikes of the output are counted."""
    features, graph = model.prepare(*args, **kwargs)
    x = features.csr if isinstance(features, SparseMatrix) else features
    propagated = model.propagation.along(x if x.layout == torch.strided else x.to_dense(), graph)
    rule_of_it = known(model.propagation)
    assert rule_of_it is not None
    count = rule_of_it(model.propagation, (x, graph.edge_index, graph.edge_weight), {}, propagated)
    assert isinstance(count, Count)
    counted = output.numel() * model.timesteps
    return count + Count.of({"accumulate": counted, "multiply": output.numel(), "activations": counted})
