"""Trainings whose graph is shared by all processes that torchrun started."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch_geometric.data import Data

from msg.experiments.build import build_model, draw
from msg.experiments.config import NODES, RunConfig
from msg.experiments.job import Job, Result
from msg.experiments.jobs.fit import named, record, train
from msg.experiments.options import listed
from msg.experiments.progress import Progress
from msg.experiments.store import Store
from msg.graph.partition import Partition, assign
from msg.names import MODELS
from msg.training import NodeClassification, PartitionedNodes, own_random_state

TIMEOUT = 30.0
"""Seconds that a process waits for another one in the middle of its work."""
_ROLL_CALL = 5.0
"""Seconds to wait longer than that, once something went wrong, for word from those that still work."""


class _Given:
    """The state that rank 0 has found; it alone keeps others."""

    def __init__(self, state: dict[str, Any] | None):
        self.state = state

    def load(self) -> dict[str, Any] | None:
        return self.state

    def save(self, state: Mapping[str, Any]) -> None:
        pass

    def misfit(self, error: Exception) -> ValueError:
        return ValueError(f"the state that rank 0 found does not fit ({error})")


class Ranks:
    """Jobs, one after the other, each by all processes of the group, which share its graph; made by :func:`joined`.

    Rank 0 reads the graph, cuts it and keeps what is found; it also does alone what is said of the finished model.

    Args:
        method: how the graph is cut, see :func:`msg.graph.partition`.
        timeout: seconds that one waits for another in the middle of an epoch.
    """

    def __init__(self, method: str, timeout: float = TIMEOUT):
        self.method, self.timeout = method, timeout
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        # others wait here as long as it takes rank 0 to read, to cut and to write
        self._patient: Any = dist.new_group(backend="gloo", timeout=timedelta(days=7))
        self._cut: tuple[Data, torch.Tensor] | None = None

    def check(self, config: RunConfig, data: Data) -> None:
        """Refuse what runs on whole graphs only.

        Raises:
            ValueError: naming it.
        """
        if config.task != NODES:
            raise ValueError(f"--partition contradicts task={config.task!r}: it trains {NODES!r}")
        if config.device != "cpu":
            raise ValueError(f"--partition contradicts device={config.device!r}: it trains on cpu")
        given = config.given()
        augmented = "input_dropout", "drop_edge", "half_hop", "label_smoothing"
        for name in (*augmented, "propagate", "consistency", "generations", "batch_size"):
            if name in given:
                raise ValueError(f"--partition contradicts {name}={given[name]}: leave it out")
        if not MODELS[config.model].partitions:
            able = listed([name for name in MODELS if MODELS[name].partitions])
            raise ValueError(
                f"--partition contradicts model={config.model!r}, which reads a whole graph: use {able} "
                "('cached-gcn' is the same function as 'gcn'), for the baseline too"
            )

    def execute(
        self, jobs: Sequence[Job], data: Data, store: Store, progress: Progress
    ) -> Iterator[tuple[Job, Result]]:
        """See :class:`~msg.experiments.Executor`; rank 0 calls it while the others :meth:`serve`.

        Raises:
            MemoryError: if another process is gone, naming its rank.
        """
        for job in jobs:
            slot = store.slot(job)
            with own_random_state(job.config.device), named(job), self._lost_are_named():
                drawn = draw(job.config, data, job.seed)
                self._tell((job, slot.load(), drawn.num_classes, drawn.get("metric", "accuracy")))
                part = self._deal(Partition(drawn, self._assigned(drawn), self.world))
                (found, last), model = self._do(
                    job, part, drawn.num_classes, drawn.get("metric", "accuracy"), slot, progress
                )
                result = record(job, model, NodeClassification(drawn, job.config.sparsity), drawn, found, last)
            store.keep(job, result)
            yield job, result

    def serve(self) -> None:
        """What the other ranks do until rank 0 is through.

        Raises:
            MemoryError: if another process is gone, naming its rank.
            FloatingPointError: if a training diverges.
        """
        with self._lost_are_named():
            while (told := self._tell(None)) is not None:
                job, state, classes, metric = told
                with own_random_state(job.config.device), named(job):
                    self._do(job, self._deal(None), classes, metric, _Given(state), Progress())

    def _do(self, job: Job, part: Data, classes: int, metric: str, slot: Any, progress: Progress) -> tuple[Any, Any]:
        torch.manual_seed(job.seed)
        model = build_model(job.config, part["x"].size(1), classes)
        task = PartitionedNodes(part, job.config.sparsity, metric, job.seed)
        return train(job, model, task, slot, progress), model

    def _assigned(self, data: Data) -> torch.Tensor:
        """The part of each node; seeds differ in their splits, not in their edges."""
        if self._cut is None or self._cut[0] is not data["edge_index"]:
            edges = data["edge_index"]
            self._cut = edges, assign(edges, int(data.num_nodes or 0), self.world, self.method)
        return self._cut[1]

    def _tell(self, what: Any) -> Any:
        """What rank 0 says, on every rank."""
        said = [what]
        dist.broadcast_object_list(said, 0, self._patient)
        return said[0]

    def _deal(self, parts: Partition | None) -> Data:
        """Each rank's own part."""
        found: list[Any] = [None]
        given = None if parts is None else [parts[rank] for rank in range(self.world)]
        dist.scatter_object_list(found, given, 0, self._patient)
        return found[0]

    @contextmanager
    def _lost_are_named(self) -> Iterator[None]:
        """Turn the error of a broken connection into one that says who is gone."""
        store = dist.distributed_c10d._get_default_store()
        try:
            yield
        except RuntimeError as error:
            with suppress(RuntimeError):
                dist.destroy_process_group()  # closes connections, so that whoever waits for this one hears of it
            lost = _missing(store, self.rank, self.world, self.timeout + _ROLL_CALL)
            if not lost:
                raise  # all are there: it is something else
            names = ", ".join(map(str, lost))
            raise MemoryError(
                f"rank {names} of {self.world} is gone: it was killed, there may be too little memory, or it failed as "
                "it says itself; --resume goes on from the last checkpoint, on any number of processes"
            ) from error

    def close(self) -> None:
        """Let the others go, if they still wait for work."""
        if dist.is_initialized():
            with suppress(RuntimeError):
                if self.rank == 0:
                    self._tell(None)
                dist.destroy_process_group()


def _missing(store: Any, rank: int, world: int, patience: float) -> list[int]:
    """Ranks that do not answer.

    The first that has waited long enough says who they are, and the others believe it: they may have noticed later.

    Args:
        store: what the processes found each other by.
        rank: of this one.
        world: how many there are.
        patience: seconds to wait for those that still wait for something else.
    """
    try:
        store.set(f"msg/here/{rank}", "yes")
        lost = _agreed(store, rank, world, time.monotonic() + patience)
        store.set(f"msg/told/{rank}", "yes")
        if rank == 0:  # it keeps the store where torchrun does not, so it waits for those that are here to have read it
            told = [f"msg/told/{other}" for other in range(world) if other not in lost]
            end = time.monotonic() + _ROLL_CALL
            while not store.check(told) and time.monotonic() < end:
                time.sleep(0.1)
        return lost
    except RuntimeError:
        return [0]  # the store itself is gone


def _agreed(store: Any, rank: int, world: int, end: float) -> list[int]:
    """Ranks that are not here, as all see it: at once if there are none, else at the ``end`` that is met first."""
    while True:
        lost = [other for other in range(world) if other != rank and not store.check([f"msg/here/{other}"])]
        if lost and store.check(["msg/lost"]):
            return [int(word) for word in store.get("msg/lost").decode().split()]
        if lost and time.monotonic() > end:
            store.set("msg/lost", " ".join(map(str, lost)))
        elif lost:
            time.sleep(0.1)
            continue
        return lost


@contextmanager
def joined(method: str, timeout: float = TIMEOUT) -> Iterator[Ranks]:
    """The processes that torchrun started, as one group.

    Args:
        method: see :class:`Ranks`.
        timeout: seconds that one waits for another in the middle of an epoch, before that one counts as gone; a process
            that ends is noticed at once.
    """
    dist.init_process_group("gloo", timeout=timedelta(seconds=timeout))
    ranks = Ranks(method, timeout)
    try:
        yield ranks
    finally:
        ranks.close()
