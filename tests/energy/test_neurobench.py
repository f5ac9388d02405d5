"""NeuroBench's harness against hand counts on five nodes (see test_counter.py) and against its own metrics."""

import pytest
import torch
from torch import nn
from torch_geometric.nn import GCN

from msg.energy import count
from msg.neurons import QuantizedReLU
from msg.nn import MSG, RecurrentSpikingGNN, SpikingGNN

pytest.importorskip("neurobench", reason="needs the extra 'neurobench'")
neurobench = pytest.importorskip("msg.energy.neurobench")

EDGES = torch.tensor([[0, 1, 2, 3, 0, 1], [1, 2, 3, 0, 2, 0]])
X = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 2], [0, 3, 0], [1, 0, 1]])  # 7 of 15 are not zero, 5 are one


def test_gcn():
    model = GCN(3, 2, 2, 2)
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    model.convs[0].lin.weight.data[0, 1] = 0.0
    model.convs[1].lin.weight.data[0, 1] = 0.0
    found = neurobench.run(model, X, EDGES)
    hidden = model.act(model.convs[0](X, EDGES))
    units, entries = int((hidden == 1).sum()), int(hidden.bool().sum())
    assert found["SynapticOperations"] == {
        "Effective_MACs": 2 * 2 + (entries - units) * 2,
        "Effective_ACs": (5 + units) * 2 + 2 * 11 * 2,  # ones, and messages, which NeuroBench itself does not see
        "Dense": (15 + 10) * 2 + 2 * 11 * 2,
    }
    assert found["Footprint"] == 4 * (3 * 2 + 2 + 2 * 2 + 2)
    assert found["ParameterCount"] == 14
    assert found["ConnectionSparsity"] == pytest.approx(2 / 10)
    assert found["ActivationSparsity"] == pytest.approx(1 - entries / 10)
    assert found["MembraneUpdates"] == 0


def test_msg():
    """Currents (0.6, 0) and (0.3, 0.6): two spikes of a channel, none; one, two; in four steps."""
    model = MSG(3, 2, "H2", num_layers=3, timesteps=4)
    for layer, bias in zip(model.stack.layers, ((0.6, 0.0), (0.3, 0.6), (0.1, 0.1))):
        nn.init.zeros_(layer.synapse.conv.lin.weight)
        layer.synapse.conv.bias.data = torch.tensor(bias)
    found = neurobench.run(model, X, EDGES)
    classifier = 5 * 2 * 2
    assert found["SynapticOperations"]["Effective_MACs"] == 2 * 2 + classifier
    # ones and messages; spikes delivered one by one; rows, and one aggregation
    assert found["SynapticOperations"]["Effective_ACs"] == (5 * 2 + 11 * 2) + 2 * 11 * 2 + (15 * 2 + 11 * 2)
    assert found["MembraneUpdates"] == 20 + 40  # a channel without any input is not updated
    assert found["ActivationSparsity"] == pytest.approx(1 - (10 + 15) / 80)


@pytest.mark.parametrize(
    "model",
    [
        MSG(3, 2, "S2", timesteps=4, conv="sage"),
        SpikingGNN(3, 2, hidden_channels=4, timesteps=4),
        SpikingGNN(3, 2, hidden_channels=4, timesteps=1, neuron=QuantizedReLU(2)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_it_is_what_the_counter_counts(model):
    found = neurobench.run(model, X.to_sparse_coo(), EDGES)
    with torch.no_grad(), count(model) as ops:
        model(X, EDGES)
    with torch.no_grad():
        activity = model.activity(X, EDGES)
    events, dense = ops.total("events"), ops.total("dense")
    assert found["SynapticOperations"] == {
        "Effective_MACs": events["synaptic_mac"],
        "Effective_ACs": events["synaptic_ac"],
        "Dense": dense["synaptic_mac"] + dense["synaptic_ac"],
    }
    assert found["MembraneUpdates"] == ops.total()["state_update"]
    fired = sum(float((rate * model.timesteps).round().sum()) for rate in activity.rates)
    if model.timesteps == 1:
        fired = sum(int(rate.count_nonzero()) for rate in activity.rates)
    neurons = sum(rate.numel() for rate in activity.rates)
    assert found["ActivationSparsity"] == pytest.approx(1 - fired / (neurons * model.timesteps))


def test_layers_it_knows_agree_with_its_own_metrics():
    """Of two linear layers on real features, whose ones it does not tell apart."""
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics import workload
    from neurobench.models import TorchModel
    from torch.utils.data import DataLoader, TensorDataset

    class Perceptron(nn.Sequential):
        def forward(self, x, edge_index=None):
            return super().forward(x)

    torch.manual_seed(0)
    model = Perceptron(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    x = torch.rand(5, 3) * (torch.rand(5, 3) > 0.4)
    own = neurobench.run(model, x, EDGES)
    samples = DataLoader(TensorDataset(x, torch.zeros(5)), batch_size=5)
    metrics = [[], [workload.SynapticOperations, workload.ActivationSparsity]]
    theirs = Benchmark(TorchModel(model), samples, [], [], metrics).run(quiet=True)
    for name, value in theirs["SynapticOperations"].items():
        assert own["SynapticOperations"][name] == pytest.approx(5 * float(value))
    assert own["ActivationSparsity"] == pytest.approx(theirs["ActivationSparsity"])


def test_the_output_may_come_with_a_state():
    found = neurobench.run(RecurrentSpikingGNN(6, 3), torch.rand(5, 6), torch.tensor([[0, 1], [1, 2]]))
    assert found["SynapticOperations"]["Dense"] > 0
