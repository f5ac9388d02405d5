"""The task of a part is the task of the graph: the same loss, gradients, measurements and training."""

import pytest
import torch
from ranks import FEATURES, assigned, graph, together

from msg.nn import MSG, HyboNet
from msg.training import Budget, NodeClassification, PartitionedNodes, fit

CASES = [("accuracy", 0.0, "range"), ("roc_auc", 0.3, "range"), ("roc_auc", 0.3, "lonely")]


def data_for(metric):
    data = graph()
    data.metric = metric
    data.y = data.y % 2
    draw = torch.rand(40, generator=torch.Generator().manual_seed(2))
    data.train_mask, data.val_mask, data.test_mask = draw < 0.4, (draw >= 0.4) & (draw < 0.7), draw >= 0.7
    return data


def model_for():
    torch.manual_seed(0)
    model = MSG(FEATURES, 2, manifold="H8", timesteps=5).double()
    for parameter in model.stack.parameters():
        parameter.data.mul_(3)
    return model


def seen(model, task):
    """Loss, gradients and evaluation, then what a short training comes to."""
    loss = task.loss(model, next(iter(task.batches(1))))
    loss.backward()
    grads = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    before = task.evaluate(model, "val")
    shorter = float(torch.stack([grad.norm() for grad in grads]).norm()) / 2  # the norm is that of all ranks' gradient
    done = fit(model, task, Budget(epochs=3, clip_grad=shorter))
    return float(loss.detach()), grads, before, done.test, [row[:6] for row in done.history]


def _on_a_rank(rank, world):
    found = []
    for metric, sparsity, method in CASES:
        part = assigned(data_for(metric), world, method)[rank]
        found.append(seen(model_for(), PartitionedNodes(part, sparsity, metric)))
    return found


def _flat(value):
    return [number for part in value for number in _flat(part)] if isinstance(value, list | tuple) else [value]


@pytest.mark.slow  # two processes begin; test_equal.py has the same of networks
def test_the_same_on_two_ranks(tmp_path):
    everyone = together(2, tmp_path, _on_a_rank)
    for number, (metric, sparsity, _) in enumerate(CASES):
        loss, grads, *others = seen(model_for(), NodeClassification(data_for(metric), sparsity))
        for rank in everyone:
            own_loss, own_grads, *own_others = rank[number]
            assert own_loss == pytest.approx(loss, rel=1e-12)
            for own, grad in zip(own_grads, grads, strict=True):
                torch.testing.assert_close(own, grad, atol=1e-12, rtol=1e-10)
            assert [other is None for other in _flat(own_others)] == [other is None for other in _flat(others)]
            known = [[number for number in _flat(one) if number is not None] for one in (own_others, others)]
            assert known[0] == pytest.approx(known[1], rel=1e-6)


def test_a_loss_of_the_model_is_minimised():
    data, found = data_for("accuracy"), []
    for task in (NodeClassification(data), PartitionedNodes(assigned(data, 1, "range")[0])):
        torch.manual_seed(0)
        found.append(seen(HyboNet(FEATURES, 2).double(), task))
    (loss, grads, before, *_), (own_loss, own_grads, own_before, *_) = found
    assert own_loss == pytest.approx(loss, rel=1e-12)
    assert own_before.loss == pytest.approx(before.loss, rel=1e-12)
    torch.testing.assert_close(own_grads, grads, atol=1e-12, rtol=1e-10)


def test_a_mask_without_nodes_is_refused():
    data = data_for("accuracy")
    data.val_mask[:] = False
    with pytest.raises(ValueError, match="val_mask has no node in any part"):
        PartitionedNodes(assigned(data, 1, "range")[0])


def test_masks_that_share_nodes_are_refused():
    data = data_for("accuracy")
    data.test_mask[:] = True
    with pytest.raises(ValueError, match="nodes are in more than one of the masks: leave each in one part"):
        PartitionedNodes(assigned(data, 1, "range")[0])


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="unknown metric 'macro-f1': use 'accuracy' or 'roc_auc'"):
        PartitionedNodes(assigned(data_for("accuracy"), 1, "range")[0], metric="macro-f1")
