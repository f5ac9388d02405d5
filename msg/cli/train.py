"""``msg train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msg.cli.errors import user_errors

if TYPE_CHECKING:
    from msg.training import Run


def _option(flag: str, description: str, default: str | bool, panel: str):
    return typer.Option(flag, help=description, show_default=default, rich_help_panel=panel)


_D, _M, _T, _R = "Data", "Model", "Training", "Run"


def train(
    dataset: Annotated[str | None, _option("--dataset", "Name (msg datasets list) or a .npz.", "digits", _D)] = None,
    root: Annotated[Path | None, _option("--root", "Folder of the raw files.", "datasets", _D)] = None,
    task: Annotated[
        str | None, _option("--task", "node-classification or link-prediction.", "node-classification", _D)
    ] = None,
    split: Annotated[
        str | None,
        _option("--split", "public, fixed:K, random:10/10/80, per-class:20, link:85/5/10.", "the graph's own", _D),
    ] = None,
    features: Annotated[str | None, _option("--features", "auto, dense or sparse.", "auto", _D)] = None,
    model: Annotated[str | None, _option("--model", "msg, or spiking-gnn without a manifold.", "msg", _M)] = None,
    manifold: Annotated[
        str | None, _option("--manifold", "E32, H32, S32, P32, U32, or a product such as H16xS16.", "H32", _M)
    ] = None,
    hidden: Annotated[int | None, _option("--hidden", "Width of spiking-gnn.", "32", _M)] = None,
    layers: Annotated[int | None, _option("--layers", "Layers after the encoder.", "2", _M)] = None,
    timesteps: Annotated[int | None, _option("--timesteps", "Number of time steps T.", "15", _M)] = None,
    conv: Annotated[str | None, _option("--conv", "gcn, sage or gin.", "gcn", _M)] = None,
    bias: Annotated[
        bool | None, _option("--bias/--no-bias", "Whether synapses add a constant current.", "bias", _M)
    ] = None,
    neuron: Annotated[str | None, _option("--neuron", "if, lif or plif.", "if", _M)] = None,
    threshold: Annotated[float | None, _option("--threshold", "Firing threshold.", "1.0", _M)] = None,
    reset: Annotated[str | None, _option("--reset", "subtract or zero.", "subtract", _M)] = None,
    tau: Annotated[float | None, _option("--tau", "Time constant of lif and plif, in steps.", "2.0", _M)] = None,
    step_size: Annotated[float | None, _option("--step-size", "Step size on the manifold.", "0.1", _M)] = None,
    max_step: Annotated[float | None, _option("--max-step", "Bound on a step's length, 0: none.", "1.0", _M)] = None,
    dropout: Annotated[float | None, _option("--dropout", "Dropout probability.", "0.0", _M)] = None,
    gradient: Annotated[
        str | None,
        _option("--gradient", "dvm, rate, ottt, bptt or checkpointed.", "dvm; bptt for spiking-gnn", _T),
    ] = None,
    surrogate: Annotated[
        str | None, _option("--surrogate", "atan, sigmoid or triangle, for all rules but dvm.", "atan", _T)
    ] = None,
    epochs: Annotated[int | None, _option("--epochs", "At most so many epochs.", "200", _T)] = None,
    lr: Annotated[float | None, _option("--lr", "Learning rate of Adam.", "0.01", _T)] = None,
    weight_decay: Annotated[float | None, _option("--weight-decay", "Weight decay of Adam.", "0.0", _T)] = None,
    patience: Annotated[
        int | None, _option("--patience", "Stop after so many epochs without improvement, 0: never.", "100", _T)
    ] = None,
    baseline: Annotated[
        bool | None, _option("--baseline/--no-baseline", "Train a GCN of the same size too.", "baseline", _T)
    ] = None,
    seeds: Annotated[str | None, _option("--seeds", "Such as 3, 0-4 or 0,2,5.", "0-4", _R)] = None,
    device: Annotated[str | None, _option("--device", "cpu or cuda.", "cpu", _R)] = None,
    checkpoint_every: Annotated[
        int | None, _option("--checkpoint-every", "Epochs between two checkpoints.", "10", _R)
    ] = None,
    out: Annotated[Path | None, _option("--out", "Folder of the run.", "runs/DATASET-TASK", _R)] = None,
    resume: Annotated[
        Path | None, _option("--resume", "Go on with the run in this folder. Takes no other option.", False, _R)
    ] = None,
) -> None:
    """Train a spiking network, beside a GCN under the same budget, and keep what came of it in a folder."""
    given = {name: value for name, value in locals().items() if value is not None}
    with user_errors():
        ready = _prepare(given)
    _execute(ready)


def _prepare(given: dict[str, Any]) -> "Run":
    from msg.training import Run, RunConfig, parse_seeds

    resume, out = given.pop("resume", None), given.pop("out", None)
    if resume is not None:
        if out is not None:
            given["out"] = out
        if given:
            flags = ", ".join("--" + name.replace("_", "-") for name in given)
            raise ValueError(f"--resume goes on with the options the run began with, so {flags} cannot be given too")
        return Run.resume(resume)
    if "seeds" in given:
        given["seeds"] = parse_seeds(given["seeds"])
    if "root" in given:
        given["root"] = str(given["root"])
    return Run.begin(RunConfig(**given), out)


def _execute(run: "Run") -> None:
    from rich.console import Console

    from msg.cli.display import Display, report

    console = Console()
    folder = run.folder.path
    console.print(f"run in {folder}", markup=False, highlight=False, soft_wrap=True)
    try:
        with Display(console) as display:
            results = run.execute(display)
    except KeyboardInterrupt:
        typer.echo(f"\ninterrupted; go on with: msg train --resume {folder}", err=True)
        raise typer.Exit(130) from None
    except FloatingPointError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    report(results, console)
    console.print(f"kept in {folder}", markup=False, highlight=False, soft_wrap=True)
