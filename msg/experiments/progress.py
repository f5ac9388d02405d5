"""How all studies tell what they are doing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from msg.experiments.job import Job
from msg.training import Epoch


class Progress:
    """Told what a study does; this one ignores it. Override what you want to see."""

    def started(self, job: Job, model: str, history: Sequence[Epoch]) -> None:
        """A training begins.

        Args:
            job: what is done.
            model: name of the model's class.
            history: epochs that are restored from a checkpoint.
        """

    def note(self, line: str) -> None:
        """Something that the user should know."""

    def epoch(self, job: Job, row: Epoch) -> None:
        """An epoch is over."""

    def finished(self, job: Job, record: Mapping[str, Any]) -> None:
        """A job is over and its result is kept; ``record["line"]``, if there is one, says in a line what came of it."""


class Passing(Progress, ABC):
    """Tells another what it is told; :meth:`begin`, :meth:`add` and :meth:`end` are of one who keeps it too."""

    def __init__(self, progress: Progress):
        self.progress = progress

    def started(self, job: Job, model: str, history: Sequence[Epoch]) -> None:
        self.begin(job, model, history)
        self.progress.started(job, model, history)

    def epoch(self, job: Job, row: Epoch) -> None:
        self.add(job, row)
        self.progress.epoch(job, row)

    def note(self, line: str) -> None:
        self.progress.note(line)

    def finished(self, job: Job, record: Mapping[str, Any]) -> None:
        self.end(job)
        self.progress.finished(job, record)

    @abstractmethod
    def begin(self, job: Job, model: str, history: Sequence[Epoch]) -> None:
        """A training begins, or goes on after some epochs."""

    @abstractmethod
    def add(self, job: Job, row: Epoch) -> None:
        """An epoch is over."""

    def end(self, job: Job) -> None:
        """A training is over."""
