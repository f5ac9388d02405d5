"""Processes that are given one task after the other, and tell what they do."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from msg.experiments.job import Job
from msg.experiments.progress import Progress
from msg.process import keep_freed_memory, start
from msg.training import Epoch

Do = Callable[[Any, Progress], Any]
"""``do(task, progress)`` gives what came of a task."""
_KILLED = "its process was killed: there may be too little memory, try fewer workers"
_GOES_ON = object()


def at_once(
    workers: int,
    prepare: Callable[..., Do],
    arguments: tuple[Any, ...],
    following: Callable[[], Any | None],
    progress: Progress,
) -> Iterator[tuple[Any, Any]]:
    """Have tasks done in several processes, giving each with what came of it as soon as that is there.

    Each process has as many threads as this one, leaves interrupts to it and ends with it; what a task raises is raised
    here, and ends all. Of a task whose process was killed a ``MemoryError`` is what came, for that is what kills most.

    Args:
        workers: number of processes.
        prepare: what a process calls first, at the top of a module.
        arguments: of that, picklable.
        following: gives a task that can be done now, or ``None`` if there is none, or none until another is done.
        progress: told what the processes tell.
    """
    idle: list[_Worker] = []
    busy: dict[Any, _Worker] = {}
    try:
        while True:
            while len(busy) < workers and (task := following()) is not None:
                worker = idle.pop() if idle else _Worker(prepare, arguments)
                busy[worker.connection] = worker
                worker.give(task)
            if not busy:
                return
            for connection in wait(list(busy)):
                worker = busy[connection]
                outcome = worker.hear(progress)
                if outcome is _GOES_ON:
                    continue
                del busy[connection]
                if isinstance(outcome, MemoryError):
                    worker.stop()
                else:
                    idle.append(worker)
                yield worker.task, outcome
    finally:
        for worker in [*idle, *busy.values()]:
            worker.stop()


class _Worker:
    """A process as this one sees it."""

    def __init__(self, prepare: Callable[..., Do], arguments: tuple[Any, ...]):
        self.connection, other = multiprocessing.Pipe()
        self.process = start(_serve, torch.get_num_threads(), prepare, *arguments, connection=other)
        self.task: Any = None

    def give(self, task: Any) -> None:
        self.task = task
        self.connection.send(task)

    def hear(self, progress: Progress) -> Any:
        """Pass on what it says; what came of its task, unless it goes on."""
        try:
            what, *content = self.connection.recv()
        except (EOFError, ConnectionError):
            return MemoryError(_KILLED)
        if what == "failed":
            raise content[0]
        if what == "done":
            return content[0]
        getattr(progress, what)(*content)
        return _GOES_ON

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()
        self.connection.close()


class _Told(Progress):
    """Sends what it is told to the process that shows it."""

    def __init__(self, connection: Connection):
        self.connection = connection

    def started(self, job: Job, model: str, history: Sequence[Epoch]) -> None:
        self.connection.send(("started", job, model, list(history)))

    def epoch(self, job: Job, row: Epoch) -> None:
        self.connection.send(("epoch", job, row))

    def note(self, line: str) -> None:
        self.connection.send(("note", line))

    def finished(self, job: Job, record: Any) -> None:
        self.connection.send(("finished", job, record))


def _serve(connection: Connection, threads: int, prepare: Callable[..., Do], *arguments: Any) -> None:
    """Do tasks until there are none."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    try:
        do = prepare(*arguments)
        while True:
            connection.send(("done", do(connection.recv(), _Told(connection))))
    except EOFError:
        return
    except Exception as error:
        connection.send(("failed", error))
