"""A user's mistake is one line and exit status 2, never a traceback; work that fails, one line and 1."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from msg.report.text import one_line


@contextmanager
def user_errors() -> Iterator[None]:
    """Report errors of what the user asked for, or of files; wrap only what checks and reads."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        if interrupted(error):
            raise KeyboardInterrupt from error
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
    except BaseException as error:
        if interrupted(error):
            print(file=sys.stderr)
            _say(f"interrupted; go on with: {resume}")
            sys.exit(130)
        if not isinstance(error, FloatingPointError | MemoryError | OSError | ValueError):
            raise
        _say(f"error: {error}")
        sys.exit(1 if isinstance(error, FloatingPointError | MemoryError) else 2)


def interrupted(error: BaseException | None) -> bool:
    """Whether an error is an interrupt, or came of one: not all that is interrupted is able to clean up."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _say(line: str) -> None:
    print(one_line(line), file=sys.stderr)
