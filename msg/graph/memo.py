"""Caches of what was made from tensors."""

import weakref
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from msg.calls import aside
from msg.kernels.tracing import traced

_CHUNK = 2**15
"""Eight bytes each that are read together."""

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
    read. A tensor's version tells of changes that torch makes; its address and sums over what it holds tell of those it
    does not see, by ``x.data = ...`` or through ``x.numpy()``. Reading a tensor once costs far less than what is made
    from it.

    Never part of a copy, a pickle or a ``state_dict``. What is made in inference mode is made of ordinary tensors, so
    that it serves a later training too.
    """

    def __init__(self):
        self._entries: tuple[_Entry, ...] = ()

    def recall(self, tensors: tuple[Tensor | None, ...], extra: tuple, build: Callable[[], Any]) -> Any:
        """Return ``build()``, or what it returned before for these tensors and ``extra``.

        Args:
            tensors: what the value is made from. Where one has a gradient that is recorded, or was made in inference
                mode (and so has no version), nothing is remembered; nor in what is compiled, exported or transformed by
                ``torch.func``.
            extra: whatever else decides the value; compared by ``==``.
            build: makes it.
        """
        # object identity means nothing to stand-ins
        recorded = torch.is_grad_enabled()
        if traced() or any(t is not None and (t.is_inference() or (recorded and t.requires_grad)) for t in tensors):
            return build()
        with aside():
            return self._recall(tensors, extra, build)

    def _recall(self, tensors: tuple[Tensor | None, ...], extra: tuple, build: Callable[[], Any]) -> Any:
        key = (tuple(None if t is None else _content(t) for t in tensors), extra)
        # one read and one write: a thread that shares the memo never returns what another has just stored
        entries = self._entries
        entry = next((one for one in entries if one.of(tensors) and one.key == key), None)
        if entry is None:
            recorded = torch.is_grad_enabled()  # which leaving inference mode sets anew
            with torch.inference_mode(False), torch.set_grad_enabled(recorded):
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


def settings_of(module: nn.Module) -> tuple:
    """Type and plain attributes of a module and of all its parts: what decides what they do, beside tensors."""
    return tuple((type(part), tuple(sorted(_plain(part)))) for part in module.modules())


def _plain(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if name != "training" and isinstance(value, int | float | str):
            yield name, value


def _content(tensor: Tensor) -> tuple:
    """What tells a tensor from itself after a change."""
    with torch.no_grad():
        parts = _parts(tensor)
        return tensor._version, *(part.data_ptr() for part in parts), *(_sums(part) for part in parts)


def _parts(tensor: Tensor) -> list[Tensor]:
    """The dense tensors that one is stored in."""
    if tensor.layout == torch.strided:
        return [tensor]
    if tensor.layout == torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]


def _sums(tensor: Tensor) -> tuple[int, ...]:
    """Sums of what is stored, eight bytes at a time as an integer, each times the factor of its place: exact, so no
    change is too small to show, and neither an exchange nor a shuffle leaves them as they are.
    """
    flat = tensor.detach().reshape(-1).contiguous()
    # integers begin where they may, and of fewer than two elements a stride of any length counts as contiguous
    if flat.storage_offset() * flat.element_size() % 8 or flat.stride() != (1,):
        flat = flat.new_empty(flat.shape).copy_(flat)
    raw = flat.view(torch.uint8)
    whole = raw.numel() // 8 * 8
    factors = _factors(tensor.device)
    parts = raw[:whole].view(torch.int64).split(_CHUNK)
    return *torch.stack([_product(part, factors[: part.numel()]) for part in parts]).tolist(), *raw[whole:].tolist()


def _product(words: Tensor, factors: Tensor) -> Tensor:
    # half the time of the sum of a product, and no copy; but of integers on a CPU alone
    return words.dot(factors) if words.device.type == "cpu" else (words * factors).sum()


@cache
def _factors(device: torch.device) -> Tensor:
    """Odd numbers that follow no pattern, one for each place: SplitMix64's, made where they are needed."""
    with torch.inference_mode(False):
        mixed = torch.arange(1, _CHUNK + 1, device=device) * -0x61C8864680B583EB
        for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
            mixed = (mixed ^ (mixed >> shift)) * factor
        return (mixed ^ (mixed >> 31)) | 1
