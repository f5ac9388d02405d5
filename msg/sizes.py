"""Sizes, and numbers of things: whole, and no fewer than there can be."""

from numbers import Integral
from typing import Any


def check_sizes(least: int = 1, /, **sizes: Any) -> None:
    """Check that each is a whole number, NumPy's too, of at least as many.

    Raises:
        ValueError: with the name of the first that is not.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, Integral) or size < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, not {size!r}")
