"""Train one model with one seed and measure what came of it."""

from typing import Any

import torch
from pydantic import TypeAdapter
from torch import nn
from torch_geometric.data import Data

from msg.energy import Operations
from msg.experiments.build import build_budget, prepare
from msg.experiments.job import Job, Result, Slot
from msg.experiments.progress import Progress
from msg.gradients import SurrogateBPTT
from msg.manifolds import chart, curvature
from msg.report.figures import principal_plane
from msg.report.figures.embedding import MOST_POINTS
from msg.training import (
    Task,
    Training,
    count_inference,
    gradient_alignment,
    manifold_of,
    observe,
    own_random_state,
)

_OPERATIONS = TypeAdapter(Operations)


def fit(job: Job, data: Data, slot: Slot, progress: Progress) -> Result:
    """Train, resumable at every checkpoint.

    Extras of the job: ``exact``, a rule to compare gradients with before and after; ``keep``, whether the best weights
    and a picture's points are kept; ``forgiving``, whether a training that diverges is a result as well.

    Record: ``model``, ``val``, ``test``, ``best_epoch``, ``rates``, ``radius``, ``parameters``, ``in_channels``,
    ``operations`` of one inference, ``history``, ``cosine_before``, ``cosine_after``; or ``diverged``.

    Raises:
        FloatingPointError: if it diverges.
    """
    try:
        return _fit(job, data, slot, progress)
    except FloatingPointError as error:
        what = f"{job.title}, seed {job.seed}: {error}" if job.title else str(error)
        if job.extras.get("forgiving"):
            return Result({"diverged": what, "line": what})
        raise FloatingPointError(what) from error


def _fit(job: Job, data: Data, slot: Slot, progress: Progress) -> Result:
    model, task = prepare(job.config, data, job.seed)
    before = _aligned(job, model, task)
    training = Training(model, task, build_budget(job.config))
    state = slot.load()
    if state is not None:
        training.load_state_dict(state["training"])
        _set_random_state(state["random"])
    name = type(model).__name__
    progress.started(job, name, training.history)
    while not training.finished:
        progress.epoch(job, training.step())
        if len(training.history) % job.config.checkpoint_every == 0:
            slot.save({"training": training.state_dict(), "random": _random_state()})
    found = training.conclude()
    best = f"{len(found.history)} epochs, best {found.best_epoch}"
    measured = f"validation {found.val.metric:.4f}, test {found.test.metric:.4f}"
    record = {
        "model": name,
        "val": found.val.metric,
        "test": found.test.metric,
        "best_epoch": found.best_epoch,
        "rates": list(found.val.rates),
        "radius": found.val.radius,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "in_channels": task.x.size(1),
        "metric": task.metric,
        "operations": _OPERATIONS.dump_python(count_inference(model, task), mode="json"),
        "history": [list(row) for row in found.history],
        "cosine_before": before,
        "cosine_after": _aligned(job, model, task),
        "line": f"{job.title or name}, seed {job.seed}: {best}, {measured}",
    }
    if not job.extras.get("keep"):
        return Result(record)
    record["chart"], points = _points(model, task, data)
    return Result(record, {"weights": model.state_dict(), **points})


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
    """Chart of the model's manifold, and nodes in two directions of the tangent space there, with their classes."""
    tangent = observe(model, task.x, task.edge_index).tangent.double().cpu()
    manifold = manifold_of(model)
    kind, kappa = ("plane", 0.0) if manifold is None else (chart(manifold), curvature(manifold))
    plane = torch.from_numpy(principal_plane(tangent.numpy())) * (abs(kappa) ** 0.5 if kappa else 1.0)
    step = -(-len(plane) // MOST_POINTS)
    return kind, {"plane": plane[::step].clone(), "labels": data["y"].cpu()[::step].clone()}


def _random_state() -> list[torch.Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]


def _set_random_state(states: list[torch.Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states[1:])
