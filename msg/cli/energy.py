"""``msg energy``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from msg.cli import options as o
from msg.cli.errors import failures, user_errors


def energy(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN_DIR]", help="Folder of a finished msg train.")] = None,
    models: Annotated[
        str | None, typer.Option("--models", help="Train these instead: gcn,sgc,sage,gat,spikinggcn,msg.")
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", help="An option of msg train and values to search: threshold=0.3,1.0. Repeatable."),
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", help="Settings to draw for each model, where there are more.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of energy.json, .md and .png. Default: the run's, or none.")
    ] = None,
    measure: Annotated[
        float | None, typer.Option("--measure", help="Measure a run's model too, for so many seconds.")
    ] = None,
    dataset: o.Dataset = None,
    root: o.Root = None,
    split: o.Split = None,
    features: o.Features = None,
    top_features: o.TopFeatures = None,
    manifold: o.Manifold = None,
    layers: o.Layers = None,
    timesteps: Annotated[int | None, o.option("--timesteps", "Number of time steps T.", "15", o.MODEL)] = None,
    conv: o.Conv = None,
    bias: o.Bias = None,
    neuron: o.Neuron = None,
    threshold: o.Threshold = None,
    reset: o.Reset = None,
    tau: o.Tau = None,
    step_size: o.StepSize = None,
    max_step: o.MaxStep = None,
    dropout: o.Dropout = None,
    sparsity: o.Sparsity = None,
    gradient: o.Gradient = None,
    surrogate: o.Surrogate = None,
    detach_reset: o.DetachReset = None,
    epochs: o.Epochs = None,
    lr: o.Lr = None,
    weight_decay: o.WeightDecay = None,
    patience: o.Patience = None,
    seeds: o.Seeds = None,
    device: o.Device = None,
) -> None:
    """Report the energy of one inference: of a run's model, or of several models trained under one budget."""
    options = {name: value for name, value in locals().items() if value is not None}
    for name in ("run", "models", "vary", "trials", "out", "measure"):
        options.pop(name, None)
    with user_errors():
        if (run is None) == (models is None):
            raise ValueError("give the folder of a run, or --models to train")
        if run is not None and options:
            flags = ", ".join("--" + name.replace("_", "-") for name in options)
            raise ValueError(f"a run has its own options, so {flags} cannot be given with it")
        if run is not None and (vary or trials is not None):
            raise ValueError("--vary and --trials need --models")
        if models is not None and measure is not None:
            raise ValueError("--measure needs the folder of a run")
    if run is not None:
        _of_run(run, out or run, measure)
    else:
        _of_models(str(models), options, vary or [], trials, out)


def _of_run(path: Path, out: Path, seconds: float | None) -> None:
    import torch

    from msg.energy import COSTS, Candidate, compare, disagreement, measure, report
    from msg.nn import MSG
    from msg.training import load_trained

    with user_errors():
        trained = load_trained(path)
        if seconds is not None and not seconds > 0:
            raise ValueError(f"--measure needs a positive number of seconds, not {seconds:g}")
    model, task, results = trained.model, trained.task, trained.results
    detail = report(trained.ops)
    name, metric = results["model"], results["metric"]
    overview = compare([Candidate(name, [trained.ops], results["test"]["per_seed"])], metric=metric)
    lines, content = [], {**detail.as_dict(), metric: results["test"]}
    content["tables"] = {costs.name: report(trained.ops, costs).energy_mj() for costs in COSTS}
    if isinstance(model, MSG) and model.lin is not None:
        shortcut = disagreement(model, task.x, task.edge_index)
        lines.append(str(shortcut))
        content["tangent_shortcut"] = shortcut.as_dict()
    if seconds is not None:
        with torch.no_grad():
            found = measure(lambda: model(task.x, task.edge_index), seconds)
        lines += [f"measured, {one}" for one in found]
        content["measured"] = [one.as_dict() for one in found]
    notes = "\n".join(f"- {line}" for line in lines)
    typer.echo("\n\n".join(part for part in (str(overview), str(detail), notes) if part))
    markdown = "\n\n".join(part for part in (overview.markdown(), detail.markdown(), notes) if part)
    _keep(out, content, markdown, detail.figure())


def _of_models(models: str, options: dict[str, Any], vary: list[str], trials: int | None, out: Path | None) -> None:
    from msg.training import RunConfig, Trial, compare_models

    def trained(trial: Trial, seed: int) -> None:
        seen = f"validation {trial.val[-1]:.4f}, test {trial.test[-1]:.4f}, {trial.energy_mj:.3g} mJ"
        typer.echo(f"{trial.name}, seed {seed}: {seen}", err=True)

    with user_errors(), failures(FloatingPointError):
        config = RunConfig(**o.of_a_run(options), baseline=False)
        names = [name.strip() for name in models.split(",") if name.strip()]
        study = compare_models(names, config, _search(vary), trials, trained)
    typer.echo(str(study))
    if out is not None:
        _keep(out, {**study.as_dict(), "config": config.as_dict()}, study.markdown(), study.figure())


def _search(vary: list[str]) -> dict[str, list[Any]]:
    """What is varied, from every ``--vary``."""
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
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _keep(out: Path, content: dict[str, Any], markdown: str, figure: Any) -> None:
    from msg.training.folder import RunFolder
    from msg.training.plots import to_png

    with user_errors():
        RunFolder(out).save_energy(content, markdown, to_png(figure))
    typer.echo(f"\nkept in {out}: energy.json, energy.md, energy.png")
