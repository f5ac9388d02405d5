"""Training of one model on one task, epoch by epoch, so that it can stop and go on anywhere."""

import copy
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import nn

from msg.training.tasks import Batch, Evaluation, Task, measure_fully


@dataclass(frozen=True)
class Budget:
    """What a model may spend, the same for all that are compared.

    Attributes:
        epochs: at most so many.
        lr: learning rate of Adam.
        weight_decay: of Adam.
        patience: stop after so many epochs without a better validation metric; 0 for never.
        generations: so many trainings in a row. Each but the first begins anew with all that is above, and is taught by
            the best weights so far as well, see :class:`~msg.training.NodeClassification`.
        clip_grad: largest norm of an update's whole gradient, a longer one is scaled down to it; 0 for any.

    Raises:
        ValueError: for numbers that cannot be.
    """

    epochs: int = 200
    lr: float = 0.01
    weight_decay: float = 0.0
    patience: int = 100
    generations: int = 1
    clip_grad: float = 0.0

    def __post_init__(self):
        whole = all(isinstance(number, Integral) for number in (self.epochs, self.patience, self.generations))
        counts = whole and self.epochs >= 1 and self.patience >= 0 and self.generations >= 1
        finite = all(0 <= number < math.inf for number in (self.lr, self.weight_decay, self.clip_grad))
        if not (counts and finite and self.lr):
            raise ValueError(
                "a budget needs epochs >= 1, lr > 0, weight_decay >= 0, patience >= 0, generations >= 1 and "
                f"clip_grad >= 0, finite or, where they count, whole numbers, not {self}"
            )

    @property
    def most_epochs(self) -> int:
        """Of all generations together."""
        return self.epochs * self.generations


class Epoch(NamedTuple):
    """One row of a history.

    Attributes:
        epoch: counted from 1.
        loss: training loss before the update, under dropout; the mean of the batches'; ``val_loss`` where nothing
            is learned.
        val_loss: loss of the validation part after the update.
        val: the validation metric after the update.
        rates: mean firing rate of every layer.
        radius: largest distance of a node from the origin, or ``None``.
        seconds: wall time of the updates: forward, backward and optimizer.
    """

    epoch: int
    loss: float
    val_loss: float
    val: float
    rates: tuple[float, ...]
    radius: float | None
    seconds: float


@dataclass(frozen=True)
class Fit:
    """What came of a training; the model holds the weights of the best epoch.

    Attributes:
        val: evaluation of the best weights on the validation part.
        test: the same on the test part.
        best_epoch: the first with the best validation metric.
        history: all epochs.
    """

    val: Evaluation
    test: Evaluation
    best_epoch: int
    history: list[Epoch]


def _can_be_reset(model: nn.Module) -> bool:
    """Whether a model, and what it is made of, can be initialised again."""
    with torch.random.fork_rng():
        try:
            copy.deepcopy(model).reset_parameters()  # pyright: ignore[reportCallIssue]
        except AttributeError:
            return False
    return True


def _check_decoder(model: nn.Module, task: Task) -> None:
    """Refuse a decoder that would be left as it is while the model learns."""
    decoder, known = getattr(task, "decoder", None), {id(parameter) for parameter in model.parameters()}
    while isinstance(decoder, partial):
        decoder = decoder.func
    mends = {"model.link_decoder = decoder, and give the task model.link_decoder": decoder}
    mends["model.plain_link_decoder = it"] = getattr(decoder, "inside", None)
    for mend, one in mends.items():
        if isinstance(one, nn.Module) and any(id(p) not in known for p in one.parameters() if p.requires_grad):
            raise ValueError(
                f"the parameters of {type(one).__name__} are not the model's, so nothing would train them: set {mend}"
            )


class Training:
    """A training between two epochs. The validation part alone selects; the test part is read once, at the end.

    Args:
        model: trained in place; one without parameters is measured only.
        task: what to minimise and measure.
        budget: what may be spent.

    Attributes:
        learns: whether there is anything to train.
        starts: how many epochs there were before each generation that has begun.

    Raises:
        ValueError: for several generations of what cannot be taught, or cannot be initialised again, or a decoder whose
            parameters are not the model's.
    """

    def __init__(self, model: nn.Module, task: Task, budget: Budget):
        self.model, self.task, self.budget = model, task, budget
        self.learns = any(parameter.requires_grad for parameter in model.parameters())
        if budget.generations > 1 and not (getattr(task, "teachable", False) and _can_be_reset(model)):
            raise ValueError(
                f"generations={budget.generations} need classes of nodes, without mini-batches, and a model with "
                f"reset_parameters(), not {type(task).__name__} and {type(model).__name__}"
            )
        _check_decoder(model, task)
        self.optimizer = self._optimizer()
        self._first_weights = copy.deepcopy(model.state_dict()) if budget.generations > 1 else {}
        self.history: list[Epoch] = []
        self.starts = [0]
        self.best_epoch = 0
        self._best_weights: dict[str, Any] = {}

    def _optimizer(self) -> torch.optim.Adam:
        # as a group, which may be empty: a heuristic has no parameters
        group = {"params": list(self.model.parameters())}
        return torch.optim.Adam([group], lr=self.budget.lr, weight_decay=self.budget.weight_decay)

    @property
    def finished(self) -> bool:
        """Whether the last generation's epochs or patience are spent; what has nothing to learn is measured once."""
        if not self.learns:
            return len(self.history) > 0
        return len(self.starts) >= self.budget.generations and self._settled

    @property
    def _settled(self) -> bool:
        """Whether this generation's epochs or patience are spent."""
        own = [row.val for row in self.history[self.starts[-1] :]]
        patience = self.budget.patience
        if not own or len(own) >= self.budget.epochs:
            return bool(own)
        return 0 < patience <= len(own) - 1 - own.index(max(own))

    def _begin_anew(self) -> None:
        self.model.load_state_dict(self._best_weights)
        self.task.teach(self.model)  # pyright: ignore[reportAttributeAccessIssue]
        self.model.reset_parameters()  # pyright: ignore[reportCallIssue]
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                # a learned curvature is part of the manifold, which reset_parameters() leaves as it is
                if torch.equal(parameter, self._best_weights[name].to(parameter.device)):
                    parameter.copy_(self._first_weights[name])
        self.optimizer = self._optimizer()
        self.starts.append(len(self.history))

    def step(self) -> Epoch:
        """One epoch: an update for every batch, then a measurement on the validation part.

        Raises:
            FloatingPointError: if the loss is not finite.
        """
        if self.learns and len(self.starts) < self.budget.generations and self._settled:
            self._begin_anew()
        number = len(self.history) + 1
        start = time.perf_counter()
        losses = [self._update(batch, number) for batch in self.task.batches(number)] if self.learns else []
        if self.task.x.is_cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        seen = self.task.evaluate(self.model, "val")
        loss = statistics.fmean(losses) if losses else seen.loss
        row = Epoch(number, loss, seen.loss, seen.metric, seen.rates, seen.radius, seconds)
        if not self.history or row.val > self.history[self.best_epoch - 1].val:
            self.best_epoch = number
            self._best_weights = copy.deepcopy(self.model.state_dict())
        self.history.append(row)
        return row

    def _update(self, batch: Batch, epoch: int) -> float:
        loss = self.task.loss(self.model, batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            mend = "try a smaller lr, step_size or max_step"
            if not self.optimizer.state:
                mend = "no update was made yet, so features or weights of the model are too large, or step_size is"
            raise FloatingPointError(f"the loss is {value} in epoch {epoch}: {mend}")
        self.optimizer.zero_grad()
        loss.backward()
        if self.budget.clip_grad:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.budget.clip_grad)
        self.optimizer.step()
        return value

    def conclude(self) -> Fit:
        """Restore the best weights and measure them, on the test part too, by all metrics that the task has.

        Raises:
            ValueError: if no epoch was trained.
        """
        if not self.history:
            raise ValueError("nothing to conclude: call step() first")
        self.model.load_state_dict(self._best_weights)
        val, test = (measure_fully(self.task, self.model, part) for part in ("val", "test"))
        return Fit(val, test, self.best_epoch, self.history)

    def state_dict(self) -> dict[str, Any]:
        """A copy of everything but the random state, loadable with ``weights_only=True``."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_epoch": self.best_epoch,
            "best_weights": self._best_weights,
            "history": [tuple(row) for row in self.history],
        }
        if self.budget.generations > 1:
            state |= {"starts": self.starts, "taught": getattr(self.task, "taught", None)}
        return copy.deepcopy(state)

    def is_finite(self) -> bool:
        """Whether all weights are numbers."""
        return _finite(self.model.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of :meth:`state_dict`. The budget stays this training's own.

        Raises:
            ValueError: for a state of another model or none at all, whose keys may be missing too (``KeyError``).
        """
        parts = [state, *(state.get(name) for name in ("model", "best_weights", "optimizer"))] if _is_map(state) else []
        if not parts or not all(map(_is_map, parts)):
            raise ValueError("it holds no weights and moments")
        for weights in (state["best_weights"], state["model"]):
            if not _finite(weights):
                raise ValueError("its weights are not finite numbers")
            load_weights(self.model, weights)
        history = [Epoch(*row) for row in state["history"]]
        numbers = [number for row in history for number in (*row[:4], *row.rates, row.seconds)]
        if [row.epoch for row in history] != list(range(1, len(history) + 1)) or not all(map(_is_number, numbers)):
            raise ValueError("its history is none")
        if state["best_epoch"] not in range(1, len(history) + 1):
            raise ValueError("its best epoch is not in its history")
        self._check_moments(state["optimizer"]["state"])
        # learning rate and the like are the budget's
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": groups})
        self.best_epoch = state["best_epoch"]
        self._best_weights = state["best_weights"]
        self.history = history
        if self.budget.generations > 1:
            self._check_starts(state["starts"])
            self.starts = list(state["starts"])
            if len(self.starts) > 1:
                self.task.learn_from(state["taught"])  # pyright: ignore[reportAttributeAccessIssue]

    def _check_starts(self, starts: Any) -> None:
        known = isinstance(starts, list) and all(type(start) is int for start in starts) and starts[:1] == [0]
        if not known or len(starts) > self.budget.generations:
            raise ValueError("its generations are none")
        ends = [*starts[1:], len(self.history)]
        if not all(0 < end - start <= self.budget.epochs for start, end in zip(starts, ends)):
            raise ValueError("its generations are not in its history")

    def _check_moments(self, moments: Mapping[int, Mapping[str, Any]]) -> None:
        """Refuse moments of other parameters, which Adam takes and fails with later."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for number, kept in moments.items():
            wanted = parameters[number].shape, parameters[number].dtype
            if kept.keys() != {"step", "exp_avg", "exp_avg_sq"} or kept["step"].shape != ():
                raise ValueError("its optimizer is another")
            if kept["step"].dtype != torch.float32 or any(
                (kept[name].shape, kept[name].dtype) != wanted for name in ("exp_avg", "exp_avg_sq")
            ):
                raise ValueError("its optimizer is of another model")
            if any(bool(kept[name].isnan().any()) for name in kept):
                raise ValueError("its optimizer's moments are no numbers")


def load_weights(model: nn.Module, weights: Mapping[str, Any]) -> None:
    """Give a model weights from a file. What torch would convert, such as truth values, is refused as well.

    Raises:
        ValueError: for weights of another type; for those of another shape or name ``RuntimeError``, as torch does.
    """
    own = model.state_dict()
    for name in own.keys() & weights.keys():
        if getattr(weights[name], "dtype", None) != getattr(own[name], "dtype", None):
            raise ValueError(f"{name} is of another type")
    model.load_state_dict(weights)


def _finite(weights: Mapping[str, Any]) -> bool:
    tensors = [value for value in weights.values() if isinstance(value, torch.Tensor) and value.is_floating_point()]
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def fit(
    model: nn.Module,
    task: Task,
    budget: Budget = Budget(),
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Fit:
    """Train a model; afterwards it holds the weights of its best epoch on the validation part.

    Args:
        model: any model with ``model(x, edge_index)``, trained in place.
        task: :class:`~msg.training.NodeClassification`, :class:`~msg.training.LinkPrediction`,
            :class:`~msg.training.GraphClassification`, or one of your own.
        budget: epochs, learning rate and the like.
        on_epoch: called after every epoch.

    Raises:
        FloatingPointError: if the loss is not finite.
    """
    training = Training(model, task, budget)
    while not training.finished:
        row = training.step()
        if on_epoch is not None:
            on_epoch(row)
    return training.conclude()
