"""``msg train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msg.cli import options as o
from msg.cli.errors import failures, user_errors
from msg.cli.options import MODEL, RUN, TRAINING, option

if TYPE_CHECKING:
    from msg.training import Run


def train(
    dataset: o.Dataset = None,
    root: o.Root = None,
    task: o.Task = None,
    split: o.Split = None,
    features: o.Features = None,
    top_features: o.TopFeatures = None,
    model: o.Model = None,
    manifold: o.Manifold = None,
    hidden: o.Hidden = None,
    layers: o.Layers = None,
    timesteps: Annotated[int | None, option("--timesteps", "Number of time steps T.", "15", MODEL)] = None,
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
    baseline: Annotated[
        bool | None, option("--baseline/--no-baseline", "Train a GCN of the same size too.", "baseline", TRAINING)
    ] = None,
    seeds: o.Seeds = None,
    device: o.Device = None,
    checkpoint_every: Annotated[
        int | None, option("--checkpoint-every", "Epochs between two checkpoints.", "10", RUN)
    ] = None,
    out: Annotated[Path | None, option("--out", "Folder of the run.", "runs/DATASET-TASK", RUN)] = None,
    resume: Annotated[
        Path | None, option("--resume", "Go on with the run in this folder. Takes no other option.", False, RUN)
    ] = None,
) -> None:
    """Train a spiking network, beside a GCN under the same budget, and keep what came of it in a folder."""
    given = {name: value for name, value in locals().items() if value is not None}
    with user_errors():
        ready = _prepare(given)
    _execute(ready)


def _prepare(given: dict[str, Any]) -> "Run":
    from msg.training import Run, RunConfig

    folder = o.resumed(given)
    if folder is not None:
        return Run.resume(folder)
    out = given.pop("out", None)
    return Run.begin(RunConfig(**o.of_a_run(given)), out)


def _execute(run: "Run") -> None:
    from rich.console import Console

    from msg.cli.display import Display, report

    console = Console()
    folder = run.folder.path
    console.print(f"run in {folder}", markup=False, highlight=False, soft_wrap=True)
    with failures(FloatingPointError, resume=f"msg train --resume {folder}"), Display(console) as display:
        results = run.execute(display)
    report(results, console)
    console.print(f"kept in {folder}", markup=False, highlight=False, soft_wrap=True)
