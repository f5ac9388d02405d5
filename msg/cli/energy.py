"""``msg energy``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msg.cli.errors import user_errors

if TYPE_CHECKING:
    from msg.training import RunConfig


def _option(flag: str, description: str, default: str | bool):
    return typer.Option(flag, help=description, show_default=default, rich_help_panel="With --models")


def energy(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN_DIR]", help="Folder of a finished msg train.")] = None,
    models: Annotated[
        str | None, typer.Option("--models", help="Train these instead: gcn,sgc,sage,gat,spikinggcn,msg.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of energy.json, .md and .png. Default: the run's, or none.")
    ] = None,
    measure: Annotated[
        float | None, typer.Option("--measure", help="Measure a run's model too, for so many seconds.")
    ] = None,
    dataset: Annotated[str | None, _option("--dataset", "Name (msg datasets list) or a .npz.", "digits")] = None,
    root: Annotated[Path | None, _option("--root", "Folder of the raw files.", "datasets")] = None,
    split: Annotated[str | None, _option("--split", "As for msg train.", "the graph's own")] = None,
    features: Annotated[str | None, _option("--features", "auto, dense or sparse.", "auto")] = None,
    manifold: Annotated[str | None, _option("--manifold", "Of msg; its dimension is every width.", "H32")] = None,
    layers: Annotated[int | None, _option("--layers", "Layers after the first; hops.", "2")] = None,
    timesteps: Annotated[int | None, _option("--timesteps", "Number of time steps T.", "15")] = None,
    conv: Annotated[str | None, _option("--conv", "Synapse of msg: gcn, sage or gin.", "gcn")] = None,
    neuron: Annotated[str | None, _option("--neuron", "if or lif.", "if")] = None,
    threshold: Annotated[float | None, _option("--threshold", "Firing threshold.", "1.0")] = None,
    step_size: Annotated[float | None, _option("--step-size", "Step size on the manifold.", "0.1")] = None,
    dropout: Annotated[float | None, _option("--dropout", "Dropout probability.", "0.0")] = None,
    epochs: Annotated[int | None, _option("--epochs", "At most so many epochs.", "200")] = None,
    lr: Annotated[float | None, _option("--lr", "Learning rate of Adam.", "0.01")] = None,
    weight_decay: Annotated[float | None, _option("--weight-decay", "Weight decay of Adam.", "0.0")] = None,
    patience: Annotated[int | None, _option("--patience", "Epochs without improvement, 0: any.", "100")] = None,
    seeds: Annotated[str | None, _option("--seeds", "Such as 3, 0-4 or 0,2,5.", "0-4")] = None,
    device: Annotated[str | None, _option("--device", "cpu or cuda.", "cpu")] = None,
) -> None:
    """Report the energy of one inference: of a run's model, or of several models trained under one budget."""
    options = {name: value for name, value in locals().items() if value is not None}
    for name in ("run", "models", "out", "measure"):
        options.pop(name, None)
    with user_errors():
        if (run is None) == (models is None):
            raise ValueError("give the folder of a run, or --models to train")
        if run is not None and options:
            flags = ", ".join("--" + name.replace("_", "-") for name in options)
            raise ValueError(f"a run has its own options, so {flags} cannot be given with it")
        if models is not None and measure is not None:
            raise ValueError("--measure needs the folder of a run")
    if run is not None:
        _of_run(run, out or run, measure)
    else:
        _of_models(str(models), options, out)


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


def _of_models(models: str, options: dict[str, Any], out: Path | None) -> None:
    from msg.training import compare_models

    with user_errors():
        config = _configuration(options)
        names = [name.strip() for name in models.split(",") if name.strip()]

        def trained(name: str, seed: int, metric: float) -> None:
            typer.echo(f"{name}, seed {seed}: test {metric:.4f}", err=True)

        try:
            comparison = compare_models(names, config, trained)
        except FloatingPointError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
    typer.echo(str(comparison))
    if out is not None:
        content = {**comparison.as_dict(), "config": config.as_dict()}
        _keep(out, content, comparison.markdown(), comparison.figure())


def _configuration(options: dict[str, Any]) -> "RunConfig":
    from msg.training import RunConfig, parse_seeds

    if "seeds" in options:
        options["seeds"] = parse_seeds(options["seeds"])
    if "root" in options:
        options["root"] = str(options["root"])
    return RunConfig(**options, baseline=False)


def _keep(out: Path, content: dict[str, Any], markdown: str, figure: Any) -> None:
    from msg.training.folder import RunFolder
    from msg.training.plots import to_png

    with user_errors():
        RunFolder(out).save_energy(content, markdown, to_png(figure))
    typer.echo(f"\nkept in {out}: energy.json, energy.md, energy.png")
