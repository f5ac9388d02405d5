import pytest
import torch
from torch import nn

from msg.nn import MSG
from msg.training import (
    Augmentation,
    Budget,
    Consistency,
    MiniBatches,
    NodeClassification,
    Training,
)


def slow(logits, weight, temperature):
    """The term, a node and a class at a time."""
    views = [view.softmax(-1).tolist() for view in logits]
    nodes, classes, total = len(views[0]), len(views[0][0]), 0.0
    for i in range(nodes):
        mean = [sum(view[i][c] for view in views) / len(views) for c in range(classes)]
        powers = [p ** (1 / temperature) for p in mean]
        for view in views:
            total += sum((powers[c] / sum(powers) - view[i][c]) ** 2 for c in range(classes))
    return weight * total / (len(views) * nodes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 0.3])
def test_the_term_is_that_of_a_slow_loop(dtype, temperature):
    logits = [torch.randn(7, 3, dtype=dtype) for _ in range(3)]
    found = Consistency(0.7, 3, temperature).loss(logits)
    assert found.dtype == dtype
    assert float(found) == pytest.approx(slow(logits, 0.7, temperature), rel=1e-5 if dtype == torch.float32 else 1e-12)


def test_what_is_agreed_on_carries_no_gradient():
    logits = [torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    settings = Consistency(1.3)
    settings.loss(logits).backward()
    with torch.no_grad():
        mean = torch.stack([view.softmax(-1) for view in logits]).mean(0).square()
        fixed = mean / mean.sum(-1, keepdim=True)
    for view in logits:
        other = view.detach().requires_grad_()
        (1.3 * (fixed - other.softmax(-1)).square().sum() / (2 * 5)).backward()
        assert torch.allclose(view.grad, other.grad, rtol=1e-10)


@pytest.mark.parametrize("logits", [torch.tensor([[200.0, -200.0, 0.0]]), torch.zeros(2, 40)])
def test_a_low_temperature_leaves_numbers(logits):
    logits = [logits.clone().requires_grad_() for _ in range(2)]
    loss = Consistency(1.0, temperature=0.02).loss(logits)  # 40 to the power of -50 is 0 in float32
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    assert all(bool(view.grad.isfinite().all()) for view in logits)


class Flipping(nn.Module):
    """Another output in each forward."""

    def __init__(self):
        super().__init__()
        self.scale, self.calls = nn.Parameter(torch.ones(())), 0

    def forward(self, x, edge_index):
        self.calls += 1
        return self.scale * self.calls * torch.linspace(-1, 1, 4).expand(x.size(0), -1)


def test_a_task_trains_on_the_mean_of_its_views_and_their_disagreement(karate):
    (batch,) = NodeClassification(karate).batches(1)
    outputs = [Flipping.forward(model, batch.x, batch.edge_index) for model in [Flipping()] for _ in range(3)]
    alone = [nn.functional.cross_entropy(view[batch.target], batch.labels) for view in outputs]
    wanted = float(sum(alone).detach()) / 3 + slow([view.detach() for view in outputs], 2.0, 0.5)
    model = Flipping()
    loss = NodeClassification(karate, consistency=Consistency(2.0, 3)).loss(model, batch)
    assert model.calls == 3
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-5)
    NodeClassification(karate).loss(model, batch)
    assert model.calls == 4  # without a weight one view is all there is


def test_views_are_drawn_anew(karate):
    torch.manual_seed(0)
    task = NodeClassification(karate, augmentation=Augmentation(0.3, 0.2, 0.3), consistency=Consistency(1.0))
    model, seen = MSG(34, 4, "H8", num_layers=2, timesteps=3, dropout=0.5), []
    model.register_forward_pre_hook(lambda _, args: seen.append(args))
    (batch,) = task.batches(1)
    task.loss(model, batch).backward()
    (x, edges), (other_x, other_edges) = seen
    assert x.shape != other_x.shape or not torch.equal(x, other_x)
    assert edges.shape != other_edges.shape or not torch.equal(edges, other_edges)
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


class Rows(nn.Module):
    """Logits of each node by themselves."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(34, 4))

    def forward(self, x, edge_index):
        return nn.functional.dropout(self.weight, 0.5, self.training)


def test_nodes_without_a_label_learn_too(karate):
    torch.manual_seed(0)
    rest = ~karate.train_mask
    for weight, learn in ((0.0, False), (1.0, True)):
        model, task = Rows(), NodeClassification(karate, consistency=Consistency(weight))
        (batch,) = task.batches(1)
        task.loss(model, batch).backward()
        assert bool((model.weight.grad[rest] != 0).any()) is learn


def test_a_training_goes_on_as_if_it_had_not_stopped(karate):
    def begin():
        torch.manual_seed(3)
        model = MSG(34, 4, "E8", num_layers=2, timesteps=3, dropout=0.5)
        return Training(
            model, NodeClassification(karate, consistency=Consistency(1.0)), Budget(epochs=4, generations=2)
        )

    whole = begin()
    while not whole.finished:
        whole.step()
    part = begin()
    part.step(), part.step()
    random, state = torch.get_rng_state(), part.state_dict()
    other = begin()
    other.load_state_dict(state)
    torch.set_rng_state(random)
    while not other.finished:
        other.step()
    assert [row.loss for row in other.history] == pytest.approx([row.loss for row in whole.history])


def test_what_a_model_adds_is_added_once_an_update(karate):
    model, added = Flipping(), []
    model.unsupervised_loss = lambda x, edge_index: added.append(x) or 0.25 * model.scale
    for views in (2, 3):
        model.calls = 0
        without = NodeClassification(karate, consistency=Consistency(1.0, views))
        (batch,) = without.batches(1)
        loss = without.loss(model, batch)
        outputs = [model.scale * (call + 1) * torch.linspace(-1, 1, 4).expand(34, -1) for call in range(views)]
        alone = sum(nn.functional.cross_entropy(view[batch.target], batch.labels) for view in outputs) / views
        assert torch.allclose(loss, alone + Consistency(1.0, views).loss(outputs) + 0.25)
    assert len(added) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"weight": -1.0},
        {"weight": float("inf")},
        {"views": 1},
        {"views": 2.5},
        {"temperature": 0.0},
        {"temperature": 1.5},
    ],
)
def test_numbers_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match="consistency needs weight >= 0, views >= 2 and temperature"):
        Consistency(**options)


def test_views_of_batches_are_refused(karate):
    with pytest.raises(ValueError, match="train with consistency or with batches"):
        NodeClassification(karate, batches=MiniBatches(4, (2, 2), 0), consistency=Consistency(1.0))
