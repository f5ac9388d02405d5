"""``msg energy``."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from msg.cli.errors import user_errors
from msg.cli.options import command, flag, of_a_run, resumed, words
from msg.experiments.options import RUN, Option

OWN = {
    "run": (Path, Option("", "Folder of a finished msg train, whose model is counted.")),
    "models": (str, Option("", "Train these instead and compare them with the first: gcn,sage,gcn-if,gcn-2bit,msg.")),
    "vary": (
        list[str],
        Option("", "An option of msg train and values to search: threshold=0.3,1.0. Repeatable."),
    ),
    "trials": (int, Option("", "Settings to draw for each model, where there are more.")),
    "inputs": (str, Option("", "How zeros and ones are read: nonzero, events or dense.", "nonzero")),
    "measure": (float, Option("", "Measure the run's model too, for so many seconds.")),
    "out": (Path, Option(RUN, "Folder of energy.json, .md and .png.", shown="the run's; runs/energy-DATASET")),
    "resume": (Path, Option(RUN, "Go on with the search in this folder.", shown="none")),
}
_OF_A_RUN = ("run", "out", "measure", "inputs")


@command(OWN, without=("task", "model", "hidden", "hops", "baseline"), positional=("run",))
def energy(given: dict[str, Any]) -> None:
    """Report the energy of one inference: of a run's model, or of several models trained under one budget."""
    from msg.cli.work import Output

    output = Output.of(given)
    with user_errors():
        run = given.get("run")
        if resumed(given, besides=("workers",)) is None:
            _check(given)
    if run is None:
        _of_models(given, output)
    else:
        _of_run(run, given.get("out", run), given.get("measure"), given.get("inputs", "nonzero"), output)


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


def _of_run(path: Path, out: Path, seconds: float | None, inputs: Any, output: Any) -> None:
    import torch

    from msg.energy import Candidate, Count, compare, cost_tables, disagreement, measure, report
    from msg.energy.deployment import has_tangent_readout
    from msg.experiments import Store, load_trained
    from msg.experiments.files import json_bytes
    from msg.nn import MSG
    from msg.report.figures import to_png
    from msg.training import graphs_of

    with user_errors():
        if seconds is not None and not seconds > 0:
            raise ValueError(f"--measure needs a positive number of seconds, not {seconds:g}")
        Count().under(inputs)
        Store(out).refuse_links()
        trained = load_trained(path)
        pictures, boundary = _pictures(trained, inputs)
    model, task, results = trained.model, trained.task, trained.results
    detail, metric = report(trained.ops, inputs=inputs), results["metric"]
    overview = compare([Candidate(results["model"], [trained.ops], results["test"]["per_seed"])], metric=metric)
    lines, content = [], {**detail.as_dict(), metric: results["test"], "break_even_map": boundary}
    priced = {costs.name: report(trained.ops, costs) for costs in cost_tables()}
    content["tables"] = {name: one.energy_mj() for name, one in priced.items()}
    content["events_tables"] = {name: one.energy_mj("events") for name, one in priced.items()}
    if isinstance(model, MSG) and has_tangent_readout(model):
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
    files = {"energy.json": json_bytes(content), "energy.md": (markdown + "\n").encode()}
    files |= {"energy.png": to_png(detail.figure()), **pictures}
    with user_errors():
        store = Store(out)
        store.make()
        for name, file in files.items():
            store.write(name, file)
    _say(output, text, content, out, files)


def _pictures(trained: Any, inputs: Any) -> tuple[dict[str, bytes], dict[str, Any] | None]:
    """Energy by part of a run's model beside its baseline, and the map of where spikes pay, with what it is made of;
    each where there is what it shows: no parts without a baseline that is counted under this reading.
    """
    from msg.energy import break_even_map, parts_mj, report
    from msg.report.figures import stacked_bars, to_png

    results, files = trained.results, {}
    parts = {results["model"]: parts_mj(report(trained.ops).as_dict(), inputs=inputs)}
    with suppress(KeyError, TypeError):
        baseline = results["baseline"]
        parts[baseline["model"]] = parts_mj(baseline["energy"]["per_seed"][0], inputs=inputs)
        files["energy-parts.png"] = to_png(stacked_bars(parts, shared=True))
    found = break_even_map(trained.ops)
    if found is not None:
        files["break-even.png"] = to_png(found.figure())
    return files, found and found.as_dict()


def _say(output: Any, text: object, content: dict[str, Any], out: Path, files: Iterable[str]) -> None:
    output.result(f"{text}\n\nkept in {out}: {', '.join(files)}", {**content, "out": str(out)})


def _of_models(given: dict[str, Any], output: Any) -> None:
    from msg.cli.work import execute, executor

    with user_errors():
        workers = executor(given)
        ready = _prepare(given)
    # the report alone is what the command prints
    found = execute(ready, workers, output.console(stderr=True))
    _say(output, found, found.as_dict(), ready.store.path, ready.study.artefacts)


def _prepare(given: dict[str, Any]) -> Any:
    from msg.experiments import EnergyStudy, Experiment

    folder = resumed(given)
    if folder is not None:
        return Experiment.resume(folder, "energy")
    out, models, trials = given.pop("out", None), words(given.pop("models")), given.pop("trials", None)
    vary, inputs = _search(given.pop("vary", [])), given.pop("inputs", "nonzero")
    base = of_a_run({**given, "baseline": None})
    return Experiment.begin(EnergyStudy(models, base, vary, trials, inputs), out)


def _search(vary: list[str] | dict[str, list[Any]]) -> dict[str, list[Any]]:
    """What is varied, from every ``--vary``, or a table of a file."""
    if isinstance(vary, dict):
        return {name.replace("-", "_"): list(values) for name, values in vary.items()}
    pairs = [_values(str(text)) for text in vary]
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
