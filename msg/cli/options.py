"""Options that commands share. Their defaults are shown as text, since what knows them needs torch."""

from pathlib import Path
from typing import Annotated, Any

import typer

DATA, MODEL, TRAINING, RUN = "Data", "Model", "Training", "Run"


def option(flag: str, description: str, default: str | bool, panel: str):
    """One option, with its default as help shows it."""
    return typer.Option(flag, help=description, show_default=default, rich_help_panel=panel)


def resumed(given: dict[str, Any]) -> Path | None:
    """The folder to go on with, if any.

    Raises:
        ValueError: if any other option is given with it.
    """
    folder = given.get("resume")
    others = ["--" + name.replace("_", "-") for name in given if name != "resume"]
    if folder is not None and others:
        raise ValueError(
            f"--resume goes on with the options the run began with, so {', '.join(others)} cannot be given too"
        )
    return folder


def of_a_run(given: dict[str, Any]) -> dict[str, Any]:
    """Options as :class:`msg.training.RunConfig` takes them.

    Raises:
        ValueError: for seeds that cannot be read.
    """
    from msg.training import parse_seeds

    read = {"seeds": parse_seeds, "root": str}
    return {name: read[name](value) if name in read else value for name, value in given.items()}


Dataset = Annotated[str | None, option("--dataset", "Name (msg datasets list) or a .npz.", "digits", DATA)]
Root = Annotated[Path | None, option("--root", "Folder of the raw files.", "datasets", DATA)]
Task = Annotated[str | None, option("--task", "node-classification or link-prediction.", "node-classification", DATA)]
Split = Annotated[
    str | None,
    option("--split", "public, fixed:K, random:10/10/80, per-class:20, link:85/5/10.", "the graph's own", DATA),
]
Features = Annotated[str | None, option("--features", "auto, dense or sparse.", "auto", DATA)]
TopFeatures = Annotated[
    int | None, option("--top-features", "Read only so many features, by chi squared on training nodes.", "all", DATA)
]
Model = Annotated[str | None, option("--model", "msg, or spiking-gnn without a manifold.", "msg", MODEL)]
Manifold = Annotated[
    str | None, option("--manifold", "E32, H32, S32, P32, U32, or a product such as H16xS16.", "H32", MODEL)
]
Hidden = Annotated[int | None, option("--hidden", "Width of spiking-gnn.", "32", MODEL)]
Layers = Annotated[int | None, option("--layers", "Layers after the encoder.", "2", MODEL)]
Conv = Annotated[str | None, option("--conv", "gcn, sage or gin.", "gcn", MODEL)]
Bias = Annotated[bool | None, option("--bias/--no-bias", "Whether synapses add a constant current.", "bias", MODEL)]
Neuron = Annotated[str | None, option("--neuron", "if, lif or plif.", "if", MODEL)]
Threshold = Annotated[float | None, option("--threshold", "Firing threshold.", "1.0", MODEL)]
Reset = Annotated[str | None, option("--reset", "subtract or zero.", "subtract", MODEL)]
Tau = Annotated[float | None, option("--tau", "Time constant of lif and plif, in steps.", "2.0", MODEL)]
StepSize = Annotated[float | None, option("--step-size", "Step size on the manifold.", "0.1", MODEL)]
MaxStep = Annotated[float | None, option("--max-step", "Bound on a step's length, 0: none.", "1.0", MODEL)]
Dropout = Annotated[float | None, option("--dropout", "Dropout probability.", "0.0", MODEL)]
Sparsity = Annotated[float | None, option("--sparsity", "Weight of the firing rate in the loss.", "0.0", TRAINING)]
Gradient = Annotated[
    str | None,
    option("--gradient", "dvm, rate, ottt, bptt or checkpointed.", "dvm; bptt for spiking-gnn", TRAINING),
]
Surrogate = Annotated[
    str | None, option("--surrogate", "atan, sigmoid or triangle, for all rules but dvm.", "atan", TRAINING)
]
DetachReset = Annotated[
    bool | None,
    option("--detach-reset/--no-detach-reset", "Cut the gradient through the reset.", "detach-reset", TRAINING),
]
Epochs = Annotated[int | None, option("--epochs", "At most so many epochs.", "200", TRAINING)]
Lr = Annotated[float | None, option("--lr", "Learning rate of Adam.", "0.01", TRAINING)]
WeightDecay = Annotated[float | None, option("--weight-decay", "Weight decay of Adam.", "0.0", TRAINING)]
Patience = Annotated[
    int | None, option("--patience", "Stop after so many epochs without improvement, 0: never.", "100", TRAINING)
]
Seeds = Annotated[str | None, option("--seeds", "Such as 3, 0-4 or 0,2,5.", "0-4", RUN)]
Device = Annotated[str | None, option("--device", "cpu or cuda.", "cpu", RUN)]
