"""Layers, models, and read-outs."""

from msg.nn.attentive_recurrence import AttentiveRecurrence
from msg.nn.decoder import FermiDirac
from msg.nn.layer import SpikingLayer
from msg.nn.msg import MSG, Embedding
from msg.nn.network import SpikingNetwork
from msg.nn.sparse import Graph, SparseMatrix
from msg.nn.spiking_gnn import SpikingGNN
from msg.nn.synapse import Synapse, make_conv

__all__ = [
    "MSG",
    "AttentiveRecurrence",
    "Embedding",
    "FermiDirac",
    "Graph",
    "SparseMatrix",
    "SpikingGNN",
    "SpikingLayer",
    "SpikingNetwork",
    "Synapse",
    "make_conv",
]
