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
Fired = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


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
    words: Tensor,
    channels: int,
    pointers: Tensor,
    col: Tensor,
    weight: Tensor | None,
    dtype: torch.dtype,
    left: Tensor | None = None,
) -> Tensor:
    """Sums along edges, ``[M, T, d]`` for a matrix of ``M`` rows in CSR.

    An entry is ``left[i] * weight[e]``; what is not given is one.
    """
    kernels = _kernels(dtype, words, weight)
    if kernels is None:
        return reference.aggregate(words, channels, pointers, col, weight, dtype, left)
    rows = pointers.numel() - 1
    out = torch.empty(rows, words.size(1), words.size(2) * reference.BITS, dtype=dtype)
    arguments = (_array(words), *_csr(pointers, col, weight, left, dtype))
    over_rows(rows, lambda first, last: kernels.aggregate(*arguments, first, last, out.numpy()))
    return _cut(out, channels)


@_fake(aggregate)
def _(words, channels, pointers, col, weight, dtype, left=None):
    return words.new_empty(pointers.shape[0] - 1, words.shape[1], channels, dtype=dtype)


@custom_op("msg::aggregate_counts", mutates_args=())
def aggregate_counts(
    counts: Tensor,
    channels: int,
    steps: int,
    pointers: Tensor,
    col: Tensor,
    weight: Tensor | None,
    dtype: torch.dtype,
    left: Tensor | None = None,
) -> Tensor:
    """Mean over ``steps`` of what is received along edges, ``[M, d]``, from counts of spikes in bytes."""
    kernels = _kernels(dtype, counts, weight)
    if kernels is None:
        return reference.aggregate_counts(counts, channels, steps, pointers, col, weight, dtype, left)
    rows = pointers.numel() - 1
    out = torch.empty(rows, counts.size(1), dtype=dtype)
    arguments = (_array(counts), steps, *_csr(pointers, col, weight, left, dtype))
    over_rows(rows, lambda first, last: kernels.aggregate_counts(*arguments, first, last, out.numpy()))
    return _cut(out, channels)


@_fake(aggregate_counts)
def _(counts, channels, steps, pointers, col, weight, dtype, left=None):
    return counts.new_empty(pointers.shape[0] - 1, channels, dtype=dtype)


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
    begin: Tensor | None = None,
    every: int = 0,
) -> Fired:
    """Neurons on a current ``[N, d]`` or ``[N, T, d]``: packed spikes, rates, counts, mean derivatives, states.

    Rates and derivatives are ``[N, d]``. The counts are bytes, ``[N, 32 ceil(d / 32)]``; there are none for more than
    255 steps. Neurons begin with the potentials ``begin [N, d]``, or at zero; the states ``[ceil(T / every), N, d]``
    are those after ``every`` steps and after the last, and there are none for ``every = 0``.
    """
    slope, dtype = (kind, scale, height, detached), current.dtype
    kernels = _kernels(dtype, current)
    if kernels is None:
        derivative = slope if kind >= 0 else None
        return reference.fire(current, steps, (decay, threshold, subtract), derivative, begin, every)
    constant, nodes, channels = current.dim() == 2, current.size(0), current.size(-1)
    given = _array(current[:, None] if constant else current)
    words = torch.empty(nodes, steps, words_of(channels), dtype=torch.int32)
    rates, counts, slopes = _means(nodes, channels, steps, dtype, kind)
    neuron, surrogate = _constants(dtype, decay, threshold, subtract, slope)
    states = rates.new_empty(_kept(steps, every), nodes, channels)
    before = _state(begin, rates)
    outputs = (words.numpy(), rates.numpy(), counts.numpy(), slopes.numpy(), states.numpy())

    def rows(first: int, last: int) -> None:
        kernels.encode(given, constant, steps, neuron, surrogate, before, every, first, last, *outputs)

    over_rows(nodes, rows)
    return words, rates, counts, slopes, states


@_fake(encode)
def _(current, steps, decay, threshold, subtract, kind, scale, height, detached, begin=None, every=0):
    words = current.new_empty(current.shape[0], steps, words_of(current.shape[-1]), dtype=torch.int32)
    rates, slopes = _fake_means(current, current.shape[0], current.shape[-1], kind)
    return words, rates, _fake_counts(words, steps), slopes, rates.new_empty(_kept(steps, every), *rates.shape)


@custom_op("msg::constant_rates", mutates_args=())
def constant_rates(current: Tensor, steps: int, threshold: float) -> tuple[Tensor, Tensor]:
    """Rates and counts of :func:`encode` for a constant current, no leak and subtractive reset: no step is run."""
    kernels = _kernels(current.dtype, current)
    if kernels is None:
        return reference.fire(current, steps, (1.0, threshold, True), None)[1:3]
    given, number = _array(current), current.new_empty(0).numpy().dtype.type
    rates, counts, _ = _means(current.size(0), current.size(1), steps, current.dtype, -1)
    # each of the steps' additions and subtractions of numbers below 2 thresholds errs by at most eps thresholds
    margin = number(8 * steps * torch.finfo(current.dtype).eps)
    outputs = rates.numpy(), counts.numpy()

    def rows(first: int, last: int) -> None:
        kernels.constant_rates(given, steps, number(threshold), margin, first, last, *outputs)

    over_rows(given.shape[0], rows)
    return rates, counts


@_fake(constant_rates)
def _(current, steps, threshold):
    counts = (current.shape[0], words_of(current.shape[1]) * reference.BITS) if steps <= reference.COUNTED else (0, 0)
    return torch.empty_like(current), current.new_empty(counts, dtype=torch.uint8)


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
    begin: Tensor | None = None,
    every: int = 0,
    left: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Aggregate, multiply, fire: as :func:`encode`, and, before the states, the mean of what came along edges.

    A matrix of ``M < N`` rows makes the first ``M`` nodes fire, and all that is returned has ``M`` rows.
    """
    slope, dtype = (kind, scale, height, detached), weight.dtype
    matrix = None if pointers is None or col is None else (pointers, col, value, left)
    kernels = _kernels(dtype, words, value, weight)
    if kernels is None:
        derivative = slope if kind >= 0 else None
        neuron = decay, threshold, subtract
        parts = (words, channels, matrix, own, weight, root, bias, neuron, derivative)
        return reference.layer(*parts, begin, every)
    nodes, steps, outer = _rows(words, pointers), words.size(1), weight.size(0)
    both, constant = _whole_words(words, channels, weight, root, bias)
    fired = torch.empty(nodes, steps, words_of(outer), dtype=torch.int32)
    rates, counts, slopes = _means(nodes, outer, steps, dtype, kind)
    received = torch.empty(nodes, channels, dtype=dtype) if matrix else torch.empty(0, 0, dtype=dtype)
    neuron, surrogate = _constants(dtype, decay, threshold, subtract, slope)
    given = (_array(words), *_csr(pointers, col, value, left, dtype), constant.numpy().dtype.type(own), both.numpy())
    states = rates.new_empty(_kept(steps, every), nodes, outer)
    before = _state(begin, rates)
    outputs = (fired.numpy(), rates.numpy(), counts.numpy(), slopes.numpy(), received.numpy(), states.numpy())

    def rows(first: int, last: int) -> None:
        kernels.layer(*given, constant.numpy(), neuron, surrogate, before, every, first, last, *outputs)

    over_rows(nodes, rows)
    return fired, rates, counts, slopes, received, states


@_fake(layer)
def _(words, channels, pointers, col, value, own, weight, root, bias, decay, threshold, subtract, kind, *rest):
    nodes, outer, every = _rows(words, pointers), weight.shape[0], rest[4] if len(rest) > 4 else 0
    fired = words.new_empty(nodes, words.shape[1], words_of(outer))
    rates, slopes = _fake_means(weight, nodes, outer, kind)
    received = weight.new_empty(0, 0) if pointers is None else weight.new_empty(nodes, channels)
    states = rates.new_empty(_kept(words.shape[1], every), *rates.shape)
    return fired, rates, _fake_counts(fired, words.shape[1]), slopes, received, states


@custom_op("msg::encode_back", mutates_args=())
def encode_back(
    current: Tensor,
    grad: Tensor,
    rate_grad: Tensor,
    decay: float,
    threshold: float,
    subtract: bool,
    kind: int,
    scale: float,
    height: float,
    detached: bool,
    begin: Tensor | None = None,
    later: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Gradient of the current of :func:`encode`, from those of spikes ``[T, N, d]`` and of their sums ``[N, d]``.

    ``later [N, d]`` is that of the potentials at the end, nothing if they are not read; returned is, too, that of the
    potentials ``begin``.
    """
    slope, dtype = (kind, scale, height, detached), current.dtype
    kernels = _kernels(dtype, current, grad)
    if kernels is None:
        return reference.fire_back(current, grad, rate_grad, (decay, threshold, subtract), slope, begin, later)
    constant, nodes = current.dim() == 2, current.size(0)
    given = _array(current[:, None] if constant else current)
    out = torch.empty(given.shape, dtype=dtype)
    neuron, surrogate = _constants(dtype, decay, threshold, subtract, slope)
    before, state = _state(begin, rate_grad), torch.zeros_like(rate_grad) if later is None else _copy(later)
    arriving = (_array(_fill(grad)), _array(_fill(rate_grad)), before, state.numpy())

    def rows(first: int, last: int) -> None:
        kernels.encode_back(given, constant, neuron, surrogate, *arriving, first, last, out.numpy())

    over_rows(nodes, rows)
    return out.view(current.shape), state


@_fake(encode_back)
def _(current, grad, rate_grad, *_):
    return current.new_empty(current.shape), torch.empty_like(rate_grad)


@custom_op("msg::spiking_layer_back", mutates_args=())
def layer_back(
    words: Tensor,
    channels: int,
    pointers: Tensor | None,
    col: Tensor | None,
    value: Tensor | None,
    own: float,
    weight: Tensor,
    root: Tensor | None,
    bias: Tensor | None,
    grad: Tensor,
    rate_grad: Tensor,
    decay: float,
    threshold: float,
    subtract: bool,
    kind: int,
    scale: float,
    height: float,
    detached: bool,
    begin: Tensor | None = None,
    later: Tensor | None = None,
    left: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of :func:`layer`, from those of its spikes ``[T, N, out]`` and of their sums ``[N, out]``.

    Returns those of what nodes received along edges ``[T, N, d]`` (yet to be sent back along them), of their own spikes
    apart from that (empty if there is nothing), of weights, of the own spikes' weights (empty if none), of the bias,
    and that of the potentials ``begin``; for ``later`` see :func:`encode_back`.
    """
    slope, dtype = (kind, scale, height, detached), weight.dtype
    matrix = None if pointers is None or col is None else (pointers, col, value, left)
    kernels = _kernels(dtype, words, value, weight, grad)
    neuron: Any = decay, threshold, subtract
    if kernels is None:
        parts = (words, channels, matrix, own, weight, root, bias, neuron, slope)
        return reference.layer_back(*parts, grad, rate_grad, begin, later)
    nodes, steps, outer = _rows(words, pointers), words.size(1), weight.size(0)
    inside = words.size(2) * reference.BITS
    both, constant = _whole_words(words, channels, weight, root, bias)
    to_input = torch.empty(steps, nodes, inside, dtype=dtype)
    to_mine = torch.empty_like(to_input) if root is not None or own != 0 else to_input.new_empty(0, 0, 0)
    neuron, surrogate = _constants(dtype, decay, threshold, subtract, slope)
    given = (_array(words), *_csr(pointers, col, value, left, dtype), constant.numpy().dtype.type(own), both.numpy())
    before, state = _state(begin, rate_grad), torch.zeros_like(rate_grad) if later is None else _copy(later)
    arriving = (_array(_fill(grad)), _array(_fill(rate_grad)), before, state.numpy())
    turned, sums = both.t().contiguous().numpy(), {}

    def rows(first: int, last: int) -> None:
        sums[first] = torch.zeros_like(both), torch.zeros_like(constant)
        outputs = (to_input.numpy(), to_mine.numpy(), *(t.numpy() for t in sums[first]))
        kernels.layer_back(*given, turned, constant.numpy(), neuron, surrogate, *arriving, first, last, *outputs)

    over_rows(nodes, rows)
    # in the order of rows, so that the same threads give the same sums
    in_order = [sums[first] for first in sorted(sums)]
    to_both, to_bias = (torch.stack(parts).sum(0) for parts in zip(*in_order))
    to_weight, to_root = to_both[:channels, :outer].t(), to_both[inside : inside + channels, :outer].t()
    mine = _cut(to_mine, channels) if to_mine.numel() or not nodes else to_mine
    # copies, since an operator's results share no memory
    to_weight, to_root, to_bias = (_copy(t) for t in (to_weight, to_root, to_bias[:outer]))
    return _cut(to_input, channels), mine, to_weight, to_root, to_bias, state


@_fake(layer_back)
def _(words, channels, pointers, col, value, own, weight, root, bias, grad, rate_grad, *_):
    to_input = weight.new_empty(words.shape[1], _rows(words, pointers), channels)
    mine = torch.empty_like(to_input) if root is not None or own != 0 else weight.new_empty(0, 0, 0)
    to_root = torch.empty_like(weight) if root is not None else weight.new_empty(weight.shape[0], 0)
    state = torch.empty_like(rate_grad)
    return to_input, mine, torch.empty_like(weight), to_root, weight.new_empty(weight.shape[0]), state


def _whole_words(
    words: Tensor, channels: int, weight: Tensor, root: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Weights, transposed, and bias, filled up with zeros to whole words, so that no loop has a rest."""
    inside, outer = words.size(2) * reference.BITS, weight.size(0)
    parts = [weight] if root is None else [weight, root]
    both = weight.new_zeros(inside * len(parts), words_of(outer) * reference.BITS)
    for number, part in enumerate(parts):
        both[number * inside : number * inside + channels, :outer] = part.detach().t()
    constant = weight.new_zeros(both.size(1))
    if bias is not None:
        constant[:outer] = bias.detach()
    return both, constant


def _rows(words: Tensor, pointers: Tensor | None) -> int:
    """How many nodes fire: those that the matrix has rows for, which are the first of those whose spikes are given."""
    return words.shape[0] if pointers is None else pointers.shape[0] - 1


def _csr(
    pointers: Tensor | None, col: Tensor | None, value: Tensor | None, left: Tensor | None, dtype: torch.dtype
) -> tuple[Any, Any, Any, Any]:
    nothing = torch.empty(0, dtype=torch.int32)
    edges = (_array(nothing if part is None else part) for part in (pointers, col))
    weight = None if value is None else _array(value, dtype)
    # a factor costs nothing beside its row, so what is compiled for matrices with them does for those without
    return *edges, weight, _array(nothing if left is None else left, dtype)


def _fill(tensor: Tensor) -> Tensor:
    """The last dimension filled up with zeros to whole words."""
    rest = -tensor.size(-1) % reference.BITS
    return torch.nn.functional.pad(tensor, (0, rest)) if rest else tensor


def _means(nodes: int, channels: int, steps: int, dtype: torch.dtype, kind: int) -> tuple[Tensor, Tensor, Tensor]:
    """Room for rates, for counts where they fit a byte, and for mean derivatives."""
    if steps < 1:  # kernels write the first step
        raise ValueError(f"timesteps must be at least 1, not {steps}")
    rates = torch.empty(nodes, channels, dtype=dtype)
    counted = (nodes, words_of(channels) * reference.BITS) if steps <= reference.COUNTED else (0, 0)
    slopes = torch.empty_like(rates) if kind >= 0 else rates.new_empty(0, 0)
    return rates, torch.empty(counted, dtype=torch.uint8), slopes


def _fake_means(like: Tensor, nodes: int, channels: int, kind: int) -> tuple[Tensor, Tensor]:
    rates = like.new_empty(nodes, channels)
    return rates, torch.empty_like(rates) if kind >= 0 else like.new_empty(0, 0)


def _fake_counts(words: Tensor, steps: int) -> Tensor:
    counted = (words.shape[0], words.shape[2] * reference.BITS) if steps <= reference.COUNTED else (0, 0)
    return words.new_empty(counted, dtype=torch.uint8)


def _kept(steps: int, every: int) -> int:
    """How many states are kept."""
    return -(-steps // every) if every else 0


def _state(tensor: Tensor | None, like: Tensor) -> Any:
    """Potentials that a kernel begins with; no rows stand for zeros."""
    return _array(like.new_empty(0, like.size(1)) if tensor is None else tensor)


def _cut(padded: Tensor, channels: int) -> Tensor:
    return padded if padded.size(-1) == channels else padded[..., :channels].contiguous()


def _copy(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)
