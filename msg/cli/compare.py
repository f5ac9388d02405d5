"""``msg compare``."""

from pathlib import Path
from typing import Any

from msg.cli.errors import user_errors
from msg.cli.options import command, of_a_run, resumed, words
from msg.experiments.options import MODEL, RUN, TRAINING, Option

OWN = {
    "timesteps": (str, Option(MODEL, "Numbers of time steps T.", "5,15,64")),
    "rules": (str, Option(TRAINING, "Gradient rules, as of msg train.", "dvm,bptt")),
    "memory": (bool, Option(RUN, "Measure peak memory, in more processes.", True)),
    "out": (Path, Option(RUN, "Folder of the comparison.", shown="runs/compare-DATASET")),
    "resume": (Path, Option(RUN, "Go on with the comparison in this folder.", shown="none")),
}


@command(OWN, without=("gradient", "baseline"))
def compare(given: dict[str, Any]) -> None:
    """Compare gradient rules with nothing else changed: accuracy, time, memory, and how exact their gradients are."""
    from msg.cli.work import Output, execute, executor

    output = Output.of(given)
    with user_errors():
        workers = executor(given)
        ready = _prepare(given)
    found, folder = execute(ready, workers, output.console()), ready.store.path
    output.result(f"\n{found}\n\nkept in {folder}", {**found.as_dict(), "out": str(folder)})


def _prepare(given: dict[str, Any]) -> Any:
    from msg.experiments import Experiment, RulesStudy

    folder = resumed(given)
    if folder is not None:
        return Experiment.resume(folder, "rules")
    out = given.pop("out", None)
    own = {name: given.pop(name) for name in ("surrogate", "detach_reset", "memory") if name in given}
    rules, timesteps = (given.pop(name, OWN[name][1].default) for name in ("rules", "timesteps"))
    rules, timesteps = words(rules), _numbers(timesteps)
    first = {"gradient": rules[0] if rules else None, "timesteps": timesteps[0]}
    base = of_a_run({**given, **first})
    return Experiment.begin(RulesStudy(base, rules, timesteps, **own), out)


def _numbers(given: str | int | list[int]) -> tuple[int, ...]:
    try:
        return tuple(int(str(number)) for number in (given if isinstance(given, list) else str(given).split(",")))
    except ValueError:
        raise ValueError(f"cannot read timesteps {given!r}: write 15 or 5,15,64") from None
