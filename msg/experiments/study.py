"""A study plans jobs and summarises their results; an experiment is a study with its folder, ready to go."""

import hashlib
import platform
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar

import torch
from torch_geometric.data import Data

from msg import __version__
from msg.datasets.splits import MASKS
from msg.experiments.build import build_budget, graph_place, load_data, prepare
from msg.experiments.config import LINKS, RunConfig
from msg.experiments.executor import Executor, Serial
from msg.experiments.job import Job, Result, check_result
from msg.experiments.progress import Progress
from msg.experiments.store import Store, free_folder
from msg.kernels import status
from msg.names import STUDIES
from msg.training import Training, own_random_state

_MOST_THREADS = 1024
"""A folder from a stranger may ask for any number."""

_THEN = ", then "
"""Between the versions that an experiment was made with, one after the other."""


@dataclass(frozen=True)
class Summary:
    """What came of a study.

    Attributes:
        value: what Python gets.
        files: what the folder gets, by name.
    """

    value: Any
    files: Mapping[str, bytes]


class Study(ABC):
    """A study, as a value. It never trains: it plans jobs, and reads what came of them."""

    kind: ClassVar[str]
    """Its name in :data:`msg.names.STUDIES`."""
    command: ClassVar[str]
    """The command that does it: ``msg COMMAND``."""
    what: ClassVar[str]
    """How messages call what is in its folder: ``"run"``."""
    artefacts: ClassVar[tuple[str, ...]]
    """Names of the files that it makes; the first says that it is finished."""

    base: RunConfig
    """What all jobs share: graph, seeds, device, and whatever the study does not change."""

    @property
    @abstractmethod
    def folder(self) -> str:
        """Name of its folder, where none is given."""

    @abstractmethod
    def rehearse(self, data: Data) -> None:
        """Build everything once, so that what cannot be built is refused before any work is done."""

    @abstractmethod
    def pending(self, results: Mapping[str, Result]) -> list[Job]:
        """What can be done next, given the results so far by the jobs' names; nothing when the study is over."""

    @abstractmethod
    def summarise(self, results: Mapping[str, Result], data: Data, versions: Mapping[str, str]) -> Summary:
        """What came of it, when nothing is pending.

        Args:
            results: of all jobs.
            data: the graph.
            versions: of what the results were made with.
        """

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """The options as JSON would have them."""

    @classmethod
    @abstractmethod
    def from_dict(cls, options: Mapping[str, Any]) -> "Study":
        """From what :meth:`as_dict` gives.

        Raises:
            ValueError: for options that are not of this study.
        """

    def extended(self, epochs: int) -> "Study":
        """The same with more epochs, where all that was done is a part of what has to be done then.

        Raises:
            ValueError: for fewer, or a study that has several numbers of them or decides by what came of the first.
        """
        raise ValueError(f"a {self.what} cannot be given other epochs: begin anew with another --out")

    def watched(self, store: Store, results: Mapping[str, Result], progress: Progress) -> Progress:
        """Who is told of the work; a study that keeps files while it goes on listens here."""
        return progress


class Experiment:
    """A study that is ready to go: options, graph and models have been checked, nothing is written yet.

    Make one with :meth:`begin` or :meth:`resume`.
    """

    def __init__(self, study: Study, store: Store, data: Data, begun: Mapping[str, Any] | None = None):
        self.study, self.store, self.data, self.begun = study, store, data, begun
        self._extends = False
        study.rehearse(data)

    @classmethod
    def begin(cls, study: Study, out: str | Path | None = None) -> "Experiment":
        """Prepare a new experiment.

        Args:
            study: what to do.
            out: its folder; ``None`` for the first free one of ``runs/NAME``, ``runs/NAME-2``, ...

        Raises:
            BlockingIOError: if another process has the folder.
            FileExistsError: if the folder holds an experiment already.
            ValueError: if graph, split and options do not fit together.
            DatasetError: for missing or damaged files.
        """
        store = Store(out if out is not None else free_folder(study.folder))
        store.check_unused()
        store.check_free(study.what, study.artefacts)
        return cls(study, store, load_data(study.base))

    @classmethod
    def resume(cls, out: str | Path, kind: str | None = None, epochs: int | None = None) -> "Experiment":
        """Prepare to go on with the experiment in a folder, with the configuration kept there.

        Args:
            out: the folder.
            kind: of study that it must be, ``None`` for any.
            epochs: more than it began with, for a run: it then comes to what it would have come to with so many from
                the start.

        Raises:
            BlockingIOError: if another process has the folder.
            FileNotFoundError: if the folder holds no such experiment.
            ValueError: if a file in it is damaged, the graph has changed, or it cannot be given so many epochs.
        """
        store = Store(out)
        store.check_unused()
        content = store.read_config("run" if kind is None else STUDIES[kind].what)
        try:
            study = STUDIES[content["study"]].from_dict(content["options"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{store.path / 'config.json'} cannot be read: {error}") from error
        _check_made_with(store.path / "config.json", content)
        if kind is not None and study.command != STUDIES[kind].command:
            place = quote(str(store.path))
            raise ValueError(f"{store.path} holds a {study.what}: go on with msg {study.command} --resume {place}")
        store.check()  # before the graph that the configuration names is looked for
        data = load_again(study.base, content, f"the {study.what} in {store.path}")
        experiment = cls(study, store, data, content)
        store.check_stamp(experiment._content)
        with suppress(FloatingPointError):  # that every training diverged is said when it goes on
            experiment._kept()
        if epochs is not None and epochs != study.base.epochs:
            experiment.study, experiment._extends = study.extended(epochs), True
        return experiment

    def execute(self, progress: Progress | None = None, executor: Executor | None = None) -> Any:
        """Do what is not done yet, write what came of it and return it.

        Killed at any time it can be resumed, and ends with the same result; but for times and memory, that does not
        depend on who does the work. The global random state is as before afterwards.

        Args:
            progress: told what is done.
            executor: who does the jobs; this process unless given.

        Raises:
            FloatingPointError: if a training diverges.
            MemoryError: if a process is killed.
        """
        study, store, progress = self.study, self.store, progress or Progress()
        with store.locked(), _threads(self._content["threads"]):
            if self.begun is None:  # another process may have begun in the meantime
                store.check_free(study.what, study.artefacts)
            for name in store.reopen(study.artefacts[0]) if self._extends else ():
                progress.note(f"{name} kept no state, so it begins anew")
            self.begun, self._extends = self._content, False
            store.begin(self.begun)
            results = self._kept()
            if study.pending(results):
                self._work_with(versions(), progress)
            while jobs := study.pending(results):
                told = study.watched(store, results, progress)
                for job, result in (executor or Serial()).execute(jobs, self.data, store, told):
                    results[job.name] = result
                    told.finished(job, result.record)
                if any(store.place(job).exists() for job in study.pending(results)):
                    results |= self._kept()  # done before something that was done again
            summary = study.summarise(results, self.data, self.begun["versions"])
            for name, file in summary.files.items():
                store.write(name, file)
            return summary.value

    def _kept(self) -> dict[str, Result]:
        """The results in the folder that the study asks for, each one that its job could have found.

        Raises:
            ValueError: naming the first file that is damaged, or of something else.
        """
        found, kept = self.store.results(), {}
        while jobs := [job for job in self.study.pending(kept) if job.name in found]:
            for job in jobs:
                try:
                    check_result(job, found[job.name])
                except ValueError as error:
                    raise ValueError(
                        f"{self.store.place(job)} is no result of its job ({error}): delete it to do this job again"
                    ) from error
                kept[job.name] = found[job.name]
        return kept

    @property
    def _content(self) -> dict[str, Any]:
        """What the folder keeps of the experiment: all that decides its results, and what they are made with."""
        study, data = self.study, self.data
        return {
            "study": study.kind,
            "content_hash": data.content_hash,
            "masks_hash": masks_hash(data),
            "options": study.as_dict(),
            # sums are added up in another order by another number of threads, so an experiment keeps its own
            "threads": torch.get_num_threads() if self.begun is None else self.begun["threads"],
            "versions": versions() if self.begun is None else self.begun.get("versions", {}),
        }

    def _work_with(self, now: Mapping[str, str], progress: Progress) -> None:
        """Say and keep where results are made with something else than those before."""
        assert self.begun is not None
        before = self.begun["versions"]
        others = {name: one for name, one in now.items() if before.get(name, "").rsplit(_THEN, 1)[-1] != one}
        if not others:
            return
        for name in others if before else ():
            was = before.get(name, "none")
            progress.note(f"begun with {name} {was}, going on with {others[name]}: the results may differ in rounding")
        kept = {name: f"{before[name]}{_THEN}{one}" if name in before else one for name, one in others.items()}
        self.begun = {**self.begun, "versions": {**before, **kept}}
        self.store.begin(self.begun)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_made_with(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse a configuration whose number of threads or versions are none."""
    threads, made_with = content.get("threads"), content.get("versions", {})
    if type(threads) is not int or not 1 <= threads <= _MOST_THREADS:
        raise ValueError(f"{path} cannot be read: threads must be a whole number from 1 to {_MOST_THREADS}")
    if not isinstance(made_with, dict) or not all(isinstance(one, str) for one in made_with.values()):
        raise ValueError(f"{path} cannot be read: it says no versions")


def load_again(config: RunConfig, content: Mapping[str, Any], of: str) -> Data:
    """The graph that an experiment began with.

    Args:
        config: that names the graph.
        content: of the experiment's ``config.json``.
        of: how the message calls the experiment.

    Raises:
        ValueError: saying what can be done, if it is another one now, or its place was named from another folder.
        DatasetError: for missing or damaged files.
    """
    place = graph_place(config)
    if place is not None and not place.is_absolute() and not place.exists():  # before it is downloaded anew
        raise ValueError(
            f"{of} found its graph in {str(place)!r}, seen from where it was begun, and there is none here: go to that "
            "folder first, or bring it back if it was moved"
        )
    data = load_data(config)
    if (data.content_hash, masks_hash(data)) != (content["content_hash"], content.get("masks_hash")):
        raise ValueError(
            f"{config.dataset} is no longer the graph that {of} began with: bring that back, with its masks, or begin "
            "anew with another --out"
        )
    return data


def masks_hash(data: Data) -> str:
    """SHA-256 of a graph's masks, which its content hash leaves out."""
    whole = hashlib.sha256()
    for name in MASKS:
        if name in data:
            whole.update(data[name].cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()


def rehearse(configs: Iterable[RunConfig], data: Data) -> None:
    """Build each configuration's model, task and training with every seed.

    Raises:
        ValueError: for what cannot be built.
    """
    for config in configs:
        # whether links can be split does not depend on the seed, and splitting many links takes long
        with own_random_state(config.device):
            for seed in config.seeds[:1] if config.task == LINKS else config.seeds:
                Training(*prepare(config, data, seed), build_budget(config))


def split_of(config: RunConfig, data: Data) -> str:
    """The split of nodes, links or graphs that a configuration means."""
    return str(config.split) if config.task == LINKS else data.split


def versions() -> dict[str, str]:
    """Versions of Python, of this library and of those its results depend on."""
    packages = ("torch", "torch_geometric", "geoopt", "numpy")
    found = {name: version(name) for name in packages}
    kernels = status()
    # compiled kernels add up in another order than torch
    found["kernels"] = kernels.reason if kernels.backend == "numba" else kernels.backend
    return {"msg": __version__, "python": platform.python_version(), **found}
