"""Measure the peak memory of a training."""

from collections.abc import Callable

from torch_geometric.data import Data

from msg.experiments.build import build_budget, load_data, prepare
from msg.experiments.config import RunConfig
from msg.experiments.job import Job, Result, Slot
from msg.experiments.progress import Progress
from msg.training import Training, peak_memory


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
