"""The folder an experiment lives in: what is in it is always whole, whenever the experiment is killed."""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from msg.experiments.job import Job, Result

CONFIG = "config.json"
_JOBS = "jobs"


class Store:
    """Configuration, results of jobs, their checkpoints, and artefacts, each file replaced in one step.

    Args:
        path: of the folder, which need not exist yet.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        self._stamp = ""

    def check_free(self, what: str, names: tuple[str, ...]) -> None:
        """Refuse a folder that already holds something.

        Args:
            what: is to be kept: ``"run"``.
            names: of its files, beside the configuration.

        Raises:
            FileExistsError: naming what can be done.
        """
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path} is a file: choose another folder with --out")
        found = [name for name in (CONFIG, _JOBS, *names) if (self.path / name).exists()]
        if found:
            raise FileExistsError(
                f"{self.path} already holds a {what} ({', '.join(found)}): go on with --resume {self.path}, or choose "
                "another --out"
            )

    def begin(self, content: Mapping[str, Any]) -> None:
        """Make the folder and keep the configuration; every result is stamped with it."""
        self._stamp = _stamp(content)
        (self.path / _JOBS).mkdir(parents=True, exist_ok=True)
        self.write(CONFIG, json_bytes(content))

    def read_config(self, what: str = "run") -> dict[str, Any]:
        """The configuration.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if the file is damaged.
        """
        content = self.read_json(CONFIG, f"no {what}")
        if not {"study", "content_hash"} <= content.keys() or not isinstance(content.get("options"), dict):
            raise ValueError(f"{self.path / CONFIG} cannot be read: it describes no study")
        self._stamp = _stamp(content)
        return content

    def check(self) -> None:
        """Read every result and checkpoint, so that a damaged one is refused before any work is done.

        Raises:
            ValueError: naming the first.
        """
        self.results()
        for path in sorted((self.path / _JOBS).glob("*.checkpoint.pt")):
            Checkpoint(path, self._stamp).load()

    def results(self) -> dict[str, Result]:
        """The results of all jobs that are done, by name.

        Raises:
            ValueError: if a file is damaged, or was made under another configuration.
        """
        return {path.stem: self._result(path) for path in sorted((self.path / _JOBS).glob("*.json"))}

    def result(self, job: Job) -> Result:
        """The result of a job that is done."""
        return self._result(self._file(job.name, "json"))

    def _result(self, path: Path) -> Result:
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            record, stamp = dict(kept["record"]), kept["stamp"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is damaged: delete it to do this job again") from error
        if stamp != self._stamp:
            raise ValueError(f"{path} was not made with the {CONFIG} beside it: undo what was changed there")
        tensors = path.with_suffix(".pt")
        return Result(record, read_tensors(tensors) if tensors.exists() else None)

    def keep(self, job: Job, result: Result) -> None:
        """Keep a job's result, and forget its state."""
        if result.tensors is not None:
            replace_file(self._file(job.name, "pt"), torch_bytes(result.tensors))
        # this file says that the job is done, so it comes last
        replace_file(self._file(job.name, "json"), json_bytes({"stamp": self._stamp, "record": result.record}))
        self._file(job.name, "checkpoint.pt").unlink(missing_ok=True)

    def slot(self, job: Job) -> "Checkpoint":
        """Where a job keeps its state."""
        return Checkpoint(self._file(job.name, "checkpoint.pt"), self._stamp)

    def _file(self, name: str, suffix: str) -> Path:
        return self.path / _JOBS / f"{name}.{suffix}"

    def write(self, name: str, content: bytes) -> None:
        """Replace an artefact, making the folder if need be."""
        self.path.mkdir(parents=True, exist_ok=True)
        replace_file(self.path / name, content)

    def read_json(self, name: str, missing: str = "no finished run") -> dict[str, Any]:
        """An artefact.

        Raises:
            FileNotFoundError: if it is missing, saying what the folder then is not.
            ValueError: if it is damaged.
        """
        path = self.path / name
        if not path.is_file():
            raise FileNotFoundError(f"{self.path} holds {missing}: it has no {name}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path} cannot be read: it is no object")
        return content

    def read_tensors(self, name: str) -> dict[str, Any]:
        """An artefact with tensors.

        Raises:
            FileNotFoundError: if it is missing.
            ValueError: if it is damaged.
        """
        if not (self.path / name).is_file():
            raise FileNotFoundError(f"{self.path} holds no finished run: it has no {name}")
        return read_tensors(self.path / name)


class Checkpoint:
    """The state of one job, in a file that is replaced in one step.

    Args:
        path: of the file.
        stamp: of the configuration it belongs to.
    """

    def __init__(self, path: Path, stamp: str):
        self.path, self.stamp = path, stamp

    def load(self) -> dict[str, Any] | None:
        """The last state, or ``None`` before the first.

        Raises:
            ValueError: if the file is damaged, or was made under another configuration.
        """
        if not self.path.is_file():
            return None
        state = read_tensors(self.path, "damaged or no checkpoint: delete it to begin this job again")
        if state.get("stamp") != self.stamp:
            raise ValueError(f"{self.path} was not made with the {CONFIG} beside it: undo what was changed there")
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the state."""
        replace_file(self.path, torch_bytes({**state, "stamp": self.stamp}))


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


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """A file's content; what JSON cannot say, such as a number that is not finite, is a ``ValueError``."""
    return (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def torch_bytes(state: Mapping[str, Any]) -> bytes:
    """A file's content."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def read_tensors(path: Path, fault: str = "damaged or no file of tensors") -> dict[str, Any]:
    """What :func:`torch_bytes` made, on the CPU; nothing that it holds is executed.

    Raises:
        ValueError: if it is something else.
    """
    try:
        return dict(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:  # unpickling can raise anything
        # without torch's own message, which advises to load it unsafely
        raise ValueError(f"{path} is {fault}") from error


def _stamp(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
