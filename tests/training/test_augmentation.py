import pytest
import torch
from torch import nn
from torch_geometric.nn import GCN
from torch_geometric.transforms import NormalizeFeatures

from msg.datasets import link_split, normalize_features
from msg.graph import SparseMatrix
from msg.nn import MSG, CachedGCN
from msg.training import Augmentation, Budget, LinkPrediction, MiniBatches, NodeClassification, fit, inner_product

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")


class Spy(nn.Module):
    """Keeps what it was given."""

    def __init__(self, classes):
        super().__init__()
        self.bias, self.classes, self.seen = nn.Parameter(torch.zeros(classes)), classes, []

    def forward(self, x, edge_index):
        self.seen.append((x, edge_index))
        return self.bias.expand(x.size(0), -1)


@pytest.fixture
def spy(karate):
    return Spy(karate.num_classes)


def update(task, model):
    (batch,) = task.batches(1)
    return task.loss(model, batch)


def test_nothing_is_changed_unless_asked_for(karate, spy):
    task = NodeClassification(karate)
    update(task, spy)
    assert spy.seen[0][0] is task.x
    assert spy.seen[0][1] is task.edge_index


def test_edges_are_dropped_in_training_only(karate, spy):
    task = NodeClassification(karate, augmentation=Augmentation(drop_edge=0.5))
    update(task, spy), update(task, spy)
    sizes = [edge_index.size(1) for _, edge_index in spy.seen]
    assert all(0 < size < karate.num_edges for size in sizes)
    every = set(map(tuple, karate.edge_index.T.tolist()))
    assert all(set(map(tuple, edge_index.T.tolist())) < every for _, edge_index in spy.seen)
    assert not torch.equal(spy.seen[0][1], spy.seen[1][1]) or sizes[0] != sizes[1]
    task.evaluate(spy, "val")
    assert spy.seen[-1][1] is task.edge_index


@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_features_are_dropped_and_scaled(karate, spy, layout):
    x = torch.rand(34, 50) + 1
    karate.x = x if layout == "dense" else x.to_sparse_csr()
    task = NodeClassification(karate, augmentation=Augmentation(input_dropout=0.25))
    update(task, spy), update(task, spy)
    seen = [given.to_dense() for given, _ in spy.seen]
    for given in seen:
        kept = given != 0
        assert 0.6 < float(kept.double().mean()) < 0.9
        assert torch.allclose(given[kept], x[kept] / 0.75)
    assert not torch.equal(*seen)
    task.evaluate(spy, "val")
    assert spy.seen[-1][0] is task.x


@pytest.mark.parametrize(
    "model", [lambda: MSG(34, 4, "E8", 2, 5), lambda: CachedGCN(34, 8, 2, 4), lambda: GCN(34, 8, 2, 4)]
)
@pytest.mark.parametrize("sparse", [True, False])
def test_models_train_on_augmented_graphs(karate, model, sparse):
    karate.x = karate.x.to_sparse_csr() if sparse else karate.x
    task = NodeClassification(karate, augmentation=Augmentation(0.3, 0.2, 0.4), label_smoothing=0.1)
    torch.manual_seed(0)
    found = fit(model(), task, Budget(epochs=40, lr=0.05))
    assert found.history[-1].loss < found.history[0].loss
    assert found.val.metric > 0.4


def test_sparse_features_stay_sparse_in_our_networks(karate):
    karate.x = karate.x.to_sparse_csr()
    model, seen = CachedGCN(34, 8, 2, 4), []
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    update(NodeClassification(karate, augmentation=Augmentation(input_dropout=0.5)), model)
    assert isinstance(seen[0], SparseMatrix)
    with pytest.raises(ValueError, match=r"needs \[num_nodes, 34\]"):
        model(SparseMatrix.from_tensor(torch.eye(34)[:, :5].to_sparse()), karate.edge_index)


def test_slow_nodes_are_not_scored(karate, spy):
    task = NodeClassification(karate, augmentation=Augmentation(half_hop=0.5))
    loss = update(task, spy)
    assert spy.seen[0][0].size(0) > 34
    assert loss.isfinite()


def test_links_are_predicted_on_augmented_graphs(karate):
    split = link_split(karate, "link:70/10/20")
    task = LinkPrediction(split, inner_product, augmentation=Augmentation(0.3, 0.3))
    model, seen = CachedGCN(34, 8, 2, 8), []
    model.register_forward_pre_hook(lambda _, args: seen.append(args[1].size(1)))
    update(task, model).backward()
    assert 0 < seen[0] < split.train.edge_index.size(1)


def test_labels_are_smoothed(karate, spy):
    with torch.no_grad():
        spy.bias[0] = 3.0
    (batch,) = NodeClassification(karate).batches(1)
    mean = spy.bias.log_softmax(0)
    hard = NodeClassification(karate).loss(spy, batch)
    soft = NodeClassification(karate, label_smoothing=0.2).loss(spy, batch)
    assert torch.allclose(soft, 0.8 * hard - 0.2 * mean.mean())


def test_a_model_brings_what_it_minimises(karate, spy):
    spy.criterion = lambda logits, labels: (logits - nn.functional.one_hot(labels, 4)).square().mean()
    task = NodeClassification(karate)
    assert torch.allclose(update(task, spy), torch.tensor(0.25))
    assert task.evaluate(spy, "val").loss == pytest.approx(0.25)
    spy.unsupervised_loss = lambda x, edge_index: 0.5 + 0 * spy.bias.sum()
    assert torch.allclose(update(task, spy), torch.tensor(0.75))
    assert task.evaluate(spy, "val").loss == pytest.approx(0.25)


def test_mini_batches_draw_their_edges_already(karate):
    with pytest.raises(ValueError, match="draw their edges already"):
        NodeClassification(karate, batches=MiniBatches(8, (3, 3)), augmentation=Augmentation(drop_edge=0.1))
    NodeClassification(karate, batches=MiniBatches(8, (3, 3)), augmentation=Augmentation(input_dropout=0.1))


@pytest.mark.parametrize("name", ["input_dropout", "drop_edge", "half_hop"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_probabilities_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a probability below 1"):
        Augmentation(**{name: value})


def test_normalised_features_are_pygs(karate):
    karate.x = torch.randint(0, 4, (34, 9)).float()
    karate.x[3] = 0
    want = NormalizeFeatures()(karate.clone()).x
    assert torch.allclose(normalize_features(karate).x, want)
    karate.x = karate.x.to_sparse_csr()
    found = normalize_features(karate).x
    assert found.layout == torch.sparse_csr
    assert torch.allclose(found.to_dense(), want)
