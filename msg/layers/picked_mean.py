"""Means over neighbours that were drawn."""

import torch
from torch import Tensor
from torch.nn import functional as F


def picked_mean(x: Tensor, picks: Tensor) -> Tensor:
    """The mean over nodes that were drawn, anew at each step.

    Args:
        x: constant ``[N, d]``, or a train ``[T, N, d]``.
        picks: drawn nodes, ``[T, M, k]``, as :func:`msg.graph.pick_neighbors` gives them.

    Shapes:
        returns ``[T, M, d]``.
    """
    steps, rows, drawn = picks.shape
    if x.dim() == 3:
        offset = torch.arange(steps, device=x.device) * x.size(1)
        picks, x = picks + offset[:, None, None], x.flatten(0, 1)
    return F.embedding_bag(picks.reshape(steps * rows, drawn), x, mode="mean").view(steps, rows, x.size(-1))
