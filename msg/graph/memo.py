"""Caches of what was made from tensors."""

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from msg.calls import aside
from msg.kernels.tracing import traced

_CHUNK = 2**20
"""Numbers that are read together."""

_KEPT = 2
"""Things that are remembered."""


class _Entry(NamedTuple):
    """What was made, and from which tensors: weak references, what each held, and what else decided it."""

    refs: tuple[weakref.ref | None, ...]
    key: tuple
    value: Any

    @property
    def alive(self) -> bool:
        """Whether it may be asked for again."""
        return all(ref is None or ref() is not None for ref in self.refs)

    def of(self, tensors: tuple[Tensor | None, ...]) -> bool:
        """Whether it was made from these objects, whatever they held."""
        return len(self.refs) == len(tensors) and all(
            tensor is None if ref is None else ref() is tensor for ref, tensor in zip(self.refs, tensors)
        )


class Memo:
    """Remembers the last things made from given tensors, for as long as they are the same, unmodified objects.

    There are two, so that what is drawn once for each update of a training does not drive out what its evaluations
    read. A tensor's version tells of changes that torch makes; its address and two sums tell of those it does not see,
    by ``x.data = ...`` or through ``x.numpy()``. Reading a tensor once costs far less than what is made from it.

    Never part of a copy, a pickle or a ``state_dict``. What is made in inference mode is made of ordinary tensors, so
    that it serves a later training too.
    """

    def __init__(self):
        self._entries: tuple[_Entry, ...] = ()

    def recall(self, tensors: tuple[Tensor | None, ...], extra: tuple, build: Callable[[], Any]) -> Any:
        """Return ``build()``, or what it returned before for these tensors and ``extra``.

        Args:
            tensors: what the value is made from. Where one has a gradient, or was made in inference mode (and so has no
                version), nothing is remembered; nor in what is compiled, exported or transformed by ``torch.func``.
            extra: whatever else decides the value; compared by ``==``.
            build: makes it.
        """
        # object identity means nothing to stand-ins
        if traced() or any(t is not None and (t.is_inference() or t.requires_grad) for t in tensors):
            return build()
        with aside():
            return self._recall(tensors, extra, build)

    def _recall(self, tensors: tuple[Tensor | None, ...], extra: tuple, build: Callable[[], Any]) -> Any:
        key = (tuple(None if t is None else _content(t) for t in tensors), extra)
        # one read and one write: a thread that shares the memo never returns what another has just stored
        entries = self._entries
        entry = next((one for one in entries if one.of(tensors) and one.key == key), None)
        if entry is None:
            with torch.inference_mode(False):
                refs = tuple(None if t is None else weakref.ref(t) for t in tensors)
                value = build()
                # to coalesce a sparse tensor counts as a change of it, although nothing changes
                key = (tuple(None if t is None else _content(t) for t in tensors), extra)
                entry = _Entry(refs, key, value)
        others = [one for one in entries if one is not entry and one.alive and not one.of(tensors)]
        self._entries = (entry, *others[: _KEPT - 1])
        return entry.value

    def __deepcopy__(self, memo: dict) -> "Memo":
        return type(self)()

    def __reduce__(self) -> tuple:
        return type(self), ()


def _content(tensor: Tensor) -> tuple:
    """What tells a tensor from itself after a change."""
    with torch.no_grad():
        parts = [tensor]
        if tensor.layout == torch.sparse_coo:
            parts = [tensor._indices(), tensor._values()]
        elif tensor.layout != torch.strided:
            parts = [tensor.values()]
        # two sums over different halves: exchanging an entry with another one shows too
        sums = [_sum(half) for part in parts for half in _halves(part)]
        return tensor._version, *(part.data_ptr() for part in parts), *sums


def _sum(tensor: Tensor) -> Any:
    # a small change of one of many numbers would drown in a sum in float32; integers are summed exactly as they are
    wide = torch.float64 if tensor.is_floating_point() else None
    # some at a time, since torch makes a copy of another type before it sums in that
    return torch.stack([part.sum(dtype=wide) for part in tensor.split(_CHUNK)]).sum().item()


def _halves(tensor: Tensor) -> tuple[Tensor, Tensor]:
    flat = tensor.detach().reshape(-1)
    return flat[: flat.numel() // 2], flat[flat.numel() // 2 :]
