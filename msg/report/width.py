"""How wide tables may be that are printed. A module of its own: a command says so before anything heavy is imported."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_WIDTH: ContextVar[int | None] = ContextVar("width", default=None)


@contextmanager
def fitting(width: int | None) -> Iterator[None]:
    """Text tables that are rendered in this context have lines of so many characters, as far as their words allow;
    ``None`` for any.
    """
    token = _WIDTH.set(width)
    try:
        yield
    finally:
        _WIDTH.reset(token)


def widest() -> int | None:
    """The width of :func:`fitting`; ``None`` for any."""
    return _WIDTH.get()
