"""Tasks: what is minimised and what is measured. A training knows nothing else of its data."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch_geometric.data import Data

from msg.calls import given
from msg.datasets import LinkSplit, ranking_negatives, sample_negatives
from msg.gradients import Activity
from msg.graph import SparseMatrix
from msg.layers.draws import generator_of
from msg.manifolds import inner_products
from msg.models.stack import SpikingStack
from msg.training.augmentation import Augmentation, Augmenting
from msg.training.batches import Batch, MiniBatches, Surroundings
from msg.training.observation import observe

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
"""Of every task's data."""
_CHUNK = 2**18
"""Pairs that are scored together."""


class Evaluation(NamedTuple):
    """A model measured on one part of the data.

    Attributes:
        loss: mean loss.
        metric: the task's metric, larger is better.
        rates: mean firing rate of every layer, see :class:`~msg.training.Observation`.
        radius: largest distance of a node from the origin, or ``None``.
        further: other metrics by name, where they were measured.
    """

    loss: float
    metric: float
    rates: tuple[float, ...]
    radius: float | None
    further: Mapping[str, float] | None = None


class Task(Protocol):
    """What :func:`~msg.training.fit` asks of a task.

    Attributes:
        metric: name of the metric; larger is better.
        x: node features that models read, ``[N, F]``.
        edge_index: edges that pass messages, ``[2, E]``.
    """

    metric: str
    x: Tensor
    edge_index: Tensor

    def batches(self, epoch: int) -> Iterator[Batch]:
        """What is trained on in an epoch, one update each; what is random in it depends on ``epoch`` alone."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Training loss of a batch, attached to autograd; the model is put in training mode."""
        ...

    def evaluate(self, model: nn.Module, part: Part) -> Evaluation:
        """Measure a model on one part, in one forward."""
        ...


def check_features(x: Tensor) -> None:
    """Refuse features ``[N, F]``, dense or sparse, that are no numbers.

    A spiking network takes what is no number for a current that does not fire, and its loss stays finite.

    Raises:
        ValueError: naming the fix.
    """
    values = x if x.layout == torch.strided else SparseMatrix.from_tensor(x).csr.values()
    if not bool(values.isfinite().all()):
        raise ValueError("x has values that are not finite: fill them in, as with x.nan_to_num()")


def measured(loss: Tensor | float) -> float:
    """The loss of a part that was measured, as a number.

    Raises:
        FloatingPointError: if it is not finite, as after an update that diverged; a metric would be of no numbers.
    """
    value = float(loss)
    if not math.isfinite(value):
        raise FloatingPointError(f"the measured loss is {value}: try a smaller lr, step_size or max_step")
    return value


def measure_fully(task: Task, model: nn.Module, part: Part) -> Evaluation:
    """Measure a model by all metrics of a task: by ``task.evaluate_fully(model, part)``, where it has that.

    What selects in every epoch is one metric; others may cost more, and are measured when a training is over.
    """
    return getattr(task, "evaluate_fully", task.evaluate)(model, part)


def graphs_of(task: Task) -> dict[str, Tensor]:
    """What a model reads beside ``task.x`` and ``task.edge_index`` in one inference over all data of a task: ``batch``,
    the graph of each node, and ``edge_weight``, where the task has these.
    """
    return given(edge_weight=getattr(task, "edge_weight", None), batch=getattr(task, "batch", None))


def firing(stack: SpikingStack, activity: Activity) -> Tensor:
    r"""How much a spiking network fires, so that every gradient rule can lower it.

    .. math::
        \frac1L\sum_{l<L} \operatorname{mean}_{v,k}\ \min\bigl(\max(I^l_{vk}/\theta, 0), 1\bigr)

    over the ``L`` layers whose spikes are read: the firing rate that an integrate-and-fire neuron tends to for large
    ``T`` under the mean current :math:`I`. Rules such as DvM have no gradient through the spikes themselves.

    Args:
        stack: the layers.
        activity: what they did.

    Shapes:
        returns a scalar, attached to autograd.
    """
    pairs = zip(list(stack.layers)[:-1], activity.currents)
    rates = [(current / layer.neuron.threshold).clamp(0, 1).mean() for layer, current in pairs]  # pyright: ignore
    return torch.stack(rates).mean()


Decoder = Callable[[Tensor, Tensor], Tensor]
"""From what a model returns, ``[N, ...]``, and pairs ``[2, M]`` to logits ``[M]``, as :class:`msg.nn.FermiDirac`."""


def score_pairs(decoder: Decoder, output: Tensor, pairs: Tensor) -> Tensor:
    """Logits ``[M]`` of pairs ``[2, M]``, however many, in the memory that some of them take."""
    return torch.cat([decoder(output, some) for some in pairs.split(_CHUNK, dim=1)])


def inner_product(z: Tensor, edge_label_index: Tensor) -> Tensor:
    r"""The decoder :math:`\langle z_i, z_j\rangle` of flat space.

    Shapes:
        ``z``: ``[N, d]``; ``edge_label_index``: ``[2, M]``; returns ``[M]``.
    """
    return inner_products(z, edge_label_index)


class LinkPrediction:
    """Binary cross-entropy of training edges against as many negatives, fresh ones every epoch; ROC-AUC.

    When a training is over, average precision and mean reciprocal rank are measured beside it. Each held-out edge is
    ranked against its own fixed negatives, see :func:`msg.datasets.ranking_negatives`: as many keep one of its ends as
    the other, none is an edge of any part, and for each seed they are the same for all models. A pair that scores as
    the edge does counts one half. They may be among the training negatives, as any pair that is no edge.

    Args:
        split: from :func:`msg.datasets.link_split`.
        decoder: scores pairs.
        seed: of the training negatives. They depend on it and the epoch alone.
        batches: how training edges are divided, each with its negative, and neighbours drawn around their ends;
            ``None``: all at once. Measured is always the whole graph.
        augmentation: what is drawn anew for every update.

    All edges count alike: models are given no weights.

    Raises:
        ValueError: for features that are not finite, or a split that :func:`msg.datasets.link_split` has not made.
    """

    metric = "roc_auc"
    rivals = 100
    """Negatives that a held-out edge is ranked against."""

    def __init__(
        self,
        split: LinkSplit,
        decoder: Decoder,
        seed: int = 0,
        batches: MiniBatches | None = None,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - a frozen value
    ):
        train, self.settings = split.train, batches
        check_features(train["x"])
        if train.get("excluded") is None:
            raise ValueError("the training part does not say which pairs are no negatives: make it with link_split")
        self.augment = Augmenting(augmentation, batches)
        self.x, self.edge_index = train["x"], train["edge_index"]
        self.decoder, self.seed = decoder, seed
        self.parts: dict[Part, Data] = dict(zip(PARTS, split))
        self.positives = train.edge_label_index[:, train.edge_label == 1]
        self.excluded = train.excluded.cpu()

    def batches(self, epoch: int) -> Iterator[Batch]:
        count, device = self.positives.size(1), self.positives.device
        generator = generator_of(self.seed, epoch)
        negatives = sample_negatives(self.x.size(0), self.excluded, count, generator).to(device)
        if self.settings is None:
            pairs, labels = _scored(self.positives, negatives)
            yield Batch(self.x, self.edge_index, pairs, labels)
            return
        for chosen in self.settings.order(count, epoch):
            chosen = chosen.to(device)
            pairs, labels = _scored(self.positives[:, chosen], negatives[:, chosen])
            seeds, ends = pairs.unique(return_inverse=True)
            yield Batch(target=ends, labels=labels, **self._surroundings.around(seeds, epoch))

    @cached_property
    def _surroundings(self) -> Surroundings:
        assert self.settings is not None
        return Surroundings(self.x, self.edge_index, self.settings)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        model.train()
        batch, nodes = self.augment(batch, model)
        output = batch.outputs(model)
        logits = self.decoder(output if nodes is None else output[nodes], batch.target)
        return binary_cross_entropy_with_logits(logits, batch.labels.to(logits.dtype))

    def evaluate(self, model: nn.Module, part: Part) -> Evaluation:
        """See :meth:`Task.evaluate`.

        Raises:
            FloatingPointError: if the loss is not finite, as after an update that diverged.
        """
        pairs, labels = self.parts[part].edge_label_index, self.parts[part].edge_label
        seen = observe(model, self.x, self.edge_index)
        with torch.no_grad():
            logits = self.decoder(seen.output, pairs)
            loss = binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return Evaluation(measured(loss), float(roc_auc_score(labels.cpu(), logits.cpu())), seen.rates, seen.radius)

    def evaluate_fully(self, model: nn.Module, part: Part) -> Evaluation:
        """The same with average precision and mean reciprocal rank."""
        pairs, labels = self.parts[part].edge_label_index, self.parts[part].edge_label
        positives, output = pairs[:, labels == 1], observe(model, self.x, self.edge_index).output
        with torch.no_grad():
            precision = average_precision_score(labels.cpu(), self.decoder(output, pairs).cpu())
            scores = self.decoder(output, positives)
            against = score_pairs(self.decoder, output, self._ranked_against(part))
        mrr = mean_reciprocal_rank(scores, against.view(len(scores), self.rivals))
        return self.evaluate(model, part)._replace(further={"average_precision": float(precision), "mrr": mrr})

    def _ranked_against(self, part: Part) -> Tensor:
        """Pairs that a part's edges are ranked against, the first edge's before the second's."""
        pairs, labels = self.parts[part].edge_label_index, self.parts[part].edge_label
        generator = generator_of(self.seed, PARTS.index(part), self.rivals)
        count = self.x.size(0)
        return ranking_negatives(pairs[:, labels == 1], count, self.excluded, self.rivals, generator).flatten(1)


def mean_reciprocal_rank(scores: Tensor, against: Tensor) -> float:
    r"""Mean of :math:`1 / r`, where :math:`r` is the rank of a score among those it is compared with.

    Of scores that are equal, half stand before it, as in the evaluator of the Open Graph Benchmark.

    Shapes:
        ``scores``: ``[M]``; ``against``: ``[M, K]``.
    """
    above, equal = (against > scores[:, None]).sum(1), (against == scores[:, None]).sum(1)
    return float((1 / (1 + above.double() + equal.double() / 2)).mean())


def _scored(positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs, and their labels."""
    labels = [torch.ones(positives.size(1)), torch.zeros(negatives.size(1))]
    return torch.cat([positives, negatives], dim=1), torch.cat(labels).to(positives.device)
