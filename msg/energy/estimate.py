r"""A first estimate of the energy of one inference, counted alike for spiking and ordinary networks.

Rules that hold for every model:

- features are multiplied by their non-zeros, ``nnz(X) · d`` multiply–accumulates;
- an aggregation with degree normalisation scales nodes before and after, ``2 N d`` multiplications, and adds one
  message an edge, ``E d`` accumulates (``E`` with self-loops); with edge weights each is a multiply–accumulate;
- a spike adds one row of the next weight matrix, ``d`` accumulates, but the message it becomes travels every edge;
- everything that happens in every time step is counted in every time step;
- the mean current into the last layer comes from rates, which are not binary: its products count in full.
"""

from collections import Counter
from functools import singledispatch

import torch
from torch import Tensor, nn
from torch_geometric.nn import GCN, GCNConv, GINConv, SAGEConv

from msg.energy.costs import HOROWITZ_45NM_FP32, CostTable
from msg.energy.operations import EnergyEstimate
from msg.manifolds import ambient_dim
from msg.neurons import IF
from msg.nn import MSG, SpikingGNN, SpikingLayer, SpikingNetwork


def estimate(
    model: nn.Module,
    x: Tensor,
    edge_index: Tensor,
    edge_weight: Tensor | None = None,
    costs: CostTable = HOROWITZ_45NM_FP32,
) -> EnergyEstimate:
    """Count the operations of one inference over the whole graph and price them.

    Args:
        model: :class:`msg.nn.MSG`, :class:`msg.nn.SpikingGNN` or :class:`torch_geometric.nn.GCN`.
        x: node features ``[N, F]``, dense or sparse; zeros are not multiplied.
        edge_index: ``[2, E]``.
        edge_weight: ``[E]``.
        costs: energy of each kind of operation.

    Raises:
        TypeError: for a model, or a convolution in it, whose operations are not known here.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            parts = _count(model, x, edge_index, edge_weight)
    finally:
        model.train(training)
    return EnergyEstimate({name: +counts for name, counts in parts.items()}, costs)


@singledispatch
def _count(model: nn.Module, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None) -> dict[str, Counter[str]]:
    raise TypeError(f"no counts are known for {type(model).__name__}: use MSG, SpikingGNN or torch_geometric.nn.GCN")


def _nonzeros(x: Tensor) -> int:
    return int((x.values() if x.layout != torch.strided else x).count_nonzero())


def _aggregation(
    conv: nn.Module, num_nodes: int, edge_index: Tensor, weighted: bool, width: int, times: int = 1
) -> Counter[str]:
    """Operations of ``times`` aggregations of ``width`` columns."""
    edges = edge_index.size(1)
    scaled = 0
    if isinstance(conv, GCNConv):
        if conv.add_self_loops:
            edges += _missing_loops(edge_index, num_nodes)
        scaled = 2 if conv.normalize else 0
    elif isinstance(conv, SAGEConv):
        scaled = 1 if conv.aggr == "mean" else 0
    elif isinstance(conv, GINConv):
        edges += num_nodes
    elif type(conv) is nn.Linear:
        return Counter()
    else:
        raise TypeError(f"no counts are known for {type(conv).__name__}: use GCN, SAGE or GIN convolutions")
    message = "multiply_accumulate" if weighted else "accumulate"
    return Counter({message: edges * width * times, "multiply": scaled * num_nodes * width * times})


def _missing_loops(edge_index: Tensor, num_nodes: int) -> int:
    return num_nodes - int(edge_index[0, edge_index[0] == edge_index[1]].unique().numel())


def _weight_matrices(conv: nn.Module) -> int:
    """How many weight matrices the input of a convolution is multiplied by."""
    return 2 if isinstance(conv, SAGEConv) and conv.root_weight else 1


def _dense_layer(
    conv: nn.Module, entries: int, num_nodes: int, edge_index: Tensor, weighted: bool, width: int
) -> Counter[str]:
    """A convolution of real numbers: ``entries`` non-zeros of its input meet ``width`` columns, and a bias."""
    products = Counter({"multiply_accumulate": entries * width * _weight_matrices(conv)})
    bias = Counter({"accumulate": num_nodes * width})
    return products + _aggregation(conv, num_nodes, edge_index, weighted, width) + bias


def _neurons(layer: SpikingLayer, num_nodes: int, timesteps: int, spikes: int) -> Counter[str]:
    """Updates of the membranes: integrate, leak, compare, and one reset a spike."""
    updates = num_nodes * layer.out_channels * timesteps
    leak = 0 if isinstance(layer.neuron, IF) else updates
    return Counter({"accumulate": updates + spikes, "comparison": updates, "multiply": leak})


def _spiking_layers(
    model: SpikingNetwork, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None
) -> dict[str, Counter[str]]:
    num_nodes, steps, weighted = x.size(-2), model.timesteps, edge_weight is not None
    layers: list[SpikingLayer] = list(model.layers)  # pyright: ignore[reportAssignmentType]
    rates = model.activity(x, edge_index, edge_weight).rates
    spikes = [round(float(rate.double().sum()) * steps) for rate in rates]
    encoder = layers[0]
    repeats = steps if x.dim() == 3 else 1  # a constant current is computed once
    parts = {
        "encoder": _dense_layer(
            encoder.synapse.conv, _nonzeros(x), num_nodes, edge_index, weighted, encoder.out_channels
        )
    }
    if repeats > 1:
        parts["encoder"] += _aggregation(
            encoder.synapse.conv, num_nodes, edge_index, weighted, encoder.out_channels, repeats - 1
        )
    for index, (layer, below) in enumerate(zip(layers[1:], layers), start=1):
        parts[f"neurons {index - 1}"] = _neurons(below, num_nodes, steps, spikes[index - 1])
        conv, width = layer.synapse.conv, layer.out_channels
        if layer is layers[-1]:
            rated = int(rates[index - 1].count_nonzero())
            parts[f"layer {index}"] = _dense_layer(conv, rated, num_nodes, edge_index, weighted, width)
            continue
        rows = Counter({"accumulate": spikes[index - 1] * width * _weight_matrices(conv)})
        bias = Counter({"accumulate": num_nodes * width * steps})
        parts[f"layer {index}"] = rows + bias + _aggregation(conv, num_nodes, edge_index, weighted, width, steps)
    return parts


@_count.register
def _(model: MSG, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None) -> dict[str, Counter[str]]:
    parts = _spiking_layers(model, x, edge_index, edge_weight)
    nodes, width, moves = x.size(-2), model.hidden_channels, len(model.layers)
    size = ambient_dim(model.manifold, width)
    # a step: |v|², <z, v>, |z'|² and two linear combinations; its bound: |v|² and a scaling
    parts["manifold steps"] = Counter(
        {"multiply_accumulate": nodes * moves * (5 * size + 2 * width), "transcendental": nodes * moves * 5}
    )
    if model.lin is not None:
        parts["read-out"] = Counter(
            {"multiply_accumulate": nodes * (2 * width + width * model.lin.out_features), "transcendental": nodes}
        )
    return parts


@_count.register
def _(model: SpikingGNN, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None) -> dict[str, Counter[str]]:
    return _spiking_layers(model, x, edge_index, edge_weight)


@_count.register
def _(model: GCN, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None) -> dict[str, Counter[str]]:
    num_nodes, weighted = x.size(0), edge_weight is not None
    hidden: list[Tensor] = []
    hooks = [conv.register_forward_pre_hook(lambda _, args: hidden.append(args[0])) for conv in model.convs]
    try:
        model(x, edge_index, edge_weight=edge_weight)
    finally:
        for hook in hooks:
            hook.remove()
    parts = {}
    for index, (conv, inputs) in enumerate(zip(model.convs, hidden)):
        width = conv.out_channels  # pyright: ignore[reportAttributeAccessIssue]
        assert isinstance(width, int)
        counts = _dense_layer(conv, _nonzeros(inputs), num_nodes, edge_index, weighted, width)
        if index < len(model.convs) - 1:
            counts["comparison"] += num_nodes * width  # ReLU
        parts[f"layer {index}"] = counts
    return parts
