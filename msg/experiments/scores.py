"""A table of models and graphs: what was reached, which rows can be told apart, and what it cost."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tabulate import LATEX_ESCAPE_RULES

from msg.energy import HOROWITZ_45NM_FP32
from msg.experiments.cells import Cell
from msg.experiments.files import json_bytes
from msg.experiments.significance import LEVEL, against_best
from msg.experiments.tables.table import Published, Table, TableColumn
from msg.report.figures import Dots, dots, to_png
from msg.report.tables import Style, called, count, heading, mean_and_std, mean_std, render, significant
from msg.report.width import fitting

_SYMBOLS = {"≈": r"$\approx$", "κ": r"$\kappa$", "×": r"$\times$", "–": "--"}


@dataclass(frozen=True)
class Standing:
    """How a cell stands in its column, under one metric.

    Attributes:
        best: whether its mean is the highest.
        p: against the best, corrected; ``None`` where nothing was tested.
    """

    best: bool
    p: float | None

    @property
    def sign(self) -> str:
        """As tables show it."""
        return "*" if self.best else "≈" if self.p is not None and self.p >= LEVEL else ""


@dataclass(frozen=True)
class Scores:
    """A table; ``print`` it.

    Attributes:
        table: its protocol, and what others published.
        cells: all of them, column by column.
        protocol: what it was made under, as JSON would have it.
    """

    table: Table
    cells: Sequence[Cell]
    protocol: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def _rows(self) -> list[str]:
        return list(dict.fromkeys(cell.row.name for cell in self.cells))

    @cached_property
    def _columns(self) -> list[tuple[TableColumn, str]]:
        """Graphs with each metric that any row was measured by; with the first one at least."""
        columns = {cell.column.dataset: cell.column for cell in self.cells}.values()
        return [(column, metric) for column in columns for metric in column.metrics if self._is_known(column, metric)]

    def _is_known(self, column: TableColumn, metric: str) -> bool:
        return metric == column.metrics[0] or any(cell.values(metric) for cell in self._of(column))

    def _of(self, column: TableColumn) -> Iterator[Cell]:
        return (cell for cell in self.cells if cell.column.dataset == column.dataset)

    def cell(self, row: str, dataset: str) -> Cell:
        """The cell of a row and a graph."""
        return next(cell for cell in self.cells if (cell.row.name, cell.column.dataset) == (row, dataset))

    @cached_property
    def standings(self) -> dict[tuple[str, str, str], Standing]:
        """By row, dataset and metric: of all that have a result."""
        found = {}
        for column, metric in self._columns:
            best, ps = against_best({cell.row.name: cell.values(metric) for cell in self._of(column)})
            for cell in self._of(column):
                if cell.values(metric):
                    name = cell.row.name
                    found[name, column.dataset, metric] = Standing(name == best, ps.get(name))
        return found

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON would have it."""
        cells = [self._cell_as_dict(self.cell(row, column.dataset), metric) for column, metric in self._columns
                 for row in self._rows]  # fmt: skip
        published = [{"source": one.source, "figures": one.figures} for one in self.table.published]
        return {
            "table": self.table.name,
            "title": self.table.title,
            "protocol": dict(self.protocol),
            "cells": cells,
            "published": published,
        }

    def _cell_as_dict(self, cell: Cell, metric: str) -> dict[str, Any]:
        values, vals, done = cell.values(metric), cell.values(metric, "val"), cell.outcome
        standing = self.standings.get((cell.row.name, cell.column.dataset, metric))
        return {
            "model": cell.row.name,
            "label": cell.row.label,
            "group": cell.row.group,
            "dataset": cell.column.dataset,
            "task": cell.column.task,
            "split": cell.column.split,
            "metric": metric,
            "seeds": list(values),
            "val": mean_and_std(list(vals.values())) if vals else None,
            "test": mean_and_std(list(values.values())) if values else None,
            "best": standing is not None and standing.best,
            "p_against_best": None if standing is None else standing.p,
            "settings": dict(cell.settings),
            "settings_from": cell.settings_from,
            "trials": 0 if done is None else len(done.searched),
            "trials_failed": 0 if done is None else sum(one.value is None for one in done.searched),
            "trainings": 0 if done is None else done.trainings,
            "hours": 0.0 if done is None else done.seconds / 3600,
            "parameters": None if done is None else done.parameters,
            "energy": {} if done is None else {name: mean_and_std(one) for name, one in done.energy.items()},
            "content_hash": None if done is None else done.content_hash,
            "versions": {} if done is None else dict(done.versions),
            "published": self._published(cell) if metric == cell.column.metrics[0] else [],
            "failed": cell.failed,
        }

    def _published(self, cell: Cell) -> list[str]:
        figures = [one.figures.get(cell.row.label, {}).get(cell.column.dataset) for one in self.table.published]
        return [figure for figure in figures if figure is not None]

    def __str__(self) -> str:
        return self._render("text")

    def markdown(self) -> str:
        """The table as Markdown."""
        return self._render("markdown")

    def latex(self) -> str:
        """The table as LaTeX, with booktabs."""
        return self._render("latex")

    def figure(self) -> Any:
        """A panel a graph, under the metric that selects; a row a model, a dot a seed; rows that can be told from the
        best are paler.
        """
        panels = {}
        for column in dict.fromkeys(column for column, _ in self._columns):
            rows, metric = [], column.metrics[0]
            for name in self._rows:
                cell = self.cell(name, column.dataset)
                standing = self.standings.get((name, column.dataset, metric))
                values = [100 * value for value in cell.values(metric).values()]
                rows.append(Dots(cell.row.label, values, cell.row.group, standing is not None and not standing.sign))
            panels[column.dataset] = rows
        return dots(panels, f"test {called(self._columns[0][1], short=True)}, %")

    def text(self) -> bytes:
        """The table as a file of text, whose lines no terminal bounds."""
        with fitting(None):
            return f"{self}\n".encode()

    def files(self) -> dict[str, bytes]:
        """The table in all its forms, by name of the file."""
        return {
            "table.txt": self.text(),
            "table.md": f"{self.markdown()}\n".encode(),
            "table.tex": f"{self.latex()}\n".encode(),
            "table.png": to_png(self.figure()),
            "table.json": json_bytes(self.as_dict()),
        }

    def _render(self, style: Style) -> str:
        written = _as_latex if style == "latex" else str
        parts = [heading(written(self._title()), style), _symbols(render(self._body(), style), style), written(_LEGEND)]
        if energies := self._energies():
            parts += [
                heading(written("One inference over the graph, mJ"), style),
                _symbols(render(energies, style), style),
            ]
            parts.append(written(_PRICES))
        if self._origins:
            parts.append(written("\n".join(self._origins)))
        if self._reasons:
            notes = [f"{number}. {reason}" for number, reason in enumerate(self._reasons, 1)]
            parts.append(written("\n".join(notes)))
        for one in self.table.published:
            rows = self._published_rows(one)
            if rows:
                parts += [heading(written("As published"), style), _symbols(render(rows, style), style)]
                parts.append(written(f"{one.source}."))
        return "\n\n".join(parts)

    def _title(self) -> str:
        metrics = dict.fromkeys(called(metric, short=True) for _, metric in self._columns)
        return f"{self.table.title}: test {', '.join(metrics)}, %"

    def _header(self, column: TableColumn, metric: str) -> str:
        several = sum(other is column for other, _ in self._columns) > 1
        return f"{column.dataset} {called(metric, short=True)}" if several else column.dataset

    def _body(self) -> list[dict[str, str]]:
        rows = []
        for name in self._rows:
            own = [cell for cell in self.cells if cell.row.name == name]
            row = {"": own[0].row.label, "kind": own[0].row.group}
            for column, metric in self._columns:
                row[self._header(column, metric)] = self._shown(self.cell(name, column.dataset), metric)
            done = [cell.outcome for cell in own if cell.outcome is not None]
            hours = sum(outcome.seconds for outcome in done) / 3600
            rows.append({**row, "trainings": count(sum(one.trainings for one in done)), "hours": f"{hours:.2f}"})
        return rows

    def _energies(self) -> list[dict[str, str]]:
        """What an inference of each row costs on each graph, where that was counted."""
        known = [cell for cell in self.cells if cell.outcome is not None and cell.outcome.energy]
        rows = []
        for name in self._rows if known else ():
            row = {"": self.cell(name, known[0].column.dataset).row.label}
            for dataset in dict.fromkeys(cell.column.dataset for cell in known):
                done = self.cell(name, dataset).outcome
                for reading, title in _READINGS.items():
                    values = [] if done is None else done.energy.get(reading, [])
                    row[f"{dataset}{title}"] = significant(statistics.fmean(values) if values else None)
            rows.append(row)
        return rows

    def _shown(self, cell: Cell, metric: str) -> str:
        if cell.failed is not None:
            return f"– ({self._reasons.index(self._reason(cell)) + 1})"
        standing = self.standings.get((cell.row.name, cell.column.dataset, metric))
        sign = f" {standing.sign}" if standing is not None and standing.sign else ""
        return f"{mean_std(list(cell.values(metric).values()))}{sign}"

    @cached_property
    def _origins(self) -> list[str]:
        """Columns whose settings were found on other graphs, a line each."""
        done = [(cell.column.dataset, cell.outcome.origin) for cell in self.cells if cell.outcome is not None]
        found = dict.fromkeys((dataset, origin) for dataset, origin in done if origin is not None)
        return [f"{dataset}: settings are those found for {origin}." for dataset, origin in found]

    @cached_property
    def _reasons(self) -> list[str]:
        """Why cells are empty, each reason once."""
        return list(dict.fromkeys(self._reason(cell) for cell in self.cells if cell.failed is not None))

    def _reason(self, cell: Cell) -> str:
        return f"{cell.row.label}: {cell.failed}"

    def _published_rows(self, one: Published) -> list[dict[str, str]]:
        datasets = list(dict.fromkeys(column.dataset for column, _ in self._columns))
        return [
            {"": label, **{name: figures.get(name, "–") for name in datasets}}
            for label, figures in one.figures.items()
            if not figures.keys().isdisjoint(datasets)
        ]


_READINGS = {"energy_mj": "", "events_energy_mj": ", events", "energy_with_memory_mj": ", + memory"}
"""Energies that a table shows, and what stands behind the graph's name."""

_PRICES = (
    f"Mean over seeds, {HOROWITZ_45NM_FP32.name}: arithmetic alone, zeros skipped; the same where ones are events; the "
    "first with memory."
)

_LEGEND = (
    "Mean ± standard deviation over seeds. *: the highest mean; ≈: not distinguishable from it (paired t test over the "
    f"seeds, corrected after Holm, p ≥ {LEVEL:g}). Trainings and hours of their updates are those of a search "
    "too, where it was made for this table; what is taught takes the settings of its row, and is three in one."
)


def _symbols(text: str, style: Style) -> str:
    for sign, written in _SYMBOLS.items() if style == "latex" else ():
        text = text.replace(sign, written)
    return text


def _as_latex(text: str) -> str:
    text = "".join(LATEX_ESCAPE_RULES.get(sign, sign) for sign in text)
    return _symbols(text, "latex").replace("±", r"$\pm$").replace("≥", r"$\geq$")
