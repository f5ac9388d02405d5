"""What commands that work have in common."""

import dataclasses
import json
import math
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from msg.cli.errors import failures
from msg.cli.screen import show


class Output(NamedTuple):
    """How a command speaks.

    Attributes:
        json: whether its result is printed for programs, and all else goes to standard error.
        quiet: whether nothing is said while it works.
    """

    json: bool = False
    quiet: bool = False

    @classmethod
    def of(cls, given: dict[str, Any]) -> "Output":
        """What the user gave, which is taken out of it."""
        return cls(bool(given.pop("json", False)), bool(given.pop("quiet", False)))

    def console(self, stderr: bool = False) -> Any:
        """A rich console for what goes on.

        Args:
            stderr: whether it is never mixed with the result.
        """
        from rich.console import Console

        return Console(stderr=stderr or self.json, quiet=self.quiet)

    def result(self, text: object, value: Any) -> None:
        """Print what came of it: a text, or a value as JSON."""
        show(json.dumps(plain(value), indent=2, allow_nan=False) if self.json else text)


def plain(value: Any) -> Any:
    """A value in what JSON has: dataclasses and named tuples become objects, what is no finite number ``null``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def executor(given: dict[str, Any]) -> Any:
    """Who does the work: this process, or as many as ``--workers`` says.

    Raises:
        ValueError: for less than one.
    """
    from msg.experiments.executor import executor_of

    return executor_of(given.pop("workers", 1))


def execute(experiment: Any, executor: Any, console: Any, logger: Any = None) -> Any:
    """Do an experiment, showing on a rich console how it goes on; what came of it.

    Args:
        experiment: ready to go.
        executor: who does the work.
        console: where to show it.
        logger: a function that is given who is told of the work, and gives who is told instead.
    """
    from msg.cli.display import Display
    from msg.cli.screen import shown
    from msg.report.text import one_line

    study, folder = experiment.study, experiment.store.path
    with shown():
        console.print(one_line(f"{study.what} in {folder}"), markup=False, highlight=False, soft_wrap=True)
    with failures(f"msg {study.command} --resume {shlex.quote(str(folder))}"), Display(console) as display:
        return experiment.execute(display if logger is None else logger(display), executor)
