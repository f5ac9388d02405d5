"""Assertions for the tests of this library and for your own: what manifolds, neurons, rules and models promise.

They raise :class:`AssertionError` with what failed, where, and by how much. None of them needs a test framework.
"""

from msg.testing.manifolds import assert_equivariant, assert_isometric, assert_on_manifold
from msg.testing.models import assert_model
from msg.testing.neurons import assert_neuron
from msg.testing.pyg import DEMANDS, assert_demand
from msg.testing.rules import assert_rule

__all__ = [
    "DEMANDS",
    "assert_demand",
    "assert_equivariant",
    "assert_isometric",
    "assert_model",
    "assert_neuron",
    "assert_on_manifold",
    "assert_rule",
]
