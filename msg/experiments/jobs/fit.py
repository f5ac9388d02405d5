"""Train one model with one seed and measure what came of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import torch
from annotated_types import Len
from pydantic import Strict, StringConstraints, TypeAdapter
from torch import nn
from torch_geometric.data import Data

from msg.energy import Operations
from msg.experiments.build import build_budget, prepare
from msg.experiments.files import not_finite
from msg.experiments.job import Count, Job, Number, Result, Share, Slot, Text, check_record, checked_by
from msg.experiments.progress import Progress
from msg.gradients import SurrogateBPTT
from msg.manifolds import chart, curvature
from msg.models import GraphClassifier, Propagated
from msg.report.figures import principal_plane
from msg.report.figures.embedding import MOST_POINTS, Chart
from msg.training import (
    Epoch,
    Fit,
    Task,
    Training,
    count_inference,
    gradient_alignment,
    graphs_of,
    manifold_of,
    observe,
    own_random_state,
)

_OPERATIONS = TypeAdapter(Operations)

_Name = Annotated[str, Strict(), StringConstraints(pattern=r"^[\w -]+$")]
"""What a figure shows, where other signs may be commands."""
_Cosines = list[Number | None] | None


@dataclass(frozen=True)
class _Record:
    """What :func:`fit` says of a training; files from strangers may say anything."""

    model: _Name
    val: Share
    test: Share
    best_epoch: Count
    rates: list[Number]
    radius: Number | None
    parameters: Count
    in_channels: Count
    metric: _Name
    operations: Operations
    history: Annotated[list[tuple[Count, Number, Number, Number, list[Number], Number | None, Number]], Len(1)]
    cosine_before: _Cosines
    cosine_after: _Cosines
    line: Text
    metrics: dict[_Name, dict[Literal["val", "test"], Share]] | None = None


@dataclass(frozen=True)
class _Diverged:
    diverged: Text
    line: Text


_RECORD, _DIVERGED = TypeAdapter(_Record), TypeAdapter(_Diverged)


def _check(job: Job, result: Result) -> None:
    record, tensors = result.record, result.tensors or {}
    if job.extras.get("forgiving") and "diverged" in record:
        check_record(_DIVERGED, record)
        return
    check_record(_RECORD, record)
    if "exact" in job.extras and None in (record["cosine_before"], record["cosine_after"]):
        raise ValueError("it says nothing of gradients")
    if not isinstance(tensors.get("last", {}), dict):
        raise ValueError("it has no state of a training")
    if not job.extras.get("keep"):
        return
    picture = record.get("chart") in get_args(Chart) and _are_points(tensors.get("plane"), tensors.get("labels"))
    if not picture or not isinstance(tensors.get("weights"), dict):
        raise ValueError("it has no weights, or no points of a picture")


def _are_points(plane: Any, labels: Any) -> bool:
    if not isinstance(plane, torch.Tensor) or not isinstance(labels, torch.Tensor):
        return False
    fit = labels.dim() == 1 and plane.shape == (*labels.shape, 2)
    return fit and plane.is_floating_point() and labels.dtype == torch.int64


@checked_by(_check)
def fit(job: Job, data: Data, slot: Slot, progress: Progress) -> Result:
    """Train, resumable at every checkpoint.

    Extras of the job: ``exact``, a rule to compare gradients with before and after; ``keep``, whether the best weights
    and a picture's points are kept; ``last``, whether the state after the last epoch is kept too, so that there can be
    more epochs; ``forgiving``, whether a training that diverges is a result as well.

    Record: ``model``, ``val``, ``test``, ``metrics`` (all, by name), ``best_epoch``, ``rates``, ``radius``,
    ``parameters``, ``in_channels``, ``operations`` of one inference, ``history``, ``cosine_before``,
    ``cosine_after``; or ``diverged``.

    Raises:
        FloatingPointError: if it diverges.
    """
    try:
        with named(job):
            model, task = prepare(job.config, data, job.seed)
            before = _aligned(job, model, task)
            found, last = train(job, model, task, slot, progress)
            return record(job, model, task, data, found, last, before)
    except FloatingPointError as error:
        if job.extras.get("forgiving"):
            return Result({"diverged": str(error), "line": str(error)})
        raise


@contextmanager
def named(job: Job) -> Iterator[None]:
    """Say of a training that diverges which one it is."""
    try:
        yield
    except FloatingPointError as error:
        raise FloatingPointError(f"{job.title}, seed {job.seed}: {error}" if job.title else str(error)) from error


def train(job: Job, model: nn.Module, task: Task, slot: Slot, progress: Progress) -> tuple[Fit, dict[str, Any] | None]:
    """Train a model, or go on with its training; what came of it, and the state after the last epoch where one is kept.

    Raises:
        FloatingPointError: if it diverges.
    """
    training = Training(model, task, build_budget(job.config))
    restored(training, slot.load(), slot)
    for _ in steps(job, training, slot, progress):
        pass
    last = _state(training) if job.extras.get("last") else None
    # of a training that is about to diverge there is none: more epochs begin anew, and come to the same end
    return training.conclude(), None if last is None or not_finite(last) else last


def restored(training: Training, state: Mapping[str, Any] | None, slot: Slot) -> None:
    """Go on from a job's state, if there is one.

    Raises:
        ValueError: if it is not this training's.
    """
    if state is None:
        return
    try:
        training.load_state_dict(state["training"])
        if len(training.history) > training.budget.most_epochs:
            raise ValueError(f"it is after {len(training.history)} epochs, of {training.budget.most_epochs}")
        _set_random_state(state["random"])
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise slot.misfit(error) from error


def steps(job: Job, training: Training, slot: Slot, progress: Progress) -> Iterator[Epoch]:
    """The epochs of a training until it is finished, with a checkpoint now and then.

    Raises:
        FloatingPointError: if it diverges.
    """
    progress.started(job, _name(training.model), training.history)
    while not training.finished:
        row = training.step()
        progress.epoch(job, row)
        # what diverges will say so in its next epoch, and a state that is no numbers is refused
        if len(training.history) % job.config.checkpoint_every == 0 and training.is_finite():
            slot.save(_state(training))
        yield row


def _state(training: Training) -> dict[str, Any]:
    """All that a training goes on from."""
    return {"training": training.state_dict(), "random": _random_state()}


def _name(model: nn.Module) -> str:
    """How a model is called, whose predictions may be propagated, or whose points pooled."""
    return type(model.model if isinstance(model, Propagated | GraphClassifier) else model).__name__


def record(
    job: Job,
    model: nn.Module,
    task: Task,
    data: Data,
    found: Fit,
    last: dict[str, Any] | None = None,
    before: list[float | None] | None = None,
) -> Result:
    """What is kept of a training that is over, see :func:`fit`; ``before`` is ``cosine_before``."""
    name = _name(model)
    best = f"{len(found.history)} epochs, best {found.best_epoch}"
    measured = f"validation {found.val.metric:.4f}, test {found.test.metric:.4f}"
    said = {
        "model": name,
        "val": found.val.metric,
        "test": found.test.metric,
        "best_epoch": found.best_epoch,
        "rates": list(found.val.rates),
        "radius": found.val.radius,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "in_channels": task.x.size(1),
        "metric": task.metric,
        "metrics": _metrics(task, found),
        "operations": _OPERATIONS.dump_python(count_inference(model, task), mode="json"),
        "history": [list(row) for row in found.history],
        "cosine_before": before,
        "cosine_after": _aligned(job, model, task),
        "line": f"{job.title or name}, seed {job.seed}: {best}, {measured}",
    }
    tensors: dict[str, Any] = {} if last is None else {"last": last}
    if job.extras.get("keep"):
        said["chart"], points = _points(model, task, data)
        tensors |= {"weights": model.state_dict(), **points}
    return Result(said, tensors or None)


def _metrics(task: Task, found: Fit) -> dict[str, dict[str, float]]:
    """Every metric of the best weights by name, that which selected first."""
    parts = {"val": found.val, "test": found.test}
    every = {part: {task.metric: seen.metric, **(seen.further or {})} for part, seen in parts.items()}
    return {name: {part: values[name] for part, values in every.items()} for name in every["val"]}


def operations_of(record: dict[str, Any]) -> Operations:
    """What one inference of a trained model does."""
    return _OPERATIONS.validate_python(record["operations"])


def _aligned(job: Job, model: nn.Module, task: Task) -> list[float | None] | None:
    exact: SurrogateBPTT | None = job.extras.get("exact")
    if exact is None:
        return None
    # what it draws would shift the random numbers of the training
    with own_random_state(job.config.device):
        return gradient_alignment(model, task, exact)


def _points(model: nn.Module, task: Task, data: Data) -> tuple[str, dict[str, torch.Tensor]]:
    """Chart of the model's manifold, and what has a class, if anything has, in two directions of the tangent space
    there.
    """
    tangent = observe(model, task.x, task.edge_index, **graphs_of(task)).tangent.double().cpu()
    manifold = manifold_of(model)
    kind, kappa = ("plane", 0.0) if manifold is None else (chart(manifold), curvature(manifold))
    plane = torch.from_numpy(principal_plane(tangent.numpy())) * (abs(kappa) ** 0.5 if kappa else 1.0)
    labels = data["y"].cpu()
    shown = labels >= min(0, int(labels.max()))
    plane, labels = plane[shown], labels[shown]
    step = -(-len(plane) // MOST_POINTS)
    return kind, {"plane": plane[::step].clone(), "labels": labels[::step].clone()}


def _random_state() -> list[torch.Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]


def _set_random_state(states: list[torch.Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states[1:])
