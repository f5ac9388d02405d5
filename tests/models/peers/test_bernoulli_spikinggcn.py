"""SpikingGCN with Bernoulli coding, against its equations in plain loops."""

import copy

import dense
import pytest
import torch
from torch_geometric.data import Data

from msg.energy import count
from msg.graph import partition
from msg.layers import Propagation
from msg.nn import BernoulliSpikingGCN
from msg.testing import assert_model


def _slow(model, x, edge_index, weight=None):
    """Rates of the output neurons, with a spike whose derivative is the sigmoid's."""
    hops = model.config.get("num_hops", 2)
    h = torch.linalg.matrix_power(dense.gcn(edge_index, 7, weight), hops) @ x + model.input_rate
    train = copy.deepcopy(model.synapse.encoder)(h, model.timesteps)
    neuron, v, rate = model.neurons.neuron, 0.0, 0.0
    for p in train:
        v = v + (p @ model.synapse.weight.t() - v) / neuron.tau
        u = v - neuron.threshold
        g = torch.sigmoid(4 * u.detach())
        o = (u >= 0).double() + (u - u.detach()) * 4 * g * (1 - g)
        v = v - neuron.threshold * o
        rate = rate + o / model.timesteps
    return rate


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("num_hops", "input_rate"), [(2, 0.0), (1, 0.05), (3, 0.0)])
def test_rates_and_gradients_are_those_of_the_equations(edge_index, num_hops, input_rate, weighted):
    x = torch.rand(7, 5, dtype=torch.float64)
    weight = torch.rand(edge_index.size(1), dtype=torch.float64) if weighted else None
    model = BernoulliSpikingGCN(
        5, 3, num_hops, timesteps=30, tau=4.0, threshold=0.1, input_rate=input_rate, seed=1
    ).double()
    labels = torch.tensor([0, 1, 2, 0, 1])
    for training in (True, False):
        model.train(training)
        want = _slow(model, x, edge_index, weight)
        (b,) = torch.autograd.grad(model.criterion(want[:5], labels), model.synapse.weight)
        got = model(x, edge_index, weight)
        (a,) = torch.autograd.grad(model.criterion(got[:5], labels), model.synapse.weight)
        assert 0 < got.mean() < 1
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_loss_is_the_mean_over_nodes_and_classes():
    rates, labels = torch.tensor([[1.0, 0.0], [0.5, 0.25]]), torch.tensor([0, 0])
    assert BernoulliSpikingGCN(5, 2).criterion(rates, labels).item() == pytest.approx((0.25 + 0.0625) / 4)


def test_contract(edge_index):
    x = torch.rand(7, 5, generator=torch.Generator().manual_seed(1))
    assert_model(lambda: BernoulliSpikingGCN(5, 3, timesteps=20, tau=3.0, threshold=0.1), x, edge_index)


def test_there_is_no_dead_zone():
    # a constant current of 0.01 into a neuron of threshold 1 does not fire within 15 steps; one spike in 100 draws does
    x = torch.full((1, 400), 0.01)
    encoder = BernoulliSpikingGCN(400, 2, seed=0).synapse.encoder
    assert encoder(x, 15).sum() > 0


def test_features_are_propagated_once(edge_index, monkeypatch):
    model, x, calls = BernoulliSpikingGCN(5, 3, timesteps=3), torch.rand(7, 5), []
    along = Propagation.along
    monkeypatch.setattr(Propagation, "along", lambda *args: (calls.append(1), along(*args))[1])
    for _ in range(3):
        model(x, edge_index)
    assert len(calls) == 1
    x.mul_(0.5)
    model(x, edge_index)
    assert len(calls) == 2


def test_training_draws_anew_and_can_be_had_again(edge_index):
    x = torch.rand(7, 5)
    model = BernoulliSpikingGCN(5, 3, timesteps=20, tau=2.0, threshold=0.05, seed=4)
    twin = copy.deepcopy(model)
    first, second = model(x, edge_index), model(x, edge_index)
    assert not torch.equal(first, second)
    assert torch.equal(twin(x, edge_index), first)
    assert torch.equal(twin(x, edge_index), second)


@pytest.mark.parametrize("nodes", [torch.tensor([5, 0, 2]), torch.arange(7) % 3 == 1], ids=["numbers", "mask"])
@pytest.mark.parametrize("training", [True, False])
def test_nodes_that_are_asked_for_are_as_among_all(edge_index, nodes, training):
    model = BernoulliSpikingGCN(5, 3, timesteps=40, tau=2.0, threshold=0.05, seed=4).double().train(training)
    twin, x, found = copy.deepcopy(model), torch.rand(7, 5, dtype=torch.float64), []
    for one, rates in ((model, model(x, edge_index, nodes=nodes)), (twin, twin(x, edge_index)[nodes])):
        rates.square().sum().backward()
        found.append((rates.detach(), one.synapse.weight.grad))
    assert found[0][0].any()
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_is_counted(edge_index):
    model, mask = BernoulliSpikingGCN(5, 3, timesteps=10).eval(), torch.arange(7) < 4
    for asked, nodes in (({}, 7), ({"nodes": mask}, 4)):
        with torch.no_grad(), count(model) as ops:
            model(torch.rand(7, 5), edge_index, **asked)
        assert not ops.unknown
        assert ops.modules["neurons.neuron"].nonzero["state_update"] == nodes * 3 * 10


@pytest.mark.parametrize(
    "bad",
    [{"num_hops": 0}, {"timesteps": 0}, {"input_rate": -0.1}, {"tau": 0.5}, {"threshold": 0.0}, {"dropout": 2.0}],
    ids=str,
)
def test_bad_arguments_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        BernoulliSpikingGCN(5, 3, **bad)


def test_a_part_of_a_graph_is_refused(edge_index):
    part = partition(Data(edge_index=edge_index, num_nodes=7), 2, "range")[0]
    with pytest.raises(ValueError, match="BernoulliSpikingGCN"):
        BernoulliSpikingGCN(5, 3)(torch.rand(part.graph.num_nodes, 5), part.graph)
