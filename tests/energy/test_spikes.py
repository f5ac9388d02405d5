"""What drawn neighbours and neurons that scale their current or lower their threshold cost."""

import pytest
import torch
from torch_geometric.nn import GATConv, GCNConv, SAGEConv

from msg.energy import count, report
from msg.energy.counts import CONVENTIONS, OUTSIDE
from msg.gradients import OTTT
from msg.layers import picked_mean
from msg.neurons import DecayingThresholdLIF, ScaledLIF
from msg.nn import SpikingConv, SpikingGNN


@pytest.mark.parametrize(("kind", "adapts"), [(ScaledLIF, 0), (DecayingThresholdLIF, 1)])
@pytest.mark.parametrize("tau", [2.0, 1.0], ids=["leaky", "forgetful"])
def test_neurons(kind, tau, adapts):
    neuron, remembers = kind(tau, 0.3), tau > 1
    with torch.no_grad(), count(neuron) as ops:
        spikes, _ = neuron(torch.tensor([0.1, 0.5, 2.0, 3.0]))
    assert not ops.unknown
    total, fired = ops.total(), int(spikes.sum())
    assert (total["state_update"], total["comparison"], total["spike"]) == (4, 4, fired)
    # a threshold of its own is one number more to keep, to let decay and to raise; what is forgotten is not kept
    assert total["multiply"] == 4 * (remembers + adapts)
    assert total["accumulate"] == fired * (remembers + adapts)
    assert total["state"] == 2 * 4 * (remembers + adapts)


def test_drawn_means_add_rows():
    x, picks = torch.rand(6, 3), torch.randint(0, 6, (2, 5, 4))
    with torch.no_grad(), count(torch.nn.Identity()) as ops:
        picked_mean(x, picks)
    assert not ops.unknown
    found = ops.modules[OUTSIDE].nonzero
    assert (found["accumulate"], found["multiply"]) == (2 * 5 * 4 * 3, 2 * 5 * 3)


def test_random_numbers_are_not_counted():
    with count(torch.nn.Identity()) as ops:
        torch.rand(7)
        torch.empty(5).uniform_()
        torch.randperm(9)
    assert not ops.unknown
    assert not any(found.under(kind) for found in ops.modules.values() for kind in CONVENTIONS)


@pytest.mark.parametrize("neuron", ["if", "lif", "clipped-relu"])
@pytest.mark.parametrize("conv", [GCNConv, SAGEConv, GATConv])
def test_one_layer_is_counted_as_the_last_of_a_network(conv, neuron, edge_index):
    steps = 1 if neuron == "clipped-relu" else 5
    convs = iter([torch.nn.Linear(4, 4, bias=False), conv(4, 3)])
    network = SpikingGNN(4, 3, 4, 2, steps, neuron, "bptt", conv=lambda *_: next(convs), readout="conv")
    first, second = network.stack.layers
    torch.nn.init.eye_(first.synapse.conv.weight)
    layer, x = SpikingConv(second.synapse.conv, steps, neuron), torch.rand(7, 4)
    x[:2, 1] = 0
    with torch.no_grad():
        with count(network) as whole:
            network(x, edge_index)
        with count(layer) as alone:
            layer(x, edge_index)
    assert not alone.unknown
    assert alone.modules["neuron"] == whole.modules["stack.layers.0.neuron"]
    assert alone.modules["conv"] == whole.modules["stack.layers.1.synapse"]
    assert alone.firing.get("neuron") == whole.firing.get("stack.layers.0.neuron")


def test_a_model_that_was_gone_past_is_no_model_without_energy(edge_index):
    model, x = SpikingGNN(4, 3, 8, gradient=OTTT()).eval(), torch.rand(7, 4)
    with count(model) as ops:
        for _ in model.online(x, edge_index):
            pass
    with pytest.raises(ValueError, match=r"nothing was counted of the model: call it inside the block"):
        report(ops)


def test_rates_that_do_not_tell_steps_apart_are_refused():
    x, edge_index = torch.rand(4, 5), torch.tensor([[0, 1, 2], [1, 2, 3]])
    model = SpikingGNN(5, 3, 8, timesteps=100).bfloat16()
    with torch.no_grad(), count(model) as ops:
        model(x.bfloat16(), edge_index)
    assert ops.total()["spike"] > 0
    model.timesteps = 200
    with (
        pytest.raises(ValueError, match=r"bfloat16 do not tell 200 steps apart.*model\.float\(\)"),
        torch.no_grad(),
        count(model),
    ):
        model(x.bfloat16(), edge_index)
