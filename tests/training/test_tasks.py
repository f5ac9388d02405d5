import copy
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn
from torch.nn.functional import cross_entropy
from torch_geometric.data import Data

from msg.datasets import link_split, pair_codes
from msg.gradients import DvM, SurrogateBPTT
from msg.manifolds import distance, log0
from msg.neurons import IF
from msg.nn import MSG, FermiDirac, LearnedFermiDirac, SpikingGCN, SpikingGNN, StructuralDecoder
from msg.training import (
    Augmentation,
    Budget,
    Consistency,
    GraphClassification,
    LinkPrediction,
    MiniBatches,
    NodeClassification,
    Training,
    add_structural_decoder,
    decoder_of,
    firing,
    fit,
    inner_product,
    link_prediction,
    manifold_of,
    mean_reciprocal_rank,
    observe,
)


class Answers(nn.Module):
    """A model that says what it was told to."""

    def __init__(self, output):
        super().__init__()
        self.output = nn.Parameter(output)

    def forward(self, x, edge_index):
        return self.output


def binary_graph(y, **extra):
    """Nodes of these classes in each part."""
    part = torch.arange(3).repeat_interleave(len(y))
    masks = {"train_mask": part == 0, "val_mask": part == 1, "test_mask": part == 2}
    return Data(
        x=torch.zeros(len(part), 2),
        edge_index=torch.zeros(2, 0, dtype=torch.long),
        y=torch.tensor(y).repeat(3),
        **{**masks, **extra},
    )


class Asked(nn.Linear):
    """Each node by itself, and only those that it is asked for."""

    takes_nodes = True

    def forward(self, x, edge_index, *, nodes=slice(None)):
        self.nodes = nodes
        return super().forward(x[nodes])


@pytest.mark.parametrize(
    ("settings", "alone"),
    [({}, True), ({"consistency": Consistency(0.5)}, False), ({"augmentation": Augmentation(half_hop=0.5)}, False)],
    ids=str,
)
def test_models_that_take_nodes_are_asked_for_what_is_read(karate, settings, alone):
    task, model, taught = NodeClassification(karate, **settings), Asked(34, 4), torch.full((34, 4), 0.25)
    plain, found = copy.deepcopy(model), []
    plain.takes_nodes = False
    (batch,) = task.batches(1)
    for one in (model, plain):
        torch.manual_seed(0)
        found.append(task.loss(one, batch))
    torch.testing.assert_close(*found)
    assert (model.nodes is task.masks["train"]) == alone
    for part in ("train", "val", "test"):
        torch.testing.assert_close(task.evaluate(model, part), task.evaluate(plain, part))
        assert model.nodes is task.masks[part]
    task.learn_from(taught)
    task.loss(model, batch)
    assert model.nodes == slice(None)


def test_accuracy_is_of_the_part(karate):
    task = NodeClassification(karate)
    right = nn.functional.one_hot(karate.y, 4).float()
    assert [task.evaluate(Answers(right), part).metric for part in ("train", "val", "test")] == [1.0, 1.0, 1.0]
    wrong = right.clone()
    hit = karate.val_mask.nonzero()[:4, 0]
    wrong[hit] = right[hit].roll(1, -1)
    assert task.evaluate(Answers(wrong), "val").metric == pytest.approx(1 - 4 / int(karate.val_mask.sum()))
    assert task.evaluate(Answers(wrong), "test").metric == 1.0


def test_loss_reads_training_nodes_only(karate):
    model = Answers(torch.zeros(34, 4))
    task = NodeClassification(karate)
    task.loss(model, *task.batches(1)).backward()
    assert model.output.grad is not None
    assert torch.equal(model.output.grad.abs().sum(1) > 0, karate.train_mask)


def test_roc_auc_keeps_the_order_of_confident_nodes():
    task = NodeClassification(binary_graph([0, 1, 0, 1], metric="roc_auc"))
    # in float32 a sigmoid or softmax of these is 1 for all
    logits = torch.tensor([[0.0, 60.0], [0.0, 80.0], [0.0, 70.0], [0.0, 90.0]])
    assert task.evaluate(Answers(logits.repeat(3, 1)), "val").metric == 1.0


def test_impossible_node_tasks():
    with pytest.raises(ValueError, match="unknown metric 'f1': use 'accuracy' or 'roc_auc'"):
        NodeClassification(binary_graph([0, 1], metric="f1"))
    with pytest.raises(ValueError, match=r"roc_auc needs both classes, 0 and 1, but the train part has \[0\]"):
        NodeClassification(binary_graph([0, 0], metric="roc_auc"))
    with pytest.raises(ValueError, match="val_mask has no node"):
        NodeClassification(binary_graph([0, 1], val_mask=torch.zeros(6, dtype=torch.bool)))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32])
def test_classes_may_be_any_integers(dtype):
    data, output = binary_graph([0, 1, 1]), torch.tensor([[0.3, 0.1], [0.2, 0.5], [1.0, -1.0]])
    want = NodeClassification(data)
    data.y = data.y.to(dtype)
    task, model = NodeClassification(data), Answers(output.repeat(3, 1))
    torch.testing.assert_close(task.loss(model, *task.batches(1)), cross_entropy(output, want.y[:3]))
    assert task.evaluate(model, "val") == want.evaluate(model, "val")


def test_weights_of_edges_are_given_to_models(karate):
    model = SpikingGNN(34, 4, 8, neuron=IF(0.02), dropout=0.0).double()
    x, edge_index, mask = karate.x.double(), karate.edge_index, karate.train_mask
    weight = torch.rand(edge_index.size(1), dtype=torch.float64)
    karate.update({"x": x, "edge_weight": weight})
    task = NodeClassification(karate)
    (batch,) = task.batches(1)
    with torch.no_grad():
        want, plain = model(x, edge_index, weight), model(x, edge_index)
    assert not torch.allclose(want, plain)
    torch.testing.assert_close(task.loss(model, batch), cross_entropy(want[mask], karate.y[mask]))
    seen = task.evaluate(model, "val")
    assert seen.loss == pytest.approx(float(cross_entropy(want[karate.val_mask], karate.y[karate.val_mask])))
    parts = NodeClassification(karate, batches=MiniBatches(100, (-1, -1, -1)))
    torch.testing.assert_close(parts.loss(model, *parts.batches(1)), task.loss(model, batch))
    layers = NodeClassification(karate, batches=MiniBatches(5, (-1, -1), inference=True))
    assert layers.evaluate(model, "val").loss == pytest.approx(seen.loss)
    task.teach(model)
    assert task.taught is not None
    torch.testing.assert_close(task.taught, model(x, edge_index, weight).softmax(-1))

    dropped, nodes = NodeClassification(karate, augmentation=Augmentation(drop_edge=0.5)).augment(batch, model)
    assert nodes is None
    kept = {(*edge, float(w)) for edge, w in zip(edge_index.t().tolist(), weight)}
    assert 0 < len(dropped.edge_weight) < len(weight)
    assert {(*edge, float(w)) for edge, w in zip(dropped.edge_index.t().tolist(), dropped.edge_weight)} < kept
    slowed = NodeClassification(karate, augmentation=Augmentation(half_hop=0.5))
    with pytest.raises(ValueError, match="half_hop makes edges that have no weight"):
        slowed.loss(model, batch)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"edge_attr": torch.ones(0, 2)}, "edge_attr, which models are not given here.*`del data.edge_attr`"),
        ({"y": torch.eye(6)}, r"y must be a class for each node.*data.y.argmax\(-1\)"),
        ({"y": torch.zeros(6, 1, dtype=torch.long)}, r"y must be a class for each node.*data.y.view\(-1\).long"),
        ({"y": torch.zeros(6)}, "integers"),
        ({"y": torch.tensor([-1, 1] * 3)}, "train_mask has a node of class -1: leave those without a class out"),
        ({"train_mask": torch.tensor([1, 0] * 3)}, r"train_mask must be bool.*int64 of shape \[6\].*\.bool"),
        ({"val_mask": torch.ones(6, 10, dtype=torch.bool)}, r"choose one split, as in data.val_mask\[:, 0\]"),
        ({"val_mask": torch.ones(3, dtype=torch.bool)}, r"one for each node \[6\]"),
        ({"test_mask": None}, "data has no test_mask: give it nodes with"),
        ({"val_mask": torch.ones(6, dtype=torch.bool)}, "4 nodes are in more than one of the masks: leave each in one"),
        ({"test_mask": torch.tensor([1, 0, 0, 0, 1, 1]).bool()}, "1 nodes are in more than one of the masks"),
        ({"x": np.zeros((6, 2))}, r"x must be a tensor, not ndarray: use torch.as_tensor\(data.x\)"),
        ({"x": torch.zeros(3, 2)}, "x has 3 nodes, and y 6 classes: give one for each node, in their order"),
        ({"edge_index": None, "adj_t": torch.eye(2)}, "data has adj_t in place of edge_index"),
        ({"x": torch.tensor([[0.0, torch.nan], [1.0, 2.0]]).repeat(3, 1)}, "x has values that are not finite"),
        (
            {"x": torch.tensor([[0.0, torch.inf], [1.0, 2.0]]).repeat(3, 1).to_sparse_coo()},
            "x has values that are not finite",
        ),
        ({"edge_weight": torch.tensor([1.0, torch.inf])}, r"edge_weight has values that are not finite.*nan_to_num"),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_data_that_would_be_read_as_something_else(changed, said):
    data = binary_graph([0, 1])
    data.update(changed)
    with pytest.raises(ValueError, match=said):
        NodeClassification(data)


def test_more_classes_than_logits_are_told():
    task = NodeClassification(binary_graph([0, 1, 3, 1]))
    for channels in (2, 3):
        with pytest.raises(ValueError, match=rf"labels go up to 3.*gives {channels} logits.*out_channels=4"):
            task.loss(Answers(torch.randn(12, channels)), *task.batches(1))
    task.loss(Answers(torch.randn(12, 5).requires_grad_()), *task.batches(1))


def test_a_task_needs_one_data():
    with pytest.raises(ValueError, match="a task needs one Data, not list: for several graphs see load_graphs"):
        GraphClassification([binary_graph([0, 1])])  # pyright: ignore[reportArgumentType]


def test_training_negatives_are_fresh_every_epoch_and_never_held_out(karate):
    split = link_split(karate, "link:60/20/20", seed=1)
    drawn = []

    def decoder(z, pairs):
        drawn.append(pairs)
        return (z[pairs[0]] * z[pairs[1]]).sum(-1)

    task, model = LinkPrediction(split, decoder, seed=1), Answers(torch.randn(34, 3))
    for epoch in (1, 2, 1):
        task.loss(model, *task.batches(epoch))
    positives = task.positives.size(1)
    negatives = [pairs[:, positives:] for pairs in drawn]
    assert torch.equal(negatives[0], negatives[2])
    assert not torch.equal(negatives[0], negatives[1])
    forbidden = torch.cat([pair_codes(karate.edge_index, 34)] + [pair_codes(p.edge_label_index, 34) for p in split[1:]])
    assert not torch.isin(pair_codes(torch.cat(negatives, 1), 34), forbidden).any()


def test_link_prediction_neither_reads_nor_changes_the_global_random_state(karate):
    task, model = LinkPrediction(link_split(karate), inner_product), Answers(torch.randn(34, 3))
    before = torch.get_rng_state()
    task.loss(model, *task.batches(1))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc"])
def test_a_model_that_diverged_is_not_measured(metric):
    task = NodeClassification(binary_graph([0, 1, 0, 1], metric=metric))
    with pytest.raises(FloatingPointError, match="the measured loss is nan: try a smaller lr"):
        task.evaluate(Answers(torch.full((12, 2), torch.nan)), "val")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_links_of_what_is_no_number_are_refused(karate, value):
    split = link_split(karate)
    task, model = LinkPrediction(split, inner_product), Answers(torch.full((34, 3), value))
    with pytest.raises(FloatingPointError, match="the measured loss is nan: try a smaller lr"):
        task.evaluate(model, "val")
    split.train["x"] = split.train["x"].clone().index_fill(0, torch.tensor([5]), value)
    with pytest.raises(ValueError, match=r"x has values that are not finite: .*nan_to_num"):
        LinkPrediction(split, inner_product)


def test_link_metric_is_the_auc_of_distances(karate):
    split = link_split(karate)
    model = MSG(34, None, manifold="S3", timesteps=3)
    task = LinkPrediction(split, FermiDirac(model.manifold))
    z = model.eval()(task.x, task.edge_index)
    source, target = split.test.edge_label_index
    expected = roc_auc_score(split.test.edge_label, -distance(model.manifold, z[source], z[target]).detach())
    assert task.evaluate(model, "test").metric == pytest.approx(expected, abs=1e-12)


def test_held_out_edges_are_ranked_against_fixed_negatives_of_their_own(karate):
    split = link_split(karate, seed=3)
    seen = []

    def decoder(z, pairs):
        seen.append(pairs)
        return (z[pairs[0]] * z[pairs[1]]).sum(-1)

    task, model = LinkPrediction(split, decoder, seed=3), Answers(torch.randn(34, 3))
    found = task.evaluate_fully(model, "test")
    assert found[:4] == task.evaluate(model, "test")[:4]
    part, z = split.test, model.output.detach()
    positives = part.edge_label_index[:, part.edge_label == 1]
    (against,) = (pairs for pairs in seen if pairs.size(1) == positives.size(1) * task.rivals)
    assert not torch.isin(pair_codes(against, 34), pair_codes(karate.edge_index, 34)).any()
    ranks = []
    for number, (i, j) in enumerate(positives.t().tolist()):
        own = against[:, number * 100 : (number + 1) * 100]
        assert set(own[0].tolist()) == {i, j}
        rivals = (z[own[0]] * z[own[1]]).sum(-1)
        ranks.append(1 + int((rivals > z[i] @ z[j]).sum()))
    assert found.further is not None
    assert found.further["mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))
    scores = (z[part.edge_label_index[0]] * z[part.edge_label_index[1]]).sum(-1)
    assert found.further["average_precision"] == pytest.approx(average_precision_score(part.edge_label, scores))
    other = LinkPrediction(split, inner_product, seed=3)  # another model meets the same negatives
    assert torch.equal(other._ranked_against("test"), task._ranked_against("test"))
    assert not torch.equal(other._ranked_against("val")[:, :100], task._ranked_against("test")[:, :100])


def test_scores_that_are_equal_share_their_ranks():
    scores = torch.tensor([1.0, 0.0])
    against = torch.tensor([[2.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert mean_reciprocal_rank(scores, against) == pytest.approx((1 / 3 + 1 / 3) / 2)


def test_a_structural_decoder_is_trained_with_its_model_and_restored(karate):
    torch.manual_seed(0)
    model = MSG(34, None, manifold="S3", timesteps=3)
    add_structural_decoder(model)
    task = link_prediction(karate, "link:60/20/20", model, 0)
    found = fit(model, task, Budget(epochs=8))
    assert model.link_decoder.mlp[2].weight.any()
    assert task.evaluate(model, "val").metric == found.val.metric == found.history[found.best_epoch - 1].val
    with pytest.raises(ValueError, match="MSG has a decoder that reads edges"):
        add_structural_decoder(model)
    with pytest.raises(ValueError, match="StructuralDecoder reads the edges of the whole graph"):
        link_prediction(karate, "link:60/20/20", model, 0, MiniBatches(8, (2, 2), 0))


def test_a_model_may_bring_its_decoder(karate):
    model = MSG(34, None, manifold="S3", timesteps=3)
    assert isinstance(decoder_of(model, karate.edge_index), FermiDirac)
    assert decoder_of(Answers(torch.randn(34, 3)), karate.edge_index) is inner_product
    model.link_decoder = FermiDirac(model.manifold, radius=7)
    assert decoder_of(model, karate.edge_index) is model.link_decoder
    own = model.link_decoder
    add_structural_decoder(model)
    z = model.eval()(karate.x, karate.edge_index)
    pairs = karate.edge_index[:, :5]
    scores = own(z, pairs)
    torch.testing.assert_close(model.link_decoder(z, pairs, karate.edge_index).double(), scores / (1 + scores.abs()))


def test_inner_product():
    z = torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, -1.0]])
    assert inner_product(z, torch.tensor([[0, 1], [1, 2]])).tolist() == [11.0, -4.0]


@pytest.mark.parametrize("model", [MSG(34, 4, manifold="H2xS2", dropout=0.5), SpikingGNN(34, 4, 5, dropout=0.5)])
def test_observation_agrees_with_the_model(karate, model):
    seen = observe(model.train(), karate.x, karate.edge_index)
    assert not model.training
    assert torch.equal(seen.output, model(karate.x, karate.edge_index))
    assert not seen.output.requires_grad
    if isinstance(model, MSG):
        point = model.embed(karate.x, karate.edge_index).point.detach()
        radii = log0(model.manifold, point).norm(dim=-1)
        assert seen.radius == pytest.approx(float(radii.max()), rel=1e-12)


@pytest.mark.parametrize(
    ("model", "layers", "manifold"),
    [(MSG(34, 4, "H4"), 2, True), (SpikingGNN(34, 4, 5), 3, False), (SpikingGCN(34, 4), 1, False)],
)
def test_every_spiking_network_is_seen(karate, model, layers, manifold):
    seen = observe(model, karate.x, karate.edge_index)
    assert len(seen.rates) == layers
    assert all(0 <= rate <= 1 for rate in seen.rates)
    assert (seen.radius is not None) == (manifold_of(model) is not None) == manifold
    assert seen.tangent.size(0) == 34
    hooks = [module._forward_hooks for module in model.modules()]
    assert not any(hooks)


def test_firing_is_the_rate_of_an_integrate_and_fire_neuron(karate):
    model = MSG(34, 4, "H4", timesteps=2000)
    activity = model.activity(karate.x, karate.edge_index)
    pairs = zip(model.stack.layers, activity.currents[:-1])
    want = torch.stack([layer.neuron.rate(current, 2000).mean() for layer, current in pairs])
    torch.testing.assert_close(firing(model.stack, activity), want.mean(), rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("gradient", [DvM(), SurrogateBPTT()])
def test_sparsity_makes_it_fire_less(karate, gradient):
    rates = {}
    for sparsity in (0.0, 10.0):
        torch.manual_seed(0)
        model = MSG(34, 4, "H4", gradient=gradient)
        task = NodeClassification(karate, sparsity)
        fit(model, task, Budget(epochs=40))
        rates[sparsity] = sum(observe(model, karate.x, karate.edge_index).rates)
    assert rates[10.0] < 0.5 * rates[0.0]


def test_sparsity_is_a_term_of_spiking_networks_only(karate):
    def loss(model, sparsity):
        task = NodeClassification(karate, sparsity)
        return task.loss(model, *task.batches(1))

    model = MSG(34, 4, "H4")
    expected = 2 * firing(model.stack, model.activity(karate.x, karate.edge_index))
    torch.testing.assert_close(loss(model, 2.0) - loss(model, 0.0), expected)
    other = Answers(torch.zeros(34, 4))
    assert torch.equal(loss(other, 2.0), loss(other, 0.0))


def test_a_decoder_that_nothing_would_train_is_refused(karate):
    model, split = MSG(34, None, "H4"), link_split(karate)
    decoder = LearnedFermiDirac(model.manifold)
    with pytest.raises(ValueError, match=r"LearnedFermiDirac are not the model's.*model\.link_decoder = decoder"):
        Training(model, LinkPrediction(split, decoder), Budget(epochs=1))
    model.link_decoder = decoder
    before = [parameter.detach().clone() for parameter in decoder.parameters()]
    fit(model, LinkPrediction(split, model.link_decoder), Budget(epochs=2, lr=0.1))
    assert any(not torch.equal(was, now) for was, now in zip(before, decoder.parameters()))


def test_nor_is_one_that_reads_edges_or_stands_inside_of_one(karate):
    model, split = MSG(34, None, "H4"), link_split(karate)
    outside = StructuralDecoder(FermiDirac(model.manifold))
    task = LinkPrediction(split, partial(outside, edge_index=split.train.edge_index))
    with pytest.raises(ValueError, match=r"StructuralDecoder are not the model's.*model\.link_decoder = decoder"):
        Training(model, task, Budget(epochs=1))
    model.link_decoder = outside
    Training(model, task, Budget(epochs=1))
    inside = LearnedFermiDirac(model.manifold)
    model.link_decoder = StructuralDecoder(inside)
    task = link_prediction(karate, "link:60/20/20", model, seed=0)
    with pytest.raises(ValueError, match=r"LearnedFermiDirac are not the model's.*model\.plain_link_decoder = it"):
        Training(model, task, Budget(epochs=1))
    model.plain_link_decoder = inside
    before = [parameter.detach().clone() for parameter in inside.parameters()]
    fit(model, task, Budget(epochs=2, lr=0.1))
    assert any(not torch.equal(was, now) for was, now in zip(before, inside.parameters()))


def test_no_criterion_is_cross_entropy(karate):
    model, plain = MSG(34, 4, "H4", dropout=0.0), MSG(34, 4, "H4", dropout=0.0)
    plain.load_state_dict(model.state_dict())
    model.criterion = None
    task = NodeClassification(karate)
    assert task.evaluate(model, "val") == task.evaluate(plain, "val")
    fit(model, task, Budget(epochs=1))


@pytest.mark.parametrize(
    "options", [{"sparsity": -0.1}, {"sparsity": float("nan")}, {"label_smoothing": 2.0}, {"label_smoothing": -0.1}]
)
def test_impossible_terms_of_a_loss_are_refused(karate, options):
    with pytest.raises(ValueError, match="sparsity must be a finite number of at least 0, and label_smoothing"):
        NodeClassification(karate, **options)


def test_what_are_no_logits_is_refused(karate):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(34, 3)

        def forward(self, x, edge_index):
            return self.lin(x), None

    with pytest.raises(ValueError, match=r"a model gives logits .* not tuple"):
        fit(Pair(), NodeClassification(karate), Budget(epochs=1))
    two = karate.clone()
    two.y, two.metric = karate.y % 2, "roc_auc"
    with pytest.raises(ValueError, match=r"two of them for roc_auc, not \[\.\.\., 3\]"):
        fit(MSG(34, 3, "H4"), NodeClassification(two), Budget(epochs=1))


def test_links_of_another_split_are_refused(karate):
    split = link_split(karate)
    del split.train.excluded
    with pytest.raises(ValueError, match="make it with link_split"):
        LinkPrediction(split, inner_product)


@pytest.mark.parametrize("structural", [False, True])
def test_logits_are_no_points_to_score_links_by(structural):
    model = MSG(4, 3, "P8")
    with pytest.raises(ValueError, match=r"MSG returns logits, .* make it without out_channels"):
        add_structural_decoder(model) if structural else decoder_of(model, torch.tensor([[0], [1]]))
