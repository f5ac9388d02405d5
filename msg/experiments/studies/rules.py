"""Compare gradient rules with nothing else changed: accuracy, time, memory, and how exact their gradients are."""

import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from msg.experiments.comparison import Comparison, Row
from msg.experiments.config import RunConfig, parameters
from msg.experiments.files import json_bytes
from msg.experiments.job import Job, Result
from msg.experiments.options import fields_of, listed
from msg.experiments.study import Study, Summary, rehearse, split_of
from msg.gradients import SurrogateBPTT
from msg.names import GRADIENTS, SURROGATES
from msg.report.figures import to_png
from msg.report.tables import mean_and_std

_OF_THE_RULE = ("gradient", "timesteps", "surrogate", "detach_reset")
_NAMED = ("dataset", "model", "task", "neuron")
_NOT_USED = ("baseline", "checkpoint_every", "seeds")


@dataclass(frozen=True)
class RulesStudy(Study):
    """Gradient rules to be compared, every one at every number of time steps.

    Attributes:
        base: what they share; its ``gradient``, ``timesteps`` and options of the rule do not matter.
        rules: names, as ``gradient`` of :class:`~msg.experiments.RunConfig` takes them.
        timesteps: values of ``T``.
        surrogate: of the rules that use one, and of the exact gradient that all are compared with.
        detach_reset: the same, for rules that can do either.
        memory: whether peak memory is measured, which takes one more process for every rule and ``T``.

    Raises:
        ValueError: for an empty or repeated list, and whatever :class:`~msg.experiments.RunConfig` refuses.
    """

    kind = "rules"
    command = "compare"
    what = "comparison"
    artefacts = ("comparison.json", "comparison.md", "comparison.png")

    base: RunConfig
    rules: tuple[str, ...] = ("dvm", "bptt")
    timesteps: tuple[int, ...] = (5, 15, 64)
    surrogate: str = "atan"
    detach_reset: bool = True
    memory: bool = True

    def __post_init__(self):
        for name in ("rules", "timesteps"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must be different values, at least one, not {list(values)}")
        if not isinstance(self.memory, bool):
            raise ValueError(f"memory must be true or false, not {self.memory!r}")
        if self.surrogate not in SURROGATES:
            raise ValueError(f"unknown surrogate {self.surrogate!r}: use {listed(SURROGATES)}")
        # what does not matter is the same in equal comparisons
        object.__setattr__(self, "base", self.runs()[0])

    @property
    def folder(self) -> str:
        return f"compare-{Path(self.base.dataset).stem}"

    def runs(self) -> list[RunConfig]:
        """One configuration for every ``T`` of every rule."""
        plain = self.base.for_model(self.base.model)
        return [
            plain.with_options(gradient=rule, timesteps=timesteps, **self._options(rule))
            for rule in self.rules
            for timesteps in self.timesteps
        ]

    def _options(self, rule: str) -> dict[str, Any]:
        # an unknown rule is RunConfig's to refuse
        known = parameters(GRADIENTS[rule]) if rule in GRADIENTS else ()
        return {name: getattr(self, name) if name in known else None for name in ("surrogate", "detach_reset")}

    def rehearse(self, data: Data) -> None:
        first, *others = self.runs()
        rehearse([first], data)
        rehearse([run.with_options(seeds=run.seeds[:1]) for run in others], data)

    def pending(self, results: Mapping[str, Result]) -> list[Job]:
        jobs = [job for run in self.runs() for job in self._jobs(run)]
        waiting = [job for job in jobs if job.name not in results]
        if waiting or "timing" in results:
            return waiting
        # last of all, so that nothing else goes on meanwhile
        return [Job("timing", "timing", self.base, self.base.seeds[0], extras={"runs": self.runs()})]

    def _jobs(self, run: RunConfig) -> list[Job]:
        name, title = f"{run.gradient}-{run.timesteps}", f"{run.gradient}, T={run.timesteps}"
        exact = SurrogateBPTT(SURROGATES[self.surrogate](), self.detach_reset)
        fits = [Job("fit", f"{name}-{seed}", run, seed, title, {"exact": exact}) for seed in run.seeds]
        return fits + [Job("memory", f"{name}-memory", run, run.seeds[0], title)] * self.memory

    def summarise(self, results: Mapping[str, Result], data: Data, versions: Mapping[str, str]) -> Summary:
        seconds = results["timing"].record["seconds"]
        rows = [self._row(run, results, time) for run, time in zip(self.runs(), seconds)]
        metric = results[self._jobs(self.base)[0].name].record["metric"]
        split = split_of(self.base, data)
        found = Comparison(
            self.as_dict(), self.command_line(), data.name, data.content_hash, split, metric, tuple(rows), versions
        )
        files = {
            "comparison.md": found.markdown().encode(),
            "comparison.png": to_png(found.figure()),
            "comparison.json": json_bytes(found.as_dict()),
        }
        return Summary(found, files)

    def _row(self, run: RunConfig, results: Mapping[str, Result], seconds: float) -> Row:
        jobs = self._jobs(run)
        fits = [results[job.name].record for job in jobs if job.kind == "fit"]
        memory = [results[job.name].record["memory_mb"] for job in jobs if job.kind == "memory"]
        return Row(
            rule=str(run.gradient),
            timesteps=run.timesteps or 0,
            val=mean_and_std([fit["val"] for fit in fits]),
            test=mean_and_std([fit["test"] for fit in fits]),
            best_epoch=[fit["best_epoch"] for fit in fits],
            firing_rate=_means([fit["rates"] for fit in fits]),
            cosine_before=_means([fit["cosine_before"] for fit in fits]),
            cosine_after=_means([fit["cosine_after"] for fit in fits]),
            memory_mb=memory[0] if memory else None,
            seconds_per_epoch=seconds,
        )

    def command_line(self) -> str:
        """The command that makes this comparison; options that have their default are left out."""
        base = self.base
        words = ["msg", "compare", "--rules", ",".join(self.rules)]
        words += ["--timesteps", ",".join(map(str, self.timesteps)), "--seeds", ",".join(map(str, base.seeds))]
        given = {name: getattr(base, name) for name in _NAMED} | base.given()
        for name, value in given.items():
            flag = fields_of(RunConfig)[name].flag
            if isinstance(value, bool):
                words.append(flag if value else flag.replace("--", "--no-", 1))
            elif name not in (*_OF_THE_RULE, *_NOT_USED):
                words += [flag, str(value)]
        words += ["--surrogate", self.surrogate] + ([] if self.detach_reset else ["--no-detach-reset"])
        return shlex.join(words + ([] if self.memory else ["--no-memory"]))

    def as_dict(self) -> dict[str, Any]:
        lists = {"rules": list(self.rules), "timesteps": list(self.timesteps)}
        own = {name: getattr(self, name) for name in ("surrogate", "detach_reset", "memory")}
        return {**lists, **own, "base": self.base.as_dict()}

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> "RulesStudy":
        lists = {name: tuple(options[name]) for name in ("rules", "timesteps")}
        return cls(**{**options, **lists, "base": RunConfig.from_dict(options["base"])})


def _means(per_seed: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Means over the seeds that have a number, layer by layer."""
    known = [[value for value in values if value is not None] for values in zip(*per_seed)]
    return [statistics.fmean(values) if values else None for values in known]
