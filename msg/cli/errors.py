"""A user's mistake is one line and exit status 2, never a traceback; work that fails, one line and 1."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def user_errors() -> Iterator[None]:
    """Report errors of what the user asked for, or of files; wrap only what checks and reads."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


@contextmanager
def failures(*kinds: type[Exception], resume: str | None = None) -> Iterator[None]:
    """Report errors of these kinds in work that has begun, and how to go on where it was interrupted.

    Args:
        kinds: of errors.
        resume: command that goes on, if there is one.
    """
    try:
        yield
    except kinds as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        if resume is None:
            raise
        typer.echo(f"\ninterrupted; go on with: {resume}", err=True)
        raise typer.Exit(130) from None
