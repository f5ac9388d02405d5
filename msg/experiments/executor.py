"""Who does the jobs: this process, or several. Results do not depend on which."""

import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

import torch
from torch_geometric.data import Data

from msg.experiments.build import load_data
from msg.experiments.job import Job, Result, do
from msg.experiments.progress import Progress
from msg.experiments.store import Store
from msg.process import keep_freed_memory, start
from msg.report.text import first_line
from msg.sizes import check_sizes
from msg.training import Epoch, own_random_state


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
        workers = [_Worker(jobs[0], data, store) for _ in range(min(self.workers, len(jobs)))]
        try:
            for worker in workers:
                worker.give(waiting.popleft())
            while busy := {worker.connection: worker for worker in workers if worker.job is not None}:
                for connection in wait(list(busy)):
                    worker = busy[connection]  # pyright: ignore[reportArgumentType]
                    job = worker.hear(progress)
                    if job is not None:
                        worker.give(waiting.popleft() if waiting else None)
                        yield job, store.result(job)
        finally:
            for worker in workers:
                worker.stop()


class _Worker:
    """A process as this one sees it."""

    def __init__(self, first: Job, data: Data, store: Store):
        self.connection, other = multiprocessing.Pipe()
        arguments = store, first.config, data.content_hash, torch.get_num_threads()
        self.process = start(_serve, *arguments, connection=other)
        self.job: Job | None = None

    def give(self, job: Job | None) -> None:
        self.job = job
        if job is not None:
            self.connection.send(job)

    def hear(self, progress: Progress) -> Job | None:
        """Pass on what it says; its job, if that is done."""
        assert self.job is not None
        try:
            what, *content = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            raise MemoryError(
                f"the process that did {self.job.name} was killed: there may be too little memory, try fewer workers"
            ) from error
        if what == "failed":
            raise content[0]
        if what == "done":
            return self.job
        getattr(progress, what)(self.job, *content)
        return None

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()
        self.connection.close()


class _Told(Progress):
    """Sends what it is told to the process that shows it."""

    def __init__(self, connection: Connection):
        self.connection = connection

    def started(self, job: Job, model: str, history: Sequence[Epoch]) -> None:
        self.connection.send(("started", model, list(history)))

    def epoch(self, job: Job, row: Epoch) -> None:
        self.connection.send(("epoch", row))


def _serve(connection: Connection, store: Store, config: Any, content_hash: str, threads: int) -> None:
    """Do jobs until there are none."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    try:
        data = load_data(config)
        if data.content_hash != content_hash:
            raise ValueError(f"{config.dataset} has changed since it was read first")
        while True:
            _do(connection.recv(), data, store, _Told(connection))
            connection.send(("done",))
    except EOFError:
        return
    except Exception as error:
        connection.send(("failed", error))


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
