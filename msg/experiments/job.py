"""A job: everything that decides a piece of work, as a value, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch_geometric.data import Data

from msg.experiments.config import RunConfig
from msg.names import JOBS


@dataclass(frozen=True)
class Job:
    """A piece of work. Its result depends on these fields and the graph alone, wherever and beside whatever it is done.

    Attributes:
        kind: name out of :data:`msg.names.JOBS`.
        name: of its files, different from all others of its study.
        config: of the model that is worked with.
        seed: of split and initialisation.
        title: how it is called in messages; the model's name if empty.
        extras: what its kind needs besides.
    """

    kind: str
    name: str
    config: RunConfig
    seed: int
    title: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What came of a job.

    Attributes:
        record: JSON-serialisable.
        tensors: what JSON cannot hold, such as weights; loadable with ``weights_only=True``.
    """

    record: dict[str, Any]
    tensors: dict[str, Any] | None = None


class Slot(Protocol):
    """Where a job keeps its state, so that it can stop at any time and go on."""

    def load(self) -> dict[str, Any] | None:
        """The last state, or ``None`` before the first.

        Raises:
            ValueError: if it is damaged.
        """
        ...

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the state."""
        ...


def do(job: Job, data: Data, slot: Slot, progress: Any) -> Result:
    """Do a job: the function of its kind.

    Args:
        job: what to do.
        data: the graph of its configuration, see :func:`~msg.experiments.load_data`.
        slot: where it keeps its state.
        progress: a :class:`~msg.experiments.Progress`.

    Raises:
        FloatingPointError: if a training diverges.
        MemoryError: if a process that measures memory is killed.
    """
    return JOBS[job.kind](job, data, slot, progress)
