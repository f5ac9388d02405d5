"""``msg compare``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msg.cli import options as o
from msg.cli.errors import failures, user_errors
from msg.cli.options import MODEL, RUN, TRAINING, option

if TYPE_CHECKING:
    from msg.training import ComparisonRun


def compare(
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
    timesteps: Annotated[str | None, option("--timesteps", "Numbers of time steps T.", "5,15,64", MODEL)] = None,
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
    rules: Annotated[str | None, option("--rules", "Gradient rules, as of msg train.", "dvm,bptt", TRAINING)] = None,
    surrogate: o.Surrogate = None,
    detach_reset: o.DetachReset = None,
    epochs: o.Epochs = None,
    lr: o.Lr = None,
    weight_decay: o.WeightDecay = None,
    patience: o.Patience = None,
    memory: Annotated[
        bool | None, option("--memory/--no-memory", "Measure peak memory, in more processes.", "memory", RUN)
    ] = None,
    seeds: o.Seeds = None,
    device: o.Device = None,
    out: Annotated[Path | None, option("--out", "Folder of the comparison.", "runs/compare-DATASET", RUN)] = None,
    resume: Annotated[
        Path | None, option("--resume", "Go on with the comparison in this folder. Takes no other option.", False, RUN)
    ] = None,
) -> None:
    """Compare gradient rules with nothing else changed: accuracy, time, memory, and how exact their gradients are."""
    given = {name: value for name, value in locals().items() if value is not None}
    with user_errors():
        ready = _prepare(given)
    _execute(ready)


def _prepare(given: dict[str, Any]) -> "ComparisonRun":
    from msg.training import ComparisonConfig, ComparisonRun, RunConfig

    folder = o.resumed(given)
    if folder is not None:
        return ComparisonRun.resume(folder)
    out = given.pop("out", None)
    own = {name: given.pop(name) for name in ("surrogate", "detach_reset", "memory") if name in given}
    rules, timesteps = given.pop("rules", "dvm,bptt"), given.pop("timesteps", "5,15,64")
    own |= {"rules": tuple(rules.replace(" ", "").split(",")), "timesteps": _numbers(timesteps)}
    base = RunConfig(**o.of_a_run(given), gradient=own["rules"][0])
    return ComparisonRun.begin(ComparisonConfig(base, **own), out)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"cannot read timesteps {text!r}: write 15 or 5,15,64") from None


def _execute(run: "ComparisonRun") -> None:
    from rich.console import Console

    console = Console()

    def progress(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    progress(f"comparison in {run.folder}")
    with failures(FloatingPointError, MemoryError, resume=f"msg compare --resume {run.folder}"):
        found = run.execute(progress)
    _show(found.table(), found.dataset, console)
    progress(f"kept in {run.folder}")


def _show(table: tuple[list[str], list[list[str]]], title: str, console) -> None:
    """Print the table, a layer a line, so that it fits a terminal of 100 columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    header, rows = table
    shown = Table(
        title=f"Gradient rules on {title}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )
    of_layers = [name.startswith(("cosine", "firing")) for name in header]
    rows = [[cell.replace(" ", "\n") if split else cell for split, cell in zip(of_layers, row)] for row in rows]
    for name in header:
        shown.add_column(name.replace(" ", "\n", 1), justify="left" if name == "rule" else "right")
    for row in rows:
        shown.add_row(*row, end_section=True)
    console.print(shown)
