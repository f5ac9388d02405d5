"""Classes of the nodes of a graph, and of whole graphs."""

import math
from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch_geometric.data import Batch as PyGBatch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from msg.layers.draws import generator_of
from msg.models.network import LayeredNetwork
from msg.sizes import check_sizes
from msg.training.augmentation import Augmentation, Augmenting
from msg.training.batches import Batch, MiniBatches, Surroundings
from msg.training.consistency import Consistency
from msg.training.observation import Observation, observe, observe_by_layers, watching
from msg.training.tasks import PARTS, Evaluation, Part, check_features, firing, graphs_of, measured


class _View(NamedTuple):
    """One forward in training: what was read of the graph, the outputs of all that a batch has (where nothing else is
    read, of the targets alone), and their loss.
    """

    batch: Batch
    outputs: Tensor
    loss: Tensor


class Classification:
    r"""What :class:`NodeClassification` and :class:`GraphClassification` have in common: the loss and the metric.

    With ``sparsity`` :math:`\lambda` the loss of a spiking network has the term :math:`\lambda` :func:`firing`.

    Args:
        data: with ``x``, ``edge_index``, ``y`` and masks, and maybe ``metric`` and ``edge_weight``.
        sparsity: ``λ``; other models are trained without the term.
        batches: see :class:`Augmenting`.
        augmentation: what is drawn anew for every update.
        label_smoothing: weight of the uniform distribution in the labels of the cross-entropy.

    Raises:
        ValueError: for data that are missing, of another shape or not finite, for what models would not be given, an
            unknown metric, an empty part, parts that share nodes, or a ROC-AUC that is not defined.
    """

    what: str
    """What has a class."""
    consistency = Consistency()
    """Of one view, unless a task says otherwise."""

    def __init__(
        self,
        data: Data,
        sparsity: float,
        batches: MiniBatches | None,
        augmentation: Augmentation,
        label_smoothing: float,
    ):
        _check(data, self.what)
        if not 0 <= sparsity < math.inf or not 0 <= label_smoothing <= 1:
            raise ValueError(
                "sparsity must be a finite number of at least 0, and label_smoothing one from 0 to 1, not "
                f"{sparsity} and {label_smoothing}"
            )
        self.sparsity, self.label_smoothing = sparsity, label_smoothing
        self.augment = Augmenting(augmentation, batches)
        self.metric = data.get("metric", "accuracy")
        check_metric(self.metric)
        self.x, self.edge_index = data["x"], data["edge_index"]
        self.y: Tensor = data["y"].long()  # a cross-entropy takes no other integers
        self.edge_weight: Tensor | None = data.get("edge_weight")
        self.masks: dict[Part, Tensor] = {part: data[f"{part}_mask"] for part in PARTS}
        self._num_classes = 0
        for part, mask in self.masks.items():
            classes = self.y[mask].unique().tolist()
            if not classes:
                raise ValueError(f"{part}_mask has no {self.what}: choose another split")
            if classes[0] < 0:
                raise ValueError(
                    f"{part}_mask has a {self.what} of class {classes[0]}: leave those without a class out"
                )
            self._num_classes = max(self._num_classes, classes[-1] + 1)
            if self.metric == "roc_auc" and classes != [0, 1]:
                raise ValueError(f"roc_auc needs both classes, 0 and 1, but the {part} part has {classes}")

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """See :class:`~msg.training.Task`."""
        model.train()
        views = [self._view(model, batch) for _ in range(self.consistency.num_views)]
        loss = torch.stack([view.loss for view in views]).mean()
        if len(views) > 1:
            loss = loss + self.consistency.loss([view.outputs for view in views])
        if hasattr(model, "unsupervised_loss"):  # once an update, since a model may count its calls
            seen = views[-1].batch
            loss = loss + model.unsupervised_loss(seen.x, seen.edge_index, **seen.weights)  # pyright: ignore[reportCallIssue]
        return loss

    def _view(self, model: nn.Module, batch: Batch) -> _View:
        batch, nodes = self.augment(batch, model)
        alone = nodes is None and self._targets_alone and batch.batch_size is None and _takes_nodes(model)
        with watching(model) as seen:
            logits = batch.outputs(model, alone)
        if not isinstance(logits, Tensor) or (self.metric == "roc_auc" and logits.size(-1) != 2):
            given = f"[..., {logits.size(-1)}]" if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"a model gives logits [N, C], two of them for roc_auc, not {given}")
        if self._num_classes > logits.size(-1):
            raise ValueError(
                f"labels go up to {self._num_classes - 1}, but the model gives {logits.size(-1)} logits: make it with "
                f"out_channels={self._num_classes}"
            )
        every = logits if nodes is None else logits[nodes]
        logits = every if alone else every[batch.target]
        loss = self._criterion(model, self.label_smoothing)(logits, batch.labels) + self._taught_loss(every)
        for stack, activity in seen.activities if self.sparsity else ():
            loss = loss + self.sparsity * firing(stack, activity)
        return _View(batch, every, loss)

    @property
    def _targets_alone(self) -> bool:
        """Whether a loss reads no other outputs than those of a whole graph's targets."""
        return False

    def _taught_loss(self, logits: Tensor) -> Tensor | float:
        """What predictions of a former model add, for the outputs of a batch."""
        return 0.0

    @staticmethod
    def _criterion(model: nn.Module, label_smoothing: float = 0.0) -> Any:
        own = getattr(model, "criterion", None)
        return partial(cross_entropy, label_smoothing=label_smoothing) if own is None else own

    def _evaluation(self, model: nn.Module, seen: Observation, logits: Tensor, y: Tensor) -> Evaluation:
        """Of those logits that are of one part, with its labels.

        Raises:
            FloatingPointError: if the loss is not finite, as after an update that diverged.
        """
        y = y.to(logits.device)
        loss = measured(self._criterion(model)(logits, y))
        if self.metric == "accuracy":
            metric = accuracy_score(y.cpu(), logits.argmax(-1).cpu())
        else:
            # a softmax would round confident ones to the same score
            metric = roc_auc_score(y.cpu(), (logits[:, 1] - logits[:, 0]).cpu())
        return Evaluation(loss, float(metric), seen.rates, seen.radius)


def _takes_nodes(model: nn.Module) -> bool:
    # what torch.compile has made would be compiled anew for each number of nodes
    return getattr(model, "takes_nodes", False) and not hasattr(model, "_orig_mod")


def check_metric(metric: str) -> None:
    """Raise ``ValueError`` for one that is not known."""
    if metric not in ("accuracy", "roc_auc"):
        raise ValueError(f"unknown metric {metric!r}: use 'accuracy' or 'roc_auc'")


def num_shared(masks: Iterable[Tensor]) -> int:
    """How many are in more than one mask."""
    return int((torch.stack(list(masks)).sum(0) > 1).sum())


def check_apart(shared: float, what: str) -> None:
    """Raise ``ValueError`` where parts share something: what is learnt from, or selected by, cannot be a test."""
    if shared:
        raise ValueError(f"{shared:.0f} {what}s are in more than one of the masks: leave each in one part")


def _check(data: Any, what: str) -> None:
    """Refuse data of which a task would read something else than is meant, or leave something out.

    Raises:
        ValueError: naming the fix.
    """
    if not isinstance(data, Data):
        raise ValueError(f"a task needs one Data, not {type(data).__name__}: for several graphs see load_graphs")
    names = ("x", "edge_index", "y", *(f"{part}_mask" for part in PARTS))
    missing = [name for name in names if data.get(name) is None]
    if "edge_index" in missing and data.get("adj_t") is not None:
        raise ValueError("data has adj_t in place of edge_index: leave out T.ToSparseTensor()")
    if missing:
        raise ValueError(
            f"data has no {', '.join(missing)}: give it {what}s with features, edges, classes and three masks, as "
            "torch_geometric.transforms.RandomNodeSplit makes them"
        )
    unread = [name for name in ("edge_attr", "edge_type") if data.get(name) is not None]
    if unread:
        raise ValueError(
            f"data has {unread[0]}, which models are not given here: leave it out, as in `del data.{unread[0]}`, or "
            "train in a loop of your own"
        )
    x, y = data["x"], data["y"]
    if not isinstance(x, Tensor):
        raise ValueError(f"x must be a tensor, not {type(x).__name__}: use torch.as_tensor(data.x)")
    if what == "node" and x.size(-2) != y.size(0):
        raise ValueError(f"x has {x.size(-2)} nodes, and y {y.size(0)} classes: give one for each node, in their order")
    if y.dim() != 1 or y.is_floating_point():
        one_hot = y.dim() == 2 and y.size(1) > 1
        raise ValueError(
            f"y must be a class for each {what}, integers [{len(y)}], not {y.dtype} of shape {list(y.shape)}: try "
            + ("data.y.argmax(-1), where one of each row is set" if one_hot else "data.y.view(-1).long()")
        )
    for part in PARTS:
        mask = data[f"{part}_mask"]
        if mask.dtype != torch.bool or mask.shape != y.shape:
            raise ValueError(
                f"{part}_mask must be bool, one for each {what} [{len(y)}], not {mask.dtype} of shape "
                f"{list(mask.shape)}: choose one split, as in data.{part}_mask[:, 0], convert zeros and ones with "
                f".bool(), and numbers of {what}s with torch_geometric.utils.index_to_mask"
            )
    check_apart(num_shared(data[f"{part}_mask"] for part in PARTS), what)
    check_features(x)
    weight = data.get("edge_weight")
    if weight is not None and not bool(weight.isfinite().all()):
        raise ValueError("edge_weight has values that are not finite: fill them in, as with edge_weight.nan_to_num()")


class NodeClassification(Classification):
    r"""Cross-entropy of the training nodes, all in one batch or in several; accuracy, or ROC-AUC of the second class.

    With ``sparsity`` :math:`\lambda` the loss of a spiking network has the term :math:`\lambda` :func:`firing`.

    Args:
        data: with ``x``, ``edge_index``, ``y``, masks and ``metric``, as :func:`msg.datasets.load_graph` gives it, and
            maybe ``edge_weight``, which models are then given.
        sparsity: ``λ``; other models are trained without the term.
        batches: how training nodes are divided, and neighbours drawn around them; ``None``: the whole graph at once.
            Measured is always the whole graph.
        augmentation: what is drawn anew for every update.
        label_smoothing: weight of the uniform distribution in the labels of the cross-entropy; a ``criterion`` of a
            model's own reads the labels as they are.
        consistency: what several views of the graph add, see :class:`Consistency`.

    A model may bring what it minimises: with ``criterion(logits, labels)`` in place of the cross-entropy, and with
    ``unsupervised_loss(x, edge_index)``, which is added to it.

    A model can be taught by a former one, whose predictions :math:`q` of the nodes ``U`` without a training label stand
    in for labels; no label of theirs is read:

    .. math::
        \mathcal L = \mathcal L_{\text{train}} - \frac{1}{|U|}\sum_{i \in U}\sum_c q_{ic} \log p_{ic} .

    Source: `Furlanello et al. 2018, Born-Again Neural Networks <https://arxiv.org/abs/1805.04770>`_, where labels are
    known of all that is taught; that unlabelled nodes are taught is self-training, as in `Li et al. 2018, Deeper
    Insights into Graph Convolutional Networks <https://arxiv.org/abs/1801.07606>`_, with soft labels for all of them.

    Attributes:
        taught: ``q`` of all nodes, ``[N, C]``; ``None`` before :meth:`teach`.

    Raises:
        ValueError: for data that are missing, of another shape or not finite, for what models would not be given,
            an unknown metric, an empty part, parts that share nodes, a ROC-AUC that is not defined, or another graph or
            several views for every update of mini-batches.
    """

    what = "node"
    taught: Tensor | None = None

    def __init__(
        self,
        data: Data,
        sparsity: float = 0.0,
        batches: MiniBatches | None = None,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - a frozen value
        label_smoothing: float = 0.0,
        consistency: Consistency = Consistency(),  # noqa: B008 - a frozen value
    ):
        if consistency.weight and batches is not None:
            raise ValueError("views agree on all nodes of a graph: train with consistency or with batches")
        super().__init__(data, sparsity, batches, augmentation, label_smoothing)
        self.settings, self.consistency = batches, consistency

    def batches(self, epoch: int) -> Iterator[Batch]:
        mask = self.masks["train"]
        if self.settings is None:
            yield Batch(self.x, self.edge_index, mask, self.y[mask], edge_weight=self.edge_weight)
            return
        nodes = mask.nonzero()[:, 0]
        for chosen in self.settings.order(len(nodes), epoch):
            seeds = nodes[chosen.to(nodes.device)]
            target = torch.arange(len(seeds), device=nodes.device)
            yield Batch(target=target, labels=self.y[seeds], **self._surroundings.around(seeds, epoch))

    @cached_property
    def _surroundings(self) -> Surroundings:
        assert self.settings is not None
        return Surroundings(self.x, self.edge_index, self.settings, self.edge_weight)

    @property
    def teachable(self) -> bool:
        """Whether models see all nodes in each update, so that they can be taught about all of them."""
        return self.settings is None

    def teach(self, model: nn.Module) -> None:
        """From now on, teach by what a model predicts.

        Raises:
            ValueError: for mini-batches, which have few outputs.
        """
        self.learn_from(observe(model, self.x, self.edge_index, **graphs_of(self)).output.softmax(-1))

    def learn_from(self, taught: Tensor) -> None:
        """From now on, teach by these probabilities, ``[N, C]``.

        Raises:
            ValueError: for anything else, or mini-batches, which have few outputs.
        """
        if not self.teachable:
            raise ValueError("generations are taught on whole graphs: train without batch_size")
        rows = isinstance(taught, Tensor) and taught.dim() == 2 and taught.size(0) == self.x.size(0)
        if not rows or not taught.is_floating_point() or not bool(((taught >= 0) & (taught <= 1)).all()):
            raise ValueError(f"what is taught must be probabilities of classes for each of {self.x.size(0)} nodes")
        self.taught = taught.to(self.x.device)

    @property
    def _targets_alone(self) -> bool:
        return self.taught is None and not self.consistency.weight

    def _taught_loss(self, logits: Tensor) -> Tensor | float:
        if self.taught is None:
            return 0.0
        rest = ~self.masks["train"]
        return cross_entropy(logits[rest], self.taught[rest])

    def evaluate(self, model: nn.Module, part: Part) -> Evaluation:
        mask, alone = self.masks[part], False
        if self.settings is not None and self.settings.inference and isinstance(model, LayeredNetwork):
            seen = observe_by_layers(model, self._surroundings.everything)
        else:
            alone = _takes_nodes(model)
            asked = {"nodes": mask} if alone else {}
            seen = observe(model, self.x, self.edge_index, **graphs_of(self), **asked)
        logits = seen.output if alone else seen.output[mask.to(seen.output.device)]
        return self._evaluation(model, seen, logits, self.y[mask])


class GraphClassification(Classification):
    r"""Cross-entropy of the training graphs, in mini-batches of PyG's ``DataLoader``; accuracy, or ROC-AUC.

    Each part is measured in one forward over all of its graphs, so models must give a graph of a batch what they give
    it alone.

    Args:
        data: with ``x``, ``edge_index``, ``batch``, ``y``, masks of graphs and ``metric``, as
            :func:`msg.datasets.load_graphs` gives it.
        batch_size: graphs of a mini-batch; the last one has what is left.
        seed: of their order. It depends on the seed and the epoch alone.
        sparsity: see :class:`NodeClassification`, as of the next two.
        augmentation: of each batch; edges may be dropped, but not slowed by new nodes.
        label_smoothing: of the cross-entropy.

    Models are called as ``model(x, edge_index, batch=..., batch_size=...)``, with the number of graphs last.

    Raises:
        ValueError: as :class:`NodeClassification`, for no graphs in a batch, and for nodes that are not in the order of
            their graphs.
    """

    what = "graph"

    def __init__(
        self,
        data: Data,
        batch_size: int = 32,
        seed: int = 0,
        sparsity: float = 0.0,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - a frozen value
        label_smoothing: float = 0.0,
    ):
        check_sizes(batch_size=batch_size)
        if augmentation.half_hop:
            raise ValueError("half_hop adds nodes, which are of no graph: use drop_edge for graphs")
        super().__init__(data, sparsity, None, augmentation, label_smoothing)
        self.batch, self.batch_size, self.seed = data["batch"], batch_size, seed
        nodes = torch.bincount(self.batch, minlength=len(self.y))
        if len(nodes) > len(self.y) or not bool(nodes.all()) or bool((self.batch.diff() < 0).any()):
            raise ValueError(
                f"batch must say of each node which of {len(self.y)} graphs it is of, in their order, as in 0, 0, 1, "
                "and each graph needs a node: PyG's Batch.from_data_list makes it"
            )

    @cached_property
    def _graphs(self) -> list[Data]:
        # with the features that are read, which may be others than the set came with
        nodes = torch.bincount(self.batch).tolist()
        graph_of = self.batch[self.edge_index[0]]
        order = torch.argsort(graph_of, stable=True)  # a transform may have put loops of all graphs at the end
        edges = torch.bincount(graph_of, minlength=len(nodes)).tolist()
        first = torch.tensor(nodes).cumsum(0) - torch.tensor(nodes)
        parts = zip(self.x.split(nodes), self.edge_index[:, order].split(edges, dim=1), first.tolist(), self.y)
        graphs = [Data(x=x, edge_index=edge_index - start, y=y[None]) for x, edge_index, start, y in parts]
        for graph, weight in zip(graphs, () if self.edge_weight is None else self.edge_weight[order].split(edges)):
            graph.edge_weight = weight
        return graphs

    @cached_property
    def _parts(self) -> dict[Part, Any]:
        return {part: PyGBatch.from_data_list(self._of(part)) for part in PARTS}

    def _of(self, part: Part) -> list[Any]:
        return [self._graphs[number] for number in self.masks[part].nonzero()[:, 0].tolist()]

    def batches(self, epoch: int) -> Iterator[Batch]:
        """See :class:`~msg.training.Task`."""
        generator = generator_of(self.seed, epoch, 2)
        for found in DataLoader(self._of("train"), self.batch_size, shuffle=True, generator=generator):
            yield _batch_of(found)

    def evaluate(self, model: nn.Module, part: Part) -> Evaluation:
        """See :class:`~msg.training.Task`."""
        found = _batch_of(self._parts[part])
        graphs = {"batch": found.batch, "batch_size": len(found.labels)}
        seen = observe(model, found.x, found.edge_index, **found.weights, **graphs)
        return self._evaluation(model, seen, seen.output, found.labels)


def _batch_of(graphs: Any) -> Batch:
    """Several graphs, all of which are scored."""
    target = torch.arange(graphs.num_graphs, device=graphs.y.device)
    weight = graphs.get("edge_weight")
    return Batch(graphs.x, graphs.edge_index, target, graphs.y, batch=graphs.batch, edge_weight=weight)
