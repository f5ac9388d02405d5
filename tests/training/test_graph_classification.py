"""Training on whole graphs: its batches, losses and measures, against one graph after another."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch_geometric.nn import GCN, GIN

from msg.datasets import apply_split, load_graphs, normalize_features
from msg.datasets.generators import motifs
from msg.datasets.graph_sets import to_batch, validate_graphs
from msg.gradients import DvM
from msg.nn import MSG, GraphClassifier
from msg.training import (
    Augmentation,
    Budget,
    GraphClassification,
    count_inference,
    fit,
    gradient_alignment,
    graphs_of,
)


@pytest.fixture(scope="module")
def some():
    """Forty graphs: 30 train, 4 validate, 6 test."""
    return apply_split(to_batch(validate_graphs(motifs(40), "motifs")), "random:75/10/15", seed=0)


def gin(pooling="sum"):
    return GraphClassifier(GIN(6, 8, 2, norm="batch_norm"), 2, pooling)


def spiking(**options):
    return GraphClassifier(MSG(6, manifold="H4", num_layers=2, timesteps=2, conv="gin", **options), 2)


def test_an_epoch_reads_every_training_graph_once_in_an_order_of_its_own(some):
    task, again = GraphClassification(some, 8, seed=3), GraphClassification(some, 8, seed=3)
    state = torch.get_rng_state()
    batches, same, other = (list(one.batches(epoch)) for one, epoch in ((task, 1), (again, 1), (task, 2)))
    assert torch.equal(torch.get_rng_state(), state)
    assert [len(batch.labels) for batch in batches] == [8, 8, 8, 6]
    assert all(torch.equal(a.x, b.x) and torch.equal(a.edge_index, b.edge_index) for a, b in zip(batches, same))
    assert not all(a.x.shape == b.x.shape and torch.equal(a.x, b.x) for a, b in zip(batches, other))
    inside = some.train_mask[some.batch]
    for epoch in (batches, other):
        assert torch.equal(sum(batch.x.sum(0) for batch in epoch), some.x[inside].sum(0))
        assert sum(batch.edge_index.size(1) for batch in epoch) == int(inside[some.edge_index[0]].sum())
        assert sum(int(batch.labels.sum()) for batch in epoch) == int(some.y[some.train_mask].sum())


def test_a_convolution_that_keeps_its_first_graph_is_refused(some):
    task = GraphClassification(some, 8)
    with pytest.raises(ValueError, match=r"GCNConv keeps the matrix of the first graph.*cached=False"):
        task.loss(GraphClassifier(GCN(6, 8, 2, cached=True), 2), next(task.batches(1)))


def test_nodes_that_are_not_in_the_order_of_their_graphs_are_refused(some):
    shuffled, short, long = some.clone(), some.clone(), some.clone()
    shuffled.batch = some.batch.flip(0)
    short.batch = some.batch.clamp(max=38)
    long.batch = some.batch + 1
    for wrong in (shuffled, short, long):
        with pytest.raises(ValueError, match=r"which of 40 graphs it is of, in their order.*Batch\.from_data_list"):
            GraphClassification(wrong)


@pytest.mark.parametrize("make", [gin, spiking])
def test_what_is_measured_is_what_each_graph_gets_alone(some, make):
    task, model = GraphClassification(some), make().eval()
    with torch.no_grad():
        logits = torch.cat([model(graph.x, graph.edge_index) for graph in some.to_data_list()])
    for part in ("train", "val", "test"):
        mask = some[f"{part}_mask"]
        found = task.evaluate(model, part)
        assert found.metric == pytest.approx(float((logits[mask].argmax(-1) == some.y[mask]).double().mean()))
        assert found.loss == pytest.approx(float(cross_entropy(logits[mask], some.y[mask])), rel=1e-4)
        assert (len(found.rates), found.radius is None) == ((0, True) if make is gin else (1, False))


def test_the_loss_of_a_batch_with_what_is_added_to_it(some):
    model = spiking()
    batch = next(iter(GraphClassification(some).batches(1)))
    plain, smooth, sparse = (
        float(GraphClassification(some, **options).loss(model, batch).detach())
        for options in ({}, {"label_smoothing": 0.2}, {"sparsity": 10.0})
    )
    logits = model(batch.x, batch.edge_index, batch=batch.batch)
    assert plain == pytest.approx(float(cross_entropy(logits, batch.labels).detach()), rel=1e-5)
    assert smooth == pytest.approx(float(cross_entropy(logits, batch.labels, label_smoothing=0.2).detach()), rel=1e-5)
    assert sparse > plain


def test_weights_of_edges_are_given_to_models(some):
    data, model = some.clone(), spiking()
    data.edge_weight = torch.rand(data.edge_index.size(1))
    task = GraphClassification(data, 50)
    (batch,) = task.batches(1)
    loss, plain = task.loss(model, batch), task.loss(model, batch._replace(edge_weight=None))
    assert not torch.allclose(loss, plain)
    with torch.no_grad():
        model.eval()
        graphs = zip(some.to_data_list(), data.edge_weight.split([one.num_edges for one in some.to_data_list()]))
        logits = torch.cat([model(graph.x, graph.edge_index, weight) for graph, weight in graphs])
    for part in ("train", "val"):
        mask = some[f"{part}_mask"]
        assert task.evaluate(model, part).loss == pytest.approx(
            float(cross_entropy(logits[mask], some.y[mask])), rel=1e-4
        )
    assert set(graphs_of(task)) == {"batch", "edge_weight"}


def test_augmented_batches_keep_their_graphs(some):
    task, model = GraphClassification(some, augmentation=Augmentation(input_dropout=0.3, drop_edge=0.5)), gin()
    batch = next(iter(task.batches(1)))
    first, second = (float(task.loss(model, batch).detach()) for _ in range(2))
    assert first != second
    with pytest.raises(ValueError, match="half_hop adds nodes, which are of no graph: use drop_edge"):
        GraphClassification(some, augmentation=Augmentation(half_hop=0.5))


def test_features_that_were_scaled_are_read(some):
    some = normalize_features(some)
    some.x = 2 * some.x
    batches = list(GraphClassification(some, 40).batches(1))
    assert sorted(batches[0].x.unique().tolist()) == [0, 2]


def test_one_inference_is_of_all_graphs(some):
    task, model = GraphClassification(some), spiking().eval()
    assert torch.equal(graphs_of(task)["batch"], some.batch)
    ops = count_inference(model, task)
    # every node is read once by the mean, in the five coordinates of the hyperboloid
    assert ops.inference["readout.pooling"].nonzero["accumulate"] == 5 * some.num_nodes
    assert not ops.unknown
    cosines = gradient_alignment(spiking(gradient=DvM()), task)
    assert len(cosines) == 2


def test_it_learns_what_can_be_known():
    """The best there is is to be always right; the share of the larger class is a half."""
    task, neuron = GraphClassification(load_graphs("motifs"), 32), {"name": "if", "threshold": "auto"}
    model = MSG(6, manifold="H16", timesteps=5, conv="gin", gradient="rate", neuron=neuron)
    assert fit(GraphClassifier(model, 2), task, Budget(20, patience=0)).test.metric > 0.75


def test_impossible_tasks(some):
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1"):
        GraphClassification(some, 0)
    empty = apply_split(some, "random:75/10/15")
    empty.val_mask = torch.zeros(40, dtype=torch.bool)
    with pytest.raises(ValueError, match="val_mask has no graph: choose another split"):
        GraphClassification(empty)


def test_edges_may_stand_in_any_order():
    """As where a transform puts the loops of all graphs at the end."""
    data = load_graphs("motifs", split="folds:10")
    weight = torch.rand(data.edge_index.size(1))
    data.edge_weight = weight
    order = torch.randperm(len(weight))
    other = data.clone()
    other.edge_index, other.edge_weight = data.edge_index[:, order], weight[order]
    for one, two in zip(GraphClassification(data)._graphs, GraphClassification(other)._graphs, strict=True):
        for graph in (one, two):
            assert graph.edge_index.min() >= 0
            assert graph.edge_index.max() < graph.num_nodes
        edges = [sorted(zip(*graph.edge_index.tolist(), graph.edge_weight.tolist())) for graph in (one, two)]
        assert edges[0] == edges[1]
