"""Normalisation by name."""

from torch import nn

NORMS = ("none", "batch", "layer")


def make_norm(norm: str, channels: int) -> nn.Module:
    """A normalisation of ``[N, channels]`` by name.

    Args:
        norm: ``"none"``, ``"batch"`` (over nodes) or ``"layer"`` (over channels).
        channels: width.

    Raises:
        ValueError: for another name.
    """
    if norm not in NORMS:
        raise ValueError(f"unknown norm {norm!r}: use one of {', '.join(NORMS)}")
    return nn.Identity() if norm == "none" else nn.BatchNorm1d(channels) if norm == "batch" else nn.LayerNorm(channels)
