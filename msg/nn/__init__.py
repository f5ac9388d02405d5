"""Layers, models, and read-outs."""

from msg.nn.decoder import FermiDirac
from msg.nn.layer import SpikingLayer
from msg.nn.lsnn import LSNN, LSNNOutput, LSNNState
from msg.nn.msg import MSG, Embedding
from msg.nn.network import SpikingNetwork
from msg.nn.recurrent import RecurrentSpikingLayer, RecurrentState
from msg.nn.sparse import Graph, SparseMatrix
from msg.nn.spiking_gnn import SpikingGNN
from msg.nn.synapse import Synapse, make_conv

__all__ = [
    "LSNN",
    "MSG",
    "Embedding",
    "FermiDirac",
    "Graph",
    "LSNNOutput",
    "LSNNState",
    "RecurrentSpikingLayer",
    "RecurrentState",
    "SparseMatrix",
    "SpikingGNN",
    "SpikingLayer",
    "SpikingNetwork",
    "Synapse",
    "make_conv",
]
