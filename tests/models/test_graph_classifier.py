"""Classifiers of graphs: batches against one graph after another, PyG's calls, counts by hand, what is seen inside."""

import copy

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GIN, GATv2Conv

from msg.energy import count, report
from msg.manifolds import exp0, log0, parse_signature
from msg.models import record
from msg.nn import MSG, GraphClassifier, GraphReadout, ManifoldPooling, RecurrentSpikingGNN
from msg.training import manifold_of, observe, watching


def graphs(sizes=(4, 6, 5), features=3, dtype=torch.float32):
    """Random graphs, both directions of each edge."""
    found = []
    for nodes in sizes:
        source, target = torch.triu_indices(nodes, nodes, 1)
        edges = torch.stack([source, target])[:, torch.rand(len(source)) < 0.6]
        edges = torch.cat([edges, edges.flip(0)], dim=1)
        found.append(Data(x=torch.rand(nodes, features, dtype=dtype), edge_index=edges))
    return found


def classifier(signature="H4", pooling="mean", **options):
    model = MSG(3, manifold=signature, num_layers=2, timesteps=3, **options)
    return GraphClassifier(model, 2, pooling)


@pytest.mark.parametrize("pooling", ["mean", "frechet", "sum"])
@pytest.mark.parametrize("signature", ["E4", "H4", "S4", "P4", "H2xS2"])
def test_a_batch_is_one_graph_after_another(signature, pooling):
    model, some = classifier(signature, pooling).double().eval(), graphs(dtype=torch.float64)
    batch = Batch.from_data_list(some)
    with torch.no_grad():
        found = model(batch.x, batch.edge_index, batch=batch.batch)
        alone = torch.cat([model(graph.x, graph.edge_index) for graph in some])
        again = model(batch.x, batch.edge_index, None, batch.batch, 3)
    assert found.shape == (3, 2)
    torch.testing.assert_close(found, alone)
    torch.testing.assert_close(again, found)


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_pygs_own_models_are_read_like_ours(pooling):
    model = GraphClassifier(GIN(3, 8, 2), 5, pooling).eval()
    batch = Batch.from_data_list(graphs())
    with torch.no_grad():
        nodes = model.model(batch.x, batch.edge_index)
        found = model(batch.x, batch.edge_index, batch=batch.batch)
    own = [nodes[batch.batch == graph] for graph in range(3)]
    vectors = torch.stack([rows.mean(0) if pooling == "mean" else rows.sum(0) for rows in own])
    torch.testing.assert_close(found, model.head(vectors))
    assert manifold_of(model) is None


def test_edge_weights_reach_the_model():
    model, batch = classifier(), Batch.from_data_list(graphs())
    ones = torch.ones(batch.edge_index.size(1))
    plain = model(batch.x, batch.edge_index, batch=batch.batch)
    torch.testing.assert_close(model(batch.x, batch.edge_index, ones, batch.batch), plain)
    assert not torch.allclose(model(batch.x, batch.edge_index, 0.1 * ones, batch.batch), plain)


def test_features_of_edges_reach_convolutions_that_read_them():
    batch = Batch.from_data_list(graphs())
    model = GraphClassifier(MSG(3, conv=lambda i, o: GATv2Conv(i, o, edge_dim=2), manifold="E4"), 2).eval()
    features = torch.rand(batch.edge_index.size(1), 2)
    found = model(batch.x, batch.edge_index, batch=batch.batch, edge_attr=features)
    assert not torch.allclose(found, model(batch.x, batch.edge_index, batch=batch.batch, edge_attr=10 * features))


def test_the_points_of_all_layers_are_pooled_on_their_product():
    model = classifier("H4", jumping="cat")
    assert model.head.lins[0].in_channels == 8
    batch = Batch.from_data_list(graphs())
    assert model(batch.x, batch.edge_index, batch=batch.batch).shape == (3, 2)


@pytest.mark.parametrize("pooling", ["mean", "frechet", "sum"])
def test_every_parameter_learns(pooling):
    model, batch = classifier("L4", pooling), Batch.from_data_list(graphs())
    model(batch.x, batch.edge_index, batch=batch.batch).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
    twin = copy.deepcopy(model)
    model.reset_parameters()
    assert not torch.equal(twin.head.lins[0].weight, model.head.lins[0].weight)
    assert not any(torch.equal(p, q) for p, q in zip(twin.model.parameters(), model.model.parameters()) if p.dim() > 1)
    twin.load_state_dict(model.state_dict())


def test_what_cannot_be_pooled_is_refused():
    with pytest.raises(ValueError, match="MSG returns logits of nodes: make it without out_channels"):
        GraphClassifier(MSG(3, 2), 2)
    with pytest.raises(ValueError, match="unknown pooling 'max': use 'mean', 'frechet', 'sum'"):
        GraphClassifier(GIN(3, 8, 2), 2, "max")
    with pytest.raises(ValueError, match="RecurrentSpikingGNN returned tuple, not a vector of each node"):
        GraphClassifier(RecurrentSpikingGNN(3, 8), 2)(torch.rand(4, 3), torch.tensor([[0, 1], [1, 2]]))
    with pytest.raises(ValueError, match="Linear does not say how wide its output is"):
        GraphClassifier(torch.nn.Linear(3, 8), 2)
    model, batch = classifier(), Batch.from_data_list(graphs())
    with pytest.raises(ValueError, match="group 3 has no weight"):
        model(batch.x, batch.edge_index, batch=batch.batch, batch_size=4)
    with pytest.raises(ValueError, match=r"third argument.*torch.int64.*batch=batch"):
        model(batch.x, batch.edge_index, batch.batch)


# of one node each, of each graph: how often a kind occurs in dimension 3
MEANS = {
    "E3": ({"accumulate": 3}, {"multiply": 3, "transcendental": 1}),
    "H3": ({"accumulate": 4}, {"multiply_accumulate": 4, "multiply": 4, "transcendental": 2}),
    "S3": ({"accumulate": 4}, {"multiply_accumulate": 4, "multiply": 4, "transcendental": 2}),
    "P3": (
        {"multiply_accumulate": 3, "transcendental": 1, "multiply": 3, "accumulate": 4},
        {"multiply_accumulate": 4, "accumulate": 1, "multiply": 3, "transcendental": 2},
    ),
}


@pytest.mark.parametrize("signature", [*MEANS, "E3xH3"])
def test_a_mean_is_counted_as_by_hand(signature):
    manifold, dim = parse_signature(signature)
    z, batch = exp0(manifold, torch.randn(9, dim, dtype=torch.float64)), torch.arange(9) % 2
    pool = ManifoldPooling(manifold)
    with torch.no_grad(), count(pool) as ops:
        pool(z, batch)
    (found,) = ops.inference.values()
    expected = {}
    for part in signature.split("x"):
        for kinds, times in zip(MEANS[part], (9, 2)):
            for kind, number in kinds.items():
                expected[kind] = expected.get(kind, 0) + times * number
    assert {kind: number for kind, number in found.nonzero.items() if kind in expected} == expected
    assert found.nonzero["activations"] == 11 * z.size(1)
    assert not ops.unknown


@pytest.mark.parametrize("pooling", ["mean", "frechet", "sum"])
def test_a_classifier_is_counted_whole(pooling):
    model, batch = classifier("H4", pooling).eval(), Batch.from_data_list(graphs())
    with torch.no_grad(), count(model) as ops:
        model(batch.x, batch.edge_index, batch=batch.batch)
    assert not ops.unknown
    assert {"readout", "head.lins.0", "head.lins.1", "model.path"} <= set(ops.inference)
    assert ("readout.pooling" in ops.inference) == (pooling != "sum")
    logarithms = 3 if pooling != "sum" else 15
    assert ops.inference["readout"].nonzero["transcendental"] == 3 * logarithms
    assert report(ops).energy_mj() > 0


def test_what_is_seen_are_rates_of_nodes_and_vectors_of_graphs():
    model, batch = classifier().eval(), Batch.from_data_list(graphs())
    seen = observe(model, batch.x, batch.edge_index, batch=batch.batch)
    assert seen.output.shape == (3, 2)
    assert len(seen.rates) == 1
    with torch.no_grad(), watching(model) as inside:
        model(batch.x, batch.edge_index, batch=batch.batch)
    ((_, points),) = inside.points
    manifold = manifold_of(model)
    vectors = log0(manifold, ManifoldPooling(manifold)(points, batch.batch))
    torch.testing.assert_close(seen.tangent, vectors)
    torch.testing.assert_close(GraphReadout(manifold)(points, batch.batch), vectors)
    with record(model, nodes=[0, 14]) as recording:
        model(batch.x, batch.edge_index, batch=batch.batch)
    assert recording[0].spikes.shape == (3, 2, 4)
    assert seen.radius == pytest.approx(float(log0(manifold, points).norm(dim=-1).max()))


class _Pairs(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, edge_index, batch):
        return self.model(x, edge_index, batch=batch, batch_size=2)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_a_traced_one_reads_other_graphs(pooling):
    model = classifier(pooling=pooling).eval()
    first, second = (Batch.from_data_list(graphs(sizes)) for sizes in ((4, 6), (5, 9)))
    for whole, names in ((model, ("x", "edge_index")), (_Pairs(model), ("x", "edge_index", "batch"))):
        asked, others = ({name: graph[name] for name in names} for graph in (first, second))
        with torch.no_grad():
            program = torch.jit.trace(whole, example_kwarg_inputs=asked, check_trace=False)
            torch.testing.assert_close(program(**others), whole(**others))
            if whole is not model:
                with pytest.raises(ValueError, match="give batch_size"):
                    torch.jit.trace(model, example_kwarg_inputs=asked, check_trace=False)
