"""Which rows that the field's tables show unasked have not been run, and the hours that those took which were.

    python benchmarks/missing_rows.py

Reads ``benchmarks/tables`` and prints a table in Markdown. A row whose model cannot do the task is not missing: its
cell says why.
"""

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from msg.names import MODELS, TABLES

KEPT = Path(__file__).parent / "tables"


class Hours(NamedTuple):
    """Of the updates of a row: of all its trainings, and of those alone that are reported."""

    whole: float
    reported: float


def hours_of_rows(folder: Path) -> dict[tuple[str, str], dict[str, Hours]]:
    """By table and graph: each row that is kept, with its hours; where it is twice, those with stored settings."""
    found: dict[tuple[str, str], dict[str, Hours]] = defaultdict(dict)
    for path in sorted(folder.glob("*/table.json"), reverse=True):
        content = json.loads(path.read_text(encoding="utf-8"))
        for cell in content["cells"]:
            place, row = (content["table"], cell["dataset"]), cell["model"]
            hours, searched = cell["hours"] or 0.0, 0.0
            if cell["trials"]:
                kept = json.loads((path.parent / "cells" / place[1] / row / "cell.json").read_text(encoding="utf-8"))
                searched = sum(trial["seconds"] for trial in kept["searched"]) / 3600
            found[place][row] = Hours(hours, hours - searched)
    return found


def lines(folder: Path = KEPT) -> list[str]:
    """A line of each table and graph."""
    kept = hours_of_rows(folder)
    shown = [
        "| table, graph | rows run | which | hours of a row, median | hours without searches, all rows |",
        "|---" * 5 + "|",
    ]
    for name, table in TABLES.items():
        for column in table.columns:
            hours = kept[name, column.dataset]
            rows = [row for row in table.default_rows() if column.task in MODELS[row.model].tasks]
            run, missing = ([row.name for row in rows if (row.name in hours) == there] for there in (True, False))
            trained = [hours[row.name] for row in rows if row.name in hours and row.group != "heuristic"]
            reported = sum(one.reported for one in trained)
            if not missing:
                which = "all"
            elif len(missing) <= len(run):
                which = f"all but {', '.join(missing)}"
            else:
                which = ", ".join(run)
            middle = f"{statistics.median(one.whole for one in trained):.2g}" if trained else "–"
            shown.append(
                f"| {name}, {column.dataset} | {len(run)} of {len(rows)} | {which} | {middle} | {reported:.2f} |"
            )
    return shown


if __name__ == "__main__":
    print("\n".join(lines()))
