"""What a table is: rows, columns and the budget that all its cells have alike, as one frozen value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from msg.experiments.config import LINKS, NO_BASELINE, NODES, RunConfig
from msg.experiments.forms import HINT, form
from msg.experiments.options import listed
from msg.experiments.tables.spaces import Scalar
from msg.names import MODELS

OURS, SPIKING, RIEMANNIAN, EUCLIDEAN, HEURISTIC = "ours", "spiking", "Riemannian", "Euclidean", "heuristic"

_TAUGHT = "-taught"
"""How names end of rows that are another one, taught by itself."""

_OFFERED = "-offered"
"""How names end of rows that are another one, which tries what others were found to need as well."""

_AUGMENTED: Mapping[str, tuple[str, Mapping[str, Scalar]]] = {
    "-drop-edge": ("DropEdge", {"drop_edge": 0.2}),
    "-half-hop": ("HalfHop", {"half_hop": 0.5}),
    "-consistent": ("consistent", {"consistency": 1.0}),
}
"""How names end of rows that are another one under an augmentation of the graph, or with two views of it in each
update. They are no part of the space, since they make an update take longer.
"""

_ENDINGS = (_TAUGHT, _OFFERED, *_AUGMENTED)
"""What may stand behind a name, from its end: one augmentation at most, then the others, each once."""


def as_it_is(name: str) -> str:
    """The row of which a row is a form, or itself."""
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name


@dataclass(frozen=True)
class TableRow:
    """One model, or one form of it.

    Attributes:
        name: as ``--models`` takes it.
        label: as the table shows it.
        group: what it stands among.
        model: name out of :data:`msg.names.MODELS`.
        fixed: settings that it is, which are not searched; see :mod:`msg.experiments.tables.spaces`.
        held: names of settings that are not searched either, and stay what they are in its model.
        shown: whether the table has it where no rows are named.
        searched: whether it has anything to search, or is trained once as it is.
        after: name of the row whose settings it takes, instead of a search of its own.
        offered: name of the row whose settings it tries, and those with what the best others of the graph found.
        augmentation: how its name ends if it is another row under an augmentation.
    """

    name: str
    label: str
    group: str
    model: str
    fixed: Mapping[str, Scalar] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    shown: bool = True
    searched: bool = True
    after: str | None = None
    offered: str | None = None
    augmentation: str = ""

    def augmented(self, ending: str) -> "TableRow":
        """The same with one of the augmentations, or two views, searched as it is."""
        label, fixed = _AUGMENTED[ending]
        name, label = f"{self.name}{ending}", f"{self.label}, {label}"
        return replace(self, name=name, label=label, fixed={**self.fixed, **fixed}, shown=False, augmentation=ending)

    def with_offers(self) -> "TableRow":
        """The same, for which its own settings are tried beside those that the best others were found to need."""
        label, name = f"{self.label}, offered others' settings", f"{self.name}{_OFFERED}"
        return replace(self, name=name, label=label, shown=False, offered=self.name)

    def taught(self) -> "TableRow":
        """The same with the settings that were found for it, taught by itself twice."""
        label, name, fixed = f"{self.label}, taught", f"{self.name}{_TAUGHT}", {**self.fixed, "generations": 3}
        return replace(self, label=label, name=name, fixed=fixed, after=self.name, offered=None)


@dataclass(frozen=True)
class TableColumn:
    """One graph under one split.

    Attributes:
        dataset: its name.
        split: of nodes or links.
        task: what is learned.
        metrics: names of what is measured; the first one selects.
        settings_of: table and dataset whose settings it takes where none are stored for it and no search is wanted:
            a smaller graph of its kind, or the same one under another split.
    """

    dataset: str
    split: str
    task: str = NODES
    metrics: tuple[str, ...] = ("accuracy",)
    settings_of: tuple[str, str] | None = None


@dataclass(frozen=True)
class Published:
    """Figures that others gave, shown beside ours and never mixed with them.

    Attributes:
        source: paper and table.
        figures: text, in percent, by label of the row and dataset.
    """

    source: str
    figures: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Table:
    """A table and its protocol.

    Attributes:
        name: as the command takes it.
        title: over the table.
        rows: models, in their order.
        columns: graphs, in their order.
        seeds: of splits and initialisations that are reported.
        trials: settings that are tried for each row.
        search_seeds: they are tried with; never reported.
        epochs: of a training, at most.
        patience: epochs without improvement before its end.
        seconds: of processor time that one training of the search may take; more is a trial without metric.
        quick_columns: datasets of a quick look, where there are raw files.
        published: by others.
        quick: whether it is such a look, with a narrower space.
    """

    name: str
    title: str
    rows: tuple[TableRow, ...]
    columns: tuple[TableColumn, ...]
    seeds: tuple[int, ...]
    trials: int = 16
    search_seeds: tuple[int, ...] = (0, 1)
    epochs: int = 300
    patience: int = 50
    seconds: float = 240.0
    quick_columns: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    quick: bool = False

    def __post_init__(self):
        shared = set(self.seeds) & set(self.search_seeds)
        if shared:
            raise ValueError(f"seeds that are reported cannot be searched with: {', '.join(map(str, sorted(shared)))}")

    def row(self, name: str) -> TableRow:
        """The row of a name; any model that has none stands in the table as it is, and so does any form of one. With
        ``-half-hop``, ``-drop-edge`` or ``-consistent`` behind its name each is :meth:`TableRow.augmented`, with
        ``-offered`` :meth:`TableRow.with_offers`, with ``-taught`` :meth:`TableRow.taught`.

        Raises:
            ValueError: for neither.
        """
        for row in self.rows:
            if row.name == name and row.model in MODELS:
                return row
        for place, ending in enumerate(_ENDINGS):
            own = name.removesuffix(ending)
            if own == name or own.endswith(_ENDINGS[: place + 1] if ending not in _AUGMENTED else _ENDINGS):
                continue
            row = self.row(own)
            if ending == _TAUGHT:
                return row.taught()
            return row.with_offers() if ending == _OFFERED else row.augmented(ending)
        try:
            found = form(name)
        except ValueError:
            known = [row.name for row in self.rows if row.model in MODELS]
            others = [other for other in MODELS if other not in known]
            raise ValueError(
                f"unknown row {name!r}: use {', '.join(known)}, or any model: {', '.join(others)}; forms of models are "
                f"{HINT}; behind any row may stand {listed(_AUGMENTED)}, then {_OFFERED!r}, then {_TAUGHT!r}, each once"
            ) from None
        return TableRow(name, name, "others", found.model, found.fixed)

    def column(self, dataset: str) -> TableColumn:
        """The column of a dataset.

        Raises:
            ValueError: if there is none.
        """
        for column in self.columns:
            if column.dataset == dataset:
                return column
        known = ", ".join(column.dataset for column in self.columns)
        if self.quick:
            raise ValueError(
                f"a quick look at {self.name} has no column {dataset!r}, but {known}: give --root to look at a graph "
                "of the table, or leave out --quick"
            )
        raise ValueError(f"{self.name} has no column {dataset!r}: use {known}")

    def default_rows(self) -> list[TableRow]:
        """Those that are shown where none are named, as far as there are models for them."""
        return [row for row in self.rows if row.shown and row.model in MODELS]

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Names of rows or datasets as the table orders them, each once, a row before its forms; others come last."""
        known = [*(row.name for row in self.rows), *(column.dataset for column in self.columns)]

        def place(name: str) -> tuple[int, str]:
            own = as_it_is(name)
            return known.index(own) if own in known else len(known), name.removeprefix(own)

        return sorted(dict.fromkeys(names), key=place)

    def base(self, row: TableRow, column: TableColumn, seeds: tuple[int, ...], root: Any, device: str) -> RunConfig:
        """What all trainings of a cell share; the row's settings are not in it yet.

        Raises:
            ValueError: for a model that cannot do the task.
        """
        return RunConfig(
            dataset=column.dataset,
            root=None if root is None else str(Path(root)),
            task=column.task,
            split=column.split,
            model=row.model,
            baseline=NO_BASELINE,
            epochs=self.epochs,
            patience=self.patience,
            seeds=seeds,
            device=device,
            checkpoint_every=50,
        )

    def as_quick_look(self, with_files: bool) -> "Table":
        """The same in minutes: few rows, few epochs, hardly any search.

        Args:
            with_files: whether there are raw files; if not, its column is a graph that is made.
        """
        columns = tuple(self.column(name) for name in self.quick_columns)
        if not with_files:
            first = self.columns[0]
            split = first.split if self.columns[0].task == LINKS else "random:10/10/80"
            columns = (replace(first, dataset="digits", split=split, settings_of=None),)
        return replace(
            self,
            title=f"{self.title} (a quick look)",
            columns=columns,
            seeds=(100, 101),
            trials=3,
            search_seeds=(0,),
            epochs=30,
            patience=0,
            quick=True,
        )

    def quick_rows(self) -> list[TableRow]:
        """Few of the default rows: the first of each group that can do the task."""
        tasks = {column.task for column in self.columns}
        able = [row for row in self.default_rows() if tasks <= set(MODELS[row.model].tasks)]
        firsts = {row.group: row for row in reversed(able)}
        return [row for row in able if firsts[row.group] is row]
