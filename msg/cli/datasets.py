"""``msg datasets``: what there is, and the dataset root on disk."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from msg.cli.errors import user_errors
from msg.cli.screen import show

datasets = App(name="datasets", help="Graphs: list them, check or fill a dataset root.")

_Root = Annotated[Path, Parameter(help="Folder that holds Photo, Cora, ...")]


@datasets.command(name="list")
def list_(*, json: Annotated[bool, Parameter(help="Print their cards as JSON.", negative="")] = False) -> None:
    """List all graphs that --dataset knows, single ones and sets of them."""
    from msg.cli.work import Output
    from msg.datasets import available
    from msg.report.tables import render

    with user_errors():
        cards = available()
    single, sets = [], []
    for card in cards:
        many = card.graphs is not None
        sizes = {"graphs": card.graphs} if many else {"nodes": card.nodes, "edges": card.edges or card.raw_edges}
        sizes |= {"features": card.features, "labels": card.classes}
        row = {"dataset": card.key, **{name: "?" if size is None else f"{size:,}" for name, size in sizes.items()}}
        origin = "built in" if card.format == "generated" else "download" if card.download else "import"
        (sets if many else single).append({**row, "split": card.split, "metric": card.metric, "from": origin})
    own = "A .npz of your own needs no name: give --dataset its path."
    text = f"{render(single)}\n\n{own}\n\nSets, for --task graph-classification:\n\n{render(sets)}"
    Output(json).result(text, cards)


@datasets.command
def verify(*, root: _Root) -> None:
    """Read every known graph in a dataset root and compare it with its card; status 1 if one is damaged."""
    from msg.datasets import verify as check

    with user_errors():
        found = check(root)
    for graph in found:
        show(f"{graph.card.key}: {'ok' if graph.ok else graph.problem}")
    if not found:
        show(f"no known graph in {root}")
    if not all(graph.ok for graph in found):
        sys.exit(1)


@datasets.command(name="import")
def import_(
    source: Annotated[Path, Parameter(help="Folder of graphs, such as Photo/raw/..., or one of them.")],
    /,
    *,
    root: _Root,
) -> None:
    """Copy graphs into a dataset root after checking them, all or none."""
    from msg.datasets import import_folder

    with user_errors():
        cards = import_folder(source, root)
    show(f"imported into {root}: {', '.join(card.key for card in cards)}")
