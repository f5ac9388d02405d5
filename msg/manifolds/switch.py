"""Whether values of points, vectors and curvatures are looked at, and whether points are kept in the radius bound."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from msg.kernels.tracing import may_branch

_enabled: ContextVar[bool] = ContextVar("checks of values", default=True)
_bounded: ContextVar[bool] = ContextVar("radius bound", default=True)


class checks:
    """Switch the checks of values on or off, for this thread: as a function until the next call, or in a ``with``.

    They refuse infinite coordinates, points that are not on their manifold, and manifolds whose curvature is
    impossible. Each is a pass over the tensor and, on a GPU, waits for it; points that come from
    :func:`~msg.manifolds.move` need none. NaN is never refused: it stays NaN.

    Args:
        enabled: whether values are checked; they are to begin with.
    """

    def __init__(self, enabled: bool):
        self._before = _enabled.get()
        _enabled.set(enabled)

    def __enter__(self) -> "checks":
        return self

    def __exit__(self, *error: object) -> None:
        _enabled.set(self._before)


@contextmanager
def unbounded() -> Iterator[None]:
    """Within, steps on spheres and hyperbolic spaces end where they lead, and not inside the radius bound: a mean of
    points may lie beyond it.
    """
    token = _bounded.set(False)
    try:
        yield
    finally:
        _bounded.reset(token)


def bounded() -> bool:
    """Whether points are pulled back inside the radius bound; always in compiled code."""
    return torch.compiler.is_compiling() or _bounded.get()


def checked() -> bool:
    """Whether values are to be looked at; never where code cannot branch on them."""
    return may_branch() and _enabled.get()  # a compiler does not follow the second
