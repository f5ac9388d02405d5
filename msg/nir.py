r"""Spiking networks in the Neuromorphic Intermediate Representation (NIR), out and in.

NIR knows neurons and dense matrices, no graphs. So the graph goes into the matrices: node ``i``'s neuron ``k`` becomes
neuron :math:`i d + k`, and a convolution :math:`\sum_m A_m s W_m^\top + b` one affine map,

.. math::
    \operatorname{vec}(x) = \Bigl(\sum_m A_m \otimes W_m\Bigr) \operatorname{vec}(s) + \mathbf 1 \otimes b .

Source: `Pedersen et al. 2024, Neuromorphic intermediate representation
<https://doi.org/10.1038/s41467-024-52259-9>`_. Needs the extra ``neuromorphic``.
"""

import math
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.utils import k_hop_subgraph

from msg.calls import integral
from msg.graph import Graph
from msg.layers import Propagation, SpikingLayer, TrainBatchNorm
from msg.models import SpikingNetwork
from msg.neurons import IF, LIF, Adapted, Neuron, ScaledLIF, heaviside
from msg.neurons.timesteps import checked_timesteps

DT = 1e-4
"""Seconds that a step takes where nothing else is said; snntorch reads every file so."""

_LONG = 2.0**40
"""Steps after which a potential has leaked away that is to last: in float32 no step takes anything."""

_COLUMNS = 256


def _nir() -> Any:
    try:
        return import_module("nir")
    except ModuleNotFoundError:
        raise ModuleNotFoundError('this needs the package nir: pip install "msg-graph[neuromorphic]"') from None


def to_nir(
    model: SpikingNetwork,
    x: Tensor,
    edge_index: Tensor,
    edge_weight: Tensor | None = None,
    nodes: Sequence[int] | Tensor | None = None,
    readout: bool = False,
    dt: float = DT,
    if_as_lif: bool = False,
    max_bytes: int = 2**30,
) -> Any:
    r"""The spiking stack of a network on a graph, as a ``nir.NIRGraph``: input, affine map, neurons, affine map, ...

    What is written are the layers that fire, as they are in evaluation mode. The path on the manifold and the head are
    left out: they read mean currents once, after the last step. Features are the input, the same in every step or a
    train. Weights are float32. ``nir.write(file, graph)`` keeps it.

    NIR's neurons fire above their threshold and are set to zero then. A leaky one is written with ``r=1`` and its time
    constant multiplied into the weights, since norse drops ``r``; ours, spikingjelly (``dt`` alike), snntorch and norse
    (``from_nir(graph, dt=1e-4)``) then fire the same spikes, but where a potential meets its threshold to rounding.

    Args:
        model: a trained network, such as :class:`~msg.models.SpikingGNN` or :class:`~msg.models.MSG`.
        x: features as the model reads them, for the number of nodes; not kept.
        edge_index: ``[2, E]``.
        edge_weight: ``[E]``.
        nodes: write what these nodes need alone, their neighbourhood of as many hops as there are layers. Degrees are
            still those of the whole graph. ``None``: all nodes.
        readout: write the last layer too, which does not fire: for a ``SpikingGNN`` the mean of its current over the
            steps is what the model returns.
        dt: seconds a step.
        if_as_lif: write neurons that do not leak as leaky ones whose leak is below float32's rounding. snntorch takes
            NIR's ``IF`` for a leaky neuron, or refuses it.
        max_bytes: of all matrices together.

    Returns:
        Nodes ``input``, ``affine_0``, ``neuron_0``, ..., ``output``. The metadata of ``input`` and ``output`` have
        ``nodes``, in the order of the flattened rows, and ``channels`` of each; that of ``input`` has ``dt``.

    Raises:
        ValueError: for what NIR cannot say (a reset that subtracts, a synapse that is not linear, a normalisation over
            channels, neurons with more state than a potential), for matrices above ``max_bytes``, nodes that there are
            not, or a ``dt`` that is not positive.
        TypeError: for a model without a spiking stack.
        ModuleNotFoundError: without the package ``nir``.
    """
    nir = _nir()
    if not isinstance(model, SpikingNetwork):
        raise TypeError(f"{type(model).__name__} has no spiking stack: give an MSG, a SpikingGNN or a SpikingGCN")
    if not dt > 0:
        raise ValueError(f"dt must be positive, in seconds, not {dt}")
    given = model.prepare(x, edge_index, edge_weight)[1]
    given.whole_only("export to NIR", "one process")
    # a graph of its own: the model's keeps the matrices that it was asked for
    graph = Graph(given.edge_index, given.edge_weight, given.num_nodes)
    layers: list[SpikingLayer] = list(model.stack.layers)[: None if readout else -1]  # pyright: ignore
    if not layers:
        raise ValueError("no layer of this network fires: write its read-out with readout=True")
    wanted = _wanted(nodes, graph)
    around = [wanted] * (len(layers) + 1) if nodes is None else _around(wanted, layers, graph)
    widths = [model.in_channels, *(layer.out_channels for layer in layers)]
    sizes = [len(part) * width for part, width in zip(around, widths)]
    needed = 4 * sum(rows * columns for rows, columns in zip(sizes[1:], sizes))
    if needed > max_bytes:
        raise ValueError(
            f"NIR has dense matrices alone, and these would take {needed:,} bytes: write the neighbourhoods of some "
            f"nodes with nodes=..., or raise max_bytes={max_bytes:,}"
        )

    def ends(which: int, **more: Any) -> dict[str, Any]:
        return {"nodes": around[which].cpu().numpy(), "channels": widths[which], **more}

    made: dict[str, Any] = {"input": nir.Input({"input": _shape(sizes[0])}, metadata=ends(0, dt=dt))}
    with torch.no_grad():
        for number, layer in enumerate(layers):
            neuron, scale = _neuron(nir, layer.neuron, sizes[number + 1], dt, if_as_lif)
            weight, bias = _affine(layer, graph, around[number + 1], around[number])
            # an Affine without bias too: norse reads the shape of a Linear the wrong way round
            made[f"affine_{number}"] = nir.Affine(_array(scale * weight), _array(scale * bias))
            if neuron is not None:
                made[f"neuron_{number}"] = neuron
    made["output"] = nir.Output({"output": _shape(sizes[-1])}, metadata=ends(-1))
    names = list(made)
    return nir.NIRGraph(made, list(pairwise(names)))


def _shape(size: int) -> Any:
    return torch.tensor([size]).numpy()


def _array(tensor: Tensor) -> Any:
    return tensor.float().cpu().numpy()


def _wanted(nodes: Sequence[int] | Tensor | None, graph: Graph) -> Tensor:
    device = graph.edge_index.device
    if nodes is None:
        return torch.arange(graph.num_nodes, device=device)
    wanted = torch.as_tensor(nodes, device=device)
    numbers = wanted.dim() == 1 and integral(wanted)
    inside = numbers and wanted.numel() and 0 <= int(wanted.min()) <= int(wanted.max()) < graph.num_nodes
    if not inside or len(wanted.unique()) < len(wanted):
        raise ValueError(f"nodes must be one or more of 0 to {graph.num_nodes - 1}, each once, not {wanted.tolist()}")
    return wanted


def _around(wanted: Tensor, layers: Sequence[SpikingLayer], graph: Graph) -> list[Tensor]:
    """Nodes that the input and each layer have to know."""
    parts = [wanted]
    for layer in reversed(layers):
        parts.append(k_hop_subgraph(parts[-1], layer.hops, graph.edge_index, num_nodes=graph.num_nodes)[0])
    return parts[::-1]


def _columns(receive: Any, graph: Graph, rows: Tensor, columns: Tensor) -> Tensor:
    """Part of a matrix that is known by what it does."""
    parts = []
    for some in columns.split(_COLUMNS):
        one = torch.zeros(graph.num_nodes, len(some), dtype=torch.float64, device=columns.device)
        one[some, torch.arange(len(some), device=columns.device)] = 1
        parts.append(receive(one)[rows])
    return torch.cat(parts, dim=1)


def _affine(layer: SpikingLayer, graph: Graph, targets: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix and bias of a layer's current, in float64."""
    conv = layer.synapse.conv
    bias: Tensor | None = None
    if isinstance(conv, Propagation):
        features = layer.out_channels // (2 if conv.signed else 1)
        # torch.kron lays neither side out anew
        own = conv.channels(torch.eye(features, dtype=torch.float64, device=targets.device)).t().contiguous()
        hops = Propagation(conv.num_hops)
        weight = torch.kron(_columns(lambda one: hops.along(one, graph), graph, targets, sources), own)
    else:
        parts = layer.synapse.taken_apart(graph, torch.float64)
        if parts is None:
            raise ValueError(
                f"{type(conv).__name__} is not one of the convolutions that are taken apart into matrices, and NIR has "
                "no graph to run it on: use conv='gcn', 'sage' or 'gin'"
            )
        terms, bias = parts
        weight = sum(torch.kron(_columns(t.receive, graph, targets, sources), t.weight.double()) for t in terms)
        assert isinstance(weight, Tensor)
    shift = weight.new_zeros(layer.out_channels) if bias is None else bias.double()
    norm = layer.norm
    if isinstance(norm, TrainBatchNorm):
        own, mean, variance = norm.norm, norm.norm.running_mean, norm.norm.running_var
        assert mean is not None
        assert variance is not None
        scale = own.weight.double() / (variance.double() + own.eps).sqrt()
        weight = scale.repeat(len(targets))[:, None] * weight
        shift = (shift - mean.double()) * scale + own.bias.double()
    elif norm is not None:
        raise ValueError(
            f"{type(norm).__name__} divides by what it reads, and NIR's maps are affine: train with norm='batch' or "
            "'none'"
        )
    return weight, shift.repeat(len(targets))


def _neuron(nir: Any, neuron: nn.Module | None, size: int, dt: float, if_as_lif: bool) -> tuple[Any, float]:
    """NIR's neurons, and the factor of the current that they need; none for a read-out."""
    if neuron is None:
        return None, 1.0
    name = type(neuron).__name__
    if not isinstance(neuron, Neuron) or type(neuron).forward is not Neuron.forward:
        raise ValueError(f"NIR has no {name}: use IF(reset='zero') or LIF(reset='zero')")
    if neuron.reset != "zero":
        raise ValueError(
            f"NIR's neurons are set to zero by a spike, and this {name} subtracts its threshold: train with "
            f"{'LIF' if name == 'Adapted' else name}(reset='zero')"
        )
    one = torch.ones(1, size, dtype=torch.float64)
    decays, gains = neuron.decay(one).flatten(), neuron.drive(one).flatten()
    if any(bool((values != values[:1]).any()) for values in (decays, gains)):
        raise ValueError(f"{name} has a decay or gain a channel, and only one of a layer is written: use LIF")
    if neuron.level(one) != neuron.threshold:
        raise ValueError(
            f"NIR's neurons fire above their threshold, and this {name} at it too, as spikingjelly's do: use "
            "at_threshold=False, or train with LIF(reset='zero')"
        )
    decay, gain = float(decays[0]), float(gains[0])
    if not 0 <= decay <= 1:
        raise ValueError(f"the potential of {name} grows by {decay:g} a step, and NIR's decay: keep tau at 1 or above")

    def all_of(value: float) -> Any:
        return _array(torch.full((size,), value, dtype=torch.float64))

    levels = {"v_threshold": all_of(neuron.threshold), "v_reset": all_of(0.0)}
    if decay == 1 and not if_as_lif:
        return nir.IF(r=all_of(1 / dt), **levels), gain
    if decay == 1:
        return nir.LIF(tau=all_of(_LONG * dt), r=all_of(_LONG), v_leak=all_of(0.0), **levels), gain
    tau = 1 / (1 - decay)
    return nir.LIF(tau=all_of(tau * dt), r=all_of(1.0), v_leak=all_of(0.0), **levels), gain * tau


class FoldedNetwork(nn.Module):
    """Affine maps and neurons in a row, whose graph is in the matrices; see :func:`from_nir`.

    Args:
        parts: linear maps and neurons, in order.
        inputs: nodes whose features are the input, ``[n]``; ``None`` where that is not known.
        outputs: nodes whose neurons are the output.

    Shapes:
        ``x``: a train ``[T, ..., n F]``, or with ``timesteps`` a constant input ``[..., n F]``, for a network that we
        wrote ``x[inputs].flatten()`` of features ``[N, F]``; returns the spikes ``[T, ..., m d]`` of the last neurons,
        or the currents of a read-out.
    """

    inputs: Tensor | None
    outputs: Tensor | None

    def __init__(self, parts: Sequence[nn.Module], inputs: Tensor | None = None, outputs: Tensor | None = None):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.register_buffer("inputs", inputs, persistent=False)
        self.register_buffer("outputs", outputs, persistent=False)

    def forward(self, x: Tensor, timesteps: int | None = None) -> Tensor:
        """Run the parts on each step.

        Raises:
            ValueError: for an input of another width, or no step.
        """
        first = self.parts[0]
        wide = first.in_features if isinstance(first, nn.Linear) else None
        if x.dim() < 1 + (timesteps is None) or (wide is not None and x.size(-1) != wide):
            width = "n F" if wide is None else wide
            raise ValueError(
                f"the input is a train [T, ..., {width}], or with timesteps constant [..., {width}], not "
                f"{list(x.shape)}: of features [N, F] of a graph give x[network.inputs].flatten() and timesteps"
            )
        steps = checked_timesteps(len(x) if timesteps is None else timesteps)
        states: list[Any] = [None] * len(self.parts)
        train = []
        for now in x if timesteps is None else [x] * steps:
            for number, part in enumerate(self.parts):
                if isinstance(part, Neuron):
                    now, states[number] = part(now, states[number], heaviside)
                else:
                    now = part(now)
            train.append(now)
        return torch.stack(train)


def from_nir(graph: Any, dt: float | None = None) -> FoldedNetwork:
    r"""Read what :func:`to_nir` wrote, or any row of affine maps and integrate-and-fire neurons.

    The equations of NIR, :math:`\tau\dot v = (v_{leak} - v) + R I` and :math:`\dot v = R I`, are stepped by Euler:
    :math:`\lambda = 1 - \Delta t/\tau`, and a current counts :math:`R\,\Delta t/\tau` or :math:`R\,\Delta t`.

    Args:
        graph: a ``nir.NIRGraph``, or the file it was written to.
        dt: seconds a step; ``None`` is what the file says, else :data:`DT`.

    Raises:
        ValueError: for other nodes or branches, neurons of a layer that differ, or potentials that rest or are reset
            elsewhere than at zero, or a ``dt`` that is not positive.
        ModuleNotFoundError: without the package ``nir``.
    """
    nir = _nir()
    if isinstance(graph, str | PathLike):
        graph = nir.read(graph)
    names = _row(graph, nir)
    first, last = graph.nodes[names[0]].metadata, graph.nodes[names[-1]].metadata
    step = float(first.get("dt", DT)) if dt is None else dt
    if not step > 0:
        raise ValueError(f"dt must be positive, in seconds, not {step}")
    parts = [_part(nir, name, graph.nodes[name], step) for name in names[1:-1]]
    ends = [None if "nodes" not in end else torch.as_tensor(end["nodes"]) for end in (first, last)]
    return FoldedNetwork(parts, *ends)


def _row(graph: Any, nir: Any) -> list[str]:
    """Names of the nodes from input to output."""
    after = dict(graph.edges)
    starts = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)]
    row = starts[:1]
    while row and row[-1] in after and len(row) <= len(graph.nodes):
        row.append(after[row[-1]])
    if len(after) != len(graph.edges) or sorted(row) != sorted(graph.nodes):
        raise ValueError("the nodes of this graph do not stand in a row: only networks without branches are read")
    return row


def _part(nir: Any, name: str, node: Any, dt: float) -> nn.Module:
    if isinstance(node, nir.Affine | nir.Linear):
        rows, columns = node.weight.shape
        bias = getattr(node, "bias", None)
        part = nn.Linear(columns, rows, bias=bias is not None)
        with torch.no_grad():
            part.weight.copy_(torch.as_tensor(node.weight))
            if bias is not None:
                part.bias.copy_(torch.as_tensor(bias))
        return part
    if not isinstance(node, nir.IF | nir.LIF):
        raise ValueError(f"{name} is a {type(node).__name__}: only Affine, Linear, IF and LIF are read")

    def one(field: str) -> float:
        value = torch.as_tensor(getattr(node, field)).unique()
        if value.numel() != 1:
            raise ValueError(f"{field} of {name} differs between neurons, and here a layer has one")
        return float(value)

    for field in ("v_reset", "v_leak"):
        if hasattr(node, field) and one(field) != 0:
            raise ValueError(f"{field} of {name} is {one(field):g}, and here potentials rest at zero")
    threshold = one("v_threshold")
    if isinstance(node, nir.IF):
        gain = _near(one("r") * dt, 1.0)
        return IF(threshold, "zero") if gain == 1 else Adapted(1.0, gain, threshold, "zero")
    tau = one("tau") / dt
    if not math.isfinite(tau):
        raise ValueError(f"tau of {name} is {tau:g}: use an IF for neurons that do not leak")
    tau = _near(tau, round(tau))
    if tau < 1:
        raise ValueError(f"tau of {name} is {one('tau'):g} s, less than a step of dt={dt:g} s: give a smaller dt")
    if one("r") == 1:
        return ScaledLIF(tau, threshold, "zero")
    gain = _near(one("r") / tau, 1.0)
    return LIF(tau, threshold, "zero") if gain == 1 and tau > 1 else Adapted(1 - 1 / tau, gain, threshold, "zero")


def _near(value: float, whole: float) -> float:
    """A whole number of steps, if a file in float32 may have meant it."""
    return float(whole) if abs(value - whole) < 1e-6 * abs(value) else value
