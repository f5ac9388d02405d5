"""Whether tensors are what they seem: values to look at, or stand-ins of a compiler, an exporter or ``torch.func``."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._C._functorch import (  # pyright: ignore[reportMissingImports]
    TransformType,
    get_interpreter_stack,
    peek_interpreter_stack,
)

Call = TypeVar("Call", bound=Callable[..., Any])


def traced() -> bool:
    """Whether what runs is being compiled, exported, traced or transformed by ``torch.func``.

    Nothing may then be read from tensors, remembered of them, or done to them outside torch.
    """
    return torch.compiler.is_compiling() or transformed() or tracing()


def transformed() -> bool:
    """Whether what runs is transformed by ``torch.func``, and not compiled."""
    return not torch.compiler.is_compiling() and peek_interpreter_stack() is not None


def may_branch() -> bool:
    """Whether what runs may look at a value: it is not compiled, nor does ``torch.vmap`` run it for many at once."""
    if torch.compiler.is_compiling():
        return False
    return not transformed() or all(level.key() != TransformType.Vmap for level in get_interpreter_stack())


def exporting() -> bool:
    """Whether what runs becomes a program that has to do without this library, and so without its operators."""
    return tracing() or torch.compiler.is_exporting()


def tracing() -> bool:
    """Whether ``torch.jit.trace`` writes down what runs, which must then be made of torch's operators alone."""
    return torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def uncompiled(call: Call) -> Call:
    """A function that ``torch.compile`` goes around, in pieces before and after it."""
    return torch.compiler.disable(call)  # pyright: ignore


def keeping_saved() -> AbstractContextManager[Any]:
    """Tensors that autograd saves within are kept as they are: where activations are checkpointed, a derivative that is
    taken in the middle of a forward pass would else run that pass again from its beginning. Transformed code has no
    such hooks.
    """
    return nullcontext() if traced() else torch.autograd.graph.saved_tensors_hooks(_same, _same)


def _same(tensor: Tensor) -> Tensor:
    return tensor
