"""Measure the peak memory of a training."""

from collections.abc import Callable

from torch_geometric.data import Data

from msg.experiments.build import build_budget, load_data, prepare
from msg.experiments.config import RunConfig
from msg.experiments.job import Job, Result, Slot, checked_by
from msg.experiments.progress import Progress
from msg.training import Training, peak_memory


def _check(job: Job, result: Result) -> None:
    found = result.record.get("memory_mb", "nothing")
    if found is not None and type(found) not in (int, float):
        raise ValueError(f"memory_mb is {found!r}")


@checked_by(_check)
def memory(job: Job, data: Data, slot: Slot, progress: Progress) -> Result:
    """Peak memory of ten epochs in a process of their own, which loads the graph itself.

    Record: ``memory_mb``, ``None`` where the system does not report it.

    Raises:
        MemoryError: if that process is killed.
    """
    return Result({"memory_mb": peak_memory(_epoch, job.config, job.seed, device=job.config.device)})


def _epoch(config: RunConfig, seed: int) -> Callable[[], object]:
    """One epoch, to be called again and again."""
    model, task = prepare(config, load_data(config), seed)
    return Training(model, task, build_budget(config)).step
