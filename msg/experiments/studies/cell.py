"""A cell of a table: one model on one graph, its settings searched and then trained with seeds that are reported."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from msg.energy import report
from msg.experiments.cells import Outcome, Tried, outcome_as_dict, winner_of
from msg.experiments.config import RunConfig
from msg.experiments.files import sealed_json
from msg.experiments.job import Job, Result
from msg.experiments.jobs.fit import operations_of
from msg.experiments.study import Study, Summary, rehearse, split_of
from msg.experiments.tables.spaces import (
    Dimension,
    Scalar,
    configured,
    space_as_dict,
    space_from_dict,
)
from msg.experiments.tables.suggestions import suggest

BATCH = 4
"""Trials that are asked for together, so that several processes have something to do."""

_HOPELESS = 8
"""If none of the first trials has a metric, there are no more."""

_FINALISTS = 4
"""One trial of so many is trained with all search seeds; two at least."""


@dataclass(frozen=True)
class CellStudy(Study):
    """One model on one graph.

    First its settings are searched: ``trials`` of them are trained with the first search seed, the best quarter with
    the others too, and the best mean validation metric wins; the test part is not read there. Then it is trained with
    every seed of ``base``, and measured on the test part.

    Attributes:
        base: graph, split, task, model, budget, and the seeds that are reported.
        row: how it is called; by its model unless given.
        fixed: settings that are not searched, see :mod:`msg.experiments.tables.spaces`.
        space: what is searched.
        trials: how many settings are tried.
        search_seeds: with which; none of them is reported.
        seconds: of processor time that one training of the search may take.
        settings: found earlier, so that there is no search; ``None``: search them.
        origin: of which table and graph such settings are, if of another.
        metrics: names of what is reported; the first is the one that selects.
        beginnings: whole settings of the space that are tried before any other; what each dimension begins with unless
            given.

    Raises:
        ValueError: for shared seeds, no trials, or settings that are not of the space.
    """

    kind = "cell"
    command = "benchmark"
    what = "cell"
    artefacts = ("cell.json",)

    base: RunConfig
    row: str = ""
    fixed: Mapping[str, Scalar] = field(default_factory=dict)
    space: Mapping[str, Dimension] = field(default_factory=dict)
    trials: int = 32
    search_seeds: tuple[int, ...] = (0, 1)
    seconds: float = 600.0
    settings: Mapping[str, Scalar] | None = None
    metrics: tuple[str, ...] = ("accuracy",)
    beginnings: tuple[Mapping[str, Scalar], ...] = ()
    origin: str | None = None

    def __post_init__(self):
        if set(self.search_seeds) & set(self.base.seeds):
            raise ValueError("seeds of the search must not be reported")
        if self.settings is None and (self.trials < 1 or not self.search_seeds or not self.seconds > 0):
            raise ValueError("a search needs at least one trial, one seed and some seconds")
        if not all(_lies_in(self.space, one) for one in self.beginnings):
            raise ValueError("what a search begins with must be whole settings of its space")
        configured(self.base, {**self.fixed, **(self.settings or {})})

    @property
    def folder(self) -> str:
        return f"cell-{Path(self.base.dataset).stem}-{self.row or self.base.model}"

    @property
    def _title(self) -> str:
        return f"{self.base.dataset}, {self.row or self.base.model}"

    def rehearse(self, data: Data) -> None:
        # a trial that cannot be built is one without a metric
        if self.settings is not None:
            rehearse([self._configured(self.settings)], data)

    def _configured(self, settings: Mapping[str, Scalar]) -> RunConfig:
        return configured(self.base, {**self.fixed, **settings})

    def pending(self, results: Mapping[str, Result]) -> list[Job]:
        tried, waiting = self._search(results)
        if waiting:
            return waiting
        best = self._best(tried)
        return [] if best is None else [job for job in self._reports(best) if job.name not in results]

    def _search(self, results: Mapping[str, Result]) -> tuple[list[Tried], list[Job]]:
        """Trials that are over, and jobs of the batch that is not."""
        first, *others = self.search_seeds
        tried: list[Tried] = []
        while self.settings is None and len(tried) < self.trials and not _hopeless(tried):
            told = [(one.settings, one.value) for one in tried]
            asked = suggest(self.space, told, min(BATCH, self.trials - len(tried)), self.beginnings)
            batch = [self._trial(len(tried) + number, settings, first) for number, settings in enumerate(asked)]
            waiting = [job for job in batch if job.name not in results]
            if waiting:
                return tried, waiting
            tried += [_tried(settings, [results[job.name].record]) for settings, job in zip(asked, batch)]
        finals = {
            number: [self._trial(number, tried[number].settings, seed) for seed in self.search_seeds]
            for number in (_finalists(tried) if others else [])
        }
        waiting = [job for jobs in finals.values() for job in jobs if job.name not in results]
        if not waiting:
            for number, jobs in finals.items():
                tried[number] = _tried(tried[number].settings, [results[job.name].record for job in jobs])
        return tried, waiting

    def _trial(self, number: int, settings: Mapping[str, Scalar], seed: int) -> Job:
        title = f"{self._title}, trial {number + 1} of {self.trials}"
        extras: dict[str, Any] = {"settings": settings, "seconds": self.seconds}
        try:
            config = self._configured(settings)
        except ValueError as error:  # what contradicts itself is a trial like any other that cannot be built
            config, extras["refused"] = self.base, str(error)
        return Job("trial", f"trial-{number}-{seed}", config, seed, title, extras)

    def _best(self, tried: list[Tried]) -> Mapping[str, Scalar] | None:
        """The settings that won, or those that were known."""
        if self.settings is not None:
            return self.settings
        winner = winner_of(tried)
        return None if winner is None else winner.settings

    def _reports(self, settings: Mapping[str, Scalar]) -> list[Job]:
        config = self._configured(settings)
        return [Job("fit", f"seed-{seed}", config, seed, self._title, {"forgiving": True}) for seed in self.base.seeds]

    def summarise(self, results: Mapping[str, Result], data: Data, versions: Mapping[str, str]) -> Summary:
        tried, _ = self._search(results)
        best = self._best(tried)
        records = [] if best is None else [results[job.name].record for job in self._reports(best)]
        failed = self._failed(tried, best, records)
        outcome = Outcome(
            dataset=data.name,
            content_hash=data.content_hash,
            task=self.base.task,
            split=split_of(self.base, data),
            seeds=list(self.base.seeds),
            settings={} if best is None else {**self.fixed, **best},
            searched=tried,
            val={} if failed else self._measured(records, "val"),
            test={} if failed else self._measured(records, "test"),
            trainings=len(results),
            seconds=sum(one.seconds for one in tried) + sum(_seconds(record) for record in records),
            parameters=None if failed else records[0]["parameters"],
            failed=failed,
            versions=dict(versions),
            origin=self.origin,
            energy={} if failed else _energies(records),
        )
        return Summary(outcome, {"cell.json": sealed_json(outcome_as_dict(outcome))})

    def _failed(self, tried: list[Tried], best: Any, records: list[dict[str, Any]]) -> str | None:
        if best is None:
            reason = next(one.failed for one in tried if one.failed is not None)
            return f"none of {len(tried)} trials could be trained: {reason}"
        lost = [f"seed {seed}: {one['diverged']}" for seed, one in zip(self.base.seeds, records) if "diverged" in one]
        return "; ".join(lost) or None

    def _measured(self, records: list[dict[str, Any]], part: str) -> dict[str, list[float]]:
        found = {}
        for name in self.metrics:
            values = [_metric(record, part, name) for record in records]
            if all(value is not None for value in values):
                found[name] = values
        return found

    def as_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("row", "trials", "seconds", "origin")}
        return {
            **plain,
            "base": self.base.as_dict(),
            "fixed": dict(self.fixed),
            "space": space_as_dict(self.space),
            "search_seeds": list(self.search_seeds),
            "settings": None if self.settings is None else dict(self.settings),
            "metrics": list(self.metrics),
            "beginnings": [dict(one) for one in self.beginnings],
        }

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> "CellStudy":
        own = {"base": RunConfig.from_dict(options["base"]), "space": space_from_dict(options["space"])}
        lists = {name: tuple(options[name]) for name in ("search_seeds", "metrics")}
        lists["beginnings"] = tuple(options.get("beginnings", ()))  # an earlier version had none
        return cls(**{**options, **own, **lists})


def _tried(settings: Mapping[str, Scalar], records: list[dict[str, Any]]) -> Tried:
    failed = next((record["failed"] for record in records if record["failed"] is not None), None)
    vals = [record["val"] for record in records if record["val"] is not None]
    return Tried(settings, vals, failed, sum(record["seconds"] for record in records))


def _finalists(tried: list[Tried]) -> list[int]:
    """Numbers of the best trials, in their order; the first of equal ones."""
    good = {number: one.value for number, one in enumerate(tried) if one.value is not None}
    count = max(2, math.ceil(len(tried) / _FINALISTS))
    return sorted(sorted(good, key=lambda number: -good[number])[:count])


def _lies_in(space: Mapping[str, Dimension], settings: Mapping[str, Scalar]) -> bool:
    return set(settings) == set(space) and all(space[name].holds(value) for name, value in settings.items())


def _hopeless(tried: list[Tried]) -> bool:
    return len(tried) >= _HOPELESS and all(one.value is None for one in tried)


def _metric(record: Mapping[str, Any], part: str, name: str) -> float | None:
    """A metric of a training: the one that selects, or one that was measured beside it."""
    return record[part] if name == record["metric"] else (record.get("metrics") or {}).get(name, {}).get(part)


def _energies(records: list[dict[str, Any]]) -> dict[str, list[float]]:
    seeds = [report(operations_of(record)).energies() for record in records]
    found = {name: [one[name] for one in seeds] for name in seeds[0]}
    return {name: [value for value in values if value is not None] for name, values in found.items()}


def _seconds(record: Mapping[str, Any]) -> float:
    return math.fsum(row[-1] for row in record.get("history", ()))
