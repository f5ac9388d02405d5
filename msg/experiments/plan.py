"""What the table in a folder is, and how it may grow."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from msg.experiments.config import check_seeds
from msg.experiments.store import Store
from msg.experiments.tables.table import Table
from msg.names import TABLES

PLAN = "benchmark.json"
"""The file that keeps it."""

Settings = Literal["either", "stored", "search"]
_GROWS = ("rows", "datasets", "seeds")


@dataclass(frozen=True)
class Plan:
    """What a folder's table is. Rows, graphs and seeds may be added to it later and its files may move, the rest stays.

    Attributes:
        table: name out of :data:`msg.names.TABLES`.
        rows: names of its rows, or of models.
        datasets: its columns.
        seeds: that are reported.
        trials: of each search.
        settings: ``"stored"`` ones, those found by ``"search"``, or ``"either"``: stored where there are any.
        settings_of: folder of a table whose settings count as the stored ones, in place of those of the package.
        quick: whether it is but a quick look.
        root: folder of the raw files.
        device: of the trainings.
    """

    table: str
    rows: tuple[str, ...]
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    trials: int
    settings: Settings = "either"
    quick: bool = False
    root: str | None = None
    device: str = "cpu"
    settings_of: str | None = None

    def __post_init__(self):
        if self.settings not in get_args(Settings):
            raise ValueError(f"settings must be one of {', '.join(get_args(Settings))}, not {self.settings!r}")
        if self.settings_of is not None and self.settings == "search":
            raise ValueError(
                "a search takes no settings of another table, nor does a quick look, which searches: leave one out"
            )
        if not self.rows or not self.datasets or not self.seeds:
            raise ValueError("a table needs a row, a graph and a seed at least")
        check_seeds(self.seeds)
        if type(self.trials) is not int or self.trials < 1:
            raise ValueError(f"the budget must be at least 1 trial, not {self.trials!r}")
        table = self.filled()
        for name in self.rows:
            table.row(name)
        for name in self.datasets:
            table.column(name)

    def filled(self) -> Table:
        """The table with these seeds and trials."""
        table = TABLES[self.table]
        if self.quick:
            table = table.as_quick_look(self.root is not None)
        return replace(table, seeds=self.seeds, trials=self.trials)

    def __or__(self, other: "Plan") -> "Plan":
        """One table of both.

        Raises:
            ValueError: if they differ in more than what may be added.
        """
        if self.quick and other.quick and (self.root is None) != (other.root is None):
            raise ValueError("a quick look with raw files and one without are of other graphs: choose another --out")
        for name in vars(self):
            if name not in (*_GROWS, "root") and getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"the table there has {name} {getattr(self, name)!r}, not {getattr(other, name)!r}: choose another "
                    "--out, or leave that as it is"
                )
        table = self.filled()
        seeds = sorted({*self.seeds, *other.seeds})
        rows, datasets = (
            table.in_order([*getattr(self, name), *getattr(other, name)]) for name in ("rows", "datasets")
        )
        return replace(
            self, rows=tuple(rows), datasets=tuple(datasets), seeds=tuple(seeds), root=other.root or self.root
        )

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Plan":
        """From what JSON has of it.

        Raises:
            ValueError: for what is none.
        """
        try:
            return cls(**{**content, **{name: tuple(content[name]) for name in _GROWS}})
        except (TypeError, KeyError) as error:
            raise ValueError(f"it describes no table: {error}") from error


def read_plan(folder: Path) -> Plan:
    """The plan of a folder.

    Raises:
        FileNotFoundError: if it has none.
        ValueError: if the file is damaged.
    """
    store = Store(folder)
    store.refuse_links()
    content = store.read_json(PLAN, "no benchmark")
    try:
        return Plan.from_dict(content)
    except ValueError as error:
        raise ValueError(f"{folder / PLAN} cannot be read: {error}") from error
