"""``msg geometry``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from msg.cli.errors import failures, user_errors
from msg.cli.options import Whole


def geometry(
    *,
    dataset: Annotated[str, Parameter(help="A graph that msg datasets list knows, or the path of a .npz file.")],
    root: Annotated[Path | None, Parameter(help="Folder of the raw files.", show_default=False)] = None,
    split: Annotated[str | None, Parameter(help="Of the nodes, for trainings.", show_default=False)] = None,
    signatures: Annotated[
        str | None, Parameter(help="Spaces to compare, such as E8,H8,H4xS4; one is flat.", show_default=False)
    ] = None,
    dim: Annotated[
        Whole | None,
        Parameter(help="Dimension of the spaces that are compared where none are given.", show_default=lambda _: "8"),
    ] = None,
    epochs: Annotated[Whole, Parameter(help="Compare short trainings too, of so many epochs; 0: none.")] = 0,
    nodes: Annotated[Whole, Parameter(help="Nodes that are embedded in each repeat.")] = 80,
    repeats: Annotated[Whole, Parameter(help="Repeats, from which errors come.")] = 5,
    seed: Annotated[Whole, Parameter(help="Seed of what is drawn.")] = 0,
    json: Annotated[bool, Parameter(help="Print the verdict as JSON.", negative="")] = False,
) -> None:
    """Measure a graph's geometry, embed it in flat and curved spaces, and say which fits or that flat is as good."""
    from msg.cli.options import words
    from msg.cli.work import Output, plain
    from msg.datasets import load_graph
    from msg.geometry import choose_signature

    with user_errors():
        if signatures is not None and dim is not None:
            raise ValueError("--dim is of spaces that are not given: leave it out, --signatures says theirs")
        if split is not None and not epochs:
            raise ValueError("--split is of trainings: give --epochs too")
        # features are not read without a training
        data = load_graph(dataset, root, split, seed)
        names = None if signatures is None else words(signatures)
    with failures("msg geometry with the same options"):
        verdict = choose_signature(data, names, 8 if dim is None else dim, epochs, nodes, repeats, seed)
    Output(json).result(f"{dataset}: {verdict}", {"dataset": dataset, **plain(verdict), "reason": verdict.reason})
