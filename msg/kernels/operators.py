"""The kernels as operators of torch, so that ``torch.compile`` and ``torch.export`` see them.

Each runs compiled on a CPU, and as plain torch elsewhere. None is differentiable: gradient rules say what is.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from msg.kernels import choice, reference
from msg.kernels.reference import words_of
from msg.kernels.threads import over_rows

KINDS = ("arctangent", "sigmoid", "triangle")
"""Derivatives of the step that kernels know, by their number; -1 is none."""

_FLOATS = (torch.float32, torch.float64)
Fired = tuple[Tensor, Tensor, Tensor]


def _kernels(dtype: torch.dtype, *tensors: Tensor | None) -> ModuleType | None:
    """The compiled kernels, if they can take these tensors."""
    here = all(tensor is None or tensor.device.type == "cpu" for tensor in tensors)
    return choice.compiled("trains") if here and dtype in _FLOATS else None


def _array(tensor: Tensor, dtype: torch.dtype | None = None) -> Any:
    return tensor.detach().to(dtype or tensor.dtype).contiguous().numpy()


def _constants(dtype: torch.dtype, decay: float, threshold: float, subtract: bool, surrogate: reference.Slope):
    """Numbers of the arrays' own type: others would turn the loops into ones of float64."""
    number = torch.empty(0, dtype=dtype).numpy().dtype.type
    kind, scale, height, detached = surrogate
    return (number(decay), number(threshold), subtract), (kind, number(scale), number(height), detached)


def _edges(weight: Tensor | None, dtype: torch.dtype) -> Any:
    return _array(weight, dtype) if weight is not None else torch.empty(0, dtype=dtype).numpy().dtype.type(1)


def _fake(operator: Any) -> Callable:
    return operator.register_fake


@custom_op("msg::pack", mutates_args=())
def pack(spikes: Tensor) -> Tensor:
    """``[N, T, d]`` to words ``[N, T, ceil(d / 32)]``: what is above zero is a spike."""
    nodes, steps, channels = spikes.shape
    kernels = _kernels(spikes.dtype, spikes)
    if kernels is None or channels % reference.BITS:
        return reference.pack(spikes)
    given, words = _array(spikes), torch.empty(nodes, steps, words_of(channels), dtype=torch.int32)
    over_rows(nodes, lambda first, last: kernels.pack(given, first, last, words.numpy()))
    return words


@_fake(pack)
def _(spikes):
    return spikes.new_empty(spikes.shape[0], spikes.shape[1], words_of(spikes.shape[2]), dtype=torch.int32)


@custom_op("msg::unpack", mutates_args=())
def unpack(words: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """Words to ``[N, T, d]`` of zeros and ones."""
    kernels = _kernels(dtype, words)
    if kernels is None:
        return reference.unpack(words, channels, dtype)
    out = torch.zeros(*words.shape[:2], words.size(2) * reference.BITS, dtype=dtype)
    given = _array(words)
    over_rows(words.size(0), lambda first, last: kernels.unpack(given, first, last, out.numpy()))
    return _cut(out, channels)


@_fake(unpack)
def _(words, channels, dtype):
    return words.new_empty(*words.shape[:2], channels, dtype=dtype)


@custom_op("msg::count", mutates_args=())
def count(words: Tensor, channels: int) -> Tensor:
    """Spikes of each neuron, ``[N, d]``."""
    return reference.count(words, channels)


@_fake(count)
def _(words, channels):
    return words.new_empty(words.shape[0], channels)


@custom_op("msg::aggregate", mutates_args=())
def aggregate(
    words: Tensor, channels: int, pointers: Tensor, col: Tensor, weight: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Sums along edges, ``[M, T, d]`` for a matrix of ``M`` rows in CSR."""
    kernels = _kernels(dtype, words, weight)
    if kernels is None:
        return reference.aggregate(words, channels, pointers, col, weight, dtype)
    rows = pointers.numel() - 1
    out = torch.empty(rows, words.size(1), words.size(2) * reference.BITS, dtype=dtype)
    arguments = (_array(words), _array(pointers), _array(col), _edges(weight, dtype))
    over_rows(rows, lambda first, last: kernels.aggregate(*arguments, first, last, out.numpy()))
    return _cut(out, channels)


@_fake(aggregate)
def _(words, channels, pointers, col, weight, dtype):
    return words.new_empty(pointers.shape[0] - 1, words.shape[1], channels, dtype=dtype)


@custom_op("msg::encode", mutates_args=())
def encode(
    current: Tensor,
    steps: int,
    decay: float,
    threshold: float,
    subtract: bool,
    kind: int,
    scale: float,
    height: float,
    detached: bool,
) -> Fired:
    """Neurons on a current ``[N, d]`` or ``[N, T, d]``: packed spikes, rates ``[N, d]``, and mean derivatives."""
    slope, dtype = (kind, scale, height, detached), current.dtype
    kernels = _kernels(dtype, current)
    if kernels is None:
        return reference.fire(current, steps, (decay, threshold, subtract), slope if kind >= 0 else None)
    constant, nodes, channels = current.dim() == 2, current.size(0), current.size(-1)
    given = _array(current[:, None] if constant else current)
    words = torch.empty(nodes, steps, words_of(channels), dtype=torch.int32)
    rates, slopes = _means(nodes, channels, dtype, kind)
    neuron, surrogate = _constants(dtype, decay, threshold, subtract, slope)
    outputs = (words.numpy(), rates.numpy(), slopes.numpy())

    def rows(first: int, last: int) -> None:
        kernels.encode(given, constant, steps, neuron, surrogate, first, last, *outputs)

    over_rows(nodes, rows)
    return words, rates, slopes


@_fake(encode)
def _(current, steps, decay, threshold, subtract, kind, scale, height, detached):
    words = current.new_empty(current.shape[0], steps, words_of(current.shape[-1]), dtype=torch.int32)
    rates = current.new_empty(current.shape[0], current.shape[-1])
    return words, rates, torch.empty_like(rates) if kind >= 0 else current.new_empty(0, 0)


@custom_op("msg::spiking_layer", mutates_args=())
def layer(
    words: Tensor,
    channels: int,
    pointers: Tensor | None,
    col: Tensor | None,
    value: Tensor | None,
    own: float,
    weight: Tensor,
    root: Tensor | None,
    bias: Tensor | None,
    decay: float,
    threshold: float,
    subtract: bool,
    kind: int,
    scale: float,
    height: float,
    detached: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Aggregate, multiply, fire: packed spikes, rates, mean derivatives, mean of what was received along edges."""
    slope, dtype = (kind, scale, height, detached), weight.dtype
    matrix = None if pointers is None or col is None else (pointers, col, value)
    kernels = _kernels(dtype, words, value, weight)
    if kernels is None:
        derivative = slope if kind >= 0 else None
        neuron = decay, threshold, subtract
        return reference.layer(words, channels, matrix, own, weight, root, bias, neuron, derivative)
    nodes, steps, outer = words.size(0), words.size(1), weight.size(0)
    inside, outside = words.size(2) * reference.BITS, words_of(outer) * reference.BITS
    # transposed and filled up to whole words with zeros, so that no loop has a rest
    parts = [weight] if root is None else [weight, root]
    both = weight.new_zeros(inside * len(parts), outside)
    for number, part in enumerate(parts):
        both[number * inside : number * inside + channels, :outer] = part.detach().t()
    constant = weight.new_zeros(outside)
    if bias is not None:
        constant[:outer] = bias.detach()
    fired = torch.empty(nodes, steps, words_of(outer), dtype=torch.int32)
    rates, slopes = _means(nodes, outer, dtype, kind)
    received = torch.empty(nodes, channels, dtype=dtype) if matrix else torch.empty(0, 0, dtype=dtype)
    nowhere = torch.empty(0, dtype=torch.int32)
    neuron, surrogate = _constants(dtype, decay, threshold, subtract, slope)
    edges = (_array(nowhere if pointers is None else pointers), _array(nowhere if col is None else col))
    given = (_array(words), *edges, _edges(value, dtype), constant.numpy().dtype.type(own), both.numpy())
    outputs = (fired.numpy(), rates.numpy(), slopes.numpy(), received.numpy())

    def rows(first: int, last: int) -> None:
        kernels.layer(*given, constant.numpy(), neuron, surrogate, first, last, *outputs)

    over_rows(nodes, rows)
    return fired, rates, slopes, received


@_fake(layer)
def _(words, channels, pointers, col, value, own, weight, root, bias, decay, threshold, subtract, kind, *_):
    nodes, outer = words.shape[0], weight.shape[0]
    fired = words.new_empty(nodes, words.shape[1], words_of(outer))
    rates = weight.new_empty(nodes, outer)
    slopes = torch.empty_like(rates) if kind >= 0 else weight.new_empty(0, 0)
    received = weight.new_empty(0, 0) if pointers is None else weight.new_empty(nodes, channels)
    return fired, rates, slopes, received


def _means(nodes: int, channels: int, dtype: torch.dtype, kind: int) -> tuple[Tensor, Tensor]:
    rates = torch.empty(nodes, channels, dtype=dtype)
    return rates, torch.empty_like(rates) if kind >= 0 else rates.new_empty(0, 0)


def _cut(padded: Tensor, channels: int) -> Tensor:
    return padded if padded.size(-1) == channels else padded[..., :channels].contiguous()
