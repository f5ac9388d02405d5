"""Hand counts on five nodes, written out. Node 4 is isolated; with self-loops there are 11 messages."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch_geometric.nn import GAT, GCN, GIN, GATConv, GCNConv, GraphSAGE, HeteroConv, SAGEConv, SGConv
from unknown import Mine

from msg.energy import LOIHI, OPERATIONS, Count, break_even, count, report, rule
from msg.energy.counts import BACKWARD, OUTSIDE
from msg.graph import Graph
from msg.models import SAGE, SGC, BernoulliSpikingGCN, CachedGCN, Propagated
from msg.neurons import ALIF, LIF, ClippedReLU, QuantizedReLU, ReLU
from msg.nn import (
    GCSNN,
    HGCN,
    MSG,
    QGCN,
    ConvergentGNN,
    HyboNet,
    KappaGCN,
    Polynormer,
    RiemannianConvergentGNN,
    SpikeGCL,
    SpikeGraphormer,
    SpikeNet,
    SpikingGCN,
    SpikingGNN,
)

EDGES = torch.tensor([[0, 1, 2, 3, 0, 1], [1, 2, 3, 0, 2, 0]])
X = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 2], [0, 3, 0], [1, 0, 1]])  # 7 of 15 are not zero


def operations(ops, module, convention="nonzero"):
    found = ops.modules[module].under(convention)
    return {kind: found[kind] for kind in OPERATIONS if found[kind]}


def counted(model, x=X, edges=EDGES):
    model.eval()
    with torch.no_grad(), count(model) as ops:
        model(x, edges)
    assert not ops.unknown
    assert ops.forwards == 1
    return ops


def with_ones(model):
    """All weights one: a positive input has no zero in any hidden layer."""
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    return model


def test_gcn():
    ops = counted(with_ones(GCN(3, 2, 2, 2)))
    assert operations(ops, "convs.0") == {
        "multiply_accumulate": 7 * 2,
        "accumulate": 11 * 2 + 5 * 2,  # messages, bias
        "multiply": 2 * 5 * 2,  # before and after
    }
    assert operations(ops, "convs.0", "dense")["multiply_accumulate"] == 15 * 2
    assert operations(ops, "act") == {"comparison": 5 * 2}
    assert operations(ops, "convs.1") == {
        "multiply_accumulate": 10 * 2,
        "accumulate": 11 * 2 + 5 * 2,
        "multiply": 2 * 5 * 2,
    }
    traffic = ops.modules["convs.0"].nonzero
    assert traffic["message"] == 22
    assert traffic["weights"] == 7 * 2 + 5 * 2
    assert traffic["indices"] == 11 + 5 + 1
    assert traffic["activations"] == (7 + 10) + (22 + 10 + 2 * 20)  # product, aggregation with its scalings


def test_ones_are_added():
    ops = counted(with_ones(GCN(3, 2, 2, 2)))
    # 5 of the 7 numbers are ones, and an input of the second layer is one of them at the isolated node alone
    assert operations(ops, "convs.0", "events") == {
        "multiply_accumulate": 2 * 2,
        "accumulate": 5 * 2 + 11 * 2 + 5 * 2,
        "multiply": 2 * 5 * 2,
    }
    assert operations(ops, "act", "events") == {"comparison": 5 * 2}
    assert ops.modules["convs.0"].events["activations"] == ops.modules["convs.0"].nonzero["activations"]
    for model in (GraphSAGE(3, 2, 1), GATConv(3, 2), SGConv(3, 2), nn.Linear(3, 2)):
        model.eval()
        with torch.no_grad(), count(model) as ops:
            model(-X) if isinstance(model, nn.Linear) else model(-X, EDGES)
        plain, events = ops.total(), ops.total("events")
        matrices = 2 if isinstance(model, GraphSAGE) else 1
        assert plain["multiply_accumulate"] - events["multiply_accumulate"] == matrices * 5 * 2
        assert events["accumulate"] - plain["accumulate"] == matrices * 5 * 2
    # the encoder of a spiking network reads the same features
    ops = counted(msg_of_known_spikes())
    assert operations(ops, "stack.layers.0.synapse", "events") == {
        "multiply_accumulate": 2 * 2,
        "accumulate": 5 * 2 + 11 * 2 + 5 * 2,
        "multiply": 2 * 5 * 2,
    }
    # spikes are events under every convention
    for name in ("stack.layers.1.synapse", "stack.layers.1.neuron", "stack.layers.2.synapse", "head"):
        assert operations(ops, name, "events") == operations(ops, name)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_sparse_features_are_added_too():
    for x in (X, X.to_sparse_coo().coalesce(), X.to_sparse_csr()):
        with count(nn.Identity()) as ops:
            x @ torch.ones(3, 2)
        found = ops.modules[OUTSIDE].events
        assert (found["multiply_accumulate"], found["accumulate"]) == (2 * 2, 5 * 2)


def test_sage():
    ops = counted(with_ones(GraphSAGE(3, 2, 2, 2)))
    assert operations(ops, "convs.0") == {
        "multiply_accumulate": 2 * 7 * 2,  # two weight matrices
        "accumulate": 6 * 2 + 5 * 2 + 5 * 2,  # messages, sum of both terms, bias
        "multiply": 5 * 2,  # the mean
    }
    assert operations(ops, "convs.1") == {
        "multiply_accumulate": 2 * 10 * 2,
        "accumulate": 6 * 2 + 5 * 2 + 5 * 2,
        "multiply": 5 * 2,
    }


def test_gat():
    ops = counted(GATConv(3, 2, heads=2))
    assert operations(ops, "") == {
        "multiply_accumulate": 7 * 4 + 2 * 5 * 4 + 11 * 4,  # product, two scores a node, messages
        "accumulate": 3 * 11 * 2 + 5 * 4,  # sum of scores, softmax's difference and sum; bias
        "comparison": 2 * 11 * 2,  # leaky ReLU, softmax's maximum
        "multiply": 11 * 2 + 5 * 4,  # leaky ReLU, sums by what their weights sum up to
        "transcendental": 11 * 2 + 5 * 2,  # exponential, quotient
    }
    averaged = counted(GATConv(3, 2, heads=2, concat=False))
    assert operations(averaged, "")["accumulate"] == 3 * 11 * 2 + 5 * 2 + 5 * 2
    assert operations(averaged, "")["multiply"] == 11 * 2 + 5 * 4 + 5 * 2


def msg_of_known_spikes():
    """Currents (0.6, 0) into the encoder's neurons and (0.3, 0.6) into the next, whatever the features are.

    In 4 steps a current of 0.3 fires once, 0.6 twice, 0 never.
    """
    model = MSG(3, 2, "H2", num_layers=3, timesteps=4)
    for layer, bias in zip(model.stack.layers, ((0.6, 0.0), (0.3, 0.6), (0.1, 0.1))):
        nn.init.zeros_(layer.synapse.conv.lin.weight)
        layer.synapse.conv.bias.data = torch.tensor(bias)
    return model


def test_msg():
    ops = counted(msg_of_known_spikes())
    assert operations(ops, "stack.layers.0.synapse") == {
        "multiply_accumulate": 7 * 2,
        "accumulate": 11 * 2 + 5 * 2,
        "multiply": 2 * 5 * 2,
    }
    # channel 0 of 5 nodes is updated in 4 steps and fires twice; channel 1 has no input at all
    assert operations(ops, "stack.layers.0.neuron") == {"state_update": 20, "comparison": 20, "accumulate": 5 * 2}
    assert operations(ops, "stack.layers.0.neuron", "dense") == {
        "state_update": 40,
        "comparison": 40,
        "accumulate": 5 * 2,
    }
    # delivered one by one: 2 spikes a node, 11 edges, rows of width 2, scaled once a spike and once a target and step;
    # shared, the messages alone would be 11 * 2 * 4
    assert operations(ops, "stack.layers.1.synapse") == {
        "accumulate": 2 * 11 * 2 + 5 * 2 * 4,  # and the bias in every step
        "multiply": 10 * 2 + 5 * 2 * 4,
    }
    assert operations(ops, "stack.layers.1.neuron") == {"state_update": 40, "comparison": 40, "accumulate": 5 * 3}
    # the last layer needs its mean current: 15 rows, then one aggregation
    assert operations(ops, "stack.layers.2.synapse") == {"accumulate": 15 * 2 + 11 * 2 + 5 * 2, "multiply": 2 * 5 * 2}
    # the running sum of the hidden layer's current
    assert operations(ops, "") == {"accumulate": 5 * 2 * 4}
    # of each of 5 nodes and 3 moves: 8 + 2 products, 3 + 3 + 2 scalings, 3 sums, 1 comparison, 6 + 3 functions
    assert operations(ops, "path", "dense") == {
        "multiply_accumulate": 15 * (4 * 2 + 2),
        "accumulate": 15 * 3,
        "multiply": 15 * (3 + 3 + 2),
        "comparison": 15,
        "transcendental": 15 * 9,
    }
    # but that the first starts at the origin: 4 + 2 products, 2 + 3 + 2 scalings, 1 sum, 4 + 3 functions
    assert (
        operations(ops, "path")
        == operations(ops, "path", "events")
        == {
            "multiply_accumulate": 10 * (4 * 2 + 2) + 5 * (2 * 2 + 2),
            "accumulate": 10 * 3 + 5,
            "multiply": 10 * (3 + 3 + 2) + 5 * (2 + 3 + 2),
            "comparison": 15,
            "transcendental": 10 * 9 + 5 * 7,
        }
    )
    assert operations(ops, "head") == {
        "multiply_accumulate": 5 * 2 + 5 * 2 * 2,
        "accumulate": 5 * 2,
        "multiply": 5 * 2,
        "transcendental": 5 * 3,
    }
    assert set(ops.modules) == {
        *(f"stack.layers.{i}.{part}" for i in (0, 1) for part in ("synapse", "neuron")),
        "stack.layers.2.synapse", "path", "head", "",
    }  # fmt: skip


def test_firing_of_msg():
    firing = counted(msg_of_known_spikes()).firing
    first, second = firing["stack.layers.0.neuron"], firing["stack.layers.1.neuron"]
    assert (first.spikes, first.neurons, first.timesteps) == (10, 10, 4)
    assert (second.spikes, second.rate) == (15, 15 / 40)
    # a neuron of node j connects to 2 neurons at each of its targets
    assert first.synapses == 11 * 2 * 2
    assert first.delivered == 2 * 11 * 2
    assert first.spikes_per_synapse == 1.0


def test_spiking_gcn():
    model = SpikingGCN(3, 2, num_hops=2, timesteps=4)
    model.stack.layers[0].neuron.threshold, model.stack.layers[0].neuron.reset = 1e-3, "zero"  # fires in every step
    ops = counted(model, torch.ones(5, 3))
    assert operations(ops, "stack.layers.0.synapse") == {"accumulate": 2 * 11 * 3, "multiply": 2 * (15 + 15)}
    assert operations(ops, "stack.layers.0.neuron") == {"state_update": 60, "comparison": 60, "accumulate": 60}
    # 15 rates are cheaper than 60 spikes, a multiply-accumulate being two operations
    assert operations(ops, "stack.layers.1.synapse") == {"multiply_accumulate": 15 * 2, "accumulate": 5 * 2}


def test_spikes_are_counted_a_part_of_the_nodes_at_a_time(monkeypatch):
    monkeypatch.setattr("msg.energy.spiking._AT_ONCE", 6)  # two nodes, and the fifth by itself
    model = SpikingGCN(3, 2, timesteps=4)
    spikes = round(4 * float(model.activity(X, EDGES).rates[0].sum()))
    assert spikes
    assert counted(model).firing["stack.layers.0.neuron"].spikes == spikes


def test_propagation_sends_what_is_not_zero():
    model = SpikingGCN(3, 2, num_hops=2, timesteps=4)
    ops = counted(model)
    sent = torch.tensor([3, 3, 2, 2, 1])  # messages of each node
    hops = list(model.stack.layers[0].synapse.conv.hops(X, EDGES))
    entries = [(hop != 0).sum(1) for hop in hops]
    messages = sum(int((before * sent).sum()) for before in entries[:2])
    assert operations(ops, "stack.layers.0.synapse")["accumulate"] == messages
    assert operations(ops, "stack.layers.0.synapse", "dense")["accumulate"] == 2 * 11 * 3


def test_sgc_counts_the_cheaper_order():
    ops = counted(SGConv(3, 2, K=2))
    assert operations(ops, "") == {
        "multiply_accumulate": 7 * 2,
        "accumulate": 2 * 11 * 2 + 5 * 2,
        "multiply": 2 * 2 * 5 * 2,
    }


def test_gin_leaves_its_network_to_rules_of_its_own():
    ops = counted(GIN(3, 2, 1))
    assert operations(ops, "convs.0") == {"accumulate": 11 * 3}
    assert operations(ops, "convs.0.nn.lins.0")["accumulate"] == 5 * 2
    assert not any("aggr_module" in name for name in ops.modules)


@pytest.mark.parametrize("conv", ["sage", "gin", lambda i, o: GATConv(i, o)])
def test_other_synapses(conv):
    ops = counted(SpikingGNN(3, 2, hidden_channels=2, num_layers=2, timesteps=4, conv=conv))
    assert operations(ops, "stack.layers.1.synapse")["accumulate"] > 0
    assert operations(ops, "stack.layers.0.neuron")["state_update"] <= 5 * 2 * 4
    assert set(ops.firing) == {"stack.layers.0.neuron", "stack.layers.1.neuron"}
    assert ops.firing["stack.layers.0.neuron"].spikes == ops.modules["stack.layers.0.neuron"].nonzero["spike"]


def test_break_even_leaves_out_synapses_that_are_not_linear():
    model = SpikingGNN(3, 2, hidden_channels=2, num_layers=2, timesteps=4, conv=lambda i, o: GATConv(i, o))
    ops = counted(model)
    assert not ops.firing["stack.layers.0.neuron"].ways
    assert break_even(ops).rate == ops.firing["stack.layers.1.neuron"].rate


@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")  # inside PyG
@pytest.mark.filterwarnings("ignore:Converting sparse tensor to CSR")
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_adjacency_matrices():
    adjacency = torch.zeros(5, 5).index_put((EDGES[1], EDGES[0]), torch.ones(6)).to_sparse_coo()
    model = with_ones(GCN(3, 2, 2, 2))
    assert operations(counted(model, X, adjacency), "convs.0") == operations(counted(model), "convs.0")


def test_a_learned_weight_of_the_node_itself():
    model = GIN(3, 2, 1, train_eps=True)
    assert operations(counted(model), "convs.0") == {"accumulate": 11 * 3, "multiply": 5 * 3}


def test_convolutions_in_synapses_that_are_not_known_are_named():
    model = SpikingGNN(3, 2, hidden_channels=2, num_layers=2, timesteps=4, conv=Mine).eval()
    with count(model) as ops:
        model(X, EDGES)
    assert ops.unknown == {"Mine": 1 + 4}
    alone = counted(Mine(3, 2))
    found = operations(alone, "aggr_module")
    assert found == {"accumulate": 6 * 2}
    assert operations(alone, "") == {"multiply_accumulate": 7 * 2}


def test_trains_of_spikes():
    train = (torch.arange(60).reshape(4, 5, 3) % 3 == 0).float()
    ops = counted(MSG(3, 2, "H2", timesteps=4), train)
    fired = int(train.sum())
    found = operations(ops, "stack.layers.0.synapse")
    assert "multiply_accumulate" not in found  # binary: rows are added
    assert found["accumulate"] in (
        fired * 2 + 11 * 2 * 4 + 40,
        int((train.sum((0, 2)) * torch.tensor([3, 3, 2, 2, 1])).sum()) * 2 + 40,
    )
    real = counted(MSG(3, 2, "H2", timesteps=4), train * 0.5)
    assert operations(real, "stack.layers.0.synapse")["multiply_accumulate"] == fired * 2


@pytest.mark.parametrize(
    "model",
    [
        lambda: MSG(3, 2, "S2", timesteps=4),
        lambda: GCN(3, 2, 2),
        lambda: HGCN(3, 2),
        lambda: KappaGCN(3, 2),
        lambda: QGCN(3, 2),
        lambda: GCSNN(3, 2, 4),
        lambda: SpikeGCL(3, 2),
        lambda: SpikeNet(3, 2),
    ],
)
def test_sparse_and_dense_features_count_the_same(model):
    model = model()
    dense, sparse = counted(model), counted(model, X.to_sparse_coo())
    for convention in ("nonzero", "dense", "events"):
        assert {name: c.under(convention) for name, c in dense.modules.items()} == {
            name: c.under(convention) for name, c in sparse.modules.items()
        }


@pytest.mark.parametrize(
    "model", [HGCN, HyboNet, KappaGCN, QGCN, SpikeGCL, SpikeNet, GCSNN, SpikeGraphormer, Polynormer, ConvergentGNN]
)
@pytest.mark.parametrize("x", [X, X.to_sparse_coo()], ids=["dense", "sparse"])
def test_what_is_kept_of_a_graph_is_no_part_of_an_inference(model, x):
    """The first inference, which makes matrices of the graph, counts as the later ones, which look them up."""
    model = model(3, 2).eval()
    found = []
    for _ in range(3):
        with torch.no_grad(), count(model) as ops:
            model(x, EDGES)
        found.append({name: c.nonzero for name, c in ops.modules.items() if c.nonzero})
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("threshold", [0.3, 1.0, 100.0])
def test_spikenets_spikes_travel_in_every_way_and_are_read_with_one_bias(threshold):
    model, fired, steps = SpikeNet(3, 2, 6, last_channels=4, timesteps=3, threshold=threshold), [], 3
    heard = model.layers[0].neurons.register_forward_hook(lambda _, args, out: fired.append(out))
    ops = counted(with_ones(model))
    heard.remove()
    neighbours = [{node} | {u for u, v in EDGES.t().tolist() if v == node} for node in range(5)]
    own, received, biases = 0, 0, 5 * 4 * steps
    for spikes in fired[0]:
        for node in range(5):
            own += 4 * int(spikes[node].sum())
            received += sum(4 * int(spikes[one].sum()) for one in neighbours[node])
    assert bool(own) == (threshold < 100)
    ways = ops.modules["layers.1.hear"].ways
    delivered, shared = ways["delivered"].nonzero, ways["shared"].nonzero
    assert (delivered["accumulate"], delivered["multiply"]) == (own + received + biases, 5 * 4 * steps)
    assert (shared["accumulate"], shared["multiply"]) == (2 * own + 11 * 4 * steps + biases, 5 * 4 * steps)
    # three features are fewer than six channels: their means are multiplied, all 15, and what a node has itself, 7
    assert operations(ops, "layers.0.hear") == {
        "multiply_accumulate": (15 + 7) * 6,
        "accumulate": 11 * 3 + (5 + 5) * 6,
        "multiply": 5 * 3,
    }


def test_counting_draws_nothing():
    model = SpikeNet(3, 2, 6).eval()
    before = torch.get_rng_state()
    counted(model)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("x", [X, X.to_sparse_coo()], ids=["dense", "sparse"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_spikegcl_aggregates_the_fewer_columns_first(x, norm):
    wide, narrow = SpikeGCL(3, 2, timesteps=2, hidden_channels=4, norm=norm), SpikeGCL(3, 2, 1, timesteps=2, norm=norm)
    shifted = norm == "batch"  # a constant to each feature
    # two groups of four columns: features go along 6 edges and 5 loops, then all of them are multiplied
    found = operations(counted(wide, x), "first")
    assert found["accumulate"] == 11 * 3 + 5 * 8
    assert found["multiply_accumulate"] == 15 * 4 + shifted * 5 * 8
    # of one column: the features that are not zero, of which three are ones, are multiplied first
    found = operations(counted(narrow, x), "first")
    assert found["accumulate"] == 11 * 2 + 5 * 2 + shifted * 5 * 2
    assert found["multiply_accumulate"] == int(X.count_nonzero())
    assert counted(narrow, x).modules["first"].dense["multiply_accumulate"] == 15


@pytest.mark.parametrize("model", [lambda: MSG(3, 2, "S2", timesteps=4), lambda: HyboNet(3, 2), lambda: GCN(3, 2, 2)])
def test_inference_mode_counts_the_same(model):
    model = model().eval()
    found = []
    for mode in (torch.no_grad, torch.inference_mode):
        model(X, EDGES)
        with mode(), count(model) as ops:
            model(X, EDGES)
        assert not ops.unknown
        found.append({name: c.nonzero for name, c in ops.modules.items() if c.nonzero})
    assert found[0] == found[1]


def of_known_values(neuron, conv="gcn", manifold=None):
    """Currents (0.6, 0) and (0.3, 1.2) into what stands in the place of neurons."""
    options = {"num_layers": 3, "timesteps": 1, "neuron": neuron, "conv": conv}
    model = SpikingGNN(3, 2, hidden_channels=2, **options) if manifold is None else MSG(3, 2, manifold, **options)
    for layer, bias in zip(model.stack.layers, ((0.6, 0.0), (0.3, 1.2), (0.1, 0.1))):
        for name, parameter in layer.synapse.named_parameters():
            nn.init.zeros_(parameter)
            if name.endswith("bias"):
                parameter.data = torch.tensor(bias)
    return model


@pytest.mark.parametrize(("neuron", "comparisons", "units"), [(ReLU(), 1, 0), (ClippedReLU(), 2, 5)])
def test_activations_in_the_place_of_neurons(neuron, comparisons, units):
    ops = counted(of_known_values(neuron))
    for index in (0, 1):
        assert operations(ops, f"stack.layers.{index}.neuron") == {"comparison": 10 * comparisons}
    # a real convolution of what is not zero: 5 numbers of 0.6, then ten, of which a clipped five are one
    rest = {"accumulate": 11 * 2 + 10, "multiply": 20}
    assert operations(ops, "stack.layers.1.synapse") == {"multiply_accumulate": 5 * 2, **rest}
    assert operations(ops, "stack.layers.1.synapse", "dense") == {"multiply_accumulate": 10 * 2, **rest}
    assert operations(ops, "stack.layers.2.synapse") == {"multiply_accumulate": 10 * 2, **rest}
    assert operations(ops, "stack.layers.2.synapse", "events") == {
        "multiply_accumulate": (10 - units) * 2,
        "accumulate": units * 2 + 11 * 2 + 10,
        "multiply": 20,
    }
    assert not ops.firing


@pytest.mark.parametrize("manifold", [None, "H2"])
@pytest.mark.parametrize("bits", [1, 2, 3])
def test_the_quantised_twin(bits, manifold):
    ops = counted(of_known_values(QuantizedReLU(bits), manifold=manifold))
    for index in (0, 1):
        rounding = {"comparison": 10} if bits == 1 else {"comparison": 20, "accumulate": 10}
        assert operations(ops, f"stack.layers.{index}.neuron") == rounding
    # 0.6 is never rounded to zero; 0.3 is, to one bit
    for index, found in ((1, 5), (2, 5 if bits == 1 else 10)):
        for convention, products in (("nonzero", found * 2), ("events", found * 2), ("dense", 10 * 2)):
            wide = {"multiplier_bit": bits * products} if bits > 1 else {}
            assert operations(ops, f"stack.layers.{index}.synapse", convention) == {
                **wide,
                "accumulate": products + 11 * 2 + 10,
                "multiply": 20,
            }
    traffic = ops.modules["stack.layers.1.synapse"].nonzero
    assert traffic["weights"] == 5 * 2 + 10
    assert not ops.firing
    assert break_even(ops) is None
    assert report(ops).energy_mj() > 0


@pytest.mark.parametrize("neuron", [ReLU(), ClippedReLU(), QuantizedReLU(4)], ids=repr)
@pytest.mark.parametrize("conv", ["gcn", "sage", "gin", lambda i, o: GATConv(i, o)])
def test_twins_are_known_under_every_convolution(neuron, conv):
    for model in (
        SpikingGNN(3, 2, hidden_channels=2, num_layers=3, timesteps=1, neuron=neuron, conv=conv),
        MSG(3, 2, "H2", num_layers=3, timesteps=1, neuron=neuron, conv=conv),
    ):
        ops = counted(model)
        assert not ops.firing
        assert "" not in ops.modules  # a single step is its own mean
        bits = ops.total()["multiplier_bit"]
        assert bool(bits) == isinstance(neuron, QuantizedReLU)


def test_quantised_products_of_two_matrices_and_of_attention():
    sage = operations(counted(of_known_values(QuantizedReLU(2), "sage")), "stack.layers.1.synapse")
    # two matrices, whose sum is made in place; the mean
    assert sage == {"multiplier_bit": 2 * 2 * 5 * 2, "accumulate": 2 * 5 * 2 + 6 * 2 + 10, "multiply": 10}
    model = SpikingGNN(3, 2, hidden_channels=2, num_layers=2, timesteps=1, neuron=QuantizedReLU(2), conv=GATConv)
    nn.init.zeros_(model.stack.layers[0].synapse.conv.lin.weight)
    model.stack.layers[0].synapse.conv.bias.data = torch.tensor([0.6, 0.0])
    attention = operations(counted(model), "stack.layers.1.synapse")
    alone = operations(counted(GATConv(2, 2), torch.ones(5, 2)), "")
    assert attention["multiplier_bit"] == 2 * 5 * 2
    assert alone["multiply_accumulate"] - attention["multiply_accumulate"] == 5 * 2 * 2
    assert attention["accumulate"] - alone["accumulate"] == 5 * 2


def test_an_activation_that_is_not_known_is_named():
    class Softly(ReLU):
        pass

    model = SpikingGNN(3, 2, hidden_channels=2, num_layers=2, timesteps=1, neuron=Softly()).eval()
    with torch.no_grad(), count(model) as ops:
        model(X, EDGES)
    assert ops.unknown == {"Softly": 2}


def test_loihi_delivers_spikes():
    """Of MSG's last layer, which elsewhere sends sums once."""
    ops = counted(msg_of_known_spikes())
    crossings = {1: 2 * 11, 2: 3 * 11}  # spikes of a node along its edges
    for layer, crossed in crossings.items():
        found = LOIHI.chosen(ops.modules[f"stack.layers.{layer}.synapse"]).nonzero
        times = 4 if layer == 1 else 1
        assert found["accumulate"] == crossed * 2 + 10 * times


def test_self_loops_and_weights():
    looped = torch.cat([EDGES, torch.tensor([[0, 0], [0, 0]])], dim=1)  # PyG keeps one loop a node
    assert operations(counted(GCN(3, 2, 1), edges=looped), "convs.0")["accumulate"] == 11 * 2 + 10
    model = GCN(3, 2, 1).eval()
    with count(model) as ops:
        model(X, EDGES, torch.ones(6))
    assert operations(ops, "convs.0") == {"multiply_accumulate": 7 * 2 + 11 * 2, "accumulate": 10}


def test_training_is_counted_apart():
    model = MSG(3, 2, "H2", timesteps=4)
    with count(model) as ops:
        optimizer = torch.optim.Adam(model.parameters())
        model(X, EDGES).square().sum().backward()
        optimizer.step()
    assert set(ops.training) == {BACKWARD, OUTSIDE}
    assert ops.training[BACKWARD].nonzero["multiply_accumulate"] > 0
    assert BACKWARD not in ops.inference
    assert report(ops).as_dict()["training_besides_mj"] > 0
    assert report(counted(model)).as_dict()["training_besides_mj"] is None


@pytest.mark.parametrize("graded", [True, False])
def test_a_gradient_that_a_forward_needs_is_inference(graded):
    model = RiemannianConvergentGNN(3, 2, "H2", steps=3).eval()
    with torch.set_grad_enabled(graded), count(model) as ops:
        model(X, EDGES)
    assert ops.training == {}
    with count(model) as ops:
        model(X, EDGES).sum().backward()
    assert set(ops.training) == {BACKWARD, OUTSIDE}


def test_what_a_backward_pass_computes_again_is_no_inference():
    class Checkpointed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU())

        def forward(self, x, edge_index):
            return checkpoint(self.inner, x, use_reentrant=False)

    model = Checkpointed()
    inference = counted(model)
    with count(model) as ops:
        model(X, EDGES).sum().backward()
    assert ops.total() == inference.total()
    assert ops.training[BACKWARD].nonzero["comparison"] >= 15  # ReLU again


def test_counting_changes_nothing():
    model = MSG(3, 2, "H2", timesteps=4).eval()
    before = model(X, EDGES)
    with count(model):
        during = model(X, EDGES)
    assert torch.equal(before, during)
    assert torch.equal(before, model(X, EDGES))
    assert "activity" not in vars(model)
    assert not model._forward_hooks
    assert not model.stack.layers[0]._forward_pre_hooks


def test_an_exception_inside_is_the_callers():
    model = GCN(3, 2, 2)
    with pytest.raises(RuntimeError), count(model):
        model(torch.ones(5, 7), EDGES)
    assert operations(counted(model), "act") == {"comparison": 10}


def test_two_calls_add_up():
    model = GCN(3, 2, 1).eval()
    with count(model) as ops:
        model(X, EDGES)
        model(X, EDGES)
    assert ops.forwards == 2
    assert operations(ops, "convs.0")["multiply_accumulate"] == 2 * 7 * 2


@pytest.mark.parametrize(
    "call",
    [
        lambda conv, pair: conv(pair, EDGES),
        lambda conv, pair: conv(list(pair), EDGES),
        lambda conv, pair: conv(x=pair, edge_index=EDGES),
        lambda conv, pair: HeteroConv({("a", "to", "b"): conv})(
            {"a": pair[0], "b": pair[1]}, {("a", "to", "b"): EDGES}
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:There exist node types:UserWarning")
def test_two_node_sets_are_counted_operator_by_operator(call):
    conv = with_ones(SAGEConv((3, 3), 2, aggr="sum", root_weight=False, bias=False)).eval()
    with torch.no_grad(), count(conv) as ops:
        call(conv, (X, X[:4]))
    assert not ops.unknown
    # six edges of three channels; of the four sums, six entries are not zero
    assert operations(ops, "") == {"accumulate": 6 * 3, "multiply_accumulate": 6 * 2}


@pytest.mark.parametrize(
    "make",
    [
        lambda: GCNConv(3, 2),
        lambda: GCNConv(3, 4),
        lambda: SGConv(3, 2, K=2),
        lambda: SAGEConv(3, 2, normalize=True),
        lambda: GIN(3, 2, 1, act=None),
    ],
)
def test_all_time_steps_at_once_count_as_one_after_the_other(make):
    train = torch.stack([X, (X > 0).float(), 2 * X])
    model = make().eval()
    with torch.no_grad(), count(model) as each:
        for x in train:
            model(x, EDGES)
    with torch.no_grad(), count(model) as together:
        model(train, EDGES)
    assert not together.unknown
    assert together.total("nonzero") == each.total("nonzero")


def test_a_rule_that_fails_says_why_and_leaves_nothing_behind():
    class Odd(nn.Module):
        def forward(self, x):
            return x

    def fails(module, args, kwargs, output):
        raise ValueError("it is odd")

    rule(Odd)(fails)
    with pytest.raises(ValueError, match="it is odd"), count(model := nn.Sequential(Odd(), nn.ReLU())):
        model(X)
    assert operations(counted(GCN(3, 2, 2)), "act") == {"comparison": 10}


def test_a_rule_of_ones_own():
    class Doubler(nn.Module):
        def forward(self, x):
            return 2 * x

    rule(Doubler)(lambda module, args, kwargs, output: Count.of({"accumulate": output.numel()}))
    model = Doubler()
    with count(model) as ops:
        model(X)
    assert operations(ops, "") == {"accumulate": 15}


def test_gat_models_and_norms_have_rules():
    ops = counted(GAT(3, 2, 2, 2, norm="LayerNorm", heads=2))
    assert operations(ops, "convs.0")["transcendental"] == 11 * 2 + 5 * 2
    batch = nn.BatchNorm1d(3)
    with count(batch) as ops:
        batch(X)
    assert operations(ops, "") == {"multiply_accumulate": 15 + 15, "accumulate": 30}
    with count(batch.eval()) as ops:
        batch(X)
    assert not ops.total()  # folded
    layer = nn.LayerNorm(3)
    with count(layer) as ops:
        layer(X)
    assert operations(ops, "") == {
        "multiply_accumulate": 30, "accumulate": 30 + 5, "multiply": 15 + 10, "transcendental": 10,
    }  # fmt: skip


def test_a_neuron_that_is_not_known_is_named():
    class Squid(LIF):
        pass

    model = MSG(3, 2, "H2", num_layers=2, timesteps=4, neuron=Squid())
    with torch.no_grad(), count(model) as ops:
        model(X, EDGES)
    assert ops.unknown == {"Squid": 1}


def test_state_of_adaptive_neurons():
    words = {}
    for name, neuron in (("lif", LIF()), ("alif", ALIF()), ("waits", ALIF(refractory=2))):
        count = counted(MSG(3, 2, "H2", num_layers=2, timesteps=4, neuron=neuron)).modules["stack.layers.0.neuron"]
        words[name] = count.footprint["state"], count.dense["state"] // (5 * 2 * 4)
    assert words == {"lif": (10, 2), "alif": (20, 4), "waits": (30, 6)}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (CachedGCN(3, 4, 2, 3), GCN(3, 4, 2, 3)),
        (SAGE(3, 4, 2, 3), GraphSAGE(3, 4, 2, 3)),
        (SGC(3, 3, 1), SGConv(3, 3, 1)),
    ],
    ids=["GCN", "SAGE", "SGC"],
)
def test_networks_on_cached_matrices_count_as_pygs_whatever_their_features_are_kept_in(ours, theirs):
    expected = counted(with_ones(theirs)).total("events")
    for x in (X, X.to_sparse()):
        for _ in range(2):  # the first time, the matrix is made
            found = counted(with_ones(ours), x).total("events")
            assert {kind: found[kind] for kind in OPERATIONS} == {kind: expected[kind] for kind in OPERATIONS}


def known_spikes(conv):
    """As :func:`msg_of_known_spikes`, with another convolution: two spikes a node, then three."""
    model = MSG(3, 2, "H2", num_layers=3, timesteps=4, conv=conv)
    for layer, bias in zip(model.stack.layers, ((0.6, 0.0), (0.3, 0.6), (0.1, 0.1))):
        inner = layer.synapse.conv
        for parameter in inner.parameters():
            nn.init.zeros_(parameter)
        getattr(inner, "lin_l", inner).bias.data = torch.tensor(bias)
    return model


def test_spikes_go_through_both_matrices_of_sage():
    ops = counted(known_spikes("sage"))
    hidden, last = (ops.modules[f"stack.layers.{index}.synapse"].ways for index in (1, 2))
    # of 10 and 15 spikes the rows of two matrices; six edges without loops, and a mean
    assert hidden["shared"].nonzero["accumulate"] == 10 * 2 * 2 + 6 * 2 * 4 + 40
    assert hidden["delivered"].nonzero["accumulate"] == 2 * 6 * 2 + 10 * 2 + 40
    assert last["shared"].nonzero["accumulate"] == 15 * 2 * 2 + 6 * 2 + 10
    assert last["delivered"].nonzero["accumulate"] == 3 * 6 * 2 + 15 * 2 + 10
    assert last["rates"].nonzero["multiply_accumulate"] == 2 * 10 * 2
    assert operations(ops, "stack.layers.1.synapse") == {"accumulate": 24 + 20 + 40, "multiply": 5 * 2 * 4}
    assert operations(ops, "stack.layers.2.synapse") == {"accumulate": 36 + 30 + 10, "multiply": 5 * 2}
    firing = ops.firing["stack.layers.0.neuron"]
    assert (firing.synapses, firing.delivered) == ((6 + 5) * 2 * 2, 2 * (6 + 5) * 2)


def test_attention_to_spikes_adds_a_row_a_spike_in_every_step():
    ops = counted(known_spikes(GATConv))
    alone = operations(counted(GATConv(2, 2), torch.zeros(5, 2)), "")  # what it does whatever it reads
    for index, spikes in ((1, 10), (2, 15)):
        found = operations(ops, f"stack.layers.{index}.synapse")
        assert found.pop("accumulate") == 4 * alone["accumulate"] + spikes * 2
        assert found == {kind: 4 * number for kind, number in alone.items() if kind != "accumulate"}


@pytest.mark.parametrize("given", ["position", "name", "graph"])
def test_weights_of_edges_are_counted_however_they_are_given(given, edge_index):
    x, weight = torch.rand(7, 5), torch.rand(edge_index.size(1)) + 0.5
    ours, theirs = SGC(5, 3, num_hops=2).eval(), SGConv(5, 3, K=2).eval()
    arguments, named = {
        "position": ((edge_index, weight), {}),
        "name": ((edge_index,), {"edge_weight": weight}),
        "graph": ((Graph(edge_index, weight, 7),), {}),
    }[given]

    def total(model, *inputs, **options):
        with torch.no_grad(), count(model) as ops:
            model(*inputs, **options)
        assert not ops.unknown
        return {kind: ops.total()[kind] for kind in OPERATIONS}

    assert total(ours, x, *arguments, **named) == total(theirs, x, edge_index, weight)
    model = Propagated(CachedGCN(5, 4, 1, 3), 3, 0.2).eval()
    found = total(model, x, *arguments, **named)
    plain = total(model, x, edge_index)
    hops = 3 * 3 * (edge_index.size(1) - 1 + 7)  # three of three columns over all edges, with one loop a node
    assert found["multiply_accumulate"] - total(model.model, x, edge_index, weight)["multiply_accumulate"] == hops
    assert plain["multiply_accumulate"] == total(model.model, x, edge_index)["multiply_accumulate"]


def test_drawn_spikes_are_propagated_with_weights(edge_index):
    x, weight = torch.rand(7, 5), torch.rand(edge_index.size(1)) + 0.5
    totals = []
    for model in (BernoulliSpikingGCN(5, 3, 2, timesteps=4).eval(), SGC(5, 5, num_hops=2).eval()):
        with torch.no_grad(), count(model) as ops:
            model(x, edge_index, weight)
        totals.append(ops.total()["multiply_accumulate"])
    assert totals[0] == totals[1] - 7 * 5 * 5 > 0  # which has a product before


def test_a_sample_is_refused(edge_index):
    model, x = SGC(5, 3).eval(), torch.rand(7, 5)
    for batch_size in (7, 2):
        with pytest.raises(ValueError, match="counted on a whole graph: leave out batch_size"), count(model):
            model(x, edge_index, batch_size=batch_size)


def test_a_norm_of_the_encoder_runs_in_every_step_of_a_train(edge_index):
    model, x = MSG(5, 3, "H4", num_layers=2, timesteps=4, norm="layer").eval(), torch.rand(7, 5)
    once, every = (
        operations(counted(model, given, edge_index), "stack.layers.0.norm") for given in (x, x.expand(4, 7, 5))
    )
    assert every == {kind: 4 * number for kind, number in once.items()}
    assert once["transcendental"] > 0
