"""Means over neighbours that were drawn."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from msg.kernels import choice
from msg.kernels.threads import over_rows


def picked_mean(x: Tensor, picks: Tensor) -> Tensor:
    """The mean over nodes that were drawn, anew at each step.

    Args:
        x: constant ``[N, d]``, or a train ``[T, N, d]``.
        picks: drawn nodes, ``[T, M, k]``, as :func:`msg.graph.pick_neighbors` gives them.

    Shapes:
        returns ``[T, M, d]``.
    """
    if torch.is_grad_enabled() and x.requires_grad and choice.plain(x):
        return _PickedMean.apply(x, picks)  # pyright: ignore
    return _mean(x, picks)


def _mean(x: Tensor, picks: Tensor) -> Tensor:
    mean = F.embedding_bag(_flat(picks, x.shape), x.flatten(0, -2), mode="mean")
    return mean.view(*picks.shape[:2], x.size(-1))


def _flat(picks: Tensor, shape: torch.Size) -> Tensor:
    """What was drawn among rows of such a shape whose steps stand below each other, ``[T M, k]``."""
    if len(shape) == 3:
        picks = picks + torch.arange(len(picks), device=picks.device)[:, None, None] * shape[1]
    return picks.flatten(0, 1)


class _PickedMean(torch.autograd.Function):
    """:func:`picked_mean`, whose way back is compiled: torch sorts what was drawn, which takes six times as long."""

    @staticmethod
    def forward(ctx, x: Tensor, picks: Tensor) -> Tensor:
        ctx.picks, ctx.shape = picks, x.shape
        return _mean(x, picks)

    @staticmethod
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's doing
        spread: Any = _Spread.apply if torch.is_grad_enabled() else _spread
        return spread(*grads, ctx.picks, ctx.shape), None


class _Spread(torch.autograd.Function):
    """:func:`_spread`, whose derivative is the mean again."""

    @staticmethod
    def forward(ctx, grad: Tensor, picks: Tensor, shape: torch.Size) -> Tensor:
        ctx.picks = picks
        return _spread(grad, picks, shape)

    @staticmethod
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's doing
        (grad,) = grads
        return picked_mean(grad, ctx.picks), None, None


def _spread(grad: Tensor, picks: Tensor, shape: torch.Size) -> Tensor:
    """What each node hands to those that were drawn for it, ``[T, M, d]`` to rows of a shape."""
    grad, out = grad / picks.size(-1), grad.new_zeros(shape)
    if not choice.takes(grad):
        flat, rows = out.flatten(0, -2), grad.flatten(0, 1)
        for column in _flat(picks, shape).unbind(1):
            flat = flat.index_add(0, column, rows)
        return flat.view(shape)
    kernels = choice.compiled("edges")
    assert kernels is not None
    if len(shape) == 2:  # all steps hand to the same rows, so one thread adds them up
        picks, grad = picks.flatten(0, 1)[None], grad.flatten(0, 1)[None]
    given = picks.contiguous().numpy(), grad.contiguous().numpy(), out.view(len(picks), *shape[-2:]).numpy()
    over_rows(len(picks), lambda first, last: kernels.spread(*given, first, last), worth=1)
    return out
