"""Which rows that the field's tables show unasked have not been run, and the hours that a row took which was.

    python benchmarks/missing_rows.py

Reads ``benchmarks/tables`` and prints a table in Markdown. A row whose model cannot do the task is not missing: its
cell says why.
"""

import json
import statistics
from collections import defaultdict
from pathlib import Path

from msg.names import MODELS, TABLES

KEPT = Path(__file__).parent / "tables"


def hours_of_rows(folder: Path) -> dict[tuple[str, str], dict[str, float]]:
    """By table and graph: each row that is kept, with the hours of its updates, those of a search included."""
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for path in sorted(folder.glob("*/table.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for cell in content["cells"]:
            found[content["table"], cell["dataset"]][cell["model"]] = cell["hours"] or 0.0
    return found


def lines(folder: Path = KEPT) -> list[str]:
    """A line of each table and graph."""
    kept = hours_of_rows(folder)
    shown = ["| table, graph | rows run | which | hours of a row, median |", "|---|---|---|---|"]
    for name, table in TABLES.items():
        for column in table.columns:
            hours = kept[name, column.dataset]
            rows = [row for row in table.default_rows() if column.task in MODELS[row.model].tasks]
            run, missing = ([row.name for row in rows if (row.name in hours) == there] for there in (True, False))
            trained = [hours[row.name] for row in rows if row.name in hours and row.group != "heuristic"]
            if not missing:
                which = "all"
            elif len(missing) <= len(run):
                which = f"all but {', '.join(missing)}"
            else:
                which = ", ".join(run)
            middle = f"{statistics.median(trained):.2g}" if trained else "–"
            shown.append(f"| {name}, {column.dataset} | {len(run)} of {len(rows)} | {which} | {middle} |")
    return shown


if __name__ == "__main__":
    print("\n".join(lines()))
