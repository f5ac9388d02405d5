import copy

import pytest
import torch
from torch_geometric.nn import SGConv
from torch_geometric.utils import barabasi_albert_graph

from msg.neurons import IF, LIF, ParametricLIF
from msg.nn import Propagation, SpikingGCN


def propagated(x, edge_index, hops):
    """What PyG's SGConv propagates, with the identity as its weights."""
    conv = SGConv(x.size(1), x.size(1), K=hops, bias=False)
    conv.lin.weight.data = torch.eye(x.size(1))
    return conv(x, edge_index)


def test_formula(edge_index):
    x = torch.rand(7, 5)
    model = SpikingGCN(5, 3, num_hops=2, timesteps=6, neuron=IF(0.3))
    h = propagated(x, edge_index, 2)
    assert torch.allclose(model.stack.layers[0].synapse.conv(x, edge_index), h, atol=1e-6)
    rate = IF(0.3).rate(model.stack.layers[0].synapse.conv(x, edge_index), 6)
    linear = model.stack.layers[1].synapse.conv
    assert torch.allclose(model(x, edge_index), linear(rate), atol=1e-6)
    activity = model.activity(x, edge_index)
    assert torch.equal(activity.rates[0], rate)
    assert activity.currents[0].shape == (7, 5)


def test_rate_is_the_expected_rate_of_bernoulli_encoding(edge_index):
    x = torch.rand(7, 5)
    model = SpikingGCN(5, 3, timesteps=50)
    h = model.stack.layers[0].synapse.conv(x, edge_index).clamp(0, 1)
    assert (model.activity(x, edge_index).rates[0] - h).abs().max() <= 1 / 50 + 1e-6


def test_a_constant_is_encoded_once(edge_index, monkeypatch):
    model, x, calls = SpikingGCN(5, 3), torch.rand(7, 5), []
    hops = Propagation.hops
    monkeypatch.setattr(Propagation, "hops", lambda *args: (calls.append(1), hops(*args))[1])
    first = model(x, edge_index)
    assert torch.equal(model.eval()(x, edge_index), first)
    assert len(calls) == 1
    x.mul_(2)
    model(x, edge_index)
    model.stack.layers[0].neuron.threshold = 0.1
    model(x, edge_index)
    assert len(calls) == 3


def sparse_features(dtype):
    """A feature or two of each node."""
    x = torch.zeros(30, 300, dtype=dtype)
    columns = torch.randint(0, 300, (30, 2))
    return x.scatter_(1, columns, 4 * torch.rand(30, 2, dtype=dtype) - 1)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("neuron", [IF(0.3), IF(0.3, "zero"), LIF(2.0, 0.2), ParametricLIF(2.0, 0.2)], ids=repr)
def test_sparse_features_stay_sparse_on_their_way(neuron, hops, signed, dtype, monkeypatch):
    x, edge_index = sparse_features(dtype), barabasi_albert_graph(30, 2)
    model = SpikingGCN(300, 3, hops, 6, neuron, signed=signed).to(dtype).requires_grad_(False)
    want, seen = model(x, edge_index), model.activity(x, edge_index)
    assert 0 < seen.rates[0].mean() < 1
    found = model.activity(x.to_sparse_csr(), edge_index)
    for a, b in zip([*found.currents, *found.rates], [*seen.currents, *seen.rates], strict=True):
        torch.testing.assert_close(a, b)
    assert len(found.currents[:1]) == 1
    monkeypatch.setattr(Propagation, "channels", lambda *_: pytest.fail("was made dense"))
    torch.testing.assert_close(model(x.to_sparse_csr(), edge_index), want)
    with monkeypatch.context() as never:
        never.setattr("msg.models.spiking_gcn.to_dense", lambda *_: pytest.fail("was made dense"))
        torch.testing.assert_close(model(x.to_sparse_csr(), edge_index), want)
    # where many fire, what is read is dense
    monkeypatch.setattr("msg.models.spiking_gcn.SPARSE_BELOW", 0.0)
    torch.testing.assert_close(model(x.to_sparse_csr(), edge_index), want)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_what_does_not_stay_sparse_or_fires_unasked_is_dense(monkeypatch):
    class Restless(IF):
        def level(self, potential):
            return potential - 1

    x, edge_index = sparse_features(torch.float64), barabasi_albert_graph(30, 10)
    encoded, found = SpikingGCN(300, 3).stack.__class__, []
    sparse_rates = encoded._sparse_rates
    monkeypatch.setattr(encoded, "_sparse_rates", lambda *args: found.append(sparse_rates(*args)) or found[-1])
    for neuron, hops in ((Restless(0.3), 1), (IF(0.3), 6)):
        model = SpikingGCN(300, 3, hops, 6, neuron).double()
        torch.testing.assert_close(model(x.to_sparse_csr(), edge_index), model(x, edge_index))
    assert found == [None] * 4


@pytest.mark.parametrize("training", [pytest.param(True, marks=pytest.mark.slow), False])  # 4000 forward passes
def test_few_spikes_are_multiplied_as_a_sparse_matrix(edge_index, training, monkeypatch):
    x = torch.zeros(7, 40)
    x[0, :3] = 2.0
    x[4, 7] = 3.0
    model = SpikingGCN(40, 3, num_hops=1, dropout=0.5).train(training)
    found = []
    for limit in (0.5, 0.0):
        monkeypatch.setattr("msg.models.spiking_gcn.SPARSE_BELOW", limit)
        model.zero_grad()
        copied = x.clone()
        # a dropped rate is drawn for each entry, of which a sparse matrix has fewer
        outputs = torch.stack([model(copied, edge_index) for _ in range(2000 if training else 1)]).mean(0)
        outputs.square().sum().backward()
        found.append((outputs.detach(), model.stack.layers[1].synapse.conv.weight.grad.clone()))
    (a, da), (b, db) = found
    tolerance = {"rtol": 0.2, "atol": 0.05} if training else {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(a, b, **tolerance)
    torch.testing.assert_close(da, db, **tolerance)


def test_same_as_the_simulation(edge_index):
    """A train of the same values goes through the gradient rule instead."""
    # in float64 no random current lies within rounding of a multiple of the threshold
    model, x = SpikingGCN(5, 3, timesteps=4, neuron=IF(0.3)).double(), torch.rand(7, 5, dtype=torch.float64)
    train = x.expand(4, 7, 5)
    torch.testing.assert_close(model(train, edge_index), model(x, edge_index))


def test_learns():
    # edges within classes alone: rates tell the classes apart, and the read-out's loss is convex, from any start
    edge_index = torch.tensor([[0, 3, 1, 4, 2, 5], [3, 6, 4, 1, 5, 2]])
    y = torch.arange(7) % 3
    model, x = SpikingGCN(5, 3, neuron=IF(0.2)), torch.eye(5)[y]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    losses = []
    for _ in range(100):
        loss = torch.nn.functional.cross_entropy(model(x, edge_index), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_gradients_reach_features_and_learned_neurons(edge_index):
    x = torch.rand(7, 5, requires_grad=True)
    model = SpikingGCN(5, 3, timesteps=4, neuron=ParametricLIF(threshold=0.3))
    model(x, edge_index).square().sum().backward()
    assert x.grad is not None
    assert model.stack.layers[0].neuron.weight.grad is not None


def test_sparse_features_and_copies(edge_index):
    # random values: sums of equal ones would tie with the threshold, and rounding differ
    model = SpikingGCN(5, 3).double()
    x = torch.rand(7, 5, dtype=torch.float64) * (torch.rand(7, 5) > 0.5)
    assert torch.allclose(model(x.to_sparse_coo(), edge_index), model(x, edge_index))
    assert torch.equal(copy.deepcopy(model)(x, edge_index), model(x, edge_index))
    assert set(model.state_dict()) == {"stack.layers.1.synapse.conv.weight", "stack.layers.1.synapse.conv.bias"}


def test_edge_weights(edge_index):
    model, x = SpikingGCN(5, 3, num_hops=1), torch.rand(7, 5)
    weight = torch.rand(edge_index.size(1))
    conv = SGConv(5, 5, K=1, bias=False)
    conv.lin.weight.data = torch.eye(5)
    assert torch.allclose(model.activity(x, edge_index, weight).currents[0], conv(x, edge_index, weight), atol=1e-6)


def test_refusals(edge_index):
    with pytest.raises(ValueError, match="num_hops must be a whole number of at least 1, not 0"):
        SpikingGCN(5, 3, num_hops=0)
    with pytest.raises(ValueError, match="x has shape"):
        SpikingGCN(5, 3)(torch.rand(7, 4), edge_index)
    assert "timesteps=15" in repr(SpikingGCN(5, 3))
    assert "num_hops=2" in repr(SpikingGCN(5, 3))


def test_a_threshold_that_differs_in_the_seventh_digit_is_another_neuron(edge_index):
    model, x = SpikingGCN(5, 3, timesteps=4), torch.full((7, 5), 0.5)
    low, high = 0.5 * (1 - 1e-7), 0.5 * (1 + 1e-7)
    rates = []
    for threshold in (low, high):
        model.stack.layers[0].neuron.threshold = threshold
        assert f"{threshold:g}" == "0.5"
        # one hop over self-loops alone keeps the features as they are
        rates.append(model.activity(x, torch.zeros(2, 0, dtype=torch.long)).rates[0])
    assert not torch.equal(*rates)


def test_what_is_kept_is_nobody_elses_and_of_the_hops_as_they_are(edge_index):
    torch.manual_seed(0)
    model, x = SpikingGCN(5, 3, neuron=IF(threshold=0.3)).eval(), torch.rand(7, 5)
    want = model(x, edge_index)
    for found in (model.activity(x, edge_index), model.embed(x, edge_index).activity):
        with torch.no_grad():
            for tensor in (*found.currents, *found.rates):
                tensor += 1
        assert torch.equal(model(x, edge_index), want)
    model.stack.layers[0].synapse.conv.num_hops = 6
    got = model(x, edge_index)
    assert not torch.allclose(got, want)
    assert torch.allclose(got, copy.deepcopy(model)(x, edge_index))


def test_training_follows_inference_mode(edge_index):
    model, x = SpikingGCN(5, 3), torch.rand(7, 5)
    with torch.inference_mode():
        want = model(x, edge_index)
    got = model(x, edge_index)
    assert torch.equal(got, want)
    got.sum().backward()
    assert model.stack.layers[1].synapse.conv.weight.grad is not None


def test_reset_parameters():
    torch.manual_seed(3)
    model = SpikingGCN(5, 3)
    before = model.stack.layers[1].synapse.conv.weight.detach().clone()
    model.reset_parameters()
    assert not torch.equal(model.stack.layers[1].synapse.conv.weight, before)


def test_edge_weights_get_their_gradient(edge_index):
    model, x = SpikingGCN(5, 3, num_hops=2, neuron=IF(threshold=0.2), timesteps=6), torch.rand(7, 5)
    weight = torch.rand(edge_index.size(1)).requires_grad_()
    out = model(x, edge_index, weight)
    assert torch.allclose(out, model(x, edge_index, weight.detach()), atol=1e-6)
    out.square().sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().max() > 0


def test_what_never_fires_is_said_and_true(edge_index):
    # a current of at most threshold / T never reaches the threshold
    model, x = SpikingGCN(5, 3, num_hops=1, timesteps=15), torch.full((7, 5), 1 / 15)
    assert not model.activity(x, torch.zeros(2, 0, dtype=torch.long)).rates[0].any()


def test_both_signs_are_said_by_a_pair_of_neurons(edge_index):
    x, neuron = torch.randn(7, 5), IF(0.3)
    model = SpikingGCN(5, 3, num_hops=2, timesteps=6, neuron=neuron, signed=True)
    h = propagated(x, edge_index, 2)
    rates = torch.cat([neuron.rate(h, 6), neuron.rate(-h, 6)], dim=1)
    linear = model.stack.layers[1].synapse.conv
    assert linear.weight.shape == (3, 10)
    assert torch.allclose(model(x, edge_index), linear(rates), atol=1e-6)
    assert (rates[:, :5] * rates[:, 5:]).count_nonzero() == 0
    without = SpikingGCN(5, 3, num_hops=2, timesteps=6, neuron=neuron)
    assert torch.equal(without.activity(x, edge_index).rates[0], rates[:, :5])


def test_a_threshold_is_fitted_to_what_is_propagated(edge_index):
    x = 30 * torch.rand(7, 5)
    model = SpikingGCN(5, 3, num_hops=2, neuron=IF("auto"))
    model(x, edge_index)
    h = propagated(x, edge_index, 2).detach()
    assert model.stack.layers[0].neuron.threshold == pytest.approx(2 * float(h.square().mean().sqrt()), rel=1e-5)
    model.reset_parameters()
    assert model(x / 30, edge_index).isfinite().all()
    assert model.stack.layers[0].neuron.threshold == pytest.approx(float(h.square().mean().sqrt()) / 15, rel=1e-5)


def test_a_hook_on_the_propagation_sees_every_pass(edge_index):
    model, x, seen = SpikingGCN(5, 3).eval(), torch.rand(7, 5), []
    model.stack.layers[0].synapse.conv.register_forward_hook(lambda *_: seen.append(1))
    for _ in range(3):
        model(x, edge_index)
    assert len(seen) >= 3
