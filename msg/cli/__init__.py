"""The command ``msg``. A command is imported when it is called, and torch when it works, so that help comes at once."""

import shutil
import sys
import warnings
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from msg import __version__
from msg.process import ignore_scripting, keep_freed_memory, wait_asleep
from msg.report.text import one_line
from msg.report.width import fitting

_COLUMNS = 80
"""Of output that goes to no terminal."""


def _version() -> str:
    from msg.kernels import status

    return f"{__version__}\nkernels: {status()}"


app = App(
    name="msg",
    help="Spiking graph neural networks on Riemannian manifolds.",
    version=_version,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
app.command(
    "msg.cli.train:train",
    name="train",
    help=(
        "Train a model, beside a baseline under the same budget.\n\nFor classes of nodes, without an option of "
        "model or training (but for epochs, patience, baseline), five recipes are tried, and validation chooses.\n\n"
        "Defaults are those of msg and IF neurons; other models and neurons have some of their own."
    ),
)
app.command("msg.cli.compare:compare", name="compare", help="Compare gradient rules with nothing else changed.")
app.command("msg.cli.energy:energy", name="energy", help="Report the energy of one inference.")
app.command(
    "msg.cli.predict:predict", name="predict", help="Classify nodes or graphs, or score pairs, with a finished run."
)
app.command("msg.cli.export:export", name="export", help="Write the model of a finished run for other programs.")
app.command("msg.cli.benchmark:benchmark", name="benchmark", help="Make a table of models and graphs.")
app.command(
    "msg.cli.geometry:geometry", name="geometry", help="Say which manifold fits a graph, or that flat space is as good."
)
app.command("msg.cli.datasets:datasets", name="datasets", help="Graphs: list them, check or fill a dataset root.")
app.register_install_completion_command()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command ``msg``.

    Args:
        arguments: those of this process unless given.

    Raises:
        SystemExit: with status 2 for a user's mistake, 1 for work that failed, 130 for an interrupt.
    """
    if arguments is None:  # this process is the command's own
        keep_freed_memory()
        wait_asleep()
    try:
        with fitting(shutil.get_terminal_size((_COLUMNS, 24)).columns), warnings.catch_warnings():
            ignore_scripting()
            app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        print(one_line(f"error: {error}"), file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        _end(error)
    except KeyboardInterrupt as error:
        _end(error)


def _end(error: BaseException) -> None:
    """What a command did not end by itself."""
    from msg.cli.errors import interrupted

    if interrupted(error):
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
    if not isinstance(error, OSError):
        raise error
    # of the screen alone: files are told of where they are used
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
