"""Run folders of every kind and everything that reads them, for tests of what strangers and damage do to them."""

import collections
import contextlib
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from msg.cli import main
from msg.experiments import (
    Experiment,
    Progress,
    RulesStudy,
    RunConfig,
    compare,
    load_model,
    load_trained,
    run,
    search,
)

OPTIONS = {
    "dataset": "karate", "manifold": "H4", "timesteps": 2, "layers": 2, "epochs": 4, "checkpoint_every": 2,
    "dropout": 0.2, "seeds": (0, 1),
}  # fmt: skip

KINDS = {
    "run": ["config.json", "jobs/msg-0.json", "jobs/msg-0.pt", "jobs/msg-1.checkpoint.pt", "history.csv"],
    "finished run": [
        *("config.json", "best.pt", "results.json", "jobs/msg-0.json", "jobs/msg-0.pt", "jobs/gcn-1.json"),
        *("history.csv", "curves.png", "energy.json", "energy.md", "energy.png"),
    ],
    "search": ["config.json", "jobs/msg-0-0.json", "jobs/msg-0-1.checkpoint.pt"],
    "finished search": ["config.json", "jobs/msg-0-0.json", "energy.json", "energy.md", "energy.png"],
    "comparison": ["config.json", "jobs/dvm-2-0.json", "jobs/dvm-2-1.checkpoint.pt"],
    "finished comparison": [
        *("config.json", "jobs/dvm-2-0.json", "jobs/timing.json"),
        *("comparison.json", "comparison.md", "comparison.png"),
    ],
}
"""Folders, those that are not finished with a job done and a checkpoint of the next, and their kinds of file."""

READ = (".json", ".pt")
"""What is read again; the rest, and what reports write as JSON, is only ever written."""


class Interrupt(Progress):
    """Ctrl-C after so many epochs."""

    def __init__(self, epochs: int):
        self.epochs = epochs

    def epoch(self, job, row):
        self.epochs -= 1
        if self.epochs == 0:
            raise KeyboardInterrupt


def make(kind: str, folder: Path, **options: Any) -> Path:
    """A folder of one of the :data:`KINDS`, made as users make it."""
    config = RunConfig(**{**OPTIONS, **options})
    finished = kind.startswith("finished")
    # the first job of a run has a baseline beside it, so its second model is the third job
    progress = None if finished else Interrupt(3 * 4 - 1 if kind == "run" else 2 * 4 - 1)
    with contextlib.nullcontext() if finished else contextlib.suppress(KeyboardInterrupt):
        if kind.endswith("run"):
            run(config, folder, progress)
        elif kind.endswith("search"):
            search(["msg"], config.with_options(baseline="none"), out=folder, progress=progress)
        else:
            compare(RulesStudy(config, ("dvm", "bptt"), (2,), memory=False), folder, progress)
    if kind == "finished run":
        assert command("energy", folder).status == 0
    assert all((folder / name).is_file() for name in KINDS[kind]), sorted(folder.rglob("*"))
    return folder


def is_read(kind: str, name: str) -> bool:
    """Whether anything reads a file again."""
    reports = {"energy.json", "comparison.json"} | ({"results.json", "best.pt"} if kind != "finished run" else set())
    return name.endswith(READ) and name not in reports


class Done(NamedTuple):
    """What a command did."""

    status: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


def command(*words: Any) -> Done:
    """``msg WORDS`` in this process."""
    status, stdout, stderr = 0, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            main([str(word) for word in words])
        except SystemExit as left:
            status = int(left.code or 0)
    return Done(status, stdout.getvalue(), stderr.getvalue())


COMMANDS = {"run": "train", "search": "energy", "comparison": "compare"}


def resume(kind: str, folder: Path) -> Done:
    """``msg COMMAND --resume FOLDER``."""
    return command(COMMANDS[kind.removeprefix("finished ")], "--resume", folder)


def commands(kind: str, folder: Path) -> Iterator[Callable[[], Done]]:
    """Every command that reads a folder."""
    yield lambda: resume(kind, folder)
    if kind == "finished run":
        yield lambda: command("energy", folder)


def _resumed(folder: Path) -> Any:
    ready = Experiment.resume(folder)
    results = {name: (result.record, result.tensors) for name, result in ready.store.results().items()}
    states = {
        path.name: ready.store._slot(path.name.removesuffix(".checkpoint.pt")).load()
        for path in sorted((folder / "jobs").glob("*.checkpoint.pt"))
    }
    return ready.study, dict(ready.begun or {}), results, states


def _trained(folder: Path) -> Any:
    found = load_trained(folder)
    return found.model.state_dict(), found.results, dict(found.ops.total())


def readers(kind: str, folder: Path) -> dict[str, Callable[[], Any]]:
    """Everything in Python that reads a folder; each gives what it read."""
    found = {"resume": lambda: _resumed(folder)}
    if kind == "finished run":
        found["load_trained"] = lambda: _trained(folder)
        found["load_model"] = lambda: load_model(folder / "best.pt").state_dict()
    return found


def equal(one: Any, other: Any) -> bool:
    """Whether two things that were read are the same to the last bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict) and one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
        )
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and one == other


def outcome(read: Callable[[], Any], sound: Any, name: str) -> str:
    """What a reader did with a changed file: ``same``, ``refused``, or what may not be."""
    try:
        found = read()
    except (ValueError, OSError) as error:
        said = str(error)
        named = Path(name).name in said and "weights_only" not in said
        return "refused" if named and said.isprintable() else f"refused with {said!r}"
    except Exception as error:
        return f"crashed: {type(error).__name__}: {error}"
    return "same" if equal(found, sound) else "different"


def content(folder: Path) -> dict[str, bytes]:
    """Every plain file under a folder, but for the lock, which says nothing."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.name not in (".lock", ".owner")}


def copy(folder: Path, to: Path) -> Path:
    """A fresh copy of a folder."""
    if to.exists():
        shutil.rmtree(to)
    return Path(shutil.copytree(folder, to))


def check(found: collections.Counter, total: int, at_least: int = 1) -> None:
    """Every change was refused, or changed nothing; and enough were refused that they do reach what is read."""
    print({"refused": found["refused"], "same": found["same"]})
    assert set(found) <= {"refused", "same"}, found.most_common(5)
    assert found.total() == total
    assert found["refused"] >= at_least


def one_line(done: Done, *words: str) -> bool:
    """Whether a command refused with one printable line that says these words, and without torch's advice.

    A search or comparison says before on stderr where it is kept.
    """
    *before, line = done.stderr.removesuffix("\n").split("\n")
    good = done.status == 2 and line.startswith("error: ") and line.isprintable() and "Traceback" not in done.output
    good = good and all(other.startswith(("search in ", "comparison in ")) for other in before)
    return good and "weights_only" not in done.output and all(word in line for word in words)
