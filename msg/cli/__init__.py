"""The command ``msg``. What needs torch is imported when a command runs, so that help comes at once."""

import typer

from msg.cli.compare import compare
from msg.cli.datasets import datasets
from msg.cli.energy import energy
from msg.cli.train import train

app = typer.Typer(
    name="msg",
    help="Spiking graph neural networks on Riemannian manifolds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command(no_args_is_help=False)(train)
app.command(no_args_is_help=False)(compare)
app.command(no_args_is_help=True)(energy)
app.add_typer(datasets, name="datasets")


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Show the version and leave."),
) -> None:
    if version:
        from msg import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the command ``msg``."""
    app(prog_name="msg")
