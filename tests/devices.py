"""Tensors that claim to be on another device, so that a wrong device is found without one.

A :class:`Claimed` tensor says that it is :data:`ELSEWHERE` and holds one on the CPU, with which every operation is
carried out. Inside :class:`Elsewhere` an operation that mixes it with a tensor on the CPU fails, as it would on a GPU;
what is made for that device (``torch.zeros(3, device=x.device)``) claims to be there too; and whatever would make the
host wait for the device is counted.

The device is called ``meta``, because no other one can be named unless torch was built for it: of a tensor that claims
``cuda`` autograd wants a thread of that device. None of them is a tensor of torch's own ``meta``, which has no values.
"""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

ELSEWHERE = torch.device("meta")

aten = torch.ops.aten
_COPIES = {aten._to_copy, aten.copy_}
_WRITES = {aten.index_put, aten.index_put_, aten._index_put_impl_}
# the host needs a value, or a size that hangs on values
_WAITS = {
    aten._coalesce, aten._local_scalar_dense, aten._to_sparse, aten._to_sparse_csr, aten._unique2, aten.bincount,
    aten.equal, aten.histc, aten.masked_select, aten.nonzero, aten.unique_consecutive, aten.unique_dim,
    aten.unique_dim_consecutive,
}  # fmt: skip


class Claimed(Tensor):
    """A tensor on the CPU that claims to be elsewhere.

    Args:
        inner: the tensor.
    """

    inner: Tensor
    # whether a result is claimed is decided below, by where it was made, not by the class of the arguments
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Claimed":
        dense = inner.layout == torch.strided
        how: dict = {"strides": inner.stride()} if dense else {"dispatch_layout": True}
        return Tensor._make_wrapper_subclass(cls, inner.size(), dtype=inner.dtype, device=ELSEWHERE, **how)

    def __init__(self, inner: Tensor):
        self.inner = inner

    def __repr__(self, **_: Any) -> str:
        return f"Claimed({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func is torch.ops.prim.layout.default:
            return args[0].inner.layout
        # as_subclass comes past the mode that is entered
        return Elsewhere.entered[-1].__torch_dispatch__(func, types, args, kwargs)

    # these torch does without an operation that could be seen
    def tolist(self) -> list:
        Elsewhere.entered[-1].waits["tolist"] += 1
        return self.inner.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("a tensor that is elsewhere has no numpy array: copy it to the CPU first")

    def new_tensor(self, data: Any, **options: Any) -> Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, "device": ELSEWHERE, **options})


class Elsewhere(TorchDispatchMode):
    """In its ``with`` no devices are mixed, and what makes the host wait is counted.

    Attributes:
        waits: how often the host would have waited, by what made it.
        operations: what a device would have been sent, by name; a view is nothing to send.
    """

    entered: list["Elsewhere"] = []  # noqa: RUF012 - shared by all

    def __init__(self):
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()
        makers = {make.__name__: _literal(make, self.waits) for make in (torch.tensor, torch.as_tensor)}
        self._patch = mock.patch.multiple(torch, **makers)

    def __enter__(self) -> "Elsewhere":
        self._patch.start()
        self.entered.append(self)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.entered.pop()
        self._patch.stop()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors: list[Tensor] = []
        _changed([*args, *kwargs.values()], tensors.append)
        claimed = [tensor for tensor in tensors if isinstance(tensor, Claimed)]
        copied, told = func.overloadpacket in _COPIES, kwargs.get("device")
        there = bool(claimed) if told is None else torch.device(told) == ELSEWHERE
        if func.overloadpacket is aten.copy_:
            there = isinstance(args[0], Claimed)
        elif claimed and not copied:
            _refuse_a_mixture(func, args, tensors)
        if (claimed or there) and not func.is_view:
            self.operations[str(func)] += 1
        if copied and len({isinstance(tensor, Claimed) for tensor in tensors} | {there}) > 1:
            self.waits["a copy between devices"] += 1
        elif claimed and _waits(func, args):
            self.waits[str(func)] += 1
        if there and told is not None:
            kwargs["device"] = torch.device("cpu")
        args, kwargs = _changed(args, here), {name: _changed(value, here) for name, value in kwargs.items()}
        if func.overloadpacket is aten._efficientzerotensor:
            # forward-mode differentiation's zeros without storage, which only torch's own tensors may hold
            func = aten.zeros.default
        result = func(*args, **kwargs)
        # what was written to is returned as it is
        known = {id(tensor.inner): tensor for tensor in claimed}
        claim = lambda made: known[id(made)] if id(made) in known else Claimed(made)  # noqa: E731
        return _changed(result, claim) if there else result


def _changed(given: Any, change: Callable[[Tensor], Any]) -> Any:
    """What an operation takes or gives, its tensors changed (torch's own pytree takes most of a test's time)."""
    if isinstance(given, Tensor):
        return change(given)
    return type(given)([_changed(part, change) for part in given]) if type(given) in (list, tuple) else given


def _literal(make: Callable[..., Tensor], waits: Counter[str]) -> Callable[..., Tensor]:
    """``torch.tensor`` or ``torch.as_tensor``, which copy numbers to a device by an operation without values."""

    def made(data: Any, **options: Any) -> Tensor:
        told = options.get("device")
        if told is None or torch.device(told) != ELSEWHERE or isinstance(data, Claimed):
            return make(data, **options)
        waits["a copy between devices"] += 1
        return Claimed(make(data, **{**options, "device": "cpu"}))

    return made


def _refuse_a_mixture(func, args: Sequence[Any], tensors: Sequence[Tensor]) -> None:
    """Fail where a device would: it reads single numbers of the CPU, and nothing else."""
    outside = [tensor for tensor in tensors if not isinstance(tensor, Claimed)]
    written = func._schema.is_mutable and not isinstance(args[0], Claimed)
    if written or any(tensor.dim() or tensor.device != torch.device("cpu") for tensor in outside):
        places = ("elsewhere" if isinstance(tensor, Claimed) else f"on {tensor.device}" for tensor in tensors)
        found = ", ".join(f"{list(tensor.shape)} {place}" for tensor, place in zip(tensors, places))
        raise RuntimeError(f"{func} mixes devices: {found}")


def _waits(func, args: Sequence[Any]) -> bool:
    packet = func.overloadpacket
    if packet is aten.index or packet in _WRITES:
        by_mask = any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
        # one number is filled in where the mask is
        return by_mask and not (packet in _WRITES and args[2].numel() == 1)
    return packet in _WAITS or func is aten.repeat_interleave.Tensor


def elsewhere(given: Any) -> Any:
    """A tensor, or a copy of a model with its parameters and buffers, that claims to be elsewhere."""
    if isinstance(given, Tensor):
        return Claimed(given.detach().clone()).requires_grad_(given.requires_grad)
    model: nn.Module = copy.deepcopy(given)
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(elsewhere(parameter.detach()), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = elsewhere(buffer)
    return model


def here(given: Any) -> Any:
    """The tensor behind one that claims to be elsewhere."""
    return given.inner if isinstance(given, Claimed) else given
