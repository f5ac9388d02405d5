"""Who needs less energy where all are as accurate: the cheapest setting of each model that reaches the reference."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from msg.energy import CONVENTIONS, Assumption, Candidate, Convention, PublishedMSG, cost_tables
from msg.energy.report import READINGS
from msg.report.tables import Style, heading, mean_std, render, significant

WITHIN = 0.005
"""Two metrics that differ by no more are called the same."""


class Setting(Protocol):
    """A model under one setting, trained and counted."""

    @property
    def name(self) -> str: ...

    @property
    def selection(self) -> float: ...

    @property
    def reported_val(self) -> list[float]: ...

    @property
    def reported_test(self) -> list[float]: ...

    @property
    def candidate(self) -> Candidate: ...


@dataclass(frozen=True)
class Cheapest:
    """The cheapest setting of one model under one set of assumptions.

    Attributes:
        setting: which one.
        energy_mj: of one inference, mean over the seeds.
        ratio: to the reference's cheapest; ``None`` where the table leaves something of either unpriced.
    """

    setting: Setting
    energy_mj: float
    ratio: float | None


@dataclass(frozen=True)
class EqualAccuracy:
    r"""At equal accuracy, the cheapest setting of each model, under every table and reading.

    A setting is as accurate as the reference if its validation metric is at least that of the reference's best less
    :data:`WITHIN`; of those, each figure takes the one that is cheapest under its own assumptions, as of the reference.

    Attributes:
        settings: by model, the reference first; each trained on all seeds.
        inputs: the reading that comes first.
        within: how much less is the same.
    """

    settings: Mapping[str, Sequence[Setting]]
    inputs: Convention = "nonzero"
    within: float = WITHIN

    @property
    def reference(self) -> str:
        """The first model."""
        return next(iter(self.settings))

    @property
    def target(self) -> float:
        """Validation metric that is accurate enough."""
        return max(one.selection for one in self.settings[self.reference]) - self.within

    def able(self, model: str) -> list[Setting]:
        """Settings of a model that are accurate enough."""
        return [one for one in self.settings[model] if one.selection >= self.target]

    def cheapest(self, assumption: Assumption) -> dict[str, Cheapest | None]:
        """Of each model, ``None`` where no setting is accurate enough."""
        least = {model: self._least(model, assumption) for model in self.settings}
        reference = least[self.reference]
        assert reference is not None  # the best is accurate enough

        def compared(setting: Setting, energy: float) -> Cheapest:
            whole = all(assumption.complete(one.candidate) for one in (setting, reference[0]))
            return Cheapest(setting, energy, energy / reference[1] if whole and reference[1] else None)

        return {model: None if found is None else compared(*found) for model, found in least.items()}

    def _least(self, model: str, assumption: Assumption) -> tuple[Setting, float] | None:
        priced = [(one, assumption.energy_mj(one.candidate)) for one in self.able(model)]
        return min(priced, key=lambda pair: pair[1], default=None)

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON would have it."""
        return {
            "reference": self.reference,
            "within": self.within,
            "target": self.target,
            "cheapest": [
                {
                    "costs": assumption.costs.name,
                    "inputs": assumption.convention,
                    "memory": assumption.memory is not None,
                    "models": {model: _plain(found) for model, found in self.cheapest(assumption).items()},
                }
                for convention in CONVENTIONS
                for assumption in _assumptions(convention)
            ],
        }

    def render(self, style: Style, metric: str = "accuracy") -> str:
        """In a style of :mod:`msg.report.tables`, a table a reading."""
        title = f"At equal {metric}: within {100 * self.within:g} points of validation of the best {self.reference}"
        order = sorted(CONVENTIONS, key=lambda convention: convention != self.inputs)
        parts = [heading(title, style)]
        for convention in order:
            label = READINGS[convention]
            parts += [f"{label[0].upper()}{label[1:]}.", render(self._rows(convention, metric), style)]
        return "\n\n".join([*parts, self._legend()])

    def _rows(self, convention: Convention, metric: str) -> list[dict[str, str]]:
        columns = {_title(one): self.cheapest(one) for one in _assumptions(convention)}
        rows = []
        for model, first in next(iter(columns.values())).items():
            setting = None if first is None else first.setting
            rows.append(
                {
                    "model": model if setting is None else setting.name,
                    "validation, %": mean_std([] if setting is None else setting.reported_val),
                    f"test {metric}, %": mean_std([] if setting is None else setting.reported_test),
                    **{title: _cell(found[model]) for title, found in columns.items()},
                }
            )
        return rows

    def _legend(self) -> str:
        return (
            f"Each figure is of the cheapest setting under it, in mJ, and in brackets its ratio to the cheapest "
            f"{self.reference} there; setting and accuracy are of the first column. A dash: no setting is accurate "
            "enough, or its cost has no price in the table. Settings are those on each model's front."
        )


def _plain(found: Cheapest | None) -> dict[str, Any] | None:
    if found is None:
        return None
    setting = found.setting
    val, test = statistics.fmean(setting.reported_val), statistics.fmean(setting.reported_test)
    return {"setting": setting.name, "val": val, "test": test, "energy_mj": found.energy_mj, "ratio": found.ratio}


def _assumptions(convention: Convention) -> list[Assumption]:
    """Every table, without memory and with its own; a published formula is no table."""
    tables = [table for table in cost_tables() if not isinstance(table, PublishedMSG)]
    return [
        Assumption(table, convention, memory)
        for table in tables
        for memory in (None, *([table.memory.name] if table.memory else []))
    ]


def _title(assumption: Assumption) -> str:
    return assumption.costs.name + (" + memory" if assumption.memory else "")


def _cell(found: Cheapest | None) -> str:
    if found is None:
        return "–"
    return f"{significant(found.energy_mj)} ({'–' if found.ratio is None else f'{found.ratio:.2f}'})"
