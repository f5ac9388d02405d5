"""What drawn neighbours and neurons that scale their current or lower their threshold cost."""

import pytest
import torch
from torch_geometric.nn import GATConv, GCNConv, SAGEConv
from torch_geometric.utils import to_torch_csr_tensor

from msg.energy import HOROWITZ_45NM_INT8, count, report
from msg.energy.counts import CONVENTIONS, OUTSIDE
from msg.gradients import OTTT
from msg.layers import picked_mean
from msg.neurons import ALIF, IF, LIF, DecayingThresholdLIF, QuantizedReLU, ScaledLIF
from msg.nn import GCSNN, SpikingConv, SpikingGNN


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


class Loop(torch.nn.Module):
    """What ``SpikingConv`` does, written by a user."""

    def __init__(self, neuron, reads):
        super().__init__()
        self.neuron, self.reads, self.between = neuron, reads, torch.nn.Identity()

    def forward(self, x, *edges):
        total, state = 0, None
        for _ in range(6):
            spikes, state = self.neuron(x, state)
            total = total + self.reads(self.between(spikes), *edges)
        return total / 6


def _counted(model, *inputs):
    with torch.no_grad(), count(model) as ops:
        model(*inputs)
    assert not ops.unknown
    return ops


def _spikes(neuron, x):
    return (neuron.rate(x, 6) * 6).round()


@pytest.mark.parametrize("kind", [IF, ScaledLIF])
def test_a_loop_of_ones_own_adds_a_row_of_weights_a_spike(kind):
    x, neuron = 2 * torch.rand(7, 5), kind(threshold=0.6)
    for convention in CONVENTIONS:
        counts = _counted(Loop(neuron, torch.nn.Linear(5, 3)), x).modules["reads"].under(convention)
        assert counts["accumulate"] == int(_spikes(neuron, x).sum()) * 3 + 6 * 7 * 3
        assert counts["multiply_accumulate"] == 0


@pytest.mark.parametrize("conv", [GCNConv, SAGEConv])
def test_a_loop_around_a_convolution_does_too(conv):
    edge_index = torch.tensor([[0, 1, 2, 3, 1], [1, 2, 3, 4, 0]])
    x, neuron, reads = 2 * torch.rand(7, 50), IF(0.6), conv(50, 3, bias=False)
    found = _counted(Loop(neuron, reads), x, edge_index).modules["reads"]
    assert found.nonzero["synaptic_ac"] > 0
    assert found.nonzero["multiply_accumulate"] == 0
    layer = SpikingConv(reads, timesteps=1, neuron=neuron)
    one = _counted(layer, x, edge_index).modules["conv"].nonzero

    class Once(Loop):
        def forward(self, x, *edges):
            return self.reads(self.neuron(x, None)[0], *edges)

    assert _counted(Once(neuron, reads), x, edge_index).modules["reads"].nonzero == one


def test_what_changes_spikes_on_their_way_leaves_numbers():
    x, loop = 2 * torch.rand(7, 5), Loop(IF(0.6), torch.nn.Linear(5, 3))
    loop.between = torch.nn.BatchNorm1d(5).eval()
    assert _counted(loop, x).modules["reads"].nonzero["multiply_accumulate"] > 0


NEURONS = [
    IF(0.4),
    LIF(2.0, 0.4),
    ScaledLIF(2.0, 0.4),
    ScaledLIF(1.0, 0.4),
    DecayingThresholdLIF(2.0, 0.4),
    ALIF(2.0, 0.4),
]


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
def test_ways_part_what_spikes_cause_from_what_happens_whatever_fires(neuron, edge_index):
    """The second part is that of the same network with neurons that are silent; both are the whole."""
    model, x = SpikingGNN(4, 3, 8, 2, 5, neuron, "bptt", readout="conv").eval(), 3 * torch.rand(7, 4)
    name, above = "stack.layers.0.neuron", "stack.layers.1.synapse"
    ops = _counted(model, x, edge_index)
    firing = ops.firing[name]
    assert firing.spikes > 0
    model.stack.layers[0].neuron.threshold = 1e6
    silent = _counted(model, x, edge_index)
    assert silent.firing[name].spikes == 0
    for number, way in enumerate(("shared", "delivered")):
        driven, still = firing.ways[number]
        whole = ops.modules[name].nonzero + ops.modules[above].ways[way].nonzero
        assert driven.nonzero + still.nonzero == whole
        assert still.nonzero == silent.modules[name].nonzero + silent.modules[above].ways[way].nonzero
        assert still.footprint["state"] == ops.modules[name].footprint["state"]


def test_state_is_priced_with_the_memory_it_takes(edge_index):
    """As far as it alone differs from what the report says of the neurons."""
    x = torch.rand(3000, 8)
    ops = _counted(SpikingGNN(8, 3, 32, 2, 4, IF(0.3), "bptt", readout="conv").eval(), x, edge_index)
    updates = ops.modules["stack.layers.0.neuron"]
    (firing,) = ops.firing.values()
    assert updates.footprint["state"] == 3000 * 32
    assert HOROWITZ_45NM_INT8.memory_mj(firing.ways[0][1])["state"] == HOROWITZ_45NM_INT8.memory_mj(updates)["state"]


def test_four_bits_in_one_layer_are_those_of_a_network(edge_index):
    convs = iter([torch.nn.Linear(4, 4, bias=False), GCNConv(4, 3)])
    network = SpikingGNN(4, 3, 4, 2, 1, QuantizedReLU(4), "bptt", conv=lambda *_: next(convs), readout="conv")
    torch.nn.init.eye_(network.stack.layers[0].synapse.conv.weight)
    layer, x = SpikingConv(network.stack.layers[1].synapse.conv, 1, QuantizedReLU(4)), torch.rand(7, 4)
    alone, whole = _counted(layer, x, edge_index), _counted(network, x, edge_index)
    assert alone.modules["conv"] == whole.modules["stack.layers.1.synapse"]
    assert alone.total()["multiplier_bit"] > 0


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_a_layer_is_counted_with_an_adjacency_matrix(edge_index):
    edge_index = edge_index.unique(dim=1)
    layer, x = SpikingConv(GCNConv(5, 4), 4), torch.rand(7, 5)
    adj_t = to_torch_csr_tensor(edge_index.flip(0), size=(7, 7))
    assert _counted(layer, x, adj_t).total() == _counted(layer, x, edge_index).total()


def test_released_convolutions_read_spikes_as_spikes(edge_index):
    model, x = GCSNN(5, 3, 4, 2, 3, threshold=0.3, as_released=True).eval(), torch.rand(7, 5)
    torch.nn.init.constant_(model.layers[0].norm.bias, 0.5)  # so that some fire
    spikes = []
    model.layers[1].conv.register_forward_pre_hook(lambda _, given: spikes.append(int(given[0].sum())))
    for convention in CONVENTIONS:
        found = _counted(model, x, edge_index).modules["layers.1.conv"].under(convention)
        assert found["multiply_accumulate"] == 10 * 4 * 3  # messages, all weighted
        assert found["accumulate"] == spikes[-1] * 4 + edge_index[1].unique().numel() * 4 * 3
    assert spikes[-1] > 0
