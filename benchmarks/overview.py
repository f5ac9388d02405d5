"""The highest means of the field's tables, ours beside the best of others: what README and the page on them begin with.

    python benchmarks/overview.py

Reads ``benchmarks/tables`` and prints three tables in Markdown: of classes of nodes with 10 % or 20 a class to train
on, of SGNNBench's splits, and of links (ROC-AUC). A row whose settings were offered to it is left out, and so is what
was searched on Computers, for few rows alone.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from msg.report.tables import mean_std

KEPT = Path(__file__).parent / "tables"
CLASSES = (
    *(("table1", graph) for graph in ("photo", "cs", "physics", "computers")),
    *(("planetoid", graph) for graph in ("cora", "citeseer", "pubmed")),
)
SGNNBENCH = tuple(
    ("sgnnbench", graph) for graph in ("photo", "cs", "physics", "computers", "cora", "citeseer", "pubmed")
)
LINKS = tuple(("links", graph) for graph in ("photo", "computers", "cs", "physics", "airport", "disease"))
NAMES = {"cs": "CS", "citeseer": "CiteSeer", "pubmed": "PubMed"}
FORMS = ("taught", "consistent", "offered")
"""Of a row, by the ending of its name."""
Belongs = Callable[[Mapping[str, Any]], bool]
"""Whether the row of a cell is one of a kind."""


def form_of(cell: Mapping[str, Any]) -> str:
    """Of the row of a cell; empty for one as it is."""
    return next((form for form in FORMS if cell["model"].endswith(f"-{form}")), "")


def _named(name: str) -> Belongs:
    return lambda cell: cell["model"] == name


def _other(form: str = "", spikes: bool | None = None) -> Belongs:
    """Rows of others in a form, spiking or not, without those that are a spiking model's twin."""

    def belongs(cell: Mapping[str, Any]) -> bool:
        ours, twin = cell["group"] == "ours", "-twin" in cell["model"]
        return not ours and not twin and form_of(cell) == form and spikes in (None, cell["group"] == "spiking")

    return belongs


ROWS: Mapping[str, Belongs] = {
    "MSG": _named("msg"),
    "MSG, taught by itself (`--generations 3`)": _named("msg-taught"),
    "MSG, consistent (`--consistency 1`)": _named("msg-consistent"),
    "MSG, no aggregation (`--conv linear`)": _named("msg-linear"),
    "MSG, not spiking": _named("msg-twin"),
    "best other spiking model": _other(spikes=True),
    "best other model that does not spike": _other(spikes=False),
    "best of these, taught": _other("taught"),
    "best of these, consistent": _other("consistent"),
}
"""Of which rows each line has the one with the highest mean; the name is said where there are several."""


def measured(folder: Path, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[Any]]:
    """The cells of tables and graphs that have figures, of the metric that selects."""
    found: dict[tuple[str, str], dict[str, Any]] = {place: {} for place in places}
    for path in sorted(folder.glob("*/table.json")):
        if path.parent.name.endswith("-searched"):
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        for cell in reversed(content["cells"]):  # of several metrics the first selects
            place = content["table"], cell["dataset"]
            if place in found and cell["test"] is not None:
                found[place][cell["model"]] = cell
    return {place: list(cells.values()) for place, cells in found.items()}


def lines(places: Iterable[tuple[str, str]], folder: Path = KEPT) -> list[str]:
    """A table: a column for each table and graph, a line for each of :data:`ROWS` that one of them has."""
    kept = measured(folder, places)
    shown = [
        "| | " + " | ".join(NAMES.get(graph, graph.capitalize()) for _, graph in kept) + " |",
        "|---" * (len(kept) + 1) + "|",
    ]
    for title, belongs in ROWS.items():
        line = [_best(title, [cell for cell in cells if belongs(cell)]) for cells in kept.values()]
        if any(figure != "–" for figure in line):
            shown.append(f"| {title} | {' | '.join(line)} |")
    return shown


def _best(title: str, cells: list[Any]) -> str:
    if not cells:
        return "–"
    best = max(cells, key=lambda cell: cell["test"]["mean"])
    label = best["label"].removesuffix(f", {form_of(best)}")
    return mean_std(best["test"]["per_seed"]) + (f" ({label})" if title.startswith("best") else "")


if __name__ == "__main__":
    print("\n\n".join("\n".join(lines(places)) for places in (CLASSES, SGNNBENCH, LINKS)))
