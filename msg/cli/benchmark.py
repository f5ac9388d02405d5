"""``msg benchmark``."""

import shlex
import sys
from pathlib import Path
from typing import Any

from msg.cli.errors import failures, user_errors
from msg.cli.options import command, flag, seeds_of, words
from msg.experiments.config import RunConfig
from msg.experiments.options import DATA, MODEL, RUN, TRAINING, Option, fields_of
from msg.names import TABLES

OWN = {
    "table": (str, Option("", f"Which table: {', '.join(TABLES)}.")),
    "datasets": (str, Option(DATA, "Columns, such as photo,cs.", shown="all of the table")),
    "models": (str, Option(MODEL, "Rows of the table or other models, such as gcn,msg.", shown="the table's")),
    "budget": (int, Option(TRAINING, "Settings that a search tries for a model on a graph.", shown="the table's")),
    "search": (bool, Option(TRAINING, "Search all settings.", False)),
    "stored": (bool, Option(TRAINING, "Search none, and leave out what has no stored settings.", False)),
    "settings_of": (Path, Option(TRAINING, "Stored settings are those of the table in this folder.", shown="none")),
    "seeds": (str, Option(RUN, "Those that are reported, such as 100-109.", shown="the table's")),
    "quick": (bool, Option(RUN, "A look in minutes: few rows, few epochs, hardly any search.", False)),
    "store_settings": (bool, Option(RUN, "Keep what was searched in the package.", False)),
    "out": (Path, Option(RUN, "Folder of the table; one that is there goes on.", shown="runs/benchmark-TABLE")),
    "resume": (Path, Option(RUN, "Go on with the table in this folder.", shown="none")),
}
_OF_A_RUN = ("root", "device")


@command(OWN, without=[name for name in fields_of(RunConfig) if name not in _OF_A_RUN], positional=("table",))
def benchmark(given: dict[str, Any]) -> None:
    """Make a table of models and graphs: settings searched alike for all, then trained with seeds that are reported.

    What is done is kept: the same command goes on where it ended, and more models, graphs and seeds extend the table.
    The status is 1 if no cell has a result; the table says why.
    """
    from msg.cli.display import Display
    from msg.cli.work import Output

    output = Output.of(given)
    with user_errors():
        workers, storing = given.pop("workers", 1), given.pop("store_settings", False)
        ready = _prepare(given)
        if storing and ready.plan.quick:
            raise ValueError("settings of a quick look are not worth keeping: leave out --store-settings")
    # the table alone is what the command prints
    with (
        failures(f"msg benchmark --resume {shlex.quote(str(ready.out))}"),
        Display(output.console(stderr=True)) as display,
    ):
        scores = ready.execute(display, workers)
        kept = ready.store_settings(scores) if storing else None
    where = f"kept in {ready.out}" + ("" if kept is None else f"; settings in {kept}")
    output.result(f"{scores}\n\n{where}", {**scores.as_dict(), "out": str(ready.out)})
    if all(cell.failed is not None for cell in scores.cells):
        sys.exit(1)


def _prepare(given: dict[str, Any]) -> Any:
    from msg.experiments import Benchmark

    folder = given.pop("resume", None)
    if folder is not None:
        if given:
            others = ", ".join("TABLE" if name == "table" else flag(name) for name in given)
            raise ValueError(f"--resume goes on with the table as it was begun, so {others} cannot be given too")
        return Benchmark.resume(folder)
    if given.get("table") is None:
        raise ValueError(f"say which table: {', '.join(TABLES)}")
    search, stored = given.pop("search", False), given.pop("stored", False)
    if search and stored:
        raise ValueError("--search contradicts --stored: give one of them")
    lists = {name: words(given.pop(name)) for name in ("models", "datasets") if name in given}
    seeds, trials = given.pop("seeds", None), given.pop("budget", None)
    if stored and trials is not None:
        raise ValueError("--budget is of searches, and --stored makes none: leave it out")
    return Benchmark.begin(
        **{**given, **lists},
        seeds=seeds_of(seeds),
        settings="search" if search else "stored" if stored else None,
        trials=trials,
    )
