"""Experiments in a line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msg.energy import Convention
from msg.experiments.comparison import Comparison
from msg.experiments.config import RunConfig
from msg.experiments.executor import Executor
from msg.experiments.progress import Progress
from msg.experiments.studies.energy import EnergyStudy
from msg.experiments.studies.rules import RulesStudy
from msg.experiments.studies.train import TrainStudy
from msg.experiments.study import Experiment
from msg.experiments.trials import Search


def run(
    config: RunConfig,
    out: str | Path | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Train a model and its baseline with every seed, and keep what came of it; the content of ``results.json``.

    Args:
        config: of the run.
        out: its folder; ``None`` for the first free one of ``runs/DATASET-TASK``, ``runs/DATASET-TASK-2``, ...
        progress: told what is done.
        executor: who does the work; this process unless given.

    Raises:
        FileExistsError: if the folder holds a run already.
        ValueError: if graph, split and options do not fit together.
        DatasetError: for missing or damaged files.
        FloatingPointError: if a training diverges.
    """
    return Experiment.begin(TrainStudy(config), out).execute(progress, executor)


def compare(
    study: RulesStudy,
    out: str | Path | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Comparison:
    """Compare gradient rules and keep what was found; arguments and errors are those of :func:`run`."""
    return Experiment.begin(study, out).execute(progress, executor)


def search(
    models: Sequence[str],
    config: RunConfig,
    vary: Mapping[str, Sequence[Any]] | None = None,
    trials: int | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    inputs: Convention = "nonzero",
) -> Search:
    """Train several models under one budget, count one inference of each, and keep what was found.

    Args:
        models: see :class:`EnergyStudy`, as of the next three and the last.
        config: its ``base``.
        vary: values to try of options.
        trials: limit of settings of a model.
        out: see :func:`run`, as of the other two.
        progress: told what is done.
        executor: who does the work.
        inputs: under which settings are compared.

    Raises:
        ValueError: as :class:`EnergyStudy`, and as :func:`run`.
        FloatingPointError: if a training diverges; in a search, where it has lost, if no setting of a model is left.
    """
    study = EnergyStudy(tuple(models), config, vary or {}, trials, inputs)
    return Experiment.begin(study, out).execute(progress, executor)


def resume(
    out: str | Path,
    progress: Progress | None = None,
    executor: Executor | None = None,
    epochs: int | None = None,
) -> Any:
    """Go on with whatever a folder holds; what it returns is what :func:`run`, :func:`compare` or :func:`search` would.

    Args:
        out: the folder.
        progress: told what is done.
        executor: who does the work.
        epochs: more than a run began with, finished or not: it comes to what it would have come to with so many from
            the start.

    Raises:
        FileNotFoundError: if the folder holds nothing to go on with.
        ValueError: if a file in it is damaged, the graph has changed, or it cannot be given so many epochs.
    """
    return Experiment.resume(out, epochs=epochs).execute(progress, executor)
