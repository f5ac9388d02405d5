"""Train a model with every seed, beside a baseline under the same budget."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from msg.energy import report
from msg.experiments.config import NO_BASELINE, RunConfig
from msg.experiments.files import sealed_json, torch_bytes
from msg.experiments.job import Job, Result
from msg.experiments.jobs.fit import operations_of
from msg.experiments.progress import Passing, Progress
from msg.experiments.store import Store
from msg.experiments.study import Study, Summary, rehearse, split_of
from msg.report.figures import Curve, to_png, training
from msg.report.tables import mean_and_std
from msg.training import Epoch


@dataclass(frozen=True)
class TrainStudy(Study):
    """A run: every seed's model and its baseline.

    Attributes:
        base: its configuration.
        label: what names of its jobs begin with, where others stand beside them.
    """

    kind = "train"
    command = "train"
    what = "run"
    artefacts = ("results.json", "history.csv", "best.pt", "curves.png")

    base: RunConfig
    label: str = ""

    @property
    def folder(self) -> str:
        return f"{Path(self.base.dataset).stem}-{self.base.task}"

    @cached_property
    def configs(self) -> list[RunConfig]:
        """Of the model, and of the baseline if there is one.

        Raises:
            ValueError: for a baseline that cannot do the task.
        """
        names = [self.base.model, str(self.base.baseline)]
        return [self.base.for_model(name) for name in names if name != NO_BASELINE]

    def rehearse(self, data: Data) -> None:
        rehearse(self.configs, data)

    def jobs(self) -> list[Job]:
        """One for every seed of every model, seed by seed."""
        main = self.base.model
        return [
            Job("fit", self._name(config, seed), config, seed, extras={"keep": config.model == main, "last": True})
            for seed in self.base.seeds
            for config in self.configs
        ]

    def _name(self, config: RunConfig, seed: int) -> str:
        return f"{self.label}{config.model}-{seed}"

    def pending(self, results: Mapping[str, Result]) -> list[Job]:
        return [job for job in self.jobs() if job.name not in results]

    def extended(self, epochs: int) -> "TrainStudy":
        if epochs < self.base.epochs:
            raise ValueError(f"the run was begun with {self.base.epochs} epochs: give more, not {epochs}")
        if self.base.generations > 1:
            raise ValueError("more epochs would change what the first generation taught the next: begin a new run")
        return TrainStudy(replace(self.base, epochs=epochs))

    def watched(self, store: Store, results: Mapping[str, Result], progress: Progress) -> Progress:
        return _Histories(self, store, results, progress)

    def history(self, histories: Mapping[str, tuple[str, Sequence[Sequence[Any]]]]) -> bytes:
        """``history.csv``: a row an epoch; empty cells where a model has no radius or rates.

        Args:
            histories: name of the model's class and epochs, by job.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        layers = max((len(row[4]) for _, rows in histories.values() for row in rows), default=0)
        rates = [f"rate_{layer}" for layer in range(layers)]
        writer.writerow(["model", "seed", "epoch", "loss", "val_loss", "val", "radius", *rates, "seconds"])
        begun = [job for job in self.jobs() if job.name in histories]
        called = _called({job.config.model: histories[job.name][0] for job in begun})
        for job in begun:
            model, rows = called[job.config.model], histories[job.name][1]
            for epoch, loss, val_loss, val, rate, radius, seconds in rows:
                padded = [*rate, *[None] * (layers - len(rate))]
                writer.writerow([model, job.seed, epoch, loss, val_loss, val, radius, *padded, seconds])
        return text.getvalue().encode()

    def summarise(self, results: Mapping[str, Result], data: Data, versions: Mapping[str, str]) -> Summary:
        jobs = self.jobs()
        own = [job for job in jobs if job.config.model == self.base.model]
        best = max(own, key=lambda job: results[job.name].record["val"])
        called = _called({job.config.model: results[job.name].record["model"] for job in jobs})
        records = {job.name: results[job.name].record | {"model": called[job.config.model]} for job in jobs}
        histories = {name: _history(record) for name, record in records.items()}
        value = self._results(records, data, versions)
        files = {
            "history.csv": self.history(histories),
            "best.pt": torch_bytes(self._best(best, results[best.name], data)),
            "curves.png": self._picture(list(records.values()), results[best.name]),
            "results.json": sealed_json(value),  # last: it says that the run is finished
        }
        return Summary(value, files)

    def _results(
        self, records: Mapping[str, dict[str, Any]], data: Data, versions: Mapping[str, str]
    ) -> dict[str, Any]:
        config = self.base
        models = [_of_a_model([records[self._name(one, seed)] for seed in config.seeds]) for one in self.configs]
        return {
            "dataset": data.name,
            "content_hash": data.content_hash,
            "task": config.task,
            "split": split_of(config, data),
            "metric": next(iter(records.values()))["metric"],
            "manifold": config.manifold,
            "gradient": config.gradient,
            "neuron": config.neuron,
            "timesteps": config.timesteps,
            "num_layers": config.layers,
            "seeds": list(config.seeds),
            **models[0],
            "baseline": models[1] if len(models) > 1 else None,
            "config": config.as_dict(),
            "versions": dict(versions),
        }

    def _best(self, job: Job, result: Result, data: Data) -> dict[str, Any]:
        assert result.tensors is not None
        return {
            "seed": job.seed,
            "val": result.record["val"],
            "state_dict": result.tensors["weights"],
            "in_channels": result.record["in_channels"],
            "num_classes": data.num_classes,
            "config": self.base.as_dict(),
        }

    def _picture(self, records: Sequence[dict[str, Any]], best: Result) -> bytes:
        assert best.tensors is not None
        curves = []
        for record in records:
            epochs, losses, val_losses, vals, *_ = zip(*record["history"])
            selected = (record["best_epoch"], record["val"])
            curves.append(Curve(record["model"], epochs, losses, val_losses, vals, selected))
        points = best.tensors["plane"].numpy(), best.tensors["labels"].numpy()
        return to_png(training(curves, records[0]["metric"], *points, best.record["chart"]))

    def as_dict(self) -> dict[str, Any]:
        return self.base.as_dict()

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> "TrainStudy":
        return cls(RunConfig.from_dict(options))


class _Histories(Passing):
    """Keeps ``history.csv`` while trainings go on."""

    def __init__(self, study: TrainStudy, store: Store, results: Mapping[str, Result], progress: Progress):
        super().__init__(progress)
        self.study, self.store = study, store
        self.seen = {name: _history(result.record) for name, result in results.items()}

    def begin(self, job: Job, model: str, history: Sequence[Epoch]) -> None:
        self.seen[job.name] = (model, list(history))

    def add(self, job: Job, row: Epoch) -> None:
        self.seen[job.name][1].append(row)
        if row.epoch % job.config.checkpoint_every == 0:
            self._write()

    def end(self, job: Job) -> None:
        self._write()

    def _write(self) -> None:
        self.store.write("history.csv", self.study.history(self.seen))


def _called(classes: Mapping[str, str]) -> dict[str, str]:
    """What models are called for people, by name: their classes, with their names where two have the same class."""
    if len(set(classes.values())) == len(classes):
        return dict(classes)
    return {name: f"{kind} ({name})" for name, kind in classes.items()}


def _history(record: Mapping[str, Any]) -> tuple[str, list[Any]]:
    return record["model"], record["history"]


def _further(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Every metric of both parts, by name; of folders from before there were several, none."""
    kept = [record.get("metrics") or {} for record in records]
    return {
        name: {part: mean_and_std([values[name][part] for values in kept]) for part in ("val", "test")}
        for name in kept[0]
        if all(name in values for values in kept)
    }


def _of_a_model(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    radii = [record["radius"] for record in records if record["radius"] is not None]
    energies = [report(operations_of(record)).as_dict() for record in records]
    return {
        "model": records[0]["model"],
        "parameters": records[0]["parameters"],
        "test": mean_and_std([record["test"] for record in records]),
        "val": mean_and_std([record["val"] for record in records]),
        "metrics": _further(records),
        "epochs": [len(record["history"]) for record in records],
        "best_epoch": [record["best_epoch"] for record in records],
        "seconds_per_epoch": statistics.median(row[-1] for record in records for row in record["history"]),
        "firing_rate": [statistics.fmean(layer) for layer in zip(*(record["rates"] for record in records))],
        "max_radius": max(radii, default=None),
        "energy": {
            "energy_mj": statistics.fmean(energy["energy_mj"] for energy in energies),
            "energy_with_memory_mj": statistics.fmean(energy["energy_with_memory_mj"] for energy in energies),
            "per_seed": energies,
        },
    }
