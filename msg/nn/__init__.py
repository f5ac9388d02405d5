"""Layers, models, and read-outs."""

from msg.nn.attentive_recurrence import AttentiveRecurrence
from msg.nn.convergent_gnn import ConvergentGNN
from msg.nn.decoder import FermiDirac
from msg.nn.layer import SpikingLayer
from msg.nn.lsnn import LSNN, LSNNOutput, LSNNState
from msg.nn.msg import MSG, Embedding
from msg.nn.network import SpikingNetwork
from msg.nn.recurrent import RecurrentSpikingLayer, RecurrentState
from msg.nn.riemannian_convergent_gnn import RiemannianConvergentGNN
from msg.nn.sparse import Graph, SparseMatrix
from msg.nn.spiking_gcn import Propagation, SpikingGCN
from msg.nn.spiking_gnn import SpikingGNN
from msg.nn.synapse import Synapse, make_conv

__all__ = [
    "LSNN",
    "MSG",
    "AttentiveRecurrence",
    "ConvergentGNN",
    "Embedding",
    "FermiDirac",
    "Graph",
    "LSNNOutput",
    "LSNNState",
    "Propagation",
    "RecurrentSpikingLayer",
    "RecurrentState",
    "RiemannianConvergentGNN",
    "SparseMatrix",
    "SpikingGCN",
    "SpikingGNN",
    "SpikingLayer",
    "SpikingNetwork",
    "Synapse",
    "make_conv",
]
