"""Spaces that compiled kernels and the functions of the families are compared on."""

from msg.manifolds import resolve

SIGNATURES = ["E5", "H5", "S5", "P5", "U5", "L5", "H1", "S1", "H3xS4", "H3xP2xE2xS3"]


def space(signature):
    """A manifold and its dimension, what it learns set to other than it begins with."""
    manifold, dim = resolve(signature)
    for name, parameter in manifold.named_parameters():
        if parameter.requires_grad:
            parameter.data.fill_(0.4 if name.endswith("log_k") else 0.7)
    return manifold, dim
