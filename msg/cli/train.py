"""``msg train``."""

from pathlib import Path
from typing import Any

from msg.cli.errors import user_errors
from msg.cli.options import command, of_a_run, resumed
from msg.cli.screen import show
from msg.experiments.options import RUN, Option

OWN = {
    "out": (Path, Option(RUN, "Folder of the run.", shown="runs/DATASET-TASK")),
    "resume": (Path, Option(RUN, "Go on with the run in this folder.", shown="none")),
}


@command(OWN)
def train(given: dict[str, Any]) -> None:
    """Train a model, beside a baseline under the same budget, and keep what came of it in a folder."""
    from rich.console import Console

    from msg.cli.display import report
    from msg.cli.work import execute, executor

    console = Console()
    with user_errors():
        workers = executor(given)
        ready = _prepare(given)
    show(f"\n{report(execute(ready, workers, console))}\n\nkept in {ready.store.path}")


def _prepare(given: dict[str, Any]) -> Any:
    from msg.experiments import Experiment, TrainStudy

    folder = resumed(given)
    if folder is not None:
        return Experiment.resume(folder, "train")
    out = given.pop("out", None)
    return Experiment.begin(TrainStudy(of_a_run(given)), out)
