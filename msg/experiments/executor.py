"""Who does the jobs: this process, or several. Results do not depend on which."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch_geometric.data import Data

from msg.experiments.at_once import Do, at_once
from msg.experiments.build import load_data
from msg.experiments.config import RunConfig
from msg.experiments.job import Job, Result, do
from msg.experiments.progress import Progress
from msg.experiments.store import Store
from msg.report.text import first_line
from msg.sizes import check_sizes
from msg.training import own_random_state


class Executor(Protocol):
    """Does jobs."""

    def execute(
        self, jobs: Sequence[Job], data: Data, store: Store, progress: Progress
    ) -> Iterator[tuple[Job, Result]]:
        """Do jobs, giving each with its result as soon as that is kept in the store.

        Args:
            jobs: all on one graph.
            data: that graph.
            store: of results and checkpoints.
            progress: told of trainings and their epochs.

        Raises:
            FloatingPointError: if a training diverges.
            MemoryError: if a process is killed.
        """
        ...


class Serial:
    """One job after the other in this process. The global random state is as before afterwards."""

    def execute(
        self, jobs: Sequence[Job], data: Data, store: Store, progress: Progress
    ) -> Iterator[tuple[Job, Result]]:
        """See :class:`Executor`."""
        for job in jobs:
            yield job, _do(job, data, store, progress)


class Processes:
    """Several jobs at once, each in a process that has as many threads as this one and ends with it.

    Args:
        workers: number of processes.

    Raises:
        ValueError: if there are none.
    """

    def __init__(self, workers: int):
        check_sizes(workers=workers)
        self.workers = workers

    def execute(
        self, jobs: Sequence[Job], data: Data, store: Store, progress: Progress
    ) -> Iterator[tuple[Job, Result]]:
        """See :class:`Executor`."""
        waiting = deque(jobs)
        graph = store, jobs[0].config, data.content_hash
        workers = min(self.workers, len(jobs))
        for job, outcome in at_once(workers, _doing, graph, lambda: waiting.popleft() if waiting else None, progress):
            if isinstance(outcome, MemoryError):
                raise MemoryError(f"{job.name}: {outcome}")
            yield job, store.result(job)


def executor_of(workers: int) -> Executor:
    """Give this process, or as many as are wanted.

    Raises:
        ValueError: for less than one.
    """
    return Serial() if workers == 1 else Processes(workers)


def _doing(store: Store, config: RunConfig, content_hash: str) -> Do:
    """What does jobs in a process of its own."""
    data = load_data(config)
    if data.content_hash != content_hash:
        raise ValueError(f"{config.dataset} has changed since it was read first")

    def work(job: Job, progress: Progress) -> None:
        _do(job, data, store, progress)

    return work


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Have too little memory be a ``MemoryError``, which torch calls a ``RuntimeError`` like any other."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error):
            raise MemoryError(first_line(error)) from error
        raise


def _do(job: Job, data: Data, store: Store, progress: Progress) -> Result:
    with own_random_state(job.config.device), _memory_errors():
        result = do(job, data, store.slot(job), progress)
    store.keep(job, result)
    return result
