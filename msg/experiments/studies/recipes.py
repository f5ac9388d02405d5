"""Choose one of the recipes for a graph by its validation part, and train that with every seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import Any

from torch_geometric.data import Data

from msg.experiments.config import NO_BASELINE, RunConfig
from msg.experiments.files import sealed_json
from msg.experiments.job import Job, Result
from msg.experiments.progress import Progress
from msg.experiments.recipes import RECIPES, check_recipes, leaves_open
from msg.experiments.store import Store
from msg.experiments.studies.train import TrainStudy
from msg.experiments.study import Study, Summary, rehearse


@dataclass(frozen=True)
class RecipeStudy(Study):
    """A run whose settings validation chooses.

    Each recipe is trained once, with a seed that is not reported; the one with the best validation metric (the first of
    equals) is then trained with every seed of ``base``, beside the baseline, as :class:`TrainStudy` does.

    Attributes:
        base: of the run, with no option of a model or a training, but epochs, patience and baseline.
        recipes: options of each, by name. One whose model is the baseline is left out.

    Raises:
        ValueError: for a configuration that says which model is trained, or how; or a recipe that cannot be.
    """

    kind = "recipes"
    command = "train"
    what = "run"
    artefacts = TrainStudy.artefacts

    base: RunConfig
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: RECIPES)

    def __post_init__(self):
        if not leaves_open(self.base.given()):
            raise ValueError("a recipe says which model is trained, and how: leave the options of both out")
        check_recipes(self.recipes)
        if not self.runs:
            raise ValueError(f"no recipe is left beside baseline={self.base.baseline!r}: give another, or none")

    @property
    def folder(self) -> str:
        return TrainStudy(self.base).folder

    @property
    def seed(self) -> int:
        """With which recipes are trained: the first that is not reported."""
        return next(seed for seed in count() if seed not in self.base.seeds)

    @cached_property
    def runs(self) -> dict[str, TrainStudy]:
        """What each recipe would lead to, by name."""
        other = {name: one for name, one in self.recipes.items() if one.get("model") != self.base.baseline}
        return {name: TrainStudy(self.base.with_options(**one), f"{name}-") for name, one in other.items()}

    @cached_property
    def tries(self) -> dict[str, Job]:
        """What is trained to choose, by recipe."""
        alone = {"baseline": NO_BASELINE, "seeds": (self.seed,)}
        configs = {name: run.base.with_options(**alone) for name, run in self.runs.items()}
        extras = {"forgiving": True, "last": True}
        return {
            name: Job("fit", f"recipe-{name}", config, self.seed, f"recipe {name}", extras)
            for name, config in configs.items()
        }

    def validated(self, results: Mapping[str, Result]) -> dict[str, float]:
        """Best validation metric of every recipe that did not diverge, by name.

        Raises:
            FloatingPointError: if all of them did.
        """
        records = {name: results[job.name].record for name, job in self.tries.items()}
        val = {name: record["val"] for name, record in records.items() if "diverged" not in record}
        if not val:
            raise FloatingPointError("; ".join(record["diverged"] for record in records.values()))
        return val

    def chosen(self, results: Mapping[str, Result]) -> str | None:
        """Name of the recipe with the best validation metric; ``None`` before all are trained.

        Raises:
            FloatingPointError: if all of them diverged.
        """
        if any(job.name not in results for job in self.tries.values()):
            return None
        val = self.validated(results)
        return max(val, key=lambda name: val[name])

    def rehearse(self, data: Data) -> None:
        for run in self.runs.values():
            run.rehearse(data)
        rehearse((job.config for job in self.tries.values()), data)

    def pending(self, results: Mapping[str, Result]) -> list[Job]:
        chosen = self.chosen(results)
        if chosen is None:
            return [job for job in self.tries.values() if job.name not in results]
        return self.runs[chosen].pending(results)

    def extended(self, epochs: int) -> "RecipeStudy":
        for run in self.runs.values():
            run.extended(epochs)
        return RecipeStudy(replace(self.base, epochs=epochs), self.recipes)

    def watched(self, store: Store, results: Mapping[str, Result], progress: Progress) -> Progress:
        chosen = self.chosen(results)
        if chosen is None:
            return progress
        val = ", ".join(f"{name} {value:.4f}" for name, value in self.validated(results).items())
        progress.note(f"validation of recipes: {val}; going on with {chosen}")
        run = self.runs[chosen]
        jobs = {job.name for job in run.jobs()}
        return run.watched(store, {name: found for name, found in results.items() if name in jobs}, progress)

    def summarise(self, results: Mapping[str, Result], data: Data, versions: Mapping[str, str]) -> Summary:
        """What :class:`TrainStudy` says of the chosen recipe, and ``recipes``: its name, all metrics, and the seed."""
        chosen = self.chosen(results)
        assert chosen is not None
        summary = self.runs[chosen].summarise(results, data, versions)
        value = {**summary.value, "recipes": {"chosen": chosen, "val": self.validated(results), "seed": self.seed}}
        return Summary(value, {**summary.files, "results.json": sealed_json(value)})

    def as_dict(self) -> dict[str, Any]:
        return {**self.base.as_dict(), "recipes": {name: dict(options) for name, options in self.recipes.items()}}

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> "RecipeStudy":
        base = {name: value for name, value in options.items() if name != "recipes"}
        return cls(RunConfig.from_dict(base), options["recipes"])
