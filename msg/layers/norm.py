"""Normalisation of currents."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORMS = ("none", "batch", "layer")
"""Names of normalisations."""


def check_norm(norm: str) -> None:
    """Refuse an unknown normalisation.

    Raises:
        ValueError: naming those that are known.
    """
    if norm not in NORMS:
        raise ValueError(f"unknown norm {norm!r}: use {', '.join(map(repr, NORMS))}")


def make_norm(norm: str, channels: int) -> nn.Module:
    """A normalisation by name: ``"none"``, ``"batch"`` or ``"layer"``.

    Args:
        norm: the name.
        channels: of what is normalised.

    Shapes:
        the module reads and returns ``[M, channels]``.

    Raises:
        ValueError: for an unknown name.
    """
    check_norm(norm)
    if norm == "none":
        return nn.Identity()
    return nn.BatchNorm1d(channels) if norm == "batch" else nn.LayerNorm(channels)


class StepwiseBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of a train with weights and running statistics that all steps share, each step by itself.

    In training a step is normalised by its own mean and variance over the nodes, and the running statistics are updated
    ``T`` times, as if the module were called once a step.

    Args:
        num_features: channels ``d``.

    Shapes:
        ``input``: ``[N, T, d]``; returns the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        nodes, steps, channels = input.shape
        flat = input.reshape(nodes, steps * channels)
        assert self.running_mean is not None
        assert self.running_var is not None
        if not self.training or nodes < 2:
            scale = self.weight / torch.sqrt(self.running_var + self.eps)
            return input * scale + (self.bias - self.running_mean * scale)
        # momentum 1 leaves this batch's own statistics in place of the running ones
        mean, variance = flat.new_zeros(2, flat.size(1)).unbind()
        out = F.batch_norm(
            flat, mean, variance, self.weight.repeat(steps), self.bias.repeat(steps), True, 1.0, self.eps
        )
        with torch.no_grad():
            share = 1.0 if self.momentum is None else self.momentum
            for old, new in ((self.running_mean, mean), (self.running_var, variance)):
                # what T updates one after the other come to
                left = (1 - share) ** torch.arange(steps - 1, -1, -1, dtype=new.dtype, device=new.device)
                old.mul_((1 - share) ** steps).add_(share * (left @ new.view(steps, channels)))
        return out.view(nodes, steps, channels)
