"""A user's mistake is one line and exit status 2, never a traceback; work that fails, one line and 1."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


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

    Args:
        resume: command that goes on.
    """
    try:
        yield
    except (FloatingPointError, MemoryError, OSError) as error:
        _say(f"error: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        _say(f"\ninterrupted; go on with: {resume}")
        sys.exit(130)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
