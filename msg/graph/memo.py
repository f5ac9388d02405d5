"""Caches of what was made from tensors."""

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Entry(NamedTuple):
    """What was made, and from which tensors: weak references, the version each had, and what else decided it."""

    refs: tuple[weakref.ref | None, ...]
    key: tuple
    value: Any

    def serves(self, tensors: tuple[Tensor | None, ...], key: tuple) -> bool:
        same = len(self.refs) == len(tensors) and all(
            tensor is None if ref is None else ref() is tensor for ref, tensor in zip(self.refs, tensors)
        )
        return same and key == self.key


class Memo:
    """Remembers the last thing made from given tensors, for as long as they are the same, unmodified objects.

    Never part of a copy, a pickle or a ``state_dict``. What is made in inference mode is made of ordinary tensors, so
    that it serves a later training too.
    """

    def __init__(self):
        self._entry: _Entry | None = None

    def recall(self, tensors: tuple[Tensor | None, ...], extra: tuple, build: Callable[[], Any]) -> Any:
        """Return ``build()``, or what it returned last time for these tensors and ``extra``.

        Args:
            tensors: what the value is made from. Where one has a gradient, or was made in inference mode (and so has no
                version), nothing is remembered.
            extra: whatever else decides the value; compared by ``==``.
            build: makes it.
        """
        return _recall(self, tensors, extra, build)  # pyright: ignore[reportCallIssue]

    def _recall(self, tensors: tuple[Tensor | None, ...], extra: tuple, build: Callable[[], Any]) -> Any:
        if any(t is not None and (t.is_inference() or t.requires_grad) for t in tensors):
            return build()
        key = (tuple(None if t is None else t._version for t in tensors), extra)
        # one read and one write: a thread that shares the memo never returns what another has just stored
        entry = self._entry
        if entry is None or not entry.serves(tensors, key):
            with torch.inference_mode(False):
                refs = tuple(None if t is None else weakref.ref(t) for t in tensors)
                entry = self._entry = _Entry(refs, key, build())
        return entry.value

    def __deepcopy__(self, memo: dict) -> "Memo":
        return Memo()

    def __reduce__(self) -> tuple:
        return Memo, ()


# object identity means nothing to a compiler's symbolic tensors
_recall = torch.compiler.disable(Memo._recall)
