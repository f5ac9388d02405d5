"""Assertions for the tests of this library and for your own.

They raise :class:`AssertionError` with what failed, where, and by how much. None of them needs a test framework.
"""

from msg.testing.manifolds import assert_isometric, assert_on_manifold

__all__ = ["assert_isometric", "assert_on_manifold"]
