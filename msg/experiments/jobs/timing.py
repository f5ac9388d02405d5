"""Measure how long an update takes under several rules and numbers of time steps."""

import statistics

from torch_geometric.data import Data

from msg.experiments.build import build_budget, prepare
from msg.experiments.config import make_part
from msg.experiments.job import Job, Result, Slot, checked_by
from msg.experiments.progress import Progress
from msg.models.stack import SpikingStack
from msg.training import Training

_WARM_UP, _TURNS = 2, 10


def _check(job: Job, result: Result) -> None:
    found = result.record.get("seconds")
    if (
        not isinstance(found, list)
        or len(found) != len(job.extras["runs"])
        or any(type(one) is not float for one in found)
    ):
        raise ValueError("seconds are not one number a configuration")


@checked_by(_check)
def timing(job: Job, data: Data, slot: Slot, progress: Progress) -> Result:
    """Median seconds of an epoch's updates, all configurations of the extra ``runs`` in turns on one model.

    So all see the same machine, caches and allocator, whatever else the machine does meanwhile; every update goes on
    from the weights that the one before left. The first turns warm up and are not counted.

    Record: ``seconds``, one a configuration.
    """
    model, task = prepare(job.config, data, job.seed)
    stacks = [module for module in model.modules() if isinstance(module, SpikingStack)]
    training = Training(model, task, build_budget(job.config))
    seconds: list[list[float]] = [[] for _ in job.extras["runs"]]
    for turn in range(_WARM_UP + _TURNS):
        for run, times in zip(job.extras["runs"], seconds):
            for stack in stacks:
                stack.gradient, stack.timesteps = make_part(run, "gradient"), run.timesteps
            epoch = training.step()
            if turn >= _WARM_UP:
                times.append(epoch.seconds)
    return Result({"seconds": [statistics.median(times) for times in seconds]})
