"""A job: everything that decides a piece of work, as a value, and what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from annotated_types import Ge, Le
from pydantic import FiniteFloat, Strict, ValidationError
from torch_geometric.data import Data

from msg.experiments.config import RunConfig
from msg.names import JOBS

Text = Annotated[str, Strict()]
Number = Annotated[FiniteFloat, Strict()]
Share = Annotated[Number, Ge(0), Le(1)]
Seconds = Annotated[Number, Ge(0)]
Count = Annotated[int, Strict(), Ge(0), Le(2**53)]
"""What records hold; a file from a stranger may hold anything."""


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

    def misfit(self, error: Exception) -> ValueError:
        """What to raise where the state is not one of this job's, naming where it is kept and the mend."""
        ...


_CHECKS: dict[Any, Callable[[Job, Result], None]] = {}


def checked_by(check: Callable[[Job, Result], None]) -> Callable[[Any], Any]:
    """A decorator for a kind of job: what a folder holds as its result is checked before anything is made of it.

    Args:
        check: raises ``ValueError`` where a result is not what such a job finds.
    """

    def decorate(function: Any) -> Any:
        _CHECKS[function] = check
        return function

    return decorate


def check_result(job: Job, result: Result) -> None:
    """Refuse a result that is not what a job finds; kinds of job that say nothing about theirs take any.

    Raises:
        ValueError: saying what is wrong.
    """
    check = _CHECKS.get(JOBS[job.kind])
    if check is not None:
        check(job, result)


def check_record(adapter: Any, record: Mapping[str, Any]) -> Any:
    """A record as its type has it.

    Args:
        adapter: a :class:`pydantic.TypeAdapter`.
        record: from a file.

    Raises:
        ValueError: naming the first field that is wrong, on one line.
    """
    try:
        return adapter.validate_python(record)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from None


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
