"""Rules of linear maps that read spikes, and of spikes that are drawn at random."""

import torch
from torch import Tensor, nn

from msg.energy.counts import Count
from msg.energy.modules import bias_additions, known, parameters, rule
from msg.energy.products import aggregation, edges_of, elementwise, nonzeros, numbers, operand, product
from msg.graph.sparse import taken, to_dense, to_tensor
from msg.layers import BernoulliEncoder, BernoulliLinear, GroupedGCN, Propagation, SpikeLinear
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
def spike_linear(module: nn.Linear, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Of a linear map that is given spikes: each adds a row of weights."""
    x, bias = args[0] if args else kwargs["input"], module.bias is not None
    return rows_of_weights(nonzeros(x), output.size(-1), output.numel(), bias, parameters(module), x.numel())


def _drawn(probabilities: Tensor, timesteps: int) -> Count:
    """A comparison for each spike that chance decides; random numbers are counted for no model."""
    number = int(((probabilities > 0) & (probabilities < 1)).count_nonzero()) * timesteps
    return Count.of({"comparison": number, "activations": 2 * number})


@rule(BernoulliEncoder)
def _bernoulli(module: BernoulliEncoder, args: tuple, kwargs: dict, output: Tensor) -> Count:
    return _drawn(args[0], output.size(0))


@rule(BernoulliLinear)
def _bernoulli_linear(module: BernoulliLinear, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Spikes are as many as their probabilities say in the mean."""
    x = taken(args[0], kwargs.get("rows", *args[2:]))
    steps, weights = output.size(0), parameters(module)
    spikes = round(float(x.clamp(0, 1).sum(dtype=torch.float64)) * steps)
    added = rows_of_weights(spikes, output.size(-1), output.numel(), False, weights, x.numel())
    return _drawn(x, steps) + added + Count.of({"spike": spikes})


@rule(SpikeGCL, leave_children=True)
def _spikegcl(model: SpikeGCL, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Beside its modules it adds, and looks up what it keeps."""
    columns = model.first.count * model.first.weight.size(1)
    return elementwise(model.residual * len(model.layers) * output.size(0) * columns, accumulate=1)


@rule(GroupedGCN)
def _grouped(module: GroupedGCN, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Each feature is multiplied with the weights of its group, in the order that aggregates the fewer columns. What a
    norm adds to a feature is a constant to what is sent, or is multiplied by what a node receives of a constant.
    """
    x, graph = to_tensor(args[0]), args[1]
    edges = edges_of(Propagation(1), graph.edge_index, graph.edge_weight, graph.num_nodes)
    width, weights, outputs = module.weight.size(1), parameters(module), output.numel()
    if module.count * width <= module.weight.size(0):
        first = product(operand(x), width, outputs, module.norm is not None, weights)
        count = first + aggregation(edges, module.count * width)
    else:
        second = product(numbers(x.numel()), width, outputs, False, weights)
        count = aggregation(edges, module.weight.size(0)) + second
        count += elementwise(outputs * (module.norm is not None), multiply_accumulate=1)
    return count + bias_additions(outputs, True)


@rule(BernoulliSpikingGCN, leave_children=True)
def _bernoulli_spikinggcn(model: BernoulliSpikingGCN, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Features are propagated in an inference, though the network keeps them; spikes of the output are counted."""
    features, graph = model.prepare(*args, **{name: value for name, value in kwargs.items() if name != "nodes"})
    x, propagated = to_tensor(features), model.propagation.along(to_dense(features), graph)
    rule_of_it = known(model.propagation)
    assert rule_of_it is not None
    count = rule_of_it(model.propagation, (x, graph.edge_index, graph.edge_weight), {}, propagated)
    assert isinstance(count, Count)
    counted = output.numel() * model.timesteps
    return count + Count.of({"accumulate": counted, "multiply": output.numel(), "activations": counted})
