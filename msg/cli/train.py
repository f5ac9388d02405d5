"""``msg train``."""

import os
from pathlib import Path
from typing import Any

from msg.cli.errors import failures, user_errors
from msg.cli.options import command, of_a_run, resumed
from msg.experiments.options import RUN, Option

OWN = {
    "out": (Path, Option(RUN, "Folder of the run.", shown="runs/DATASET-TASK")),
    "resume": (Path, Option(RUN, "Go on with the run in this folder, up to --epochs if given.", shown="none")),
    "log": (str, Option(RUN, "Log every epoch at once, as csv or tensorboard, in the run's folder.", shown="none")),
    "partition": (str, Option(RUN, "How torchrun's processes share the graph: metis, range.", shown="none")),
}


@command(OWN)
def train(given: dict[str, Any]) -> None:
    """Train a model, beside a baseline under the same budget, and keep what came of it in a folder."""
    from msg.cli.work import Output, executor

    output, log = Output.of(given), given.pop("log", None)
    with user_errors():
        crew = shared(given)
    if crew is not None:
        with crew as ranks:
            _together(given, ranks, output, log)
        return
    with user_errors():
        workers = executor(given)
        ready = _prepare(given)
    _report(ready, workers, output, log)


def shared(given: dict[str, Any]) -> Any:
    """The processes that share the graph, as a context; ``None`` where this one has it alone.

    Raises:
        ValueError: for processes without ``--partition``, and what contradicts it.
        ImportError: for METIS without pymetis.
    """
    method, processes = given.pop("partition", None), int(os.environ.get("WORLD_SIZE", "1"))
    if method is None:
        if processes > 1:
            raise ValueError(
                f"torchrun started {processes} processes: say how they share the graph, with --partition metis or range"
            )
        return None
    if "WORLD_SIZE" not in os.environ:
        raise ValueError(
            "--partition shares the graph between processes that torchrun starts: "
            "torchrun --nproc-per-node 2 -m msg train --partition ..."
        )
    if given.pop("workers", 1) != 1:
        raise ValueError("--workers contradicts --partition: the processes are torchrun's")
    from msg.experiments.ranks import joined
    from msg.graph.partition import check_method

    check_method(method)
    return joined(method)


def _together(given: dict[str, Any], ranks: Any, output: Any, log: str | None) -> None:
    if ranks.rank:
        with failures("the command of rank 0"):
            ranks.serve()
        return
    if given.get("resume") is None and "baseline" not in given:
        # the same function as the default, which reads a whole graph
        given["baseline"] = None if given.get("model") == "cached-gcn" else "cached-gcn"
    with user_errors():
        ready = _prepare(given, ranks)
        for config in ready.study.configs:
            ranks.check(config, ready.data)
    _report(ready, ranks, output, log)


def _report(ready: Any, workers: Any, output: Any, log: str | None) -> None:
    from msg.cli.display import report
    from msg.cli.work import execute

    logger = None
    if log is not None:
        from msg.experiments.logs import logger_of

        with user_errors():
            logger = logger_of(log, ready.store)
    results, folder = execute(ready, workers, output.console(), logger), ready.store.path
    output.result(f"\n{report(results)}\n\nkept in {folder}", {**results, "out": str(folder)})


def _prepare(given: dict[str, Any], ranks: Any = None) -> Any:
    """A run that is ready to go: of what is given, or of what validation will choose where that leaves it open.

    Args:
        given: by the user.
        ranks: that share the graph, which try nothing.

    Raises:
        ValueError: as an experiment does, and for ranks that would go on with a run that tries recipes.
    """
    from msg.experiments import Experiment, RecipeStudy, TrainStudy
    from msg.experiments.recipes import leaves_open

    folder = resumed(given, besides=("epochs",))
    if folder is not None:
        ready = Experiment.resume(folder, "train", given.get("epochs"))
        if ranks is not None and isinstance(ready.study, RecipeStudy):
            raise ValueError(
                f"{folder} tries recipes, which processes that share a graph cannot: leave --partition out"
            )
        return ready
    out, kind = given.pop("out", None), RecipeStudy if ranks is None and leaves_open(given) else TrainStudy
    return Experiment.begin(kind(of_a_run(given)), out)
