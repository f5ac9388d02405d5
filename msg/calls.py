"""What goes on around a call: what it is given, who waits for it, the automatic mixed precision it is in."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def given(**arguments: Any) -> dict[str, Any]:
    """Arguments that are not ``None``: a model takes those alone that it has, and is given no others."""
    return {name: value for name, value in arguments.items() if value is not None}


def integral(tensor: Tensor) -> bool:
    """Whether a tensor can hold numbers of nodes: integers, and no booleans, which are a mask."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def watched(module: nn.Module) -> bool:
    """Whether someone waits for a module to be called, or for what PyG's convolutions do in between."""
    return any(True for _ in _waiting(module))


def altered(module: nn.Module) -> bool:
    """Whether a call may do something else than the module's weights say: as :func:`watched`, but for hooks that only
    count, see :func:`counting`.
    """
    return any(not hasattr(one, _COUNTS) for one in _waiting(module))


# by name, since up to torch 2.11 no compiler goes through all that a module holds
_HOOKS = [name for name in vars(nn.Module()) if name.endswith("_hooks") and "state_dict" not in name]
_STAGES = ("propagate", "message", "aggregate", "message_and_aggregate", "edge_update")  # of PyG's message passing
_HOOKS += [f"_{stage}_forward{when}_hooks" for stage in _STAGES for when in ("_pre", "")]


def _waiting(module: nn.Module) -> Iterator[Any]:
    held = module.__dict__
    if "forward" in held:
        yield held["forward"]
    for name in _HOOKS:
        yield from held.get(name, {}).values()


_COUNTS = "_msg_counts"


def counting(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook that looks on, and changes nothing."""
    setattr(hook, _COUNTS, True)
    return hook


class Parameters:
    """The parameters that modules have now, for a backward pass that runs them again: under
    ``torch.func.functional_call`` they have others by then.

    Args:
        modules: with all that they are made of.

    Attributes:
        learned: those that have gradients, once each.
    """

    def __init__(self, *modules: nn.Module):
        of_all: Any = (part._parameters for module in modules for part in module.modules())
        self._all = [(held, name, value) for held in of_all for name, value in held.items() if value is not None]
        # of a tensor that is used twice autograd finds the whole gradient
        self.learned: list[Tensor] = list(dict.fromkeys(value for *_, value in self._all if value.requires_grad))

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Within, the modules have them again."""
        others = [(held, name, held[name]) for held, name, _ in self._all]
        try:
            for held, name, value in self._all:
                held[name] = value
            yield
        finally:
            for held, name, value in others:
                held[name] = value


def autocast_of(tensor: Tensor) -> Callable[[], AbstractContextManager[Any]]:
    """What enters the autocast that is on now where a tensor lies: a simulation that a backward pass runs again is to
    round as it did before. Within, autocast keeps no casts, see :func:`casting_anew`.
    """
    kind = tensor.device.type
    if not torch.amp.is_autocast_available(kind):
        return nullcontext
    enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    return partial(torch.autocast, kind, dtype=dtype, enabled=enabled, cache_enabled=False)


def casting_anew(tensor: Tensor) -> AbstractContextManager[Any]:
    """The autocast that is on where a tensor lies, if any, without its cache: up to torch 2.10 a cast of a weight that
    was made without gradient is kept for operations with gradient too, and the weight has none. Compiled code has no
    cache.
    """
    return autocast_of(tensor)() if not torch.compiler.is_compiling() and autocasts(tensor) else nullcontext()


def full_precision(tensor: Tensor) -> AbstractContextManager[Any]:
    """Operations in the precision of their operands, whatever autocast is on where a tensor lies."""
    return torch.autocast(tensor.device.type, enabled=False) if autocasts(tensor) else nullcontext()


def autocasts(tensor: Tensor) -> bool:
    """Whether autocast is on where a tensor lies."""
    kind = tensor.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def widened(x: Tensor, dtype: torch.dtype) -> Tensor:
    """What has 16 bits under autocast, as another module may have left it, in the precision of what reads it:
    operations that autocast narrows narrow it again.
    """
    return x.to(dtype) if x.dtype in (torch.float16, torch.bfloat16) and autocasts(x) else x


_ASIDE = ContextVar("aside", default=False)


@contextmanager
def aside() -> Iterator[None]:
    """What is done within is no part of an inference, and is not counted: looking up what is known already, or making
    what is made once of a graph.
    """
    token = _ASIDE.set(True)
    try:
        yield
    finally:
        _ASIDE.reset(token)


def is_aside() -> bool:
    """Whether what is done now is done :func:`aside`."""
    return _ASIDE.get()
