import pytest
import torch
from torch_geometric.nn import GAT, GCN

from msg.datasets import link_split, load_graph
from msg.experiments.build import build_model
from msg.experiments.config import RunConfig
from msg.gradients import SurrogateBPTT
from msg.models import CachedGCN
from msg.names import MODELS
from msg.nn import MSG, SGC, ClassicGNN, ConvergentGNN, RiemannianConvergentGNN, SpikingGCN, SpikingGNN
from msg.training import Augmentation, Budget, LinkPrediction, MiniBatches, NodeClassification, fit, inner_product

EVERYTHING = MiniBatches(10**6, (-1, -1))
BATCHED = {
    "msg": lambda: MSG(34, 4, "H4", 2, 5),
    "bptt": lambda: MSG(34, 4, "S4", 2, 5, gradient=SurrogateBPTT()),
    "spiking-gnn": lambda: SpikingGNN(34, 4, 8, 2, 5),
    "spikinggcn": lambda: SpikingGCN(34, 4, 2),
    "cached-gcn": lambda: CachedGCN(34, 8, 2, 4),
    "sgc": lambda: SGC(34, 4, 2),
    "gcn": lambda: GCN(34, 8, 2, 4),
    "gat": lambda: GAT(34, 8, 2, 4),
}


@pytest.fixture(scope="module")
def digits():
    return load_graph("digits", split="random:10/10/80", seed=0)


def drawn(task, epoch):
    return [(batch.x, batch.edge_index, batch.labels) for batch in task.batches(epoch)]


def same(left, right):
    return all(a.shape == b.shape and torch.equal(a, b) for x, y in zip(left, right) for a, b in zip(x, y))


def test_each_training_node_has_one_turn_an_epoch(digits):
    task = NodeClassification(digits, batches=MiniBatches(64, (15, 10)))
    batches = list(task.batches(1))
    count = int(digits.train_mask.sum())
    assert [len(batch.labels) for batch in batches] == [64] * (count // 64) + [count % 64] * (count % 64 > 0)
    assert torch.equal(
        torch.cat([batch.labels for batch in batches]).sort().values, digits.y[digits.train_mask].sort().values
    )
    for batch in batches:
        assert batch.batch_size == len(batch.labels) == batch.num_sampled_nodes_per_hop[0]
        assert len(batch.x) == sum(batch.num_sampled_nodes_per_hop) < len(digits.x)


def test_what_is_drawn_depends_on_seed_and_epoch_alone(digits):
    def task(seed=0):
        return NodeClassification(digits, batches=MiniBatches(64, (5, 5), seed))

    state = torch.get_rng_state()
    first, other = task(), task()
    second = drawn(first, 2)
    assert same(drawn(first, 1), drawn(other, 1))
    assert same(second, drawn(other, 2))
    assert not same(second, drawn(first, 1))
    assert not same(second, drawn(task(1), 2))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", BATCHED)
def test_a_batch_of_all_nodes_with_all_neighbours_has_the_loss_of_the_graph(karate, name):
    model = BATCHED[name]().double()
    karate.x = karate.x.double()
    whole, parts = NodeClassification(karate), NodeClassification(karate, batches=MiniBatches(100, (-1, -1, -1)))
    (batch,) = parts.batches(1)  # a hop more, so that a GCN reads the degrees of the graph
    want, got = whole.loss(model, *whole.batches(1)), parts.loss(model, batch)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_sparse_features(karate):
    model = MSG(34, 4, "H4", 2, 5)
    dense = NodeClassification(karate, batches=MiniBatches(4, (3, 3)))
    karate.x = karate.x.to_sparse_csr()
    sparse = NodeClassification(karate, batches=MiniBatches(4, (3, 3)))
    for a, b in zip(dense.batches(1), sparse.batches(1), strict=True):
        torch.testing.assert_close(sparse.loss(model, b), dense.loss(model, a))
        torch.testing.assert_close(sparse.loss(GCN(34, 8, 2, 4), b).isfinite(), torch.tensor(True))


def test_links_are_divided_each_with_its_negative(karate):
    karate.x = karate.x.double()
    split = link_split(karate, "link:60/20/20", seed=1)
    batches = MiniBatches(10, (-1, -1, -1), 1)
    whole = LinkPrediction(split, inner_product, 1)
    parts = LinkPrediction(split, inner_product, 1, batches)
    (one,), several = whole.batches(3), list(parts.batches(3))
    assert sum(len(batch.labels) for batch in several) == len(one.labels)
    assert all(int(batch.labels.sum()) == len(batch.labels) // 2 for batch in several)
    model = MSG(34, None, "E4", 2, 5).double()
    losses = torch.stack([parts.loss(model, batch) * len(batch.labels) for batch in several])
    torch.testing.assert_close(losses.sum() / len(one.labels), whole.loss(model, one), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("conv", ["gcn", "sage"])
def test_it_learns_as_the_whole_graph_does(digits, conv):
    found = []
    for batches in (None, MiniBatches(64, (15, 10))):
        torch.manual_seed(0)
        model = MSG(digits.num_features, digits.num_classes, "H16", 2, 5, conv=conv)
        found.append(fit(model, NodeClassification(digits, batches=batches), Budget(epochs=25)).test.metric)
    assert found[1] > 0.9
    assert found[1] > found[0] - 0.03


def test_sparsity_counts_the_nodes_of_a_batch(digits):
    model = MSG(digits.num_features, digits.num_classes, "H4", 3, 5)
    plain, sparse = (NodeClassification(digits, weight, MiniBatches(64, (5, 5, 5))) for weight in (0.0, 1.0))
    batch = next(iter(plain.batches(1)))
    assert bool(sparse.loss(model, batch) > plain.loss(model, batch))


def test_a_convolution_that_keeps_its_first_graph_is_refused(karate):
    task = NodeClassification(karate, batches=EVERYTHING)
    with pytest.raises(ValueError, match=r"GCNConv keeps the matrix of the first graph.*cached=False"):
        task.loss(GCN(34, 8, 2, 4, cached=True), *task.batches(1))
    drawn = NodeClassification(karate, augmentation=Augmentation(drop_edge=0.5))
    with pytest.raises(ValueError, match=r"GCNConv keeps the matrix of the first graph.*cached=False"):
        drawn.loss(GCN(34, 8, 2, 4, cached=True), *drawn.batches(1))
    for name in [name for name in MODELS if MODELS[name].batches]:
        task.loss(build_model(RunConfig(model=name, layers=2, batch_size=10**6), 34, 4), *task.batches(1))


@pytest.mark.parametrize("make", [MSG, SpikingGNN, SpikingGCN, ClassicGNN])
def test_neighbours_are_drawn_as_far_as_a_network_looks(karate, make):
    """With fewer hops its last layers would read features alone; with more it reads what it needs."""
    model = make(34, 4)
    for fan_out in ((3,) * model.hops, (3,) * (model.hops + 1)):
        task = NodeClassification(karate, batches=MiniBatches(8, fan_out))
        assert torch.isfinite(task.loss(model, *task.batches(1)))
    task = NodeClassification(karate, batches=MiniBatches(8, (3,) * (model.hops - 1)))
    named = f"drawn {model.hops - 1} hops far, but {make.__name__} looks {model.hops} hops far: give fan_out a number"
    with pytest.raises(ValueError, match=named):
        task.loss(model, *task.batches(1))


@pytest.mark.parametrize("make", [ConvergentGNN, RiemannianConvergentGNN])
def test_networks_that_settle_take_no_samples(karate, make):
    task = NodeClassification(karate, batches=EVERYTHING)
    with pytest.raises(ValueError, match=f"{make.__name__} sends messages until it settles.*without batches"):
        task.loss(make(34, 4), *task.batches(1))


@pytest.mark.parametrize("name", BATCHED)
def test_measured_by_layers_is_as_measured_at_once(karate, name):
    model = BATCHED[name]()
    whole = NodeClassification(karate, batches=MiniBatches(5, (3, 3)))
    parts = NodeClassification(karate, batches=MiniBatches(5, (3, 3), inference=True))
    state = torch.get_rng_state()
    want, got = whole.evaluate(model, "val"), parts.evaluate(model, "val")
    assert torch.equal(state, torch.get_rng_state())
    assert got.metric == want.metric
    assert got.loss == pytest.approx(want.loss, rel=1e-5)
    assert got.radius == (None if want.radius is None else pytest.approx(want.radius, rel=1e-6))


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc], ids=str)
def test_sparse_features_are_measured_by_layers(karate, layout):
    model, batches = MSG(34, 4, "H4", 2, 5), MiniBatches(5, (3, 3), inference=True)
    want = NodeClassification(karate, batches=batches).evaluate(model, "val")
    sparse = karate.clone().update({"x": karate.x.to_sparse(layout=layout)})
    got = NodeClassification(sparse, batches=batches).evaluate(model, "val")
    assert got.metric == want.metric
    assert got.loss == pytest.approx(want.loss, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, (5,)), "batch_size must be"), ((5, ()), "fan_out must be"), ((5, (5, 0)), "fan_out must be")],
)
def test_impossible_batches(arguments, message):
    with pytest.raises(ValueError, match=message):
        MiniBatches(*arguments)
