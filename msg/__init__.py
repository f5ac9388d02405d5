"""Spiking graph neural networks whose representations live on Riemannian manifolds.

``msg.MSG`` and the other models and layers of :mod:`msg.nn` are here too, imported when first asked for.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("msg-graph")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"

_HERE = {
    "MSG": "msg.models",
    "SpikingGNN": "msg.models",
    "SpikingGCN": "msg.models",
    "LSNN": "msg.models",
    "RecurrentSpikingGNN": "msg.models",
    "ConvergentGNN": "msg.models",
    "RiemannianConvergentGNN": "msg.models",
    "AttentiveRecurrence": "msg.models",
    "record": "msg.models",
    "load_graph": "msg.datasets",
    "load_run": "msg.experiments",
}
_ROOMS = (
    "datasets",
    "energy",
    "experiments",
    "geometry",
    "gradients",
    "graph",
    "layers",
    "manifolds",
    "models",
    "names",
    "neurons",
    "nir",
    "nn",
    "report",
    "testing",
    "training",
)

__all__ = ["__version__", *_HERE, *_ROOMS]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HERE:
        return getattr(import_module(_HERE[name]), name)
    if name in _ROOMS:
        return import_module(f"msg.{name}")
    raise AttributeError(f"module 'msg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
