"""Make a table: every row on every graph, each cell an experiment of its own in one folder, which can grow."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from msg.datasets import DatasetError
from msg.experiments.at_once import Do, at_once
from msg.experiments.cells import Cell, Outcome, outcome_from_dict, winner_of
from msg.experiments.config import RunConfig, check_device
from msg.experiments.executor import Executor, executor_of
from msg.experiments.files import sealed_json, written
from msg.experiments.plan import PLAN, Plan, Settings, read_plan
from msg.experiments.progress import Progress
from msg.experiments.scores import Scores
from msg.experiments.store import Store
from msg.experiments.studies.cell import CellStudy
from msg.experiments.study import Experiment, versions
from msg.experiments.tables.settings import best_settings, store_settings, stored_settings
from msg.experiments.tables.spaces import Scalar, Space, beginnings_of, offers_to, space_of
from msg.experiments.tables.table import TableColumn, TableRow
from msg.names import TABLES
from msg.report.tables import mean_std
from msg.sizes import check_sizes

_ARTEFACTS = ("table.json", "table.txt", "table.md", "table.tex", "table.png", "cells")
_OF_A_SEARCH = ("trials", "search_seeds", "seconds", "space", "beginnings")
_OF_OFFERS = ("trials", "beginnings")
"""Those of them that may differ in a row that is offered settings: others may have found better ones since."""
_FREE = ("seeds", "root")
"""Options in which a cell may differ from what is wanted of it: it can get more seeds, and files may have moved."""
_OFFERS = 3
"""So many others offer a row their settings."""
_LOCK = ".lock"
_NOT_YET, _BUSY = "not done yet", "another process is at it"
_Place = tuple[TableRow, TableColumn]


class _Known(NamedTuple):
    """Settings without those that a row fixes, and of which table and graph they are, if of another."""

    settings: dict[str, Scalar]
    origin: str | None = None


class Benchmark:
    """A table that is ready to be made. Make one with :meth:`begin` or :meth:`resume`.

    ``OUT/cells/DATASET/ROW`` holds the experiment of each cell, ``OUT/table.json`` and the like what came of all.

    Args:
        plan: what it is.
        out: its folder.
    """

    def __init__(self, plan: Plan, out: Path):
        self.plan, self.out, self.table = plan, out, plan.filled()

    @classmethod
    def begin(
        cls,
        table: str,
        out: str | Path | None = None,
        models: Sequence[str] | None = None,
        datasets: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        trials: int | None = None,
        settings: Settings | None = None,
        settings_of: str | Path | None = None,
        quick: bool = False,
        root: str | Path | None = None,
        device: str = "cpu",
    ) -> "Benchmark":
        """Prepare a table, or more of one that the folder holds already.

        Args:
            table: name out of :data:`msg.names.TABLES`.
            out: its folder, ``runs/benchmark-TABLE`` unless given.
            models: rows of the table, or other models; its own choice unless given, as of the next three.
            datasets: columns.
            seeds: that are reported.
            trials: settings that are tried for each cell.
            settings: see :class:`Plan`; ``"either"``, for a quick look ``"search"``.
            settings_of: folder of another table, whose settings its cells of the same graphs take as stored ones.
            quick: take a look in minutes, at few rows, few epochs and hardly any search.
            root: folder of the raw files.
            device: of the trainings.

        Raises:
            ValueError: for unknown names, or a folder that holds another table.
            FileExistsError: for a folder that holds something else.
            FileNotFoundError: if there is no table whose settings it could take.
        """
        check_device(device)  # of a folder that is there it may be another machine's
        source = None if settings_of is None else Path(settings_of).expanduser()
        whole = TABLES[table]
        whole = whole.as_quick_look(root is not None) if quick else whole
        rows = [row.name for row in (whole.quick_rows() if quick else whole.default_rows())]
        plan = Plan(
            table,
            tuple(whole.in_order(rows if models is None else models)),
            tuple(whole.in_order([one.dataset for one in whole.columns] if datasets is None else datasets)),
            tuple(whole.seeds if seeds is None else seeds),
            whole.trials if trials is None else trials,
            settings or ("search" if quick else "either"),
            quick,
            None if root is None else str(Path(root)),
            device,
            None if source is None else str(source),
        )
        if source is not None:
            read_plan(source)
        folder = Path(f"runs/benchmark-{table}" if out is None else out).expanduser()
        if (folder / PLAN).exists():
            return cls(read_plan(folder) | plan, folder)
        if not any(
            (folder / "cells").glob("*/*/config.json")
        ):  # of a table whose plan was lost; each is checked itself
            Store(folder).check_free("benchmark", _ARTEFACTS)
        return cls(plan, folder)

    @classmethod
    def resume(cls, out: str | Path) -> "Benchmark":
        """Prepare to go on with the table in a folder.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if its file is damaged.
        """
        folder = Path(out).expanduser()
        return cls(read_plan(folder), folder)

    def execute(self, progress: Progress | None = None, workers: int = 1) -> Scores:
        """Make what is not made yet, and write the table.

        A cell that another process is at is left to it, so that several may work in one folder. One that cannot be made
        says why.

        Args:
            progress: told what is done.
            workers: processes that work at once, each at a cell, or several at the jobs of one where there are more of
                them than cells; this process alone unless given. Results do not depend on it.

        Raises:
            ValueError: if a file in the folder is damaged, or was made under another protocol.
            OSError: if it cannot be written.
        """
        check_sizes(workers=workers)
        store, progress = Store(self.out), progress or Progress()
        store.make()
        with self._alone():
            self._heed_others()
            store.write(PLAN, sealed_json(asdict(self.plan)))
        protocol, places = self._protocol(), self._places()
        cells = {(row.name, column.dataset): Cell(row, column, failed=_NOT_YET) for row, column in places}
        before = {(row.name, column.dataset): self._over(row, column) for row, column in places}
        for cell in self._made(places, progress, workers):
            place = cell.row.name, cell.column.dataset
            cells[place] = cell
            progress.note(_told(cell))
            if self._over(cell.row, cell.column) == before[place]:
                continue
            with self._alone():
                scores = Scores(self.table, list(cells.values()), protocol)
                store.write("table.txt", scores.text())  # to look at while it goes on
        with self._alone():
            self._heed_others()
            whole = [
                self._at_the_end(row, column, cells.get((row.name, column.dataset))) for row, column in self._places()
            ]
            scores = Scores(self.table, whole, self._protocol())
            for name, file in scores.files().items():
                store.write(name, file)
        return scores

    def _heed_others(self) -> None:
        """Take up what other processes have added to the plan in the meantime."""
        if (self.out / PLAN).exists():
            self.plan = read_plan(self.out) | self.plan
            self.table = self.plan.filled()

    def _at_the_end(self, row: TableRow, column: TableColumn, cell: Cell | None) -> Cell:
        """A cell that this process made, or what another has made of it."""
        folder = self._folder(row, column)
        if (cell is not None and cell.failed is None) or not (folder / "cell.json").exists():
            return cell or Cell(row, column, failed=_BUSY)
        outcome, number = _kept(folder), 2
        while (folder / f"more-{number}" / "cell.json").exists():
            outcome, number = outcome + _kept(folder / f"more-{number}"), number + 1
        return Cell(row, column, outcome.of_seeds(self.plan.seeds), outcome.failed)

    def store_settings(self, scores: Scores, path: Path | None = None) -> Path:
        """Keep what was searched in the package, or a file; where it is kept.

        Raises:
            ValueError: for a quick look, which finds nothing that is worth it.
            OSError: if it cannot be written.
        """
        if self.plan.quick:
            raise ValueError("settings of a quick look are not worth keeping")
        found = {}
        for cell in scores.cells:
            done = cell.outcome
            if done is None or cell.failed is not None or not done.searched:
                continue
            winner = winner_of(done.searched)
            assert winner is not None  # its settings are those of the cell
            said = {
                "settings": _free(done.settings, cell.row),
                "trials": len(done.searched),
                "search_seeds": list(self.table.search_seeds),
            }
            found[cell.column.dataset, cell.row.name] = {**said, "val": winner.value, "content_hash": done.content_hash}
        return store_settings(self.plan.table, found, path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Write files of the table while no other process does, in whose folder several may work."""
        with written(self.out / PLAN):
            lock = FileLock(self.out / _LOCK).acquire()
        with lock:
            yield

    def _rows(self) -> list[TableRow]:
        return [self.table.row(name) for name in self.plan.rows]

    def _columns(self) -> list[TableColumn]:
        return [self.table.column(name) for name in self.plan.datasets]

    def _places(self) -> list[_Place]:
        return [(row, column) for column in self._columns() for row in self._rows()]

    def _folder(self, row: TableRow, column: TableColumn) -> Path:
        return self.out / "cells" / column.dataset / row.name

    def _over(self, row: TableRow, column: TableColumn) -> list[Path]:
        """What is there of a cell's experiments that are over."""
        return sorted(self._folder(row, column).rglob("cell.json"))

    def _protocol(self) -> dict[str, Any]:
        """What the table says of how it was made."""
        names = ("trials", "search_seeds", "epochs", "patience", "seconds")
        return {**asdict(self.plan), **{name: getattr(self.table, name) for name in names}, "versions": versions()}

    def _made(self, places: Sequence[_Place], progress: Progress, workers: int) -> Iterator[Cell]:
        """Each cell as soon as it is made; in processes of their own, several at once."""
        apart, for_jobs = min(workers, len(places)), max(workers // len(places), 1)
        if apart == 1:
            executor = executor_of(for_jobs)
            for row, column in places:
                yield self._cell(row, column, progress, executor)
            return
        waiting, going = list(places), []

        def following() -> tuple[str, str] | None:
            for row, column in waiting:
                first = [(self.table.row(name), column) for name in (row.after, row.offered) if name is not None]
                if not any(place in waiting or place in going for place in first):
                    waiting.remove((row, column))
                    going.append((row, column))
                    return row.name, column.dataset
            return None

        for (name, dataset), failed in at_once(apart, _making, (self.plan, self.out, for_jobs), following, progress):
            row, column = self.table.row(name), self.table.column(dataset)
            going.remove((row, column))
            # what is made is read from the folder, as it is where the table is made again
            yield self._cell(row, column, progress) if failed is None else Cell(row, column, failed=str(failed))

    def _cell(self, row: TableRow, column: TableColumn, progress: Progress, executor: Executor | None = None) -> Cell:
        folder = self._folder(row, column)
        try:
            known = self._known_settings(row, column)
            outcome = self._outcome(row, column, known, folder, progress, executor)
        except _Refused as error:
            return Cell(row, column, failed=str(error))
        except BlockingIOError:
            return Cell(row, column, failed=_BUSY)
        except (MemoryError, FloatingPointError) as error:
            return Cell(row, column, failed=str(error) or "there was too little memory")
        return Cell(row, column, outcome.of_seeds(self.plan.seeds), outcome.failed)

    def _known_settings(self, row: TableRow, column: TableColumn) -> _Known | None:
        if not row.searched:
            return _Known({})
        if row.after is not None:
            return self._settings_after(self.table.row(row.after), column)
        if self.plan.settings == "search":
            return None
        found = self._stored(row, column)
        if found is None and self.plan.settings == "stored":
            self._base(row, column, self.plan.seeds)  # it says so if the model cannot do the task
            raise _Refused("no settings are stored for it: leave out --stored, and they are searched")
        return found

    def _settings_after(self, row: TableRow, column: TableColumn) -> _Known:
        """What a row was found to need: in this folder, or earlier where no search is wanted."""
        found = self._found(row, column)
        if found is None and self.plan.settings != "search":
            found = self._stored(row, column)
        if found is None and (self._folder(row, column) / "config.json").exists():
            raise _Refused(f"it takes the settings of {row.name}, which is not done yet")
        if found is None or not found.settings:
            raise _Refused(f"it takes the settings of {row.name}, which has none: make that row first")
        return found

    def _found(self, row: TableRow, column: TableColumn) -> _Known | None:
        """What a row has in this folder."""
        folder = self._folder(row, column)
        return _again(_kept(folder), row) if (folder / "cell.json").exists() else None

    def _stored(self, row: TableRow, column: TableColumn) -> _Known | None:
        """What the package has for a cell, or for the one whose settings its column takes; or another table has."""
        if self.plan.settings_of is not None:
            return self._taken(row, column, Path(self.plan.settings_of))
        own = stored_settings(self.plan.table, column.dataset, row.name)
        if own is not None or column.settings_of is None:
            return None if own is None else _Known(own)
        table, dataset = column.settings_of
        found = stored_settings(table, dataset, row.name)
        return None if found is None else _Known(found, f"{dataset} ({table})")

    def _taken(self, row: TableRow, column: TableColumn, folder: Path) -> _Known | None:
        """What the table in another folder has for a cell; what this one has, where that folder has moved since."""
        if not (folder / PLAN).exists():
            return self._found(row, column)
        other = Benchmark.resume(folder)
        found = other._found(row, column)
        return found and found._replace(origin=found.origin or f"{column.dataset} ({other.plan.table})")

    def _outcome(
        self,
        row: TableRow,
        column: TableColumn,
        known: _Known | None,
        folder: Path,
        progress: Progress,
        executor: Executor | None,
    ) -> Outcome:
        """Of a cell's own experiment, and of those that added seeds to it."""
        study = self._study(row, column, self.plan.seeds, known)
        if known is None and not (folder / "config.json").exists():
            tried = f"{study.trials} settings, the best with {len(study.search_seeds)} seeds"
            progress.note(f"{column.dataset}, {row.label}: its settings are searched ({tried})")
        whole = _experiment(study, folder, progress, executor, row)
        number, more = 2, folder / "more-2"
        while whole.failed is None:
            missing = tuple(seed for seed in self.plan.seeds if seed not in whole.seeds)
            if not missing and not more.exists():
                break
            study = self._study(row, column, missing or self.plan.seeds, _again(whole, row))
            further = _experiment(study, more, progress, executor, row)
            if further.settings != whole.settings or not set(further.seeds).isdisjoint(whole.seeds):
                raise ValueError(f"{more} has other settings than {folder}, or seeds that are there too: delete it")
            whole = whole + further
            number += 1
            more = folder / f"more-{number}"
        return whole

    def _study(self, row: TableRow, column: TableColumn, seeds: tuple[int, ...], known: _Known | None) -> CellStudy:
        table, (settings, origin) = self.table, known or (None, None)
        base = self._base(row, column, seeds)
        try:
            space = space_of(base, row.fixed, row.held, table.quick)
            first, trials = beginnings_of(space), table.trials
            if row.offered is not None and settings is None:
                first = self._offers(row, column, space)
                trials = len(first)
            search = trials, table.search_seeds, table.seconds
            rest = settings, column.metrics, first, origin
            return CellStudy(base, row.name, row.fixed, space, *search, *rest)
        except ValueError as error:
            raise _Refused(str(error)) from error

    def _base(self, row: TableRow, column: TableColumn, seeds: tuple[int, ...]) -> RunConfig:
        try:
            return self.table.base(row, column, seeds, self.plan.root, self.plan.device)
        except ValueError as error:
            raise _Refused(str(error)) from error

    def _offers(self, row: TableRow, column: TableColumn, space: Space) -> tuple[dict[str, Scalar], ...]:
        """What a row tries that is offered what others of the table found on the graph, under its augmentation."""
        assert row.offered is not None
        former = self.table.row(row.offered)
        own = self._found(former, column) or self._stored(former, column)
        if own is None or not own.settings:
            raise _Refused(f"it begins with the settings of {former.name}, which has none: make that row first")
        others = {f"{one.name}{former.augmentation}" for one in self.table.rows} - {former.name}
        offered = best_settings(self.plan.table, column.dataset, others)[:_OFFERS]
        if not offered:
            raise _Refused(
                "no settings of other rows are stored for this graph: make them first, with --store-settings"
            )
        return offers_to(space, own.settings, offered)


def _making(plan: Plan, out: Path, workers: int) -> Do:
    """What makes cells in a process of its own, and says why one could not be made."""
    benchmark, executor = Benchmark(plan, out), executor_of(workers)

    def work(place: tuple[str, str], progress: Progress) -> str | None:
        name, dataset = place
        cell = benchmark._cell(benchmark.table.row(name), benchmark.table.column(dataset), progress, executor)
        return cell.failed if cell.outcome is None else None

    return work


class _Refused(Exception):
    """A cell that cannot be begun; its message says why."""


def _again(outcome: Outcome, row: TableRow) -> _Known:
    """What a cell was trained with, to train with it again."""
    return _Known(_free(outcome.settings, row), outcome.origin)


def _free(settings: Mapping[str, Scalar], row: TableRow) -> dict[str, Scalar]:
    """Settings that are not the row's own."""
    return {name: value for name, value in settings.items() if name not in row.fixed}


def _experiment(
    study: CellStudy, folder: Path, progress: Progress, executor: Executor | None, row: TableRow
) -> Outcome:
    """What came of an experiment, which is made unless the folder has it."""
    store, over = Store(folder), (folder / "cell.json").exists()
    if not (folder / "config.json").exists() and (over or any(folder.glob("jobs/[!.]*"))):
        raise ValueError(f"{folder} has no config.json: delete that folder to make this cell anew")
    if over:
        _check_same(study, store.read_config("cell")["options"], folder, row)
        return _kept(folder)
    if (folder / "config.json").exists():
        try:
            experiment = Experiment.resume(folder, "cell")
        except DatasetError as error:
            raise _Refused(str(error)) from error
        _check_same(study, experiment.study.as_dict(), folder, row)
    else:
        try:
            experiment = Experiment.begin(study, folder)
        except (ValueError, ImportError) as error:
            raise _Refused(str(error)) from error
    try:
        return experiment.execute(progress, executor)
    except FileExistsError:  # another process began it after this one had looked
        return _experiment(study, folder, progress, executor, row)


def _kept(folder: Path) -> Outcome:
    """What came of an experiment that is over."""
    try:
        return outcome_from_dict(Store(folder).read_json("cell.json"))
    except ValueError as error:
        raise ValueError(f"{folder / 'cell.json'} is no result of a cell ({error}): delete it") from error


def _check_same(study: CellStudy, there: dict[str, Any], folder: Path, row: TableRow) -> None:
    """Refuse a cell that was begun under another protocol.

    Raises:
        ValueError: naming what differs.
    """
    here = study.as_dict()
    there = CellStudy.from_dict(there).as_dict()  # an option that it did not know yet has its default
    names = ["fixed", *(_OF_A_SEARCH if there["settings"] is None else ())]
    if row.after is not None:  # of no use beside a row with other settings
        names.append("settings")
    free = _OF_OFFERS if row.offered is not None else ()
    differing = [name for name in names if name not in free and here[name] != there[name]]
    differing += [name for name, value in here["base"].items() if name not in _FREE and value != there["base"][name]]
    if differing:
        raise ValueError(
            f"{folder} was begun with other {', '.join(differing)}: delete it to make this cell anew, or choose "
            "another --out"
        )


def _told(cell: Cell) -> str:
    place = f"{cell.column.dataset}, {cell.row.label}"
    values = cell.values(cell.column.metrics[0])
    return f"{place}: {cell.failed or mean_std(list(values.values()))}"
