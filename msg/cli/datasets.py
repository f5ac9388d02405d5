"""``msg datasets``: what there is, and the dataset root on disk."""

from pathlib import Path
from typing import Annotated

import typer

from msg.cli.errors import user_errors

datasets = typer.Typer(help="Graphs: list them, check or fill a dataset root.", no_args_is_help=True)

_Root = Annotated[Path, typer.Option("--root", help="Folder that holds Photo, Cora, ...")]


@datasets.command("list")
def show() -> None:
    """List all graphs that --dataset knows."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from msg.datasets import available

    caption = "A .npz of your own needs no name: give --dataset its path."
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=caption, caption_justify="left")
    for column in ("dataset", "nodes", "edges", "features", "classes", "split", "metric", "from"):
        right = column in ("nodes", "edges", "features", "classes")
        table.add_column(column, no_wrap=True, justify="right" if right else "left")
    with user_errors():
        cards = available()
    for card in cards:
        edges = card.edges or card.raw_edges
        sizes = (card.nodes, edges, card.features, card.classes)
        origin = "built in" if card.format == "generated" else "download" if card.download else "import"
        numbers = ("?" if size is None else f"{size:,}" for size in sizes)
        table.add_row(card.key, *numbers, card.split, card.metric, origin)
    Console().print(table)


@datasets.command()
def verify(root: _Root) -> None:
    """Read every known graph in a dataset root and compare it with its card; status 1 if one is damaged."""
    from msg.datasets import verify as check

    with user_errors():
        found = check(root)
    for graph in found:
        typer.echo(f"{graph.card.key}: {'ok' if graph.ok else graph.problem}")
    if not found:
        typer.echo(f"no known graph in {root}")
    if not all(graph.ok for graph in found):
        raise typer.Exit(1)


@datasets.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="Folder of graphs, such as Photo/raw/..., or one of them.")],
    root: _Root,
) -> None:
    """Copy graphs into a dataset root after checking them, all or none."""
    from msg.datasets import import_folder

    with user_errors():
        cards = import_folder(source, root)
    typer.echo(f"imported into {root}: {', '.join(card.key for card in cards)}")
