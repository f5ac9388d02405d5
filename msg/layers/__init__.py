"""Layers: from spikes to currents (synapses), from currents to spikes (spiking and recurrent layers), from mean
currents to a point (paths), and from a point to logits or scores (heads, decoders).
"""

from msg.layers.attention import AttentiveCell
from msg.layers.decoder import FermiDirac
from msg.layers.graph_attention import GraphAttention
from msg.layers.head import TangentHead
from msg.layers.normalization import STFNorm, TrainBatchNorm, make_train_norm
from msg.layers.path import LastCurrent, ManifoldPath
from msg.layers.propagation import Propagation
from msg.layers.recurrent import RecurrentSpikingLayer, RecurrentState
from msg.layers.spiking_attention import SpikingAttention, SpikingMLP
from msg.layers.spiking_layer import SpikingLayer, current_layer, readout_layer, spiking_layers
from msg.layers.synapse import Conv, Synapse, first_rows, gcn_matrix, make_synapse
from msg.layers.train import MembraneShortcut, SpikeCount, SpikeProduct, SpikeSynapse, SpikeTrain

__all__ = [
    "AttentiveCell",
    "Conv",
    "FermiDirac",
    "GraphAttention",
    "LastCurrent",
    "ManifoldPath",
    "MembraneShortcut",
    "Propagation",
    "RecurrentSpikingLayer",
    "RecurrentState",
    "STFNorm",
    "SpikeCount",
    "SpikeProduct",
    "SpikeSynapse",
    "SpikeTrain",
    "SpikingAttention",
    "SpikingLayer",
    "SpikingMLP",
    "Synapse",
    "TangentHead",
    "TrainBatchNorm",
    "current_layer",
    "first_rows",
    "gcn_matrix",
    "make_synapse",
    "make_train_norm",
    "readout_layer",
    "spiking_layers",
]
