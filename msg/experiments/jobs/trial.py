"""Train one model under settings that a search tries. The test part is not read."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Strict, TypeAdapter
from torch_geometric.data import Data

from msg.experiments.build import build_budget, prepare
from msg.experiments.job import Count, Job, Result, Seconds, Share, Slot, check_record, checked_by
from msg.experiments.jobs.fit import restored, steps
from msg.experiments.progress import Progress
from msg.report.text import first_line
from msg.training import Epoch, Training


@dataclass(frozen=True)
class _Record:
    """What :func:`trial` says; files from strangers may say anything."""

    settings: dict[str, Any]
    val: Share | None
    best_epoch: Count
    epochs: Count
    seconds: Seconds
    failed: Annotated[str, Strict()] | None
    line: Annotated[str, Strict()]


_RECORD = TypeAdapter(_Record)


def _check(job: Job, result: Result) -> None:
    record = result.record
    check_record(_RECORD, record)
    if record["settings"] != dict(job.extras["settings"]):
        raise ValueError("its settings are not those that the search asks for, as another version of Optuna might have")
    if (record["val"] is None) == (record["failed"] is None):
        raise ValueError("it has neither a metric nor a reason, or both")


@checked_by(_check)
def trial(job: Job, data: Data, slot: Slot, progress: Progress) -> Result:
    """Train, and keep the best validation metric. What fails, diverges or takes too long has none, and the reason.

    Extras of the job: ``settings``, for the record; ``seconds``, what processor time it may take. Of what was done
    before it was killed the seconds of updates count.

    Record: ``settings``, ``val``, ``best_epoch``, ``epochs``, ``seconds`` of updates, ``failed``, ``line``.
    """
    if "refused" in job.extras:
        return Result(_said(job, [], job.extras["refused"]))
    try:
        training = Training(*prepare(job.config, data, job.seed), build_budget(job.config))
    except Exception as error:
        return Result(_said(job, [], _reason(error)))
    restored(training, slot.load(), slot)  # a state that does not fit is the folder's fault, not the model's
    before, began, failed = _spent(training.history[1:]), None, None
    try:
        for _ in steps(job, training, slot, progress):
            # the first epoch here may compile kernels; a processor's time is that of a model on a busy machine too
            now = time.process_time()
            began = now if began is None else began
            if before + now - began > job.extras["seconds"] and not training.finished:
                failed = f"{job.extras['seconds']:g} seconds were over after {len(training.history)} epochs"
                break
    except OSError:
        raise
    except Exception as error:
        failed = _reason(error)
    return Result(_said(job, training.history, failed))


def _spent(history: Sequence[Epoch]) -> float:
    return math.fsum(row.seconds for row in history)


def _said(job: Job, history: Sequence[Epoch], failed: str | None) -> dict[str, Any]:
    best = max(history, key=lambda row: row.val, default=None)  # the first of equal ones
    val = best.val if best is not None and failed is None else None
    chosen = ", ".join(f"{name}={value}" for name, value in job.extras["settings"].items())
    return {
        "settings": dict(job.extras["settings"]),
        "val": val,
        "best_epoch": 0 if best is None else best.epoch,
        "epochs": len(history),
        "seconds": _spent(history),
        "failed": failed,
        "line": f"{job.title}, seed {job.seed}: {failed if val is None else f'validation {val:.4f}'} ({chosen})",
    }


def _reason(error: Exception) -> str:
    said, kind = first_line(error), type(error).__name__
    return said if isinstance(error, ValueError | FloatingPointError) or said == kind else f"{kind}: {said}"
