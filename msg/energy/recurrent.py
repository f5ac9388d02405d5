"""Rules of networks whose neurons hear each other: every spike adds a row of weights, one step later."""

from typing import Any

import torch
from torch import Tensor, nn

from msg.energy.counts import Count, Operations
from msg.energy.modules import NEURONS, neuron_updates, parameters, rule, state_words
from msg.energy.products import nonzeros, operand, product
from msg.energy.spikes import rows_of_weights
from msg.energy.spiking import train_count
from msg.graph import Graph
from msg.layers import RecurrentSpikingLayer, RecurrentState, Synapse
from msg.models import LSNN


@rule(RecurrentSpikingLayer)
def _recurrent(
    layer: RecurrentSpikingLayer, args: tuple, kwargs: dict, output: tuple[Tensor, RecurrentState]
) -> Operations:
    """Input that is zeros and ones throughout is spikes; what comes back is added to its current in place."""
    given = {**dict(zip(("x", "state", "graph"), args)), **kwargs}
    x, state, graph = given["x"], given.get("state"), given.get("graph")
    spikes = output[0] if x.dim() == 3 else output[0][None]
    width, updates, fired = layer.hidden_channels, spikes.numel(), nonzeros(spikes)
    ops = Operations()
    weights = parameters(layer.input)
    if bool(((x == 0) | (x == 1)).all()):
        ops.add("input", rows_of_weights(nonzeros(x), width, updates, False, weights, x.numel()))
    else:
        ops.add("input", product(operand(x), width, updates, False, weights))
    first = [] if state is None else [state.spikes]
    heard = torch.stack([*first, *spikes[:-1]], dim=1) if first or len(spikes) > 1 else None
    if heard is not None:
        count = _heard(layer.recurrent, heard, graph, width)
        if count is None:
            ops.unknown[type(getattr(layer.recurrent, "conv", None)).__name__] += heard.size(1)
        else:
            ops.add("recurrent", count)
    neuron = layer.neuron
    held = Count.of({}, {"state": spikes[0].numel() * state_words(neuron)})
    ops.add("neuron", neuron_updates(neuron, updates, fired) + held)
    if type(neuron) not in NEURONS:
        ops.unknown[type(neuron).__name__] += 1
    return ops


def _heard(recurrent: nn.Linear | Synapse, heard: Tensor, graph: Any, width: int) -> Count | None:
    """What spikes ``[N, T, H]`` do one step later; without a graph a neuron is not connected to itself."""
    if isinstance(recurrent, nn.Linear):
        outputs = heard.numel()
        return rows_of_weights(nonzeros(heard), width - 1, outputs, False, parameters(recurrent), outputs)
    known = graph if isinstance(graph, Graph) else Graph(graph, None, heard.size(0))
    return train_count(recurrent, heard, known, width)


@rule(LSNN, leave_children=True)
def _lsnn(model: LSNN, args: tuple, kwargs: dict, output: tuple) -> Count:
    """The read-out: a spike adds a row of weights, scaled already, to a trace that decays, and the bias is added."""
    outputs, spikes, _ = output
    state = kwargs.get("state", args[3] if len(args) > 3 else None)
    # at rest there is nothing to decay
    decays = outputs.numel() - (outputs[0].numel() if state is None else 0)
    rows = rows_of_weights(
        nonzeros(spikes), outputs.size(-1), outputs.numel(), True, parameters(model.lin), spikes.numel()
    )

    def traffic(values: int) -> Count:
        return Count.of({"multiply": values, "activations": 2 * values}, {"activations": 2 * outputs[0].numel()})

    decay = traffic(decays)
    decay.dense = traffic(outputs.numel()).dense
    return rows + decay
