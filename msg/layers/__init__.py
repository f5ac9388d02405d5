"""Layers: from spikes to currents (synapses), from currents to spikes (spiking and recurrent layers), from mean
currents to a point (paths), and from a point to logits or scores (heads, decoders).
"""

from msg.layers.attention import AttentiveCell
from msg.layers.decoder import FermiDirac
from msg.layers.graph_attention import GraphAttention
from msg.layers.head import TangentHead
from msg.layers.path import LastCurrent, ManifoldPath
from msg.layers.propagation import Propagation
from msg.layers.recurrent import RecurrentSpikingLayer, RecurrentState
from msg.layers.spiking_layer import SpikingLayer, current_layer, readout_layer, spiking_layers
from msg.layers.synapse import Conv, Synapse, first_rows, gcn_matrix, make_synapse

__all__ = [
    "AttentiveCell",
    "Conv",
    "FermiDirac",
    "GraphAttention",
    "LastCurrent",
    "ManifoldPath",
    "Propagation",
    "RecurrentSpikingLayer",
    "RecurrentState",
    "SpikingLayer",
    "Synapse",
    "TangentHead",
    "current_layer",
    "first_rows",
    "gcn_matrix",
    "make_synapse",
    "readout_layer",
    "spiking_layers",
]
