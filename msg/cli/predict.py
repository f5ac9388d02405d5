"""``msg predict``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from msg.cli.errors import user_errors
from msg.cli.screen import show


def predict(
    run: Annotated[Path, Parameter(help="Folder of a finished msg train.")],
    /,
    *,
    dataset: Annotated[
        str | None, Parameter(help="Another graph with as many features; the run's own unless given.")
    ] = None,
    root: Annotated[Path | None, Parameter(help="Folder of the raw files; the run's unless given.")] = None,
    pairs: Annotated[Path | None, Parameter(help="A .csv of two nodes a line, for a run of link prediction.")] = None,
    out: Annotated[Path | None, Parameter(help="A .csv or .npz to write; without it the rows are printed.")] = None,
) -> None:
    """Say the class and probabilities of each node or graph, or the probability of a link of each pair."""
    from msg.experiments.predictions import check_suffix, read_pairs
    from msg.experiments.predictions import predict as ask

    with user_errors():
        if out is not None:
            check_suffix(out)
        found = ask(run, dataset, root, None if pairs is None else read_pairs(pairs))
        if out is not None:
            found.save(out)
    show(found.csv().decode().rstrip("\n") if out is None else f"{len(found)} rows kept in {out}")
