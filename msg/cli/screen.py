"""What reaches the screen: text that may come from a file somebody else made."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from msg.report.text import printable


def show(text: object) -> None:
    """Print it, made printable.

    Raises:
        OSError: as :func:`shown`.
    """
    with shown():
        print(printable(text), flush=True)


@contextmanager
def shown() -> Iterator[None]:
    """Say of what cannot be printed, to a file on a full disk or a reader that has gone, that it is this.

    Raises:
        OSError: with the mend.
    """
    try:
        yield
    except OSError as error:
        # what is left would fail once more, with a traceback, when the process ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        reason = error.strerror or str(error)
        raise OSError(f"what is printed cannot be written ({reason}): make room there or print elsewhere") from error
