"""Networks whose neurons hear each other, counted spike by spike."""

import pytest
import torch
from counting_machine import Machine
from torch import nn
from unknown import Mine

from msg.energy import OPERATIONS, count
from msg.layers import RecurrentSpikingLayer
from msg.neurons import IF, LIF
from msg.nn import LSNN, AttentiveRecurrence, RecurrentSpikingGNN

EDGES = torch.tensor([[0, 1, 2, 3, 0, 1], [1, 2, 3, 0, 2, 0]])


def by_hand(model, x, state=None):
    """Counts of a network without a graph, one operation at a time."""
    m, hidden = Machine(), model.hidden_channels
    with torch.no_grad():
        spikes = model(x, state=state).spikes
    heard = [state.layer.spikes if state else torch.zeros_like(spikes[0]), *spikes[:-1]]
    binary = bool(((x == 0) | (x == 1)).all())
    neuron, classes = model.layer.neuron, model.lin.out_features
    for step, (now, before, fired) in enumerate(zip(x, heard, spikes)):
        for n in range(now.size(0)):
            for value in now[n].tolist():
                for _ in range(hidden if value else 0):
                    m.add(0, 0) if binary else m.mac(0, value, 0)
            for j in range(hidden):
                for i in range(hidden):
                    if before[n, j] and i != j:  # nobody hears itself
                        m.add(0, 0)
            for i in range(hidden):
                m._count("state_update", 0)
                for _ in range(1 + bool(neuron.refractory)):
                    m.more(0, 0)
                m.mul(0, 0), m.mul(0, 0), m.add(0, 0)  # leak, decay of the threshold towards its rest
                if neuron.refractory:
                    m.add(0, 0)
                if fired[n, i]:
                    m.add(0, 0), m.add(0, 0)  # reset, rise
                    for _ in range(classes):
                        m.add(0, 0)
            for _ in range(classes):
                if step or state:
                    m.mul(0, 0)  # the trace, once there is one
                m.add(0, 0)  # bias
    return m.counts


@pytest.mark.parametrize("refractory", [0, 2])
@pytest.mark.parametrize("binary", [True, False])
def test_every_spike_of_an_lsnn_is_an_addition(refractory, binary):
    torch.manual_seed(0)
    model = LSNN(3, 2, hidden_channels=8, threshold=0.1, refractory=refractory).eval()
    x = (torch.rand(6, 5, 3) < 0.5) * (1.0 if binary else 0.8)
    state = None
    for _ in range(2):
        with torch.no_grad(), count(model) as ops:
            _, spikes, following = model(x, state=state)
        assert spikes.any()
        assert not ops.unknown
        expected = by_hand(model, x, state)
        assert {kind: ops.total()[kind] for kind in OPERATIONS} == {kind: expected[kind] for kind in OPERATIONS}
        assert ops.total()["multiply_accumulate"] == (0 if binary else int(x.bool().sum()) * 8)
        assert set(ops.modules) == {"layer.input", "layer.recurrent", "layer.neuron", ""}
        state = following


def test_dense_traces_decay_from_the_first_step():
    model = LSNN(3, 2, hidden_channels=4).eval()
    with torch.no_grad(), count(model) as ops:
        model(torch.ones(6, 5, 3))
    found = ops.modules[""]
    assert (found.nonzero["multiply"], found.dense["multiply"]) == (5 * 5 * 2, 6 * 5 * 2)


def test_spikes_over_a_graph_are_delivered_or_shared():
    torch.manual_seed(0)
    layer = RecurrentSpikingLayer(3, 4, IF(threshold=0.3), conv="gcn").eval()
    x = torch.rand(6, 5, 3)
    with torch.no_grad(), count(layer) as ops:
        spikes, _ = layer(x, None, EDGES)
    assert not ops.unknown
    fired = spikes[:-1].sum((0, 2))
    fanout = torch.tensor([3, 3, 2, 2, 1])  # with a loop
    ways = ops.modules["recurrent"].ways
    assert ways["delivered"].nonzero["accumulate"] == int((fired * fanout).sum()) * 4
    assert ways["shared"].nonzero["accumulate"] == int(fired.sum()) * 4 + 5 * 11 * 4
    assert "rates" not in ways


def test_a_single_step_hears_nobody():
    layer, x = RecurrentSpikingLayer(3, 4, LIF()).eval(), torch.rand(5, 3)
    with torch.no_grad(), count(layer) as ops:
        layer(x)
    assert set(ops.modules) == {"input", "neuron"}


def test_means_that_nobody_reads_are_not_computed():
    counts = []
    for timesteps in (2, 8):
        torch.manual_seed(0)
        model = RecurrentSpikingGNN(3, 2, 4, num_layers=2, timesteps=timesteps, recurrent=False).eval()
        with torch.no_grad(), count(model) as ops:
            model(torch.rand(4, 3), EDGES)
        counts.append({kind: ops.modules[""].nonzero[kind] for kind in ("accumulate", "multiply")})
    # the mean of what is read out, of four nodes and two classes
    assert counts == [{"accumulate": 4 * 2 * steps, "multiply": 4 * 2} for steps in (2, 8)]


def test_without_gradient_memories_are_scored_once():
    cell, nodes, steps = AttentiveRecurrence(nn.RNNCell(5, 4), 4).eval(), 7, 6
    with torch.no_grad(), count(cell) as ops:
        cell(torch.rand(steps, nodes, 5))
    found = {name: ops.modules[name].nonzero["multiply_accumulate"] for name in ("past", "present", "weight")}
    # a key of each state, the first of which is zero, a projection a step, and a score of each memory so far
    each = nodes * cell.past.weight.numel()
    assert found == {"past": steps * each, "present": steps * each, "weight": nodes * 4 * (steps * (steps + 1) // 2)}


def test_what_is_not_known_is_named():
    class Squid(LIF):
        pass

    layer, x = RecurrentSpikingLayer(3, 4, Squid(), conv=Mine).eval(), torch.rand(6, 5, 3)
    with torch.no_grad(), count(layer) as ops:
        layer(x, None, EDGES)
    assert ops.unknown == {"Mine": 5, "Squid": 1}
