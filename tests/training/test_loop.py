import copy

import pytest
import torch
from devices import Elsewhere, elsewhere
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN

from msg.datasets import load_graph
from msg.gradients import SurrogateBPTT
from msg.nn import HGCN, MSG, SpikingGNN
from msg.training import Batch, Budget, Evaluation, MiniBatches, NodeClassification, Training, fit


class Scripted:
    """A task whose validation metrics are given, and which remembers what it was asked."""

    metric = "accuracy"
    x = edge_index = torch.empty(0)

    def __init__(self, metrics, losses=None):
        self.metrics, self.losses = metrics, losses
        self.asked, self.weights = [], []

    def batches(self, epoch):
        yield Batch(self.x, self.edge_index, torch.tensor(epoch), self.x)

    def loss(self, model, batch):
        loss = model.weight.sum()
        return loss if self.losses is None else loss * 0 + self.losses[int(batch.target) - 1]

    def evaluate(self, model, part):
        self.asked.append(part)
        self.weights.append(model.weight.item())
        return Evaluation(0.5, self.metrics[min(len(self.asked), len(self.metrics)) - 1], (), None)


def test_restores_the_first_best_epoch():
    model, task = nn.Linear(1, 1), Scripted([0.1, 0.7, 0.3, 0.7, 0.2])
    result = fit(model, task, Budget(epochs=5, patience=0))
    assert result.best_epoch == 2
    assert len(result.history) == 5
    assert model.weight.item() == task.weights[1]
    assert [row.epoch for row in result.history] == [1, 2, 3, 4, 5]


def test_test_part_is_measured_once_with_the_restored_weights():
    task = Scripted([0.1, 0.7, 0.3])
    fit(nn.Linear(1, 1), task, Budget(epochs=3))
    assert task.asked == ["val"] * 4 + ["test"]
    assert task.weights[-1] == task.weights[1]


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (3, 8), (0, 10)])
def test_early_stopping(patience, epochs):
    task = Scripted([0.1, 0.7, 0.6, 0.6, 0.8, 0.8, 0.1, 0.1, 0.1, 0.1])
    seen = []
    result = fit(nn.Linear(1, 1), task, Budget(epochs=10, patience=patience), seen.append)
    assert len(result.history) == epochs
    assert seen == result.history


def test_divergence_names_the_epoch():
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 2: try a smaller lr"):
        fit(nn.Linear(1, 1), Scripted([0.1], [1.0, float("nan")]), Budget(epochs=3))
    with pytest.raises(FloatingPointError, match="the loss is inf in epoch 1: no update was made yet, so features"):
        fit(nn.Linear(1, 1), Scripted([0.1], [float("inf")]), Budget(epochs=3))


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"lr": 0.0},
        {"patience": -1},
        {"weight_decay": float("nan")},
        {"epochs": 2.5},
        {"lr": float("inf")},
        {"clip_grad": -1.0},
    ],
)
def test_impossible_budgets(wrong):
    with pytest.raises(ValueError, match="a budget needs epochs >= 1"):
        Budget(**wrong)


@pytest.mark.parametrize("clip", [0.0, 0.05, 1e3])
def test_a_gradient_is_no_longer_than_it_may_be(clip, karate):
    torch.manual_seed(0)
    model, task = GCN(34, 8, 2, 4), NodeClassification(karate)
    training, seen = Training(model, task, Budget(epochs=1, clip_grad=clip)), {}
    training.optimizer.register_step_pre_hook(
        lambda *_: seen.update({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    )
    whole = torch.autograd.grad(task.loss(model, next(iter(task.batches(1)))), list(model.parameters()))
    training.step()
    norm = torch.cat([grad.flatten() for grad in whole]).norm()
    factor = min(1.0, clip / float(norm)) if clip else 1.0
    assert (factor < 1) == (clip == 0.05)
    for found, grad in zip(seen.values(), whole, strict=True):
        torch.testing.assert_close(found, factor * grad, rtol=1e-4, atol=1e-8)


def test_nothing_to_conclude():
    with pytest.raises(ValueError, match="call step"):
        Training(nn.Linear(1, 1), Scripted([0.1]), Budget()).conclude()


def models(in_channels, classes):
    yield MSG(in_channels, classes, manifold="H4", timesteps=4, dropout=0.2)
    yield SpikingGNN(in_channels, classes, hidden_channels=8, timesteps=4)
    yield GCN(in_channels, 8, 2, classes, dropout=0.2)


@pytest.mark.covering
@pytest.mark.parametrize("kind", range(3), ids=["MSG", "SpikingGNN", "GCN"])
def test_learns_in_both_precisions(karate, dtype, kind):
    data = karate.clone()
    data.x = data.x.to(dtype)
    model = list(models(data.x.size(1), data.num_classes))[kind].to(dtype)
    result = fit(model, NodeClassification(data), Budget(epochs=60, lr=0.05))
    assert result.history[-1].loss < 0.8 * result.history[0].loss
    assert result.val.metric == max(row.val for row in result.history)
    assert 0 <= result.test.metric <= 1
    assert next(model.parameters()).dtype == dtype


def test_sparse_features_train_like_dense_ones(karate):
    losses = []
    for features in ("dense", "sparse"):
        data = load_graph("karate", features=features)
        for model in (MSG(34, 4, manifold="S3", timesteps=3), GCN(34, 4, 2, 4)):
            torch.manual_seed(1)
            model.reset_parameters()
            losses.append(fit(model, NodeClassification(data), Budget(epochs=5)).history[-1].loss)
    assert losses[:2] == pytest.approx(losses[2:], rel=1e-5)


@pytest.mark.parametrize(("generations", "stop"), [(1, 4), (3, 10), (3, 14)])
def test_goes_on_from_a_state_as_if_never_stopped(karate, generations, stop):
    def make():
        torch.manual_seed(3)
        model = MSG(34, 4, manifold="H3", timesteps=3, dropout=0.4, gradient=SurrogateBPTT())
        return Training(model, NodeClassification(karate), Budget(epochs=10, generations=generations))

    whole = make()
    while not whole.finished:
        whole.step()
    assert len(whole.history) == 10 * generations
    first = make()
    for _ in range(stop):
        first.step()
    state, random = first.state_dict(), torch.get_rng_state()
    first.step()  # the state is a copy, so what comes after does not touch it
    second = make()
    second.load_state_dict(state)
    torch.set_rng_state(random)
    while not second.finished:
        second.step()
    timeless = [[tuple(row)[:-1] for row in training.history] for training in (whole, second)]
    assert timeless[0] == timeless[1]
    assert whole.conclude().test == second.conclude().test


def test_records_rates_and_radius(karate):
    msg, spiking, gcn = (fit(model, NodeClassification(karate), Budget(epochs=2)) for model in models(34, 4))
    assert len(msg.history[0].rates) == 2
    assert msg.history[0].radius is not None
    assert msg.history[0].radius > 0
    assert len(spiking.history[0].rates) == 3
    assert spiking.history[0].radius is None
    assert gcn.history[0].rates == ()
    assert gcn.history[0].radius is None
    assert all(0 <= rate <= 1 for rate in msg.history[1].rates + spiking.history[1].rates)


def test_an_epoch_has_an_update_for_every_batch():
    class Halves(Scripted):
        def batches(self, epoch):
            yield from (Batch(self.x, self.edge_index, torch.tensor(n), self.x) for n in (1, 2))

    model, task = nn.Linear(1, 1), Halves([0.1, 0.2], losses=[1.0, 4.0])
    training = Training(model, task, Budget(epochs=2))
    steps = []
    training.optimizer.register_step_post_hook(lambda *_: steps.append(1))
    assert training.step().loss == 2.5
    assert len(steps) == 2


def test_two_batches_of_one_graph_are_two_updates(karate):
    class Alternating(NodeClassification):
        def batches(self, epoch):
            (whole,) = super().batches(epoch)
            nodes = whole.target.nonzero()[:, 0]
            for part in nodes.tensor_split(2):
                yield whole._replace(target=part, labels=self.y[part])

    torch.manual_seed(0)
    result = fit(GCN(34, 8, 2, 4), Alternating(karate), Budget(epochs=40, lr=0.05))
    assert result.history[-1].loss < 0.5 * result.history[0].loss


def test_a_generation_begins_anew_and_is_taught_by_the_best_weights_so_far(karate):
    torch.manual_seed(0)
    task = NodeClassification(karate)
    training = Training(GCN(34, 4, 2, 4), task, Budget(epochs=6, patience=2, generations=2))
    lengths = []
    while not training.finished:
        if len(training.starts) == 1:
            best = copy.deepcopy(training._best_weights)  # as a step would find them that begins anew
        training.step()
        lengths.append(len(training.starts))
    assert training.starts == [0, lengths.index(2)]
    former = GCN(34, 4, 2, 4)
    former.load_state_dict(best)
    with torch.no_grad():
        taught = former.eval()(task.x, task.edge_index).softmax(-1)
    assert torch.allclose(task.taught, taught, atol=1e-6)
    assert training.best_epoch == 1 + max(range(len(lengths)), key=lambda number: training.history[number].val)


@pytest.mark.parametrize(
    "make", [lambda: HGCN(34, 4, "P4", learn_curvature=True), lambda: MSG(34, 4, "L4", timesteps=3)]
)
def test_a_generation_begins_with_the_first_curvature(karate, make):
    torch.manual_seed(0)
    model = make()
    first = {name: value.clone() for name, value in model.named_parameters() if "manifold" in name}
    assert first
    training = Training(model, NodeClassification(karate), Budget(epochs=4, lr=0.1, generations=2))
    for _ in range(4):
        training.step()
    assert not any(torch.equal(training._best_weights[name], value) for name, value in first.items())
    training._begin_anew()
    assert all(torch.equal(dict(model.named_parameters())[name], value) for name, value in first.items())


@pytest.mark.filterwarnings("ignore:.*is a no-op:UserWarning")  # what claims another device is not filled from here
def test_a_generation_begins_from_a_state_that_was_kept_on_another_device(karate):
    def make(data, move):
        return Training(move(GCN(34, 4, 1, 4)), NodeClassification(data), Budget(epochs=2, generations=2))

    first = make(karate, lambda model: model)
    for _ in range(2):
        first.step()
    with Elsewhere():
        there = Data(**{name: elsewhere(value) for name, value in karate.items() if isinstance(value, torch.Tensor)})
        second = make(there, elsewhere)
        second.load_state_dict(first.state_dict())
        second.step()
    assert second.starts == [0, 2]


def test_what_is_taught_is_a_cross_entropy_of_the_nodes_without_a_training_label(karate, dtype):
    karate.x = karate.x.to(dtype)
    task, model = NodeClassification(karate), GCN(34, 4, 2, 4).to(dtype)
    (batch,) = task.batches(1)
    alone = float(task.loss(model, batch).detach())
    taught = torch.rand(34, 4, dtype=dtype).softmax(-1)
    task.learn_from(taught)
    logs = model(task.x, task.edge_index).detach().log_softmax(-1)
    rest = [node for node in range(34) if not task.masks["train"][node]]
    expected = -sum(float(taught[node, c] * logs[node, c]) for node in rest for c in range(4)) / len(rest)
    assert float(task.loss(model, batch).detach()) - alone == pytest.approx(expected, rel=1e-5)


def test_generations_that_cannot_be(karate):
    with pytest.raises(ValueError, match="generations >= 1"):
        Budget(generations=0)
    with pytest.raises(ValueError, match="classes of nodes"):
        Training(nn.Linear(1, 1), Scripted([0.1]), Budget(generations=2))
    task = NodeClassification(karate, batches=MiniBatches(4, (2, 2)))
    with pytest.raises(ValueError, match="without mini-batches"):  # at once, and not after the first generation
        Training(GCN(34, 4, 2, 4), task, Budget(generations=2))
    with pytest.raises(ValueError, match="without batch_size"):
        task.learn_from(torch.full((34, 4), 0.25))
    task = NodeClassification(karate)
    for wrong in (torch.full((33, 4), 0.25), torch.full((34, 4), 1.5), torch.ones(34, 4, dtype=torch.int64), None):
        with pytest.raises(ValueError, match="probabilities of classes for each of 34 nodes"):
            task.learn_from(wrong)


@pytest.mark.parametrize("starts", [None, [0, 11], [0, 4, 4], [1], [0, 2, 3, 4], [0, 4.0]])
def test_a_state_of_other_generations_is_refused(karate, starts):
    def make():
        return Training(GCN(34, 4, 2, 4), NodeClassification(karate), Budget(epochs=4, generations=3))

    training = make()
    for _ in range(6):
        training.step()
    with pytest.raises(ValueError, match="generations"):
        make().load_state_dict(training.state_dict() | {"starts": starts})
