"""Rules of modules whose mathematics is known: what one call costs, whatever operators carry it out."""

import math
from collections import Counter
from collections.abc import Callable
from itertools import chain, islice, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv, SGConv
from torch_geometric.nn.dense import Linear as PyGLinear

from msg.energy.counts import Count, Operations
from msg.energy.products import (
    Edges,
    aggregation,
    attention,
    edges_of,
    elementwise,
    nonzeros,
    numbers,
    operand,
    product,
)
from msg.graph import Graph, Memo
from msg.graph.sparse import to_tensor
from msg.layers import (
    DropConnect,
    FixedLinear,
    ManifoldPooling,
    Propagation,
    StepwiseBatchNorm,
    Synapse,
    TrainBatchNorm,
)
from msg.models import GAT, SAGE, SGC, CachedGCN, Propagated
from msg.neurons import (
    ALIF,
    IF,
    LIF,
    Activation,
    ClippedReLU,
    DecayingThresholdLIF,
    Neuron,
    ParametricLIF,
    QuantizedReLU,
    ReLU,
    ScaledLIF,
)

Rule = Callable[[Any, tuple, dict[str, Any], Any], Count | Operations | None]
"""From a module, the arguments of its call and what it returned to a count, or to the counts of its parts by name;
``None`` if it is not known for them."""

_RULES: dict[type[nn.Module], Rule] = {}
# the network keeps what it propagates, so a second count should not propagate again
_HOPS = Memo()
_LEAVE_CHILDREN: set[type[nn.Module]] = set()
_SUBCLASSES: set[type[nn.Module]] = set()


def rule(*kinds: type[nn.Module], leave_children: bool = False, subclasses: bool = False) -> Callable[[Rule], Rule]:
    """Decorate the rule of a module class: ``rule(MyConv)(lambda module, args, kwargs, output: Count.of({...}))``.

    Args:
        kinds: classes; a subclass needs its own rule, because it may compute something else.
        leave_children: count submodules by their own rules too; else the rule speaks for everything inside.
        subclasses: the rule holds for subclasses too, since they do not change what is computed.
    """

    def register(function: Rule) -> Rule:
        for kind in kinds:
            _RULES[kind] = function
            if leave_children:
                _LEAVE_CHILDREN.add(kind)
            if subclasses:
                _SUBCLASSES.add(kind)
        return function

    return register


def known(module: nn.Module) -> Rule | None:
    """The rule of a module, ``None`` if none is known for it as it is set."""
    if isinstance(module, GATConv) and (module.edge_dim is not None or module.res is not None):
        return None
    if isinstance(module, SAGEConv) and (module.aggr not in ("mean", "add", "sum") or module.project):
        return None
    if isinstance(module, ManifoldPooling) and module.mode != "mean":
        return None  # a solver, whose steps nobody knows before
    if getattr(module, "flow", "source_to_target") != "source_to_target":
        return None
    kind = _registered(module)
    return None if kind is None else _RULES[kind]


def _registered(module: nn.Module) -> type[nn.Module] | None:
    """The class whose rule holds for a module."""
    own = type(module)
    return next((kind for kind in own.__mro__ if kind in _RULES and (kind is own or kind in _SUBCLASSES)), None)


def leaves_children(module: nn.Module) -> bool:
    """Whether a known module's submodules are counted by their own rules."""
    return _registered(module) in _LEAVE_CHILDREN


def parameters(*modules: nn.Module | None) -> int:
    """Number of parameters that an inference reads; the scale of fixed directions is in these then."""
    there = [module for module in modules if module is not None]
    fixed = [one for module in there for one in module.modules() if isinstance(one, FixedLinear)]
    return sum(p.numel() for module in there for p in module.parameters()) + sum(
        one.directions.numel() - one.growth.numel() for one in fixed
    )


@rule(nn.Linear, FixedLinear, PyGLinear, DropConnect)
def _linear(module: Any, args: tuple, kwargs: dict, output: Tensor) -> Count:
    x = args[0] if args else next(iter(kwargs.values()))
    x = to_tensor(x)
    bias = getattr(module, "bias", None) is not None
    return product(operand(x), output.size(-1), output.numel(), bias, parameters(module))


def _graph_arguments(args: tuple, kwargs: dict, *third: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """Features, edges and their weights, which are not the third argument of every convolution."""
    named = dict(zip(("x", "edge_index", *third), args)) | kwargs
    edges = named["edge_index"]
    if isinstance(edges, Graph):
        return named["x"], edges.edge_index, edges.edge_weight
    return named["x"], edges, named.get("edge_weight")


def linear_convolution(x: Tensor, edges: Edges | None, width: int, weights: int, hops: int = 1) -> Count:
    """A product and ``hops`` aggregations in the order that aggregates the fewer columns, without a bias; for each of
    the graphs in ``[..., N, F]``.
    """
    channels, times = x.size(-1), hops * graphs_in(x)
    outputs = x.numel() // max(1, channels) * width
    if width <= channels or edges is None:
        return product(operand(x), width, outputs, False, weights) + aggregation(edges, width, times)
    return aggregation(edges, channels, times) + product(numbers(x.numel()), width, outputs, False, weights)


def graphs_in(x: Tensor) -> int:
    """How often a graph's nodes are in ``[..., N, F]``, as where all time steps go through a convolution at once."""
    return math.prod(x.shape[:-2])


def whole_only(sampled: bool) -> None:
    """Refuse to count what runs on a sample of a graph.

    Raises:
        ValueError: naming what to leave out.
    """
    if sampled:
        raise ValueError("operations are counted on a whole graph: leave out batch_size and num_sampled_nodes_per_hop")


def bias_additions(entries: int, there: bool) -> Count:
    """A bias, where there is one."""
    return Count.of({"accumulate": entries, "weights": entries}) if there else Count()


@rule(GCNConv, SGConv)
def _gcn(conv: GCNConv | SGConv, args: tuple, kwargs: dict, output: Tensor) -> Count:
    x, edge_index, edge_weight = _graph_arguments(args, kwargs, "edge_weight")
    edges = edges_of(conv, edge_index, edge_weight, x.size(-2))
    hops = conv.K if isinstance(conv, SGConv) else 1
    bias = (conv.lin if isinstance(conv, SGConv) else conv).bias is not None
    return linear_convolution(x, edges, output.size(-1), parameters(conv), hops) + bias_additions(output.numel(), bias)


@rule(SAGEConv)
def _sage(conv: SAGEConv, args: tuple, kwargs: dict, output: Tensor) -> Count:
    x, edge_index, edge_weight = _graph_arguments(args, kwargs)
    width, outputs = output.size(-1), output.numel()
    count = linear_convolution(x, edges_of(conv, edge_index, edge_weight, x.size(-2)), width, parameters(conv))
    if conv.root_weight:
        count += product(operand(x), width, outputs, False, parameters(conv))
        count += Count.of({"accumulate": outputs})
    if conv.normalize:
        count += elementwise(outputs // width, transcendental=2)
        count += elementwise(outputs, multiply_accumulate=1, multiply=1)
    return count + bias_additions(outputs, conv.lin_l.bias is not None)


@rule(GINConv, leave_children=True)
def _gin(conv: GINConv, args: tuple, kwargs: dict, output: Tensor) -> Count:
    x, edge_index, _ = _graph_arguments(args, kwargs)
    return aggregation(edges_of(conv, edge_index, None, x.size(-2)), x.size(-1), graphs_in(x))


@rule(GATConv)
def _gat(conv: GATConv, args: tuple, kwargs: dict, output: Any) -> Count:
    x, edge_index, _ = _graph_arguments(args, kwargs)
    edges, nodes, heads, width = edges_of(conv, edge_index, None, x.size(0)), x.size(0), conv.heads, conv.out_channels
    assert edges is not None
    outputs = nodes * heads * width
    count = product(operand(x), heads * width, outputs, False, parameters(conv))
    count += attention(edges._replace(weighted=True), heads, heads * width)
    if not conv.concat:
        count += Count.of({"accumulate": nodes * (heads - 1) * width, "multiply": nodes * width})
    return count + bias_additions(nodes * width * (heads if conv.concat else 1), conv.bias is not None)


@rule(Propagation)
def _propagation(module: Propagation, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Each hop sends what is not zero, and scales it before and after."""
    x, edge_index, edge_weight = _graph_arguments(args, kwargs, "edge_weight")
    edges = edges_of(module, edge_index, edge_weight, x.size(0))
    assert edges is not None

    def measure() -> list[Tensor]:
        dense = x if x.layout == torch.strided else x.to_dense()
        # the last hop is the output, of which a sign is no operation
        before = islice(module.hops(dense, edge_index, edge_weight), module.num_hops)
        return [values.bool().sum(-1) for values in chain(before, [output[..., : x.size(-1)]])]

    sizes = _HOPS.recall((x, edge_index, edge_weight), (module.num_hops,), measure)
    count = Count()
    for before, after in pairwise(sizes):
        messages = int((before * edges.fanout).sum())
        scalings = int(before.sum() + after.sum()) if edges.scaled else 0
        full = aggregation(edges, x.size(-1))
        sent = {
            "multiply_accumulate" if edges.weighted else "accumulate": messages,
            "synaptic_mac" if edges.weighted else "synaptic_ac": messages,
            "message": messages,
            "multiply": scalings,
            "activations": messages + int(after.sum()) + 2 * scalings,
            # a number that is sent alone says which it is
            "indices": full.nonzero["indices"] + messages,
            "weights": full.nonzero["weights"],
        }
        count += Count(Counter(sent), full.dense, full.footprint)
    return count


def _each(**kinds: int) -> Rule:
    return lambda module, args, kwargs, output: elementwise(output.numel(), **kinds)


rule(nn.ReLU, nn.ReLU6, nn.Hardtanh)(_each(comparison=1))
rule(nn.LeakyReLU, nn.PReLU)(_each(comparison=1, multiply=1))
rule(nn.ELU, nn.SELU)(_each(comparison=1, transcendental=1, multiply=1, accumulate=1))
rule(nn.Sigmoid)(_each(transcendental=2, accumulate=1))
rule(nn.Tanh)(_each(transcendental=1))
rule(nn.SiLU)(_each(transcendental=2, accumulate=1, multiply=1))
rule(nn.GELU)(_each(transcendental=1, accumulate=1, multiply=2))
rule(nn.Softplus)(_each(transcendental=2, accumulate=1))
# maximum, difference, exponential, sum, quotient (or difference of the logarithm)
rule(nn.Softmax)(_each(comparison=1, accumulate=2, transcendental=2))
rule(nn.LogSoftmax)(_each(comparison=1, accumulate=3, transcendental=1))
rule(nn.Identity)(lambda module, args, kwargs, output: Count())


@rule(nn.Dropout)
def _dropout(module: nn.Dropout, args: tuple, kwargs: dict, output: Tensor) -> Count:
    return elementwise(output.numel(), multiply=1) if module.training and module.p else Count()


@rule(nn.BatchNorm1d, StepwiseBatchNorm, TrainBatchNorm)
def _batch_norm(module: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """In inference nothing: its constants are folded into the linear map before or after it, as every compiler for
    inference does. In training mean and variance of the batch, and a multiply-accumulate with them.
    """
    if not module.training:
        return Count()
    count = elementwise(output.numel(), multiply_accumulate=1)
    return count + Count.of({"accumulate": 2 * output.numel(), "multiply_accumulate": output.numel()})


@rule(nn.LayerNorm)
def _layer_norm(module: nn.LayerNorm, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Mean, differences, their squares, inverse root, scaling; weight and bias."""
    size = output.numel()
    rows = size // max(1, int(torch.tensor(module.normalized_shape).prod()))
    affine = module.elementwise_affine
    count = elementwise(size, accumulate=2, multiply_accumulate=1 + affine, multiply=1)
    return count + Count.of({"multiply": 2 * rows, "accumulate": rows, "transcendental": 2 * rows})


@rule(CachedGCN, SAGE, GAT, leave_children=True)
def _convolutions(model: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """The layers count themselves; what is looked up to know features and graph again is no part of an inference."""
    return Count()


@rule(SGC, leave_children=True)
def _sgc(model: SGC, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """The bias, after the last hop."""
    batch = ("batch_size", "num_sampled_nodes_per_hop", "num_sampled_edges_per_hop")
    named = dict(zip(("x", "edge_index", "edge_weight", *batch), args)) | kwargs
    whole_only(any(named.get(name) is not None for name in batch))
    return bias_additions(output.numel(), True)


@rule(Propagated, leave_children=True)
def _propagated(module: Propagated, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Each hop an aggregation, a scaling and the addition of a share of the first prediction."""
    _, edge_index, edge_weight = _graph_arguments(args, kwargs, "edge_weight")
    edges = edges_of(Propagation(1), edge_index, edge_weight, output.size(0))
    every = elementwise(output.numel() * module.num_hops, multiply=1, accumulate=1)
    return aggregation(edges, output.size(1), module.num_hops) + every


def neuron_updates(neuron: Neuron | None, updates: int, spikes: int, silent: int = 0) -> Count:
    """Neurons that integrate, leak, compare and reset. Those of an :class:`~msg.neurons.ALIF` or a
    :class:`~msg.neurons.DecayingThresholdLIF` also let their threshold decay, and raise it with each spike. Factors of
    current and spike are folded into weights.

    Args:
        neuron: which one.
        updates: neurons times steps.
        spikes: that they fire; each resets one potential.
        silent: updates without any input, which an event-driven machine does not make.
    """
    forgets = _forgetful(neuron)
    leaks, adapts = not isinstance(neuron, IF) and not forgets, isinstance(neuron, ALIF | DecayingThresholdLIF)
    rests = isinstance(neuron, ALIF)  # what a spike added stands on a threshold at rest
    waits = isinstance(neuron, ALIF) and neuron.refractory > 0

    def counts(number: int) -> Counter[str]:
        return Counter(
            {
                "state_update": number,
                "comparison": number * (1 + waits),
                "multiply": number * (leaks + adapts),
                "accumulate": number * (rests + waits) + spikes * (adapts + (not forgets)),
                "state": 2 * number * state_words(neuron),
                "activations": spikes,
                "spike": spikes,
            }
        )

    return Count(counts(updates - silent), counts(updates))


def _forgetful(neuron: Neuron | None) -> bool:
    """Whether nothing is left of a potential in the next step: it need not be kept, leak or be reset."""
    return isinstance(neuron, ScaledLIF) and float(neuron.tau) == 1


def state_words(neuron: Neuron | None) -> int:
    """How many numbers a neuron keeps: its potential, and its threshold and refractory counter where they vary."""
    potential = not _forgetful(neuron)
    if isinstance(neuron, DecayingThresholdLIF):
        return potential + 1
    return potential + (1 + (neuron.refractory > 0) if isinstance(neuron, ALIF) else 0)


NEURONS = (IF, LIF, ParametricLIF, ALIF, ScaledLIF, DecayingThresholdLIF)
"""Neurons that :func:`neuron_updates` knows; it takes any other for a leaky one."""


@rule(*NEURONS)
def _neuron(neuron: Neuron, args: tuple, kwargs: dict, output: tuple[Tensor, Tensor]) -> Count:
    spikes = output[0]
    count = neuron_updates(neuron, spikes.numel(), nonzeros(spikes))
    return count + Count.of({}, {"state": spikes.numel() * state_words(neuron)})


def activation_values(neuron: Activation, values: int) -> Count:
    """What stands in a neuron's place and sends its value at once: a comparison, two if it is clipped; of a quantised
    one two comparisons and an addition, which rounds; of one bit a comparison. Factors are folded into weights.

    Args:
        neuron: which one.
        values: that it sends.
    """
    if isinstance(neuron, QuantizedReLU):
        return elementwise(values, **rounding(neuron.bits))
    return elementwise(values, comparison=1 + isinstance(neuron, ClippedReLU))


def rounding(bits: int) -> dict[str, int]:
    """Operations that make an integer of so many bits of a current that is scaled already."""
    return {"comparison": 1} if bits == 1 else {"comparison": 2, "accumulate": 1}


ACTIVATIONS = (ReLU, ClippedReLU, QuantizedReLU)
"""Activations that :func:`activation_values` knows."""


@rule(*ACTIVATIONS)
def _activation(neuron: Activation, args: tuple, kwargs: dict, output: tuple[Tensor, Any]) -> Count:
    return activation_values(neuron, output[0].numel())


@rule(Synapse)
def _synapse(synapse: Synapse, args: tuple, kwargs: dict, output: Tensor) -> Count | None:
    x, graph = args
    return synapse_count(synapse.conv, getattr(x, "csr", x), graph.edge_index, graph.edge_weight, output)


def synapse_count(
    conv: nn.Module, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None, output: Tensor
) -> Count | None:
    """A convolution of real numbers inside a synapse, ``None`` if it is not known."""
    if isinstance(conv, GINConv) and type(conv.nn) is nn.Linear:
        edges = edges_of(conv, edge_index, edge_weight, x.size(-2))
        count = linear_convolution(x, edges, output.size(-1), parameters(conv))
        return count + bias_additions(output.numel(), conv.nn.bias is not None)  # pyright: ignore[reportFunctionMemberAccess]
    known_rule = known(conv)
    if known_rule is None or leaves_children(conv):
        return None
    if isinstance(conv, nn.Linear):
        return known_rule(conv, (x,), {}, output)  # pyright: ignore[reportReturnType]
    return known_rule(conv, (x, edge_index), {"edge_weight": edge_weight}, output)  # pyright: ignore[reportReturnType]
