"""Node classification on a graph whose parts are held by several processes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch_geometric.data import Data

from msg.layers.draws import generator_of
from msg.training.classification import check_apart, check_metric, num_shared
from msg.training.observation import observe, watching
from msg.training.tasks import Batch, Evaluation, Part, firing, measured


def _summed(*numbers: Any) -> list[float]:
    """Each number, added up over all processes, exactly as each of them sees it."""
    total = torch.tensor([float(number) for number in numbers], dtype=torch.float64)
    if dist.is_initialized():
        dist.all_reduce(total)
    return total.tolist()


def _gathered(value: Any) -> list[Any]:
    """What all processes have, in the order of ranks."""
    if not dist.is_initialized():
        return [value]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def _total_loss(model: nn.Module, logits: Tensor, y: Tensor) -> Tensor:
    """The sum over nodes of what the model's criterion, or the cross-entropy, is the mean of."""
    own = getattr(model, "criterion", None)
    # the mean over no nodes is none
    return cross_entropy(logits, y, reduction="sum") if own is None or not len(y) else own(logits, y) * len(y)


class PartitionedNodes:
    r"""What :class:`NodeClassification` is to a whole graph: every process has this task with its own part.

    A process's loss is the sum over its training nodes times :math:`R/n`, with ``R`` processes and ``n`` training nodes
    in all, so that the mean of gradients that ``DistributedDataParallel`` takes is the gradient in one process; its
    value is the mean over all nodes. Measurements are those of the whole graph, the same in each process.

    Args:
        part: from a :class:`~msg.graph.Partition`, with ``x``, ``y`` and masks.
        sparsity: see :class:`NodeClassification`.
        metric: ``"accuracy"`` or ``"roc_auc"``.
        seed: of dropout, with epoch and rank; nothing else is drawn.

    Raises:
        ValueError: for a mask without a node, masks that share nodes, or an unknown metric.
    """

    def __init__(self, part: Data, sparsity: float = 0.0, metric: str = "accuracy", seed: int = 0):
        check_metric(metric)
        self.metric, self.sparsity, self.seed = metric, sparsity, seed
        self.x, self.y = part["x"], part["y"]
        self.edge_index: Any = part["graph"]  # what models take for their edges
        self.masks: dict[Part, Tensor] = {"train": part["train_mask"], "val": part["val_mask"]}
        self.masks["test"] = part["test_mask"]
        self.rank, self.ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        masks = self.masks.values()
        self.nodes, self.training, shared = _summed(len(self.y), self.masks["train"].sum(), num_shared(masks))
        check_apart(shared, "node")
        empty = [name for name, mask in self.masks.items() if not _summed(mask.sum())[0]]
        if empty:
            raise ValueError(f"{empty[0]}_mask has no node in any part: choose another split")
        self._replica: tuple[nn.Module, nn.Module] | None = None

    def batches(self, epoch: int) -> Iterator[Batch]:
        """See :class:`Task`."""
        torch.manual_seed(generator_of(self.seed, epoch, self.rank).initial_seed())
        mask = self.masks["train"]
        yield Batch(self.x, self.edge_index, mask, self.y[mask])

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """See :class:`Task`; every process calls it at the same time."""
        model.train()
        with watching(model) as seen:
            logits = self._shared(model)(batch.x, batch.edge_index)
        loss = _total_loss(model, logits[batch.target], batch.labels) / self.training
        for stack, activity in seen.activities if self.sparsity and len(self.y) else ():
            loss = loss + self.sparsity * len(self.y) / self.nodes * firing(stack, activity)
        (mean,) = _summed(loss.detach())
        own = loss * self.ranks
        return own + (mean - own.detach())

    def _shared(self, model: nn.Module) -> nn.Module:
        """The model whose gradients are averaged over all processes."""
        if not dist.is_initialized():
            return model
        if self._replica is None or self._replica[0] is not model:
            self._replica = model, DistributedDataParallel(model)
        return self._replica[1]

    def evaluate(self, model: nn.Module, part: Part) -> Evaluation:
        """See :class:`Task`; every process calls it at the same time.

        Raises:
            FloatingPointError: in every process, if the loss is not finite, as after an update that diverged.
        """
        seen = observe(model, self.x, self.edge_index)
        logits, y = seen.output[self.masks[part]], self.y[self.masks[part]]
        fired = [rate * len(self.y) if len(self.y) else 0.0 for rate in seen.rates]
        loss, right, count, *fired = _summed(
            _total_loss(model, logits, y), (logits.argmax(-1) == y).sum(), len(y), *fired
        )
        loss, metric = measured(loss / count), right / count
        if self.metric == "roc_auc":
            everyone = _gathered((y.numpy(), (logits[:, 1] - logits[:, 0]).numpy()))
            metric = float(roc_auc_score(*(np.concatenate(parts) for parts in zip(*everyone))))
        radius = None if seen.radius is None else max(_gathered(seen.radius))
        return Evaluation(loss, metric, tuple(rate / self.nodes for rate in fired), radius)
