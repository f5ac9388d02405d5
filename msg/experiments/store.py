"""The folder an experiment lives in: what is in it is always whole, whenever the experiment is killed."""

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import Any

from filelock import FileLock, Timeout

from msg.experiments import files
from msg.experiments.job import Job, Result
from msg.report.text import first_line

CONFIG = "config.json"
_JOBS, _LOCK, _OWNER = "jobs", ".lock", ".owner"
_STATE = "checkpoint.pt"
_PATIENCE = 0.2
"""Seconds to wait for the folder: whoever only asks whether it is in use has it for a moment."""
_TOLD = ("versions",)
"""Parts of the configuration that may differ when an experiment goes on; they are told, not refused."""


class Store:
    """Configuration, results of jobs, their checkpoints, and artefacts, each file replaced in one step.

    Args:
        path: of the folder, which need not exist yet.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        self._stamp = self._stamp_of_states = ""

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
        found = [name for name in (CONFIG, *names) if (self.path / name).exists()]
        if any(self.path.glob(f"{_JOBS}/[!.]*")):  # a lock alone is left by a process that has the folder no more
            found.append(_JOBS)
        if found:
            raise FileExistsError(
                f"{self.path} already holds a {what} ({', '.join(found)}): go on with --resume "
                f"{quote(str(self.path))}, or choose another --out"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Have the folder for this process alone; a process that is killed gives it back.

        Raises:
            BlockingIOError: if another process has it, naming that.
            OSError: if the folder cannot be written.
            ValueError: if something in it is a link, pipe or device.
        """
        self.refuse_links()
        self.make(_JOBS)
        owner = self.path / _JOBS / _OWNER
        with self._lock():
            try:
                with suppress(OSError):
                    owner.unlink(missing_ok=True)  # it names a process that was killed
                files.replace_file(owner, f"process {os.getpid()} on {socket.gethostname()}".encode())
                yield
            finally:
                with suppress(OSError):  # of a folder that is gone or read-only, there is another error to tell
                    owner.unlink(missing_ok=True)

    def check_unused(self) -> None:
        """Refuse a folder that another process has, before anything in it is read.

        Raises:
            BlockingIOError: naming that process.
            ValueError: if something in it is a link.
        """
        self.refuse_links()
        if (self.path / _JOBS / _LOCK).is_file():
            with self._lock():
                return

    @contextmanager
    def _lock(self) -> Iterator[None]:
        path = self.path / _JOBS / _LOCK
        if path.is_file() and path.stat().st_nlink > 1:  # locking may empty it
            raise ValueError(f"{path} is a second name of another file: remove it")
        lock = FileLock(path, timeout=_PATIENCE)
        with files.written(path):
            try:
                lock.acquire(poll_interval=0.02)
            except Timeout:
                lock = None
        if lock is None:
            raise BlockingIOError(
                f"{self.path} is in use by {self._owner()}: wait until it ends, or choose another --out"
            )
        try:
            yield
        finally:
            lock.release()

    def _owner(self) -> str:
        for _ in range(20):
            time.sleep(0.05)  # whoever has just got the folder has yet to say who it is
            with suppress(OSError, ValueError):
                return (self.path / _JOBS / _OWNER).read_text(encoding="utf-8")[:100]
        return "another process"

    def make(self, name: str = "") -> None:
        """Make the folder, or one in it, if need be.

        Raises:
            OSError: naming it, the fault and the mend.
        """
        with files.written(self.path / name):
            (self.path / name).mkdir(parents=True, exist_ok=True)

    def refuse_links(self) -> None:
        """Refuse a folder in which something is a link, pipe or device.

        Raises:
            ValueError: naming the first.
        """
        for folder in (self.path, self.path / _JOBS):
            if folder.is_dir():
                files.refuse_links(folder)

    def begin(self, content: Mapping[str, Any]) -> None:
        """Keep the configuration of an experiment in a folder that :meth:`locked` made; it is each result's stamp."""
        self._set_stamps(content)
        self.write(CONFIG, files.sealed_json(content))
        # a process that is killed between the two keeps a job's result and its state
        for path in (self.path / _JOBS).glob("*.json"):
            self._forget(path.stem)

    def read_config(self, what: str = "run") -> dict[str, Any]:
        """The configuration.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if the file is damaged or was changed.
        """
        content = self.read_json(CONFIG, f"no {what}")
        if not {"study", "content_hash"} <= content.keys() or not isinstance(content.get("options"), dict):
            raise ValueError(f"{self.path / CONFIG} cannot be read: it describes no study")
        self._set_stamps(content)
        return content

    def _set_stamps(self, content: Mapping[str, Any]) -> None:
        self._stamp = _stamp(content)
        # a state after so many epochs is the same whatever their number will be
        options = {name: value for name, value in content["options"].items() if name != "epochs"}
        self._stamp_of_states = _stamp({**content, "options": options})

    def check_stamp(self, content: Mapping[str, Any]) -> None:
        """Refuse a folder whose configuration would be written otherwise: its results would then be another's.

        Args:
            content: as this version of msg would keep it.

        Raises:
            ValueError: naming the file.
        """
        if _stamp(content) != self._stamp:
            raise ValueError(
                f"{self.path / CONFIG} is not as this version of msg writes it: undo what was changed there, go on "
                "with the version that wrote it, or begin anew with another --out"
            )

    def check(self) -> None:
        """Read every result and checkpoint, so that a damaged one is refused before any work is done.

        Raises:
            ValueError: naming the first.
        """
        self.results()
        for path in sorted((self.path / _JOBS).glob(f"*.{_STATE}")):
            self._slot(path.name.removesuffix(f".{_STATE}")).load()

    def results(self) -> dict[str, Result]:
        """The results of all jobs that are done, by name.

        Raises:
            ValueError: if a file is damaged, or was made under another configuration.
        """
        return {path.stem: self._result(path.stem) for path in sorted((self.path / _JOBS).glob("*.json"))}

    def result(self, job: Job) -> Result:
        """The result of a job that is done."""
        return self._result(job.name)

    def _result(self, name: str) -> Result:
        path, tensors = self._file(name, "json"), self._file(name, "pt")
        kept = files.read_json(path)
        if kept.get("stamp") != self._stamp_of(name) or not isinstance(kept.get("record"), dict):
            raise ValueError(f"{path} was not made with the {CONFIG} beside it: delete it to do this job again")
        if kept.get("tensors") is None:
            return Result(kept["record"])
        mend = f"delete it and {path.name} to do this job again"
        found = files.read_tensors(tensors, mend)
        if files.digest(found) != kept["tensors"]:
            raise ValueError(f"{tensors} was not made with the {path.name} beside it: {mend}")
        files.check_finite(tensors, found)
        return Result(kept["record"], found)

    def keep(self, job: Job, result: Result) -> None:
        """Keep a job's result, and forget its state."""
        if result.tensors is not None:
            files.replace_file(self._file(job.name, "pt"), files.torch_bytes(result.tensors))
        # this file says that the job is done, so it comes last; it says of which job, and with which tensors
        seal = None if result.tensors is None else files.digest(result.tensors)
        kept = {"stamp": self._stamp_of(job.name), "tensors": seal, "record": result.record}
        files.replace_file(self._file(job.name, "json"), files.sealed_json(kept))
        self._forget(job.name)

    def _forget(self, name: str) -> None:
        path = self._file(name, _STATE)
        with files.written(path):
            path.unlink(missing_ok=True)

    def slot(self, job: Job) -> "Checkpoint":
        """Where a job keeps its state."""
        return self._slot(job.name)

    def _slot(self, name: str) -> "Checkpoint":
        return Checkpoint(self._file(name, _STATE), _stamp({"stamp": self._stamp_of_states, "job": name}))

    def _stamp_of(self, name: str) -> str:
        """Of the configuration and a job's name, so that no file is taken for that of another job."""
        return _stamp({"stamp": self._stamp, "job": name})

    def reopen(self, overview: str) -> list[str]:
        """Turn results back into states of their jobs, so that these can be given more epochs.

        Killed at any time, the folder holds a run that is not finished and comes to the same end as before.

        Args:
            overview: the file that says that the whole is finished; it goes first.

        Returns:
            names of the jobs whose results kept no state.
        """
        path = self.path / overview
        with files.written(path):
            path.unlink(missing_ok=True)
        missing = []
        for name, result in self.results().items():
            last = (result.tensors or {}).get("last")
            if last is None:
                missing.append(name)
            else:
                self._slot(name).save(last)
            for suffix in ("json", "pt"):
                with files.written(self._file(name, suffix)):
                    self._file(name, suffix).unlink(missing_ok=True)
        return missing

    def place(self, job: Job) -> Path:
        """The file that says that a job is done."""
        return self._file(job.name, "json")

    def _file(self, name: str, suffix: str) -> Path:
        return self.path / _JOBS / f"{name}.{suffix}"

    def write(self, name: str, content: bytes) -> None:
        """Replace an artefact of a folder that is there: where one was moved away, no other is begun in its place."""
        files.replace_file(self.path / name, content)

    def read_json(self, name: str, missing: str = "no finished run") -> dict[str, Any]:
        """An artefact.

        Raises:
            FileNotFoundError: if it is missing, saying what the folder then is not.
            ValueError: if it is damaged or was changed.
        """
        return files.read_json(self._there(name, missing))

    def read_tensors(self, name: str) -> dict[str, Any]:
        """An artefact with tensors.

        Raises:
            FileNotFoundError: if it is missing.
            ValueError: if it is damaged or was changed.
        """
        return files.read_tensors(self._there(name, "no finished run"))

    def _there(self, name: str, missing: str) -> Path:
        path = self.path / name
        if not path.exists():
            raise FileNotFoundError(f"{self.path} holds {missing}: it has no {name}")
        return path


class Checkpoint:
    """The state of one job, in a file that is replaced in one step.

    Args:
        path: of the file.
        stamp: of the configuration and the job it belongs to.
    """

    def __init__(self, path: Path, stamp: str):
        self.path, self.stamp = path, stamp

    def load(self) -> dict[str, Any] | None:
        """The last state, or ``None`` before the first.

        Raises:
            ValueError: if the file is damaged, or was made under another configuration.
        """
        try:
            state = files.read_tensors(self.path, "delete it to begin this job again")
        except FileNotFoundError:
            return None
        if state.get("stamp") != self.stamp:
            raise ValueError(
                f"{self.path} was not made with the {CONFIG} beside it: undo what was changed there, or delete it to "
                "begin this job again"
            )
        return state

    def misfit(self, error: Exception) -> ValueError:
        """What to raise where the state is not one of this job's."""
        return ValueError(f"{self.path} is no state of its job ({first_line(error)}): delete it to begin it again")

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the state."""
        files.replace_file(self.path, files.torch_bytes({**state, "stamp": self.stamp}))


def free_folder(stem: str, parent: str | Path = "runs") -> Path:
    """``PARENT/STEM``, or ``PARENT/STEM-2`` and so on: the first that does not exist."""
    path, number = Path(parent) / stem, 1
    while path.exists():
        number += 1
        path = Path(parent) / f"{stem}-{number}"
    return path


def _stamp(content: Mapping[str, Any]) -> str:
    decides = {name: value for name, value in content.items() if name not in _TOLD}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
