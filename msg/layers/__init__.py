"""Layers: from spikes to currents (synapses), from currents to spikes (spiking and recurrent layers), from mean
currents to a point (paths), and from a point to logits or scores (heads, decoders).
"""

from msg.layers.attention import AttentiveCell
from msg.layers.bernoulli import BernoulliEncoder, BernoulliLinear
from msg.layers.decoder import FermiDirac
from msg.layers.draws import Draws
from msg.layers.grouped_gcn import GroupedGCN
from msg.layers.head import TangentHead
from msg.layers.norm import NORMS, StepwiseBatchNorm, check_norm, make_norm
from msg.layers.path import LastCurrent, ManifoldPath
from msg.layers.picked_mean import picked_mean
from msg.layers.propagation import Propagation
from msg.layers.recurrent import RecurrentSpikingLayer, RecurrentState
from msg.layers.spiking_layer import SpikingLayer, current_layer, readout_layer, spiking_layers
from msg.layers.synapse import Conv, Synapse, first_rows, gcn_matrix, make_synapse
from msg.layers.unrolled import SpikeLinear, Unrolled

__all__ = [
    "NORMS",
    "AttentiveCell",
    "BernoulliEncoder",
    "BernoulliLinear",
    "Conv",
    "Draws",
    "FermiDirac",
    "GroupedGCN",
    "LastCurrent",
    "ManifoldPath",
    "Propagation",
    "RecurrentSpikingLayer",
    "RecurrentState",
    "SpikeLinear",
    "SpikingLayer",
    "StepwiseBatchNorm",
    "Synapse",
    "TangentHead",
    "Unrolled",
    "check_norm",
    "current_layer",
    "first_rows",
    "gcn_matrix",
    "make_norm",
    "make_synapse",
    "picked_mean",
    "readout_layer",
    "spiking_layers",
]
