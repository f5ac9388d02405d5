"""What functions of autograd take, looked up once."""

import inspect
from collections.abc import Callable
from typing import Any


def looked_up(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A ``forward`` of a :class:`torch.autograd.Function` with ``setup_context``, whose signature is kept.

    Torch asks for it in every call, and Python makes it anew where none is kept: a third of a call on a few numbers.
    """
    forward.__signature__ = inspect.signature(forward)  # pyright: ignore[reportFunctionMemberAccess]
    return forward
