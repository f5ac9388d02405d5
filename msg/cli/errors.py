"""A user's mistake is one line and exit status 2, never a traceback; work that fails, one line and 1."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from msg.cli.screen import one_line


@contextmanager
def user_errors() -> Iterator[None]:
    """Report errors of what the user asked for, or of files; wrap only what checks and reads."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        _say(f"error: {error}")
        sys.exit(2)


@contextmanager
def failures(resume: str) -> Iterator[None]:
    """Report what can go wrong in work that has begun, and how to go on where it was interrupted.

    The status is 1 for work that fails, 2 for a folder or file that cannot be used.

    Args:
        resume: command that goes on.
    """
    try:
        yield
    except (FloatingPointError, MemoryError) as error:
        _say(f"error: {error}")
        sys.exit(1)
    except (OSError, ValueError) as error:
        _say(f"error: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        _say(f"interrupted; go on with: {resume}")
        sys.exit(130)


def _say(line: str) -> None:
    print(one_line(line), file=sys.stderr)
