"""Spiking graph neural networks whose representations live on Riemannian manifolds."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("msg-graph")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"

__all__ = ["__version__"]
