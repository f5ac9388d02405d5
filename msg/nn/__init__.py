"""Layers and models, as users of PyTorch Geometric look for them; they live in :mod:`msg.layers` and
:mod:`msg.models`.
"""

from msg.graph import Graph, SparseMatrix
from msg.layers import (
    AttentiveCell,
    FermiDirac,
    LastCurrent,
    ManifoldPath,
    Propagation,
    RecurrentSpikingLayer,
    RecurrentState,
    SpikingLayer,
    Synapse,
    TangentHead,
    make_synapse,
)
from msg.models import (
    LSNN,
    MSG,
    SAGE,
    SGC,
    AttentiveRecurrence,
    ConvergentGNN,
    Embedding,
    LSNNOutput,
    LSNNState,
    RiemannianConvergentGNN,
    SpikingGCN,
    SpikingGNN,
    SpikingNetwork,
    SpikingStack,
)

__all__ = [
    "LSNN",
    "MSG",
    "SAGE",
    "SGC",
    "AttentiveCell",
    "AttentiveRecurrence",
    "ConvergentGNN",
    "Embedding",
    "FermiDirac",
    "Graph",
    "LSNNOutput",
    "LSNNState",
    "LastCurrent",
    "ManifoldPath",
    "Propagation",
    "RecurrentSpikingLayer",
    "RecurrentState",
    "RiemannianConvergentGNN",
    "SparseMatrix",
    "SpikingGCN",
    "SpikingGNN",
    "SpikingLayer",
    "SpikingNetwork",
    "SpikingStack",
    "Synapse",
    "TangentHead",
    "make_synapse",
]
