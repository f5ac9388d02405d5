"""The tables of README and docs/reproduction.md that come from ``benchmarks/tables``, the commands that made these, and
the defaults of docs/cli.md that models and neurons have of their own.

    python benchmarks/fill_pages.py

Writes each of :data:`MADE` between ``<!-- table: NAME -->`` and ``<!-- end of table -->``, wherever a page has such
lines. Figures are of the test part, in per cent, mean ± standard deviation over seeds; the highest mean of a column is
bold, and what a paired t test over the seeds (Holm over the column's other rows) does not tell from it is marked ≈.
"""

import json
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from msg.experiments.config import RunConfig
from msg.experiments.options import fields_of
from msg.experiments.significance import LEVEL, against_best, paired_p
from msg.experiments.tables.published import SGNNBENCH
from msg.experiments.tables.table import as_it_is
from msg.names import MODELS, NEURONS, TABLES
from msg.report.tables import mean_std

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "benchmarks" / "tables"
PAGES = (ROOT / "README.md", ROOT / "docs" / "reproduction.md", ROOT / "docs" / "cli.md")
OF_ITS_OWN = "-searched"
"""The ending of folders for what was searched on Computers itself, for few rows alone."""

FOUR = ("photo", "computers", "cs", "physics")
CITATIONS = ("cora", "citeseer", "pubmed")
NAMES = {"cs": "CS", "citeseer": "CiteSeer", "pubmed": "PubMed"}
GROUPS = ("ours", "spiking", "Riemannian", "Euclidean", "heuristic")


class Place(NamedTuple):
    """What stands in a column: a table, one of its graphs, and whether it was searched on Computers itself, where
    others take the settings of Photo.
    """

    table: str
    graph: str
    own: bool = False


Belongs = Callable[[Any], bool]
"""Whether a cell, or its row, is one of a kind."""


class Row(NamedTuple):
    """What is kept of a row in a place: the cells of its metrics, the one that selects first, and their folder."""

    folder: Path
    cells: dict[str, Any]

    @property
    def selecting(self) -> Any:
        """The cell of the metric that selects."""
        return next(iter(self.cells.values()))


@cache
def kept() -> Mapping[Place, Mapping[str, Row]]:
    """By place and name, each row that has figures."""
    return _kept(lambda cell: cell["test"] is not None)


@cache
def given_up() -> Mapping[Place, Mapping[str, Row]]:
    """The same of those of whose first trials none could be trained."""
    return _kept(lambda cell: cell["failed"] and cell["trials"])


def _kept(belongs: Belongs) -> dict[Place, dict[str, Row]]:
    found: dict[Place, dict[str, Row]] = {}
    for path in sorted(KEPT.glob("*/table.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for cell in filter(belongs, content["cells"]):
            place = Place(content["table"], cell["dataset"], path.parent.name.endswith(OF_ITS_OWN))
            found.setdefault(place, {}).setdefault(cell["model"], Row(path.parent, {})).cells[cell["metric"]] = cell
    return found


def form_of(name: str) -> str:
    """Of a row: what stands behind the name of the row as it is."""
    return name.removeprefix(as_it_is(name)).removeprefix("-")


def title_of(graph: str) -> str:
    """Of a column."""
    return NAMES.get(graph, graph.capitalize())


def table_of(head: Iterable[str], body: Iterable[Iterable[str]]) -> list[str]:
    """Lines of a table in Markdown."""
    head = tuple(head)
    return [f"| {' | '.join(line)} |" for line in (head, ("---",) * len(head), *body)]


# --- the highest means ---------------------------------------------------------------------------


def _named(name: str) -> Belongs:
    return lambda cell: cell["model"] == name


def _other(form: str = "", spikes: bool | None = None) -> Belongs:
    """Rows of others in a form, spiking or not, without those that are a spiking model's twin."""

    def belongs(cell: Any) -> bool:
        ours, twin = cell["group"] == "ours", "-twin" in cell["model"]
        return not ours and not twin and form_of(cell["model"]) == form and spikes in (None, cell["group"] == "spiking")

    return belongs


HIGHEST: Mapping[str, Belongs] = {
    "MSG": _named("msg"),
    "MSG, taught by itself (`--generations 3`)": _named("msg-taught"),
    "MSG, consistent (`--consistency 1`)": _named("msg-consistent"),
    "MSG, no aggregation (`--conv linear`)": _named("msg-linear"),
    "MSG, no aggregation, consistent": _named("msg-linear-consistent"),
    "MSG, not spiking": _named("msg-twin"),
    "MSG, not spiking, consistent": _named("msg-twin-consistent"),
    "MSG, not spiking, no aggregation": _named("msg-linear-twin"),
    "MSG, not spiking, no aggregation, consistent": _named("msg-linear-twin-consistent"),
    "best other spiking model": _other(spikes=True),
    "best other model that does not spike": _other(spikes=False),
    "best of these, taught": _other("taught"),
    "best of these, consistent": _other("consistent"),
}
"""Of which rows each line has the one with the highest mean; the name is said where there are several."""


def _of_sgnnbench(left_out: Iterable[str] = ()) -> dict[str, str]:
    """The highest of SGNNBench's figures on each graph."""
    lines = [figures for label, figures in SGNNBENCH.figures.items() if label not in left_out]
    return {graph: max((line[graph] for line in lines), key=float) for graph in (*FOUR, *CITATIONS)}


ANY = "best published, of any kind"
PUBLISHED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    # Photo and Computers GRACE with HalfHop, CS and Physics GT-SNT as others quote it, citations GRAND
    "table1": {ANY: {"photo": "94.2", "computers": "91.1", "cs": "93.7", "physics": "96.2"}},
    "planetoid": {ANY: {"cora": "85.4", "citeseer": "75.4", "pubmed": "82.7"}},
    "sgnnbench": {
        "best spiking figure published (SGNNBench)": _of_sgnnbench(left_out=("GCN", "SAGE", "GAT")),
        "best of any kind published there": _of_sgnnbench(),
    },
}
"""By table, line and graph; their sources are said on the page."""


def _published(places: Sequence[Place]) -> list[list[str]]:
    lines = {label: None for place in places for label in PUBLISHED.get(place.table, {})}
    return [
        [label, *(PUBLISHED[place.table].get(label, {}).get(place.graph, "–") for place in places)] for label in lines
    ]


def highest(places: Sequence[Place]) -> list[str]:
    """A column for each place, a line for each of :data:`HIGHEST` that one of them has."""
    body = []
    for title, belongs in HIGHEST.items():
        line = [_highest_of(title, [row.selecting for row in kept()[place].values()], belongs) for place in places]
        if any(figure != "–" for figure in line):
            body.append([title, *line])
    return table_of(("", *(title_of(place.graph) for place in places)), [*body, *_published(places)])


def _highest_of(title: str, cells: Iterable[Any], belongs: Belongs) -> str:
    best = max(filter(belongs, cells), key=lambda cell: cell["test"]["mean"], default=None)
    if best is None:
        return "–"
    label = best["label"].removesuffix(f", {form_of(best['model'])}")
    return mean_std(best["test"]["per_seed"]) + (f" ({label})" if title.startswith("best") else "")


# --- all rows ------------------------------------------------------------------------------------


Columns = Mapping[str, Place]
"""By title."""


def rows(columns: Columns, metric: str | None = None) -> list[str]:
    """A line for each row, as it is, that is kept in one of the places.

    Args:
        columns: the places.
        metric: other than the one that selects. With that one a last column adds up the hours of updates, those of
            searches included, and published figures stand below.
    """
    return _lines(columns, {place: _marked(_cells(place, metric, formed=False)) for place in columns.values()}, metric)


def forms(columns: Columns, metric: str | None = None) -> list[str]:
    """A line for each row that is taught, consistent or offered the settings of others, with what that adds to it, and
    ≈ where a paired t test does not tell the two. One that was offered others' settings and has the same
    figures is left out.

    Args:
        columns: the places.
        metric: other than the one that selects.
    """
    return _lines(columns, {place: _gains(place, metric) for place in columns.values()}, metric, published=False)


def _cells(place: Place, metric: str | None, formed: bool) -> dict[str, Any]:
    return {
        name: row.cells[metric] if metric else row.selecting
        for name, row in kept().get(place, {}).items()
        if metric in (None, *row.cells) and bool(form_of(name)) == formed
    }


def _of_seeds(cell: Any) -> dict[int, float]:
    return dict(zip(cell["seeds"], cell["test"]["per_seed"], strict=True))


def _marked(cells: Mapping[str, Any]) -> dict[str, str]:
    best, ps = against_best({name: _of_seeds(cell) for name, cell in cells.items()})
    found = {}
    for name, cell in cells.items():
        figure = mean_std(cell["test"]["per_seed"])
        level = ps.get(name, 0.0) >= LEVEL
        found[name] = f"**{figure}**" if name == best else f"{figure} ≈" if level else figure
    return found


def _gains(place: Place, metric: str | None) -> dict[str, str]:
    as_they_are, found = _cells(place, metric, formed=False), {}
    for name, cell in _cells(place, metric, formed=True).items():
        before = as_they_are.get(as_it_is(name))
        figure = mean_std(cell["test"]["per_seed"])
        if before is None:
            found[name] = figure
        elif name != f"{before['model']}-offered" or cell["test"]["per_seed"] != before["test"]["per_seed"]:
            p = paired_p(_of_seeds(cell), _of_seeds(before))
            gain = 100 * (cell["test"]["mean"] - before["test"]["mean"])
            found[name] = f"{figure} ({gain:+.2f}{' ≈' if p is None or p >= LEVEL else ''})"
    return found


def _lines(
    columns: Columns, figures: Mapping[Place, Mapping[str, str]], metric: str | None, published: bool = True
) -> list[str]:
    places, hours = tuple(columns.values()), metric is None
    cells = {name: kept()[place][name].selecting for place in places for name in figures[place]}
    body = []
    # by kind, then as the table has them
    for name in sorted(TABLES[places[0].table].in_order(cells), key=lambda name: GROUPS.index(cells[name]["group"])):
        cell = cells[name]
        label = cell["label"].replace("offered others' settings", "offered")
        line = [label, *(figures[p].get(name, "given up" if name in given_up().get(p, {}) else "–") for p in places)]
        if hours:
            spent = (kept()[place][name].selecting["hours"] for place in places if name in figures[place])
            line.append(f"{sum(one or 0.0 for one in spent):.2f}")
        body.append(line)
    if hours and published:
        body += [[*line, ""] for line in _published(places)]
    return table_of(("", *columns, *(["hours"] if hours else [])), body)


# --- what has been run, and how ------------------------------------------------------------------


def commands(table: str) -> list[str]:
    """Those that make what is kept of a table."""
    found = []
    for path in sorted(KEPT.glob("*/benchmark.json")):
        asked = json.loads(path.read_text(encoding="utf-8"))
        if asked["table"] != table:
            continue
        seeds = (
            "" if tuple(asked["seeds"]) == TABLES[table].seeds else f" --seeds {asked['seeds'][0]}-{asked['seeds'][-1]}"
        )
        taken = f" --settings-of {asked['settings_of']}" if asked.get("settings_of") else ""
        found += [
            f"msg benchmark {table} --datasets {','.join(asked['datasets'])}{seeds} \\",
            f"    --models {','.join(asked['rows'])} \\",
            f"    --root DIR --{asked['settings']}{taken} --out benchmarks/tables/{path.parent.name}",
        ]
    return ["```", *found, "```"]


def _hours(row: Row) -> tuple[float, float]:
    """Of the updates of all trainings of a row, and of those alone that are reported."""
    cell = row.selecting
    hours, searched = cell["hours"] or 0.0, 0.0
    if cell["trials"]:
        made = json.loads((row.folder / "cells" / cell["dataset"] / cell["model"] / "cell.json").read_text("utf-8"))
        searched = sum(trial["seconds"] for trial in made["searched"]) / 3600
    return hours, hours - searched


def missing() -> list[str]:
    """Which rows that the field's tables show unasked have not been run, and the hours that those took which were. A
    row whose model cannot do the task is not missing: its cell says why.
    """
    body = []
    for name, table in TABLES.items():
        for column in table.columns:
            here = kept().get(Place(name, column.dataset), {})
            asked = [row for row in table.default_rows() if column.task in MODELS[row.model].tasks]
            over = [row.name for row in asked if row.name in given_up().get(Place(name, column.dataset), {})]
            run, left = (
                [row.name for row in asked if (row.name in {*here, *over}) == there] for there in (True, False)
            )
            hours = [_hours(here[row.name]) for row in asked if row.name in here and row.group != "heuristic"]
            which = f"all but {', '.join(left)}" if len(left) <= len(run) else ", ".join(run)
            body.append(
                [
                    f"{name}, {column.dataset}",
                    f"{len(run)} of {len(asked)}",
                    (which if left else "all") + (f"; given up: {', '.join(over)}" if over else ""),
                    f"{statistics.median(whole for whole, _ in hours):.2g}" if hours else "–",
                    f"{sum(reported for _, reported in hours):.2f}",
                ]
            )
    head = "table, graph", "rows run", "which", "hours of a row, median", "hours without searches, all rows"
    return table_of(head, body)


def failed() -> list[str]:
    """Which searches were cut short: those of whose trials a fifth or more gave no figure."""
    found: dict[str, dict[str, int]] = {}
    for place, here in (*kept().items(), *given_up().items()):
        for row in here.values():
            cell = row.selecting
            if cell["trials"] and 5 * cell["trials_failed"] >= cell["trials"]:
                found.setdefault(f"{place.table}, {place.graph}", {})[cell["label"]] = cell["trials_failed"]
    body = []
    for place, labels in sorted(found.items()):
        ordered = sorted(labels.items(), key=lambda one: (-one[1], one[0]))
        body.append([place, ", ".join(f"{label} {trials}" for label, trials in ordered)])
    return table_of(("table, graph", "trials of sixteen without a figure"), body)


# --- defaults ------------------------------------------------------------------------------------


def own_defaults() -> list[str]:
    """What models and neurons have where help names another default."""
    body = []
    for name in MODELS:
        found = {task: _own(model=name, task=task, baseline="none") for task in MODELS[name].tasks}
        everywhere = set.intersection(*map(set, found.values()))
        for_some = [f"{one} for {task}" for task in found for one in found[task] if one not in everywhere]
        body.append([f"`--model {name}`", ", ".join([*sorted(everywhere), *for_some])])
    for name in NEURONS:  # one that sends values does so once
        found = _own(neuron=name, timesteps=5 if NEURONS[name].spiking else 1)
        body.append([f"`--neuron {name}`", ", ".join(found)])
    return table_of(("of", "defaults of its own"), [line for line in body if line[1]])


def _own(**options: Any) -> list[str]:
    config = vars(RunConfig(**options))
    free = {name: field for name, field in fields_of(RunConfig).items() if name not in options and field.absent is None}
    own = {name: field for name, field in free.items() if config[name] not in (None, field.option.settled(config))}
    return [f"`{field.flag} {config[name]}`".replace(" True", "") for name, field in own.items()]


# --- pages ---------------------------------------------------------------------------------------


def _columns(table: str, graphs: Iterable[str], notes: Mapping[str, str] = MappingProxyType({})) -> Columns:
    return {title_of(graph) + (f", {notes[graph]}" if graph in notes else ""): Place(table, graph) for graph in graphs}


_TAKEN = {"computers": "settings of Photo", "physics": "settings of CS"}
_SHOWN: Mapping[str, Columns] = {
    "table1": _columns("table1", FOUR, _TAKEN),
    "sgnnbench": _columns("sgnnbench", (*FOUR, *CITATIONS)),
    "planetoid": _columns("planetoid", CITATIONS),
    "computers": {
        f"{split}, {whose}": Place(table, "computers", own)
        for table, split in (("table1", "10/10/80"), ("sgnnbench", "60/20/20"))
        for whose, own in (("searched there", True), ("settings of Photo", False))
    },
}
_LINKS = _columns("links", (*FOUR, "airport", "disease"), _TAKEN)
_NODES = *_columns("table1", FOUR).values(), *_SHOWN["planetoid"].values()
MADE: Mapping[str, Callable[[], list[str]]] = {
    "highest, nodes": partial(highest, _NODES),
    "highest, SGNNBench": partial(highest, tuple(_SHOWN["sgnnbench"].values())),
    "highest, links": partial(highest, tuple(_LINKS.values())),
    **{name: partial(rows, columns) for name, columns in _SHOWN.items()},
    **{f"forms, {name}": partial(forms, columns) for name, columns in _SHOWN.items()},
    "links, ROC-AUC": partial(rows, _LINKS),
    "links, AP": partial(rows, _LINKS, "average_precision"),
    "links, MRR": partial(rows, _LINKS, "mrr"),
    "forms, links": partial(forms, {"Airport, ROC-AUC": Place("links", "airport")}),
    "forms, links, MRR": partial(forms, {"Airport, MRR": Place("links", "airport")}, "mrr"),
    **{f"commands, {table}": partial(commands, table) for table in TABLES},
    "missing": missing,
    "failed": failed,
    "own defaults": own_defaults,
}
"""What can stand on a page, by name."""

_BLOCK = re.compile(r"(<!-- table: ([^\n]+) -->)\n.*?(<!-- end of table -->)", re.DOTALL)


def filled(text: str) -> str:
    """A page with its tables as they are now.

    Raises:
        KeyError: if it asks for one that is not in :data:`MADE`.
    """
    return _BLOCK.sub(lambda found: "\n\n".join((found[1], "\n".join(MADE[found[2]]()), found[3])), text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
