"""``msg energy``."""

from pathlib import Path
from typing import Any

from msg.cli.errors import user_errors
from msg.cli.options import command, flag, of_a_run, resumed, words
from msg.experiments.options import RUN, Option

OWN = {
    "run": (Path, Option("", "Folder of a finished msg train, whose model is counted.")),
    "models": (str, Option("", "Train these instead and compare them with the first: gcn,sgc,sage,spikinggcn,msg.")),
    "vary": (
        list[str],
        Option("", "An option of msg train and values to search: threshold=0.3,1.0. Repeatable."),
    ),
    "trials": (int, Option("", "Settings to draw for each model, where there are more.")),
    "measure": (float, Option("", "Measure the run's model too, for so many seconds.")),
    "out": (Path, Option(RUN, "Folder of energy.json, .md and .png.", shown="the run's; runs/energy-DATASET")),
    "resume": (Path, Option(RUN, "Go on with the search in this folder.", shown="none")),
}
_OF_A_RUN = ("run", "out", "measure")


@command(OWN, without=("task", "model", "hidden", "hops", "baseline"), positional=("run",))
def energy(given: dict[str, Any]) -> None:
    """Report the energy of one inference: of a run's model, or of several models trained under one budget."""
    from msg.cli.work import Output

    output = Output.of(given)
    with user_errors():
        run = given.get("run")
        if "resume" not in given:
            _check(given)
    if run is None:
        _of_models(given, output)
    else:
        _of_run(run, given.get("out", run), given.get("measure"), output)


def _check(given: dict[str, Any]) -> None:
    if ("run" in given) == ("models" in given):
        raise ValueError("give the folder of a run, or --models to train")
    if "run" in given and ("vary" in given or "trials" in given):
        raise ValueError("--vary and --trials need --models")
    others = [flag(name) for name in given if name not in _OF_A_RUN]
    if "run" in given and others:
        raise ValueError(f"a run has its own options, so {', '.join(others)} cannot be given with it")
    if "models" in given and "measure" in given:
        raise ValueError("--measure needs the folder of a run")


def _of_run(path: Path, out: Path, seconds: float | None, output: Any) -> None:
    import torch

    from msg.energy import Candidate, compare, cost_tables, disagreement, measure, report
    from msg.experiments import Store, load_trained
    from msg.experiments.files import json_bytes
    from msg.nn import MSG
    from msg.report.figures import to_png
    from msg.training import graphs_of

    with user_errors():
        if seconds is not None and not seconds > 0:
            raise ValueError(f"--measure needs a positive number of seconds, not {seconds:g}")
        Store(out).refuse_links()
        trained = load_trained(path)
    model, task, results = trained.model, trained.task, trained.results
    detail, metric = report(trained.ops), results["metric"]
    overview = compare([Candidate(results["model"], [trained.ops], results["test"]["per_seed"])], metric=metric)
    lines, content = [], {**detail.as_dict(), metric: results["test"]}
    priced = {costs.name: report(trained.ops, costs) for costs in cost_tables()}
    content["tables"] = {name: one.energy_mj() for name, one in priced.items()}
    content["events_tables"] = {name: one.energy_mj("events") for name, one in priced.items()}
    if isinstance(model, MSG) and model.out_channels is not None:
        shortcut = disagreement(model, task.x, task.edge_index)
        lines.append(str(shortcut))
        content["tangent_shortcut"] = shortcut.as_dict()
    if seconds is not None:
        with torch.no_grad():
            found = measure(lambda: model(task.x, task.edge_index, **graphs_of(task)), seconds)
        lines += [f"measured, {one}" for one in found]
        content["measured"] = [one.as_dict() for one in found]
    notes = "\n".join(f"- {line}" for line in lines)
    text = "\n\n".join(part for part in (str(overview), str(detail), notes) if part)
    markdown = "\n\n".join(part for part in (overview.markdown(), detail.markdown(), notes) if part)
    with user_errors():
        store = Store(out)
        store.make()
        store.write("energy.json", json_bytes(content))
        store.write("energy.md", (markdown + "\n").encode())
        store.write("energy.png", to_png(detail.figure()))
    _say(output, text, content, out)


def _say(output: Any, text: object, content: dict[str, Any], out: Path) -> None:
    output.result(f"{text}\n\nkept in {out}: energy.json, energy.md, energy.png", {**content, "out": str(out)})


def _of_models(given: dict[str, Any], output: Any) -> None:
    from msg.cli.work import execute, executor

    with user_errors():
        workers = executor(given)
        ready = _prepare(given)
    # the report alone is what the command prints
    found = execute(ready, workers, output.console(stderr=True))
    _say(output, found, found.as_dict(), ready.store.path)


def _prepare(given: dict[str, Any]) -> Any:
    from msg.experiments import EnergyStudy, Experiment

    folder = resumed(given)
    if folder is not None:
        return Experiment.resume(folder, "energy")
    out, models, trials = given.pop("out", None), words(given.pop("models")), given.pop("trials", None)
    vary = _search(given.pop("vary", []))
    base = of_a_run({**given, "baseline": None})
    return Experiment.begin(EnergyStudy(models, base, vary, trials), out)


def _search(vary: list[str] | dict[str, list[Any]]) -> dict[str, list[Any]]:
    """What is varied, from every ``--vary``, or a table of a file."""
    if isinstance(vary, dict):
        return {name.replace("-", "_"): list(values) for name, values in vary.items()}
    pairs = [_values(text) for text in vary]
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--vary {name} is given twice: write all its values in one, as in {name}=A,B")
    return dict(pairs)


def _values(text: str) -> tuple[str, list[Any]]:
    """An option and the values to try, from ``threshold=0.3,1.0``."""
    name, equals, values = text.partition("=")
    if not equals:
        raise ValueError(f"cannot read --vary {text!r}: write an option and its values, as in threshold=0.3,1.0")
    return name.strip().removeprefix("--").replace("-", "_"), [_value(part.strip()) for part in values.split(",")]


def _value(text: str) -> Any:
    """A number, yes or no, nothing, or a word."""
    constants = {"true": True, "false": False, "none": None}
    if text.lower() in constants:
        return constants[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
