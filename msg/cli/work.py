"""What commands that work have in common."""

from typing import Any

from msg.cli.errors import failures


def executor(given: dict[str, Any]) -> Any:
    """Who does the work: this process, or as many as ``--workers`` says.

    Raises:
        ValueError: for less than one.
    """
    from msg.experiments import Processes, Serial

    workers = given.pop("workers", 1)
    return Serial() if workers == 1 else Processes(workers)


def execute(experiment: Any, executor: Any, console: Any) -> Any:
    """Do an experiment, showing on a rich console how it goes on; what came of it."""
    from msg.cli.display import Display
    from msg.cli.screen import one_line, shown

    study, folder = experiment.study, experiment.store.path
    with shown():
        console.print(one_line(f"{study.what} in {folder}"), markup=False, highlight=False, soft_wrap=True)
    with failures(f"msg {study.command} --resume {folder}"), Display(console) as display:
        return experiment.execute(display, executor)
