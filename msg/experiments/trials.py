"""What models cost and what they reach: settings that were tried, the best of them, and their fronts."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

from msg.energy import HOROWITZ_45NM_FP32, Candidate, Comparison, Convention, Operations, compare, pareto_front
from msg.energy.report import READINGS
from msg.experiments.config import RunConfig
from msg.experiments.equal_accuracy import WITHIN, EqualAccuracy
from msg.report.figures import Point
from msg.report.figures import front as draw_front
from msg.report.tables import Style, called, heading, mean_std, render, significant


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
        chosen_on: how many of the first seeds chose this setting among others; what is reported is of the rest.
    """

    model: str
    settings: Mapping[str, Any]
    config: RunConfig
    val: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    runs: list[Operations] = field(default_factory=list)
    chosen_on: int = 0

    @property
    def name(self) -> str:
        """The model and its setting."""
        return " ".join([self.model, *(f"{name}={value}" for name, value in self.settings.items())])

    @property
    def reported_val(self) -> list[float]:
        """Validation metric of the seeds that did not choose."""
        return self.val[self.chosen_on :]

    @property
    def reported_test(self) -> list[float]:
        """Test metric of the same seeds."""
        return self.test[self.chosen_on :]

    @property
    def selection(self) -> float:
        """Mean of :attr:`reported_val`. Nothing else selects."""
        return statistics.fmean(self.reported_val)

    @property
    def candidate(self) -> Candidate:
        """The trial as comparisons of energy take it."""
        return Candidate(self.name, self.runs[self.chosen_on :], self.reported_test)

    def energy_mj(self, convention: Convention = "nonzero", memory: bool = False) -> float:
        """Mean energy of one inference under the first table of costs."""
        return self.candidate.mean(lambda ops: sum(HOROWITZ_45NM_FP32.inference_mj(ops, convention, memory).values()))

    def as_dict(self) -> dict[str, Any]:
        """As JSON would have it."""
        kept = {name: getattr(self, name) for name in ("model", "settings", "val", "test", "chosen_on")}
        energies = {
            "energy_mj": lambda: self.energy_mj(),
            "events_energy_mj": lambda: self.energy_mj("events"),
            "energy_with_memory_mj": lambda: self.energy_mj(memory=True),
        }
        return {**kept, **{name: energy() if self.runs else None for name, energy in energies.items()}}


@dataclass(frozen=True)
class Search:
    """What an energy study found; ``print`` it.

    Attributes:
        models: in the order they were named; the first is the reference.
        trials: all that were tried, most of them on the first seed only; one that diverged has no metrics.
        finalists: those that were trained on all seeds.
        dataset: name of the graph.
        metric: name of the metric.
        inputs: the reading of zeros and ones under which settings are compared.
    """

    models: tuple[str, ...]
    trials: list[Trial]
    finalists: list[Trial]
    dataset: str
    metric: str
    inputs: Convention = "nonzero"

    @property
    def best(self) -> dict[str, Trial]:
        """Each model's finalist of highest validation metric."""
        return {name: max(self.of(name), key=lambda trial: trial.selection) for name in self.models}

    def front(self, model: str | None = None) -> list[Trial]:
        """Finalists, of one model or all, that no other has more validation metric than for no more energy."""
        trials = self.finalists if model is None else self.of(model)
        return pareto_front(trials, self._mj, lambda trial: trial.selection)

    def of(self, model: str) -> list[Trial]:
        """Finalists of a model."""
        return [trial for trial in self.finalists if trial.model == model]

    def comparison(self) -> Comparison:
        """The best of each model under every table of costs."""
        return self._comparison

    @cached_property
    def _comparison(self) -> Comparison:
        found = [Candidate(name, trial.candidate.runs, trial.reported_test) for name, trial in self.best.items()]
        return compare(found, title=f"Energy of one inference on {self.dataset}, mJ", metric=self.metric)

    def equal_accuracy(self) -> EqualAccuracy:
        """What each model costs where it is as good as the best setting of the first."""
        return EqualAccuracy({name: self.of(name) for name in self.models}, self.inputs)

    def savings(self, trial: Trial) -> tuple[float, float | None]:
        """How many times less energy a trial needs than the best of the reference, and than the reference's cheapest
        finalist whose validation metric is not more than ``WITHIN`` below the trial's; ``None`` without one.
        """
        reference = self.models[0]
        same = [one for one in self.of(reference) if one.selection >= trial.selection - WITHIN]
        cheapest, own = min(map(self._mj, same), default=None), self._mj(trial)
        return self._mj(self.best[reference]) / own, cheapest and cheapest / own

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON would have it."""
        front = [trial.name for trial in self.front()]
        fronts = {name: [trial.name for trial in self.front(name)] for name in self.models}
        best = {name: trial.name for name, trial in self.best.items()}
        trials = [trial.as_dict() for trial in self.trials]
        found = {"best": best, "front": front, "fronts": fronts, "inputs": self.inputs, "trials": trials}
        return {**self.comparison().as_dict(), "equal_accuracy": self.equal_accuracy().as_dict(), **found}

    def __str__(self) -> str:
        return self._render("text")

    def markdown(self) -> str:
        """The search as Markdown."""
        return self._render("markdown")

    def figure(self) -> Any:
        """Metric against energy, each model's front a line of its settings; bars where nothing was varied."""
        if not self._searched:
            return self.comparison().figure()
        series = {name: [self._point(one) for one in self.front(name)] for name in self.models}
        return draw_front(
            series, f"mJ per inference, {HOROWITZ_45NM_FP32.name}, {self.inputs}", f"test {called(self.metric)}, %"
        )

    def _point(self, trial: Trial) -> Point:
        """A trial in the figure, named by what its own front differs in."""
        front = self.front(trial.model)
        differing = {
            name: value for name, value in trial.settings.items() if any(one.settings[name] != value for one in front)
        }
        name = " ".join(str(value) for value in differing.values())
        return Point(self._mj(trial), [100 * value for value in trial.reported_test], name)

    @property
    def _searched(self) -> bool:
        return len(self.trials) > len(self.models)

    def _mj(self, trial: Trial) -> float:
        return trial.energy_mj(self.inputs)

    def _render(self, style: Style) -> str:
        comparison = self.comparison()
        parts = [comparison.markdown() if style == "markdown" else str(comparison)]
        if len(self.models) > 1:
            parts.append(self.equal_accuracy().render(style, self.metric))
        if self._searched:
            best = [f"- {trial.name}: the best of {self._tried(name)}" for name, trial in self.best.items()]
            said = called(self.metric)
            title = f"{said[0].upper()}{said[1:]} against energy on {self.dataset}"
            parts += ["\n".join(best), heading(title, style), render(self._rows(), style), self._legend()]
        return "\n\n".join(parts)

    def _tried(self, model: str) -> int:
        return sum(trial.model == model for trial in self.trials)

    def _rows(self) -> list[dict[str, str]]:
        overall = {id(trial) for trial in self.front()}
        shown: Sequence[Trial] = list(chain.from_iterable(self.front(name) for name in self.models))
        rows = []
        for trial in sorted(shown, key=self._mj):
            best, same = self.savings(trial)
            rows.append(
                {
                    "front of each model": trial.name + " *" * (id(trial) in overall),
                    "validation, %": mean_std(trial.reported_val),
                    f"test {called(self.metric)}, %": mean_std(trial.reported_test),
                    "mJ": significant(trial.energy_mj()),
                    "as events": significant(trial.energy_mj("events")),
                    "with memory": significant(trial.energy_mj(self.inputs, memory=True)),
                    f"× below {self.models[0]}": f"{best:.3g}",
                    f"same {called(self.metric)}": significant(same),
                }
            )
        return rows

    def _legend(self) -> str:
        chosen = ", on the seeds that chose no setting" if any(trial.chosen_on for trial in self.finalists) else ""
        return (
            f"Energy under {HOROWITZ_45NM_FP32.name}, products with zeros skipped; as events, those with ones are "
            f"additions. Fronts, memory and ratios are of {READINGS[self.inputs].partition(':')[0]}{chosen}. *: no "
            "model has more on validation for no more energy, memory left out. The last two columns, without memory "
            "too: how many times less energy than the first model's best, and than its cheapest setting within "
            f"{100 * WITHIN:g} points on validation."
        )
