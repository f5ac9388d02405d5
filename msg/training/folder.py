"""The folder a run lives in: what is in it is always whole, whenever the run is killed."""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from msg.training.config import RunConfig

_CONFIG, _CHECKPOINT, _RESULTS = "config.json", "checkpoint.pt", "results.json"
_HISTORY, _BEST, _CURVES = "history.csv", "best.pt", "curves.png"


class RunFolder:
    """Files of one run, each replaced in one step.

    Args:
        path: of the folder, which need not exist yet.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()

    def check_free(self) -> None:
        """Refuse a folder that already holds a run.

        Raises:
            FileExistsError: naming what can be done.
        """
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path} is a file: choose another folder with --out")
        names = (_CONFIG, _CHECKPOINT, _RESULTS, _HISTORY, _BEST, _CURVES)
        found = [name for name in names if (self.path / name).exists()]
        if found:
            raise FileExistsError(
                f"{self.path} already holds a run ({', '.join(found)}): go on with --resume {self.path}, or choose "
                "another --out"
            )

    def load_config(self) -> RunConfig:
        """The run's configuration.

        Raises:
            FileNotFoundError: if there is no run here.
            ValueError: if the file is damaged.
        """
        path = self.path / _CONFIG
        if not path.is_file():
            raise FileNotFoundError(f"{self.path} holds no run: it has no {_CONFIG}")
        try:
            return RunConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error

    def save_config(self, config: RunConfig) -> None:
        """Make the folder and begin the run in it."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write(_CONFIG, json_bytes(config.as_dict()))

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, or ``None`` before the first.

        Raises:
            ValueError: if the file is damaged.
        """
        path = self.path / _CHECKPOINT
        if not path.is_file():
            return None
        try:
            return torch.load(path, weights_only=True, map_location="cpu")
        except Exception as error:  # unpickling can raise anything
            # without torch's own message, which advises to load it unsafely
            raise ValueError(f"{path} is damaged or no checkpoint: delete it to begin the run again") from error

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint."""
        self._write(_CHECKPOINT, _torch_bytes(state))

    def save_history(self, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Replace the table of all epochs."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        self._write(_HISTORY, text.getvalue().encode())

    def save_best(self, state: dict[str, Any]) -> None:
        """Replace the weights of the best seed."""
        self._write(_BEST, _torch_bytes(state))

    def save_results(self, results: dict[str, Any]) -> None:
        """Replace the results."""
        self._write(_RESULTS, json_bytes(results))

    def save_curves(self, png: bytes) -> None:
        """Replace the picture."""
        self._write(_CURVES, png)

    def save_energy(self, content: dict[str, Any], markdown: str, png: bytes) -> None:
        """Make the folder if need be, and replace the report of energy in it."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write("energy.json", json_bytes(content))
        self._write("energy.md", (markdown + "\n").encode())
        self._write("energy.png", png)

    def load_results(self) -> dict[str, Any]:
        """The results.

        Raises:
            FileNotFoundError: if the run is not finished.
            ValueError: if the file is damaged.
        """
        path = self.path / _RESULTS
        if not path.is_file():
            raise FileNotFoundError(f"{self.path} holds no finished run: it has no {_RESULTS}")
        return json.loads(path.read_text(encoding="utf-8"))

    def load_best(self) -> dict[str, Any]:
        """The weights of the best seed, with what is needed to build the model.

        Raises:
            FileNotFoundError: if the run is not finished.
        """
        path = self.path / _BEST
        if not path.is_file():
            raise FileNotFoundError(f"{self.path} holds no finished run: it has no {_BEST}")
        return torch.load(path, weights_only=True, map_location="cpu")

    def _write(self, name: str, content: bytes) -> None:
        replace_file(self.path / name, content)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file in one step: killed at any time, the old content or the new one is there."""
    # one fixed name: what a killed run leaves behind is overwritten by the next write
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def free_folder(stem: str, parent: str | Path = "runs") -> Path:
    """``PARENT/STEM``, or ``PARENT/STEM-2`` and so on: the first that does not exist."""
    path, number = Path(parent) / stem, 1
    while path.exists():
        number += 1
        path = Path(parent) / f"{stem}-{number}"
    return path


def json_bytes(value: dict[str, Any]) -> bytes:
    """A file's content; what JSON cannot say, such as a number that is not finite, is a ``ValueError``."""
    return (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _torch_bytes(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
