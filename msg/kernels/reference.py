"""What every kernel computes, in plain torch: its oracle, and what runs where there is no kernel."""

import torch
from torch import Tensor

BITS = 32
COUNTED = 255
"""The most spikes that a byte counts."""
Neuron = tuple[float, float, bool]
"""Decay, threshold, and whether the reset subtracts the threshold."""
Slope = tuple[int, float, float, bool]
"""Kind of surrogate, its scale and height, and whether the reset is not differentiated."""


def words_of(channels: int) -> int:
    """Words that hold ``channels`` bits."""
    return -(-channels // BITS)


def pack(spikes: Tensor) -> Tensor:
    """``[N, T, d]`` to words."""
    nodes, steps, channels = spikes.shape
    bits = torch.zeros(nodes, steps, words_of(channels) * BITS, dtype=torch.int32, device=spikes.device)
    bits[..., :channels] = spikes > 0
    place = torch.arange(BITS, dtype=torch.int32, device=spikes.device)
    return (bits.unflatten(-1, (-1, BITS)) << place).sum(-1, dtype=torch.int32)


def unpack(words: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """Words to ``[N, T, d]`` of zeros and ones."""
    place = torch.arange(BITS, dtype=torch.int32, device=words.device)
    bits = (words.unsqueeze(-1) >> place) & 1
    return bits.flatten(-2)[..., :channels].to(dtype)


def count(words: Tensor, channels: int) -> Tensor:
    """Spikes of each neuron, ``[N, d]``."""
    return unpack(words, channels, torch.int32).sum(1, dtype=torch.int32)


def aggregate(
    words: Tensor, channels: int, pointers: Tensor, col: Tensor, weight: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Sums along edges, ``[M, T, d]``."""
    spikes = unpack(words, channels, dtype)
    row = torch.repeat_interleave(torch.arange(pointers.numel() - 1, device=col.device), pointers.diff().long())
    sent = spikes[col.long()] if weight is None else spikes[col.long()] * weight[:, None, None]
    out = torch.zeros(pointers.numel() - 1, *spikes.shape[1:], dtype=dtype, device=col.device)
    return out.index_add_(0, row, sent)


def slope(u: Tensor, surrogate: Slope) -> Tensor:
    """Derivative that stands in for the step's."""
    kind, scale, height, _ = surrogate
    if kind == 0:
        return height / (1 + (scale * u).square())
    if kind == 1:
        s = torch.sigmoid(scale * u)
        return height * s * (1 - s)
    return height * (1 - u.abs()).clamp(min=0)


def aggregate_counts(
    counts: Tensor,
    channels: int,
    steps: int,
    pointers: Tensor,
    col: Tensor,
    weight: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """Mean over steps of what is received along edges, ``[M, d]``."""
    sent = counts[:, :channels].to(dtype)[col.long()]
    row = torch.repeat_interleave(torch.arange(pointers.numel() - 1, device=col.device), pointers.diff().long())
    out = torch.zeros(pointers.numel() - 1, channels, dtype=dtype, device=col.device)
    return out.index_add_(0, row, sent if weight is None else sent * weight[:, None]) / steps


def fire(
    current: Tensor, steps: int, neuron: Neuron, surrogate: Slope | None, begin: Tensor | None = None, every: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run neurons on ``[N, d]`` or ``[N, T, d]``: packed spikes, rates, counts, mean derivatives (or nothing), states.

    They begin with the potentials ``begin``, or at zero; states ``[ceil(steps / every), N, d]`` are the potentials
    after ``every`` steps and after the last.
    """
    decay, threshold, subtract = neuron
    first = current if current.dim() == 2 else current[:, 0]
    potential, total, tangent = torch.zeros_like(first), torch.zeros_like(first), torch.zeros_like(first)
    potential = potential if begin is None else begin
    train, states = [], []
    for t in range(steps):
        now = current if current.dim() == 2 else current[:, t]
        u = decay * potential + now
        spikes = (u > threshold).to(u.dtype)
        potential = u - threshold * spikes if subtract else u - u * spikes
        train.append(spikes)
        if every and ((t + 1) % every == 0 or t + 1 == steps):
            states.append(potential)
        if surrogate is not None:
            rho = decay * tangent + 1
            change = slope(u - threshold, surrogate) * rho
            total = total + change
            left = rho if subtract else rho - rho * spikes
            tangent = left if surrogate[3] else left - (threshold if subtract else u) * change
    spikes = torch.stack(train, dim=1)
    slopes = total / steps if surrogate is not None else current.new_empty(0, 0)
    words, total = pack(spikes), spikes.sum(1)
    counts = torch.zeros(0, 0, dtype=torch.uint8, device=current.device)
    if steps <= COUNTED:
        counts = counts.new_zeros(len(total), words.size(2) * BITS)
        counts[:, : total.size(1)] = total.to(torch.uint8)
    kept = torch.stack(states) if states else current.new_empty(0, *first.shape)
    return words, total / steps, counts, slopes, kept


def layer(
    words: Tensor,
    channels: int,
    matrix: tuple[Tensor, Tensor, Tensor | None] | None,
    own: float,
    weight: Tensor,
    root: Tensor | None,
    bias: Tensor | None,
    neuron: Neuron,
    surrogate: Slope | None,
    begin: Tensor | None = None,
    every: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Aggregate, multiply, fire: as :func:`fire`, and, before the states, the mean of what came along edges."""
    spikes = unpack(words, channels, weight.dtype)
    received = spikes.new_zeros(spikes.shape)
    if matrix is not None:
        pointers, col, value = matrix
        received = aggregate(words, channels, pointers, col, value, weight.dtype)
        spikes = spikes[: len(received)]
    current = torch.nn.functional.linear(received + own * spikes, weight, bias)
    if root is not None:
        current = current + torch.nn.functional.linear(spikes, root)
    *fired, states = fire(current, words.size(1), neuron, surrogate, begin, every)
    mean = received.sum(1) / words.size(1) if matrix is not None else received.new_empty(0, 0)
    return *fired, mean, states  # pyright: ignore[reportReturnType]


def _potentials(current: Tensor, steps: int, neuron: Neuron, begin: Tensor | None) -> list[Tensor]:
    """Potential before each reset, step by step."""
    decay, threshold, subtract = neuron
    potential, before = torch.zeros_like(current if current.dim() == 2 else current[:, 0]), []
    potential = potential if begin is None else begin
    for t in range(steps):
        u = decay * potential + (current if current.dim() == 2 else current[:, t])
        spikes = (u > threshold).to(u.dtype)
        potential = u - threshold * spikes if subtract else u - u * spikes
        before.append(u)
    return before


def fire_back(
    current: Tensor,
    grad: Tensor,
    rate_grad: Tensor,
    neuron: Neuron,
    surrogate: Slope,
    begin: Tensor | None = None,
    later: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Gradients of the current and of the first potential.

    They come from those of spikes ``[T, N, d]``, of their sums ``[N, d]`` and of the last potential (``later``).
    """
    decay, threshold, subtract = neuron
    later, found = torch.zeros_like(rate_grad) if later is None else later, []
    for u, now in zip(reversed(_potentials(current, grad.size(0), neuron, begin)), reversed(grad.unbind(0))):
        spike = now + rate_grad
        if not surrogate[3]:
            spike = spike - (threshold if subtract else u) * later
        left = later if subtract else later * (u <= threshold)
        back = left + slope(u - threshold, surrogate) * spike
        found.append(back)
        later = decay * back
    every = torch.stack(found[::-1], dim=1)
    return every.sum(1) if current.dim() == 2 else every, later


def layer_back(
    words: Tensor,
    channels: int,
    matrix: tuple[Tensor, Tensor, Tensor | None] | None,
    own: float,
    weight: Tensor,
    root: Tensor | None,
    bias: Tensor | None,
    neuron: Neuron,
    surrogate: Slope,
    grad: Tensor,
    rate_grad: Tensor,
    begin: Tensor | None = None,
    later: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of what nodes received ``[T, N, d]``, their own spikes, weights, own weights, bias, first potential."""
    spikes = unpack(words, channels, weight.dtype)
    x = own * spikes
    if matrix is not None:
        x = x + aggregate(words, channels, *matrix, weight.dtype)
    current = torch.nn.functional.linear(x, weight, bias)
    if root is not None:
        current = current + torch.nn.functional.linear(spikes, root)
    back, before = fire_back(current, grad, rate_grad, neuron, surrogate, begin, later)
    to_x = back @ weight
    mine = weight.new_empty(0, 0, 0)
    if root is not None or own != 0:
        mine = (own * to_x + (0 if root is None else back @ root)).transpose(0, 1).contiguous()
    to_root = weight.new_empty(weight.size(0), 0)
    if root is not None:
        to_root = torch.einsum("nto,ntd->od", back, spikes)
    to_weight = torch.einsum("nto,ntd->od", back, x)
    return to_x.transpose(0, 1).contiguous(), mine, to_weight, to_root, back.sum((0, 1)), before
