"""Which kernels run: compiled ones where numba is there, plain torch otherwise."""

import os
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode

from msg.kernels.tracing import traced

VARIABLE = "MSG_KERNELS"


class Status(NamedTuple):
    """What runs the kernels, and why.

    Attributes:
        backend: ``"numba"`` or ``"torch"``.
        reason: for people.
    """

    backend: str
    reason: str

    def __str__(self) -> str:
        return f"{self.backend} ({self.reason})"


def status() -> Status:
    """What runs the kernels on a CPU, and why; elsewhere it is torch.

    ``MSG_KERNELS=torch`` in the environment forces plain torch, ``MSG_KERNELS=numba`` makes its absence an error.

    Raises:
        ValueError: for another value of ``MSG_KERNELS``.
        ImportError: if numba is asked for and cannot be imported.
    """
    wanted = os.environ.get(VARIABLE, "auto")
    if wanted not in ("auto", "numba", "torch"):
        raise ValueError(f"{VARIABLE}={wanted!r} is none of auto, numba, torch: set one of these, or unset it")
    if wanted == "torch":
        return Status("torch", f"{VARIABLE}=torch")
    found = _numba()
    if wanted == "numba" and found.backend != "numba":
        raise ImportError(f"{VARIABLE}=numba, but there is {found.reason}")
    return found


@cache
def _numba() -> Status:
    try:
        version = import_module("numba").__version__
    except ModuleNotFoundError:
        return Status("torch", 'no numba: pip install "msg-graph[fast]"')
    except Exception as error:  # a build that does not fit NumPy, or this machine, can raise anything
        return Status("torch", f"no usable numba: {error}")
    return Status("numba", f"numba {version}")


def plain(*tensors: Tensor) -> bool:
    """Whether these are values in single or double precision on a CPU, and nobody watches what is done to them
    (compilers, which make one pass of their own; ``torch.func``; forward mode; subclasses of tensors).
    """
    return not traced() and all(
        type(t) in (Tensor, torch.nn.Parameter)
        and t.device.type == "cpu"
        and t.dtype in (torch.float32, torch.float64)
        and forward_ad.unpack_dual(t).tangent is None
        for t in tensors
    )


def takes(*tensors: Tensor) -> bool:
    """Whether compiled kernels may do in one pass what torch would do of these tensors operation by operation: not
    while somebody looks at operators as they come, such as :func:`msg.energy.count` or torch's ``FlopCounterMode``.
    """
    return unseen(*tensors) and status().backend == "numba"


def unseen(*tensors: Tensor) -> bool:
    """Whether torch's operators may be run otherwise than they were called: none is looked at as it comes."""
    return plain(*tensors) and _get_current_dispatch_mode() is None


def compiled(room: str) -> ModuleType | None:
    """The compiled kernels of a module of this room, or ``None`` where torch runs them."""
    return import_module(f"msg.kernels.{room}") if status().backend == "numba" else None
