"""What models cost and what they reach: settings that were tried, the best of them, and their fronts."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from msg.energy import HOROWITZ_45NM_FP32, Candidate, Comparison, Convention, Operations, compare, pareto_front, report
from msg.experiments.config import RunConfig
from msg.report.figures import front as draw_front
from msg.report.tables import Style, heading, mean_std, render, significant

WITHIN = 0.005
"""Two metrics that differ by no more are called the same."""


@dataclass
class Trial:
    """One model under one setting.

    Attributes:
        model: its name.
        settings: the varied options that the model reads, with their values.
        config: with these settings.
        val: validation metric of each seed that has been trained.
        test: test metric of the same seeds.
        runs: one inference of each, counted.
    """

    model: str
    settings: Mapping[str, Any]
    config: RunConfig
    val: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    runs: list[Operations] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The model and its setting."""
        return " ".join([self.model, *(f"{name}={value}" for name, value in self.settings.items())])

    @property
    def selection(self) -> float:
        """Mean validation metric. Nothing else selects."""
        return statistics.fmean(self.val)

    @property
    def energy_mj(self) -> float:
        """Mean energy of one inference under the first table of costs, products with zeros skipped, without memory."""
        return self._mean_mj("nonzero")

    @property
    def events_energy_mj(self) -> float:
        """The same with ones as additions."""
        return self._mean_mj("events")

    @property
    def energy_with_memory_mj(self) -> float:
        """The first with memory."""
        return self._mean_mj("nonzero", memory=True)

    def _mean_mj(self, convention: Convention, memory: bool = False) -> float:
        priced = (report(ops, HOROWITZ_45NM_FP32).energy_mj(convention, memory) for ops in self.runs)
        return statistics.fmean(priced)

    def as_dict(self) -> dict[str, Any]:
        """As JSON would have it."""
        kept = {name: getattr(self, name) for name in ("model", "settings", "val", "test")}
        energies = ("energy_mj", "events_energy_mj", "energy_with_memory_mj")
        return {**kept, **{name: getattr(self, name) if self.runs else None for name in energies}}


@dataclass(frozen=True)
class Search:
    """What an energy study found; ``print`` it.

    Attributes:
        models: in the order they were named; the first is the reference.
        trials: all that were tried, most of them on the first seed only; one that diverged has no metrics.
        finalists: those that were trained on all seeds.
        dataset: name of the graph.
        metric: name of the metric.
    """

    models: tuple[str, ...]
    trials: list[Trial]
    finalists: list[Trial]
    dataset: str
    metric: str

    @property
    def best(self) -> dict[str, Trial]:
        """Each model's finalist of highest validation metric."""
        return {name: max(self._of(name), key=lambda trial: trial.selection) for name in self.models}

    def front(self, model: str | None = None) -> list[Trial]:
        """Finalists, of one model or all, that no other has more validation metric than for no more energy."""
        trials = self.finalists if model is None else self._of(model)
        return pareto_front(trials, lambda trial: trial.energy_mj, lambda trial: trial.selection)

    def comparison(self) -> Comparison:
        """The best of each model under every table of costs."""
        found = [Candidate(name, trial.runs, trial.test) for name, trial in self.best.items()]
        return compare(found, title=f"Energy of one inference on {self.dataset}, mJ", metric=self.metric)

    def savings(self, trial: Trial) -> tuple[float, float | None]:
        """How many times less energy a trial needs than the best of the reference, and than the reference's cheapest
        finalist whose validation metric is not more than ``WITHIN`` below the trial's; ``None`` without one.
        """
        reference = self.models[0]
        same = [one for one in self._of(reference) if one.selection >= trial.selection - WITHIN]
        cheapest = min((one.energy_mj for one in same), default=None)
        return self.best[reference].energy_mj / trial.energy_mj, cheapest and cheapest / trial.energy_mj

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON would have it."""
        front = [trial.name for trial in self.front()]
        fronts = {name: [trial.name for trial in self.front(name)] for name in self.models}
        best = {name: trial.name for name, trial in self.best.items()}
        trials = [trial.as_dict() for trial in self.trials]
        return {**self.comparison().as_dict(), "best": best, "front": front, "fronts": fronts, "trials": trials}

    def __str__(self) -> str:
        return self._render("text")

    def markdown(self) -> str:
        """The search as Markdown."""
        return self._render("markdown")

    def figure(self) -> Any:
        """Metric against energy, each model's front a line; bars of energy where nothing was varied."""
        if not self._searched:
            return self.comparison().figure()
        series = {
            name: [(one.energy_mj, [100 * value for value in one.test]) for one in self.front(name)]
            for name in self.models
        }
        return draw_front(series, f"mJ per inference, {HOROWITZ_45NM_FP32.name}", f"test {self.metric}, %")

    @property
    def _searched(self) -> bool:
        return len(self.trials) > len(self.models)

    def _of(self, model: str) -> list[Trial]:
        return [trial for trial in self.finalists if trial.model == model]

    def _render(self, style: Style) -> str:
        comparison = self.comparison()
        parts = [comparison.markdown() if style == "markdown" else str(comparison)]
        if self._searched:
            best = [f"- {trial.name}: the best of {self._tried(name)}" for name, trial in self.best.items()]
            title = f"{self.metric.capitalize()} against energy on {self.dataset}"
            parts += ["\n".join(best), heading(title, style), render(self._rows(), style), _LEGEND]
        return "\n\n".join(parts)

    def _tried(self, model: str) -> int:
        return sum(trial.model == model for trial in self.trials)

    def _rows(self) -> list[dict[str, str]]:
        overall = {id(trial) for trial in self.front()}
        shown: Sequence[Trial] = list(chain.from_iterable(self.front(name) for name in self.models))
        rows = []
        for trial in sorted(shown, key=lambda trial: trial.energy_mj):
            best, same = self.savings(trial)
            rows.append(
                {
                    "front of each model": trial.name + " *" * (id(trial) in overall),
                    "validation, %": mean_std(trial.val),
                    f"test {self.metric}, %": mean_std(trial.test),
                    "mJ": significant(trial.energy_mj),
                    "as events": significant(trial.events_energy_mj),
                    "with memory": significant(trial.energy_with_memory_mj),
                    f"× below {self.models[0]}": f"{best:.3g}",
                    f"same {self.metric}": significant(same),
                }
            )
        return rows


_LEGEND = (
    f"Energy under {HOROWITZ_45NM_FP32.name}, products with zeros skipped; as events, those with ones are additions. "
    "*: no model has more on validation for no more energy, memory left out. The last two columns, without memory too: "
    "how many times less energy than the first model's best, and than its cheapest setting within "
    f"{100 * WITHIN:g} points on validation."
)
