r"""Rules of spiking networks: what event-driven hardware does to run them, from how often each neuron fired.

The encoder's current is constant, so it is computed once. Every neuron that has input is updated in every step, though
:class:`~msg.neurons.IF` has a closed form. Then, with ``n_j`` spikes of node ``j``, a linear synapse of width ``d``
runs in the way that costs least, by the prices of whoever prices it:

- *shared*: a spike adds one row of the weights to what its node sends, ``n_j d`` accumulates, and each step's sums are
  aggregated over all edges;
- *delivered*: a spike crosses every edge by itself and adds the row at each target, ``n_j d`` accumulates an edge, its
  row scaled once by the source's degree;
- *rates*, for the last layer, which only needs its mean current: the non-zero firing rates are multiplied with the
  weights. There the first way, too, aggregates once, after the last step.

Factors such as ``1/T`` are folded into weights. Any other synapse runs in every step as it would on real numbers, but
for its product, where a spike adds a row.

Above an activation, which sends its value at once, a synapse runs once: on real numbers as anywhere, and on those of a
:class:`~msg.neurons.QuantizedReLU` with a multiplier as wide as they are, before they are aggregated.
"""

from collections import Counter

import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, GINConv, SAGEConv

from msg.energy import geometry
from msg.energy.counts import Count, Firing, Operations
from msg.energy.modules import (
    ACTIVATIONS,
    NEURONS,
    Rule,
    activation_values,
    bias_additions,
    known,
    leaves_children,
    neuron_updates,
    parameters,
    rounding,
    rule,
    state_words,
    synapse_count,
    whole_only,
)
from msg.energy.products import (
    Edges,
    Operand,
    aggregation,
    edges_of,
    narrow_product,
    nonzeros,
    numbers,
    operand,
    product,
)
from msg.energy.spikes import spike_linear
from msg.gradients import Activity
from msg.graph import Graph, SampledGraph, as_edges
from msg.layers import JumpingPath, LastCurrent, ManifoldPath, SpikingConv, SpikingLayer, Synapse, TangentHead
from msg.manifolds import ambient_dim
from msg.models import SpikingNetwork, SpikingStack
from msg.neurons import Activation, Neuron, QuantizedReLU

_AT_ONCE = 2**22
"""So many rates are read in double precision at once."""


@rule(SpikingStack, subclasses=True)
def _stack(stack: SpikingStack, args: tuple, kwargs: dict, activity: Activity) -> Operations:
    """What the layers did, each synapse and each layer of neurons under its own name."""
    ops = Operations()
    features, graph = args
    whole_only(isinstance(graph, SampledGraph))
    x = getattr(features, "csr", features)
    layers: list[SpikingLayer] = list(stack.layers)  # pyright: ignore[reportAssignmentType]
    currents, rates, steps = activity.currents, activity.rates, stack.timesteps
    _add(ops, "layers.0.synapse", _encoder(layers[0].synapse, x, graph, currents[0]), layers[0], 1)
    if layers[0].norm is not None:
        for _ in range(steps if x.dim() == 3 else 1):
            _norm(ops, layers[0].norm, currents[0])
    for index, (layer, below) in enumerate(zip(layers[1:], layers)):
        if isinstance(below.neuron, Activation):
            _valued(ops, index, below.neuron, rates[index].detach(), layer, graph, currents[index + 1])
            continue
        nodes, channels = rates[index].shape
        fired = _fired(rates[index].detach(), steps)
        total, silent = int(fired.sum()), 0
        if index == 0 and x.dim() == 2:
            silent = (nodes * channels - nonzeros(currents[0])) * steps
        updates, still = _updates(below.neuron, nodes * channels, steps, total, silent)
        name = f"layers.{index}.neuron"
        ops.add(name, updates)
        if type(below.neuron) not in NEURONS:
            ops.unknown[type(below.neuron).__name__] += 1
        last = layer is layers[-1]
        times = 1 if last and layer.linear else steps
        synapse = _Synapse(layer.synapse.conv, nodes, channels, layer.out_channels, times, graph)
        if layer.linear:
            count = synapse.cheapest(fired, operand(rates[index]) if last else None)
        else:
            count = _stepwise(synapse, fired, graph)
        _add(ops, f"layers.{index + 1}.synapse", count, layer, times)
        ops.firing[name] = synapse.firing(fired, updates, still, steps, layer.linear, last)
    return ops


@rule(SpikingConv)
def _spiking_conv(layer: SpikingConv, args: tuple, kwargs: dict, output: Tensor) -> Operations | None:
    """Neurons under a constant current, and above them a synapse like the last of a stack: its mean current is read."""
    named = dict(zip(("x", "edge_index", "edge_weight"), args)) | kwargs
    x, neuron, steps, conv = named["x"], layer.neuron, layer.timesteps, layer.conv
    if not isinstance(neuron, Neuron):
        return None
    graph = Graph(*as_edges(named["edge_index"], named.get("edge_weight"), x.size(0)), x.size(0))
    ops, linear = Operations(), Synapse(conv).linear
    if isinstance(neuron, Activation):
        updates = activation_values(neuron, x.numel())
        count = _of_values(conv, linear, neuron, neuron.rate(x, 1), graph, output)
    else:
        rates = neuron.rate(x, steps)
        fired = _fired(rates, steps)
        silent = (x.numel() - nonzeros(x)) * steps
        updates, still = _updates(neuron, x.numel(), steps, int(fired.sum()), silent)
        synapse = _Synapse(conv, x.size(0), x.size(1), output.size(-1), 1 if linear else steps, graph)
        count = synapse.cheapest(fired, operand(rates)) if linear else _stepwise(synapse, fired, graph)
        ops.firing["neuron"] = synapse.firing(fired, updates, still, steps, linear, True)
    ops.add("neuron", updates)
    if type(neuron) not in (*ACTIVATIONS, *NEURONS):
        ops.unknown[type(neuron).__name__] += 1
    if count is None:
        ops.unknown[type(conv).__name__] += steps
    else:
        ops.add("conv", count)
    return ops


def reads_spikes(module: nn.Module) -> Rule | None:
    """The rule of a layer of torch or PyG that is given the spikes of one step, in a loop of a user's own: each adds a
    row of weights. ``None`` where it is counted as for any input.
    """
    if type(module) is nn.Linear:
        return spike_linear
    return _of_spikes if type(module) in (GCNConv, SAGEConv, GINConv) and Synapse(module).linear else None


def _of_spikes(conv: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Count:
    named = dict(zip(("x", "edge_index", "edge_weight"), args)) | kwargs
    x = named["x"]
    graph = Graph(*as_edges(named["edge_index"], named.get("edge_weight"), x.size(0)), x.size(0))
    synapse = _Synapse(conv, x.size(0), x.size(1), output.size(-1), 1, graph)
    return synapse.cheapest((x != 0).sum(-1))


def _updates(neuron: Neuron | None, neurons: int, steps: int, spikes: int, silent: int) -> tuple[Count, Count]:
    """Of all steps, with the state that is held; and what of it happens whatever fires."""
    held = Count.of({}, {"state": neurons * state_words(neuron)})
    whole, still = (neuron_updates(neuron, neurons * steps, number, silent) + held for number in (spikes, 0))
    return whole, still


def _fired(rates: Tensor, steps: int) -> Tensor:
    """Spikes of each node, from the rates of its neurons.

    Raises:
        ValueError: for rates in half precision which do not tell so many steps apart.
    """
    if steps * torch.finfo(rates.dtype).eps >= 1:
        raise ValueError(
            f"rates in {rates.dtype} do not tell {steps} steps apart: count the model in float32, model.float()"
        )
    # a part at a time, which in double precision is twice as large
    parts = rates.split(max(_AT_ONCE // max(rates.size(-1), 1), 1))
    return torch.cat([(part.double() * steps).round().sum(-1).long() for part in parts])


def _valued(
    ops: Operations, index: int, neuron: Activation, values: Tensor, layer: SpikingLayer, graph: Graph, current: Tensor
) -> None:
    """Activations in the place of neurons, and the synapse above them."""
    ops.add(f"layers.{index}.neuron", activation_values(neuron, values.numel()))
    if type(neuron) not in ACTIVATIONS:
        ops.unknown[type(neuron).__name__] += 1
    count = _of_values(layer.synapse.conv, layer.linear, neuron, values, graph, current)
    _add(ops, f"layers.{index + 1}.synapse", count, layer, 1)


def _of_values(
    conv: nn.Module, linear: bool, neuron: Activation, values: Tensor, graph: Graph, current: Tensor
) -> Count | None:
    """A synapse above activations."""
    if not isinstance(neuron, QuantizedReLU):
        return synapse_count(conv, values, graph.edge_index, graph.edge_weight, current)
    nodes, channels = values.shape
    events = _Synapse(conv, nodes, channels, current.size(-1), 1, graph)
    return events.quantised(values, neuron.bits) if linear else _narrow(events, values, neuron.bits, graph)


def _norm(ops: Operations, norm: nn.Module, current: Tensor) -> None:
    """The normalisation of the encoder's current."""
    counted = known(norm)
    found = None if counted is None else counted(norm, (current,), {}, current)
    if isinstance(found, Count):
        ops.add("layers.0.norm", found)
    else:
        ops.unknown[type(norm).__name__] += 1


def train_count(synapse: Synapse, train: Tensor, graph: Graph, width: int) -> Count | None:
    """What a synapse does with a train of spikes ``[N, T, d]`` when the current of every step is read.

    Args:
        synapse: which one.
        train: the spikes, or what dropout leaves of them.
        graph: as the synapse reads it.
        width: of the current.

    Returns:
        The count of the cheapest way; ``None`` for a synapse that is not known.
    """
    nodes, steps, channels = train.shape
    fired = train.bool().sum((1, 2))
    events = _Synapse(synapse.conv, nodes, channels, width, steps, graph)
    return events.cheapest(fired) if synapse.linear else _stepwise(events, fired, graph)


def _add(ops: Operations, name: str, count: Count | None, layer: SpikingLayer, times: int) -> None:
    if count is None:
        ops.unknown[type(layer.synapse.conv).__name__] += times
    else:
        ops.add(name, count)


def _encoder(synapse: Synapse, x: Tensor, graph: Graph, current: Tensor) -> Count | None:
    if x.dim() == 2:
        return synapse_count(synapse.conv, x, graph.edge_index, graph.edge_weight, current)
    if synapse.linear and bool(((x == 0) | (x == 1)).all()):
        train = _Synapse(synapse.conv, x.size(1), x.size(2), current.size(-1), x.size(0), graph)
        return train.cheapest(x.sum((0, 2)).long())
    steps = [synapse_count(synapse.conv, now, graph.edge_index, graph.edge_weight, current) for now in x]
    return None if any(step is None for step in steps) else sum((s for s in steps if s is not None), Count())


class _Synapse:
    """A linear synapse that runs ``times`` times in one inference."""

    def __init__(self, conv: nn.Module, nodes: int, channels: int, width: int, times: int, graph: Graph):
        self.conv, self.nodes, self.channels, self.width, self.times = conv, nodes, channels, width, times
        self.edges: Edges | None = edges_of(conv, graph.edge_index, graph.edge_weight, nodes)
        self.root = int(isinstance(conv, SAGEConv) and conv.root_weight)
        inner = getattr(conv, "lin_l", getattr(conv, "nn", conv))
        self.bias = bias_additions(nodes * width * times, getattr(inner, "bias", None) is not None)
        # the sum of the two terms is made in place: rows are added to what has been aggregated
        self.footprint = {
            "weights": parameters(conv),
            "activations": nodes * (channels + width),
            "accumulators": nodes * width,
        }

    def _rows(self, spikes: int, matrices: int) -> Count:
        added = spikes * self.width * matrices
        counts = {
            "accumulate": added,
            "synaptic_ac": added,
            "weights": added,
            "accumulators": 2 * added,
            "activations": spikes,
        }
        return Count.of(counts, self.footprint)

    def _shared(self, fired: Tensor) -> Count:
        return self._rows(int(fired.sum()), 1 + self.root) + aggregation(self.edges, self.width, self.times)

    def _delivered(self, fired: Tensor, edges: Edges) -> Count:
        crossings, spikes = int((fired * edges.fanout).sum()), int(fired.sum())
        added, width = crossings * self.width, self.width
        before = spikes * width * (edges.scaled == 2)
        after = self.nodes * width * self.times * (edges.scaled > 0)
        counts = {
            "multiply_accumulate" if edges.weighted else "accumulate": added,
            "synaptic_mac" if edges.weighted else "synaptic_ac": added,
            "message": added,
            "multiply": before + after,
            "weights": spikes * width + crossings * edges.weighted,
            "accumulators": 2 * added,
            "activations": spikes + 2 * after,
            "indices": crossings + spikes,
        }
        held = {"indices": edges.messages + self.nodes + 1}
        return Count.of(counts, self.footprint | held) + self._rows(spikes, self.root)

    def cheapest(self, fired: Tensor, rates: Operand | None = None) -> Count:
        """Every way, for spikes of each node ``[N]``, and, where the firing rates will do, for these."""
        ways = {"shared": self._shared(fired)}
        # without edges a row that is added is delivered
        ways["delivered"] = ways["shared"] if self.edges is None else self._delivered(fired, self.edges)
        if rates is not None:
            outputs = self.nodes * self.width
            # a rate of zero is no event under any convention
            spent = product(rates._replace(entries=rates.found), self.width, outputs, False, parameters(self.conv))
            spent += Count.of({}, {"activations": rates.entries + outputs})
            ways["rates"] = sum([spent] * self.root, spent) + aggregation(self.edges, self.width)
        return Count.cheapest(ways) + self.bias

    def quantised(self, values: Tensor, bits: int) -> Count:
        """Products of integers, then one aggregation; the sum of the two terms is made in place."""
        outputs, x = self.nodes * self.width, operand(values)
        once = narrow_product(x, bits, self.width, outputs, parameters(self.conv))
        return sum([once] * self.root, once) + aggregation(self.edges, self.width) + self.bias

    def firing(self, fired: Tensor, updates: Count, still: Count, steps: int, linear: bool, last: bool) -> Firing:
        """What the neurons below did with this synapse above them, which runs once if it is the last; how it compares
        is known of linear ones only. Of the neurons' updates ``still`` happens whatever fires.
        """
        spikes, neurons = int(fired.sum()), self.nodes * self.channels
        fanout = torch.full_like(fired, self.root)
        fanout += 1 if self.edges is None else self.edges.fanout
        resets, every_step = Count.of(updates.nonzero - still.nonzero), still + self.bias
        sums = aggregation(self.edges, self.width, self.times)
        shared = (self._rows(spikes, 1 + self.root) + resets, every_step + sums)
        delivered, silence = shared, sums
        if self.edges is not None:
            silence = self._delivered(torch.zeros_like(fired), self.edges)
            whole = self._delivered(fired, self.edges)
            driven = Count.of(whole.nonzero - silence.nonzero, whole.footprint)
            delivered = (driven + resets, every_step + silence)
        once = product(numbers(neurons), self.width, self.nodes * self.width, False, parameters(self.conv))
        rounded = {kind: times * neurons for kind, times in rounding(steps.bit_length()).items()}
        products = sum([once] * self.root, once) + Count.of(rounded)
        return Firing(
            spikes,
            neurons,
            steps,
            int(fanout.sum()) * self.channels * self.width,
            int((fired * fanout).sum()) * self.width,
            (shared, delivered) if linear else (),
            products
            + Count.of({k: n // self.times for k, n in self.bias.nonzero.items()})
            + aggregation(self.edges, self.width),
            # priced with the memory that the whole has
            tuple(
                Count.of((self.bias + part).nonzero, way[1].footprint)
                for part, way in ((sums, shared), (silence, delivered))
            )
            if linear and last
            else (),
        )


def _silence(synapse: _Synapse, graph: Graph) -> Count | None:
    """What a synapse that is not linear does in one step whatever it reads."""
    conv = synapse.conv
    known_rule = known(conv)
    if known_rule is None or leaves_children(conv):
        return None
    silence = torch.zeros(synapse.nodes, synapse.channels, device=graph.edge_index.device)
    output = silence.new_zeros(synapse.nodes, synapse.width)
    step = known_rule(conv, (silence, graph.edge_index), {"edge_weight": graph.edge_weight}, output)
    return Count.of(step.nonzero, step.footprint) if isinstance(step, Count) else None


def _stepwise(synapse: _Synapse, fired: Tensor, graph: Graph) -> Count | None:
    """A synapse that is not linear: everything in every step, but products only where there is a spike."""
    step = _silence(synapse, graph)
    if step is None:
        return None
    every = Counter({kind: count * synapse.times for kind, count in step.nonzero.items()})
    return Count.of(every, step.footprint) + synapse._rows(int(fired.sum()), 1 + synapse.root)


def _narrow(synapse: _Synapse, values: Tensor, bits: int, graph: Graph) -> Count | None:
    """The same once, with products of integers; its outputs are written already."""
    step = _silence(synapse, graph)
    once = narrow_product(operand(values), bits, synapse.width, 0, parameters(synapse.conv))
    return None if step is None else sum([once] * synapse.root, step + once)


@rule(ManifoldPath, JumpingPath)
def _path(path: ManifoldPath, args: tuple, kwargs: dict, point: Tensor) -> Count:
    """One step a layer; of a path that keeps all points, each of them is held."""
    nodes, width, moves = point.size(0), path.hidden_channels, len(args[0])
    counts = geometry.times(geometry.step(width, path.max_step is not None), nodes * moves)
    counts["activations"] += nodes * moves * (2 * ambient_dim(path.factor, width) + width)
    steps = geometry.moves(path.factor, width, 1, moves - 1, nodes)
    return steps + Count.of(counts, {"activations": nodes * (point.size(-1) + width)})


rule(LastCurrent)(lambda module, args, kwargs, output: Count())


@rule(TangentHead)
def _head(head: TangentHead, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """A logarithm and a product."""
    nodes, lin = output.size(0), head.lin
    width = lin.in_features
    logarithm = geometry.times(geometry.log0(head.manifold, width), nodes)
    logarithm["activations"] += nodes * (ambient_dim(head.manifold, width) + width)
    entries, outputs = nodes * width, nodes * lin.out_features
    classifier = product(numbers(entries), lin.out_features, outputs, lin.bias is not None, parameters(lin))
    return Count.of(logarithm) + classifier


@rule(SpikingNetwork, leave_children=True, subclasses=True)
def _network(model: SpikingNetwork, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """A mean current that varies in time and that the path reads is a running sum; the rooms count all else."""
    if not isinstance(model.path, ManifoldPath):
        return Count()
    x = args[0] if args else kwargs["x"]
    layers: list[SpikingLayer] = list(model.stack.layers)  # pyright: ignore[reportAssignmentType]
    if any(isinstance(layer.neuron, Activation) for layer in layers):
        return Count()  # a single step is its own mean
    sums = len(layers) - 2 + (x.dim() == 3) + (not layers[-1].linear)
    nodes, width = x.size(-2), model.path.hidden_channels
    added = sums * nodes * width * model.timesteps
    held = nodes * (ambient_dim(model.path.manifold, width) + width)
    return Count.of({"accumulate": added, "activations": 3 * added}, {"activations": held})
