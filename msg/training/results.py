"""What a run found: one outcome a training, and their summary as ``results.json`` has it."""

import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from typing import Any

from torch_geometric.data import Data

from msg import __version__
from msg.training.config import LINKS, RunConfig
from msg.training.loop import Epoch, Fit


@dataclass(frozen=True)
class Outcome:
    """What came of one model's training with one seed, measured at its best weights.

    Attributes:
        model: name of its class.
        seed: of split and initialisation.
        baseline: whether it is the baseline.
        val: validation metric.
        test: test metric.
        best_epoch: the epoch of these weights, counted from 1.
        rates: mean firing rate of every layer.
        radius: largest distance of a node from the origin, or ``None``.
        energy: of one inference, see :meth:`msg.energy.Report.as_dict`.
        parameters: number of learnable parameters.
        history: all epochs.
    """

    model: str
    seed: int
    baseline: bool
    val: float
    test: float
    best_epoch: int
    rates: tuple[float, ...]
    radius: float | None
    energy: dict[str, Any]
    parameters: int
    history: list[Epoch]

    @classmethod
    def of(cls, fit: Fit, model: str, seed: int, baseline: bool, energy: dict[str, Any], parameters: int) -> "Outcome":
        """From a :class:`~msg.training.Fit`."""
        val, test = fit.val, fit.test
        return cls(
            model, seed, baseline, val.metric, test.metric, fit.best_epoch, val.rates, val.radius, energy, parameters,
            fit.history,
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, loadable with ``weights_only=True``."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**plain, "history": [tuple(row) for row in self.history]}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Outcome":
        """From what :meth:`as_dict` gives."""
        return cls(**{**plain, "history": [Epoch(*row) for row in plain["history"]]})


def history_header(layers: int) -> list[str]:
    """Columns of ``history.csv`` for models with at most so many firing layers."""
    rates = [f"rate_{layer}" for layer in range(layers)]
    return ["model", "seed", "epoch", "loss", "val_loss", "val", "radius", *rates, "seconds"]


def history_rows(model: str, seed: int, history: Sequence[Epoch], layers: int) -> list[list[Any]]:
    """Rows of ``history.csv``; empty cells where a model has no radius or rates."""
    return [
        [model, seed, row.epoch, row.loss, row.val_loss, row.val, row.radius]
        + [*row.rates, *[None] * (layers - len(row.rates))]
        + [row.seconds]
        for row in history
    ]


def summarise(config: RunConfig, data: Data, metric: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The content of ``results.json``.

    Args:
        config: of the run.
        data: the graph.
        metric: name of the metric.
        outcomes: all trainings of the run.
    """
    baseline = [outcome for outcome in outcomes if outcome.baseline]
    return {
        "dataset": data.name,
        "content_hash": data.content_hash,
        "task": config.task,
        "split": config.split if config.task == LINKS else data.split,
        "metric": metric,
        "manifold": config.manifold,
        "gradient": config.gradient,
        "neuron": config.neuron,
        "timesteps": config.timesteps,
        "num_layers": config.layers,
        "seeds": list(config.seeds),
        **_summary([outcome for outcome in outcomes if not outcome.baseline]),
        "baseline": _summary(baseline) if baseline else None,
        "config": config.as_dict(),
        "versions": versions(),
    }


def _summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    radii = [outcome.radius for outcome in outcomes if outcome.radius is not None]
    energies = [outcome.energy["energy_mj"] for outcome in outcomes]
    return {
        "model": outcomes[0].model,
        "parameters": outcomes[0].parameters,
        "test": mean_and_std([outcome.test for outcome in outcomes]),
        "val": mean_and_std([outcome.val for outcome in outcomes]),
        "epochs": [len(outcome.history) for outcome in outcomes],
        "best_epoch": [outcome.best_epoch for outcome in outcomes],
        "seconds_per_epoch": statistics.median(row.seconds for outcome in outcomes for row in outcome.history),
        "firing_rate": [statistics.fmean(layer) for layer in zip(*(outcome.rates for outcome in outcomes))],
        "max_radius": max(radii, default=None),
        "energy": {
            "energy_mj": statistics.fmean(energies),
            "energy_with_memory_mj": statistics.fmean(outcome.energy["energy_with_memory_mj"] for outcome in outcomes),
            "per_seed": [outcome.energy for outcome in outcomes],
        },
    }


def mean_and_std(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sample standard deviation, 0 for a single value."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"per_seed": list(values), "mean": statistics.fmean(values), "std": spread}


def versions() -> dict[str, str]:
    """Versions of Python, of this library and of those its results depend on."""
    packages = ("torch", "torch_geometric", "geoopt", "numpy")
    return {"msg": __version__, "python": platform.python_version(), **{name: version(name) for name in packages}}
