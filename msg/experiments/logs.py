"""Epochs as they come, for who looks on: a line of a CSV, or TensorBoard's event files."""

import csv
import io
import statistics
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msg.experiments import files
from msg.experiments.job import Job
from msg.experiments.progress import Passing, Progress
from msg.experiments.store import Store
from msg.training import Epoch

_COLUMNS = ("job", "epoch", "loss", "val_loss", "val", "radius", "rate", "seconds")


class CsvLog(Passing):
    """``log.csv``: a line an epoch, written at once. Of a training that goes on after a kill it has each epoch once.

    Args:
        path: of the file.
        progress: is told too.
    """

    def __init__(self, path: Path, progress: Progress):
        super().__init__(progress)
        self.path = path

    def begin(self, job: Job, model: str, history: Sequence[Epoch]) -> None:
        kept: list[Any] = []
        if self.path.exists():
            rows = csv.reader(io.StringIO(files.read_bytes(self.path).decode("utf-8", "replace")))
            kept = [row for row in rows if row and row[0] not in (job.name, _COLUMNS[0])]
        again = [self._cells(job, row) for row in history]
        files.replace_file(self.path, "".join(map(_line, [_COLUMNS, *kept, *again])).encode())

    def add(self, job: Job, row: Epoch) -> None:
        with files.written(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(_line(self._cells(job, row)))

    def _cells(self, job: Job, row: Epoch) -> list[Any]:
        rate = statistics.fmean(row.rates) if row.rates else None
        return [job.name, row.epoch, row.loss, row.val_loss, row.val, row.radius, rate, row.seconds]


def _line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


class TensorBoardLog(Passing):
    """Event files in ``tensorboard/JOB``; of a training that goes on, those of epochs that are done again are purged.

    Args:
        path: of the folder.
        writer: :class:`torch.utils.tensorboard.SummaryWriter`.
        progress: is told too.
    """

    def __init__(self, path: Path, writer: Callable[..., Any], progress: Progress):
        super().__init__(progress)
        self.path, self.writer = path, writer
        self.writers: dict[str, Any] = {}

    def begin(self, job: Job, model: str, history: Sequence[Epoch]) -> None:
        self.writers[job.name] = self.writer(str(self.path / job.name), purge_step=1)
        for row in history:
            self.add(job, row)

    def add(self, job: Job, row: Epoch) -> None:
        said = {"loss/training": row.loss, "loss/validation": row.val_loss, "metric/validation": row.val}
        said |= {f"firing rate/{number}": rate for number, rate in enumerate(row.rates, 1)}
        said |= {"radius": row.radius} if row.radius is not None else {}
        for name, value in {**said, "seconds": row.seconds}.items():
            self.writers[job.name].add_scalar(name, value, row.epoch)
        self.writers[job.name].flush()

    def end(self, job: Job) -> None:
        if job.name in self.writers:
            self.writers.pop(job.name).close()


def logger_of(kind: str, store: Store) -> Callable[[Progress], Progress]:
    """A function that makes of who is told of the work one who logs it too.

    Args:
        kind: ``"csv"`` or ``"tensorboard"``.
        store: of the run, whose folder gets the log.

    Raises:
        ValueError: for another kind, or a link where event files are written.
        ImportError: where TensorBoard is not installed.
    """
    if kind == "csv":
        return lambda progress: CsvLog(store.path / "log.csv", progress)
    if kind != "tensorboard":
        raise ValueError(f"unknown log {kind!r}: use 'csv' or 'tensorboard'")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TensorBoard's own, as it is imported
            from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("--log tensorboard needs TensorBoard: pip install tensorboard") from error
    folder = store.path / "tensorboard"
    if folder.is_dir() and not folder.is_symlink():
        files.refuse_links(folder, iter(sorted(folder.rglob("*"))))
    return lambda progress: TensorBoardLog(folder, SummaryWriter, progress)
