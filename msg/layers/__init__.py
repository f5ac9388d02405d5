"""Layers: from spikes to currents (synapses), from currents to spikes (spiking and recurrent layers), from mean
currents to a point (paths), and from a point to logits or scores (heads, decoders); graph convolutions between points
of a manifold.
"""

from torch.serialization import add_safe_globals

from msg.layers.attention import AttentiveCell
from msg.layers.bernoulli import BernoulliEncoder, BernoulliLinear
from msg.layers.classifier import FixedLinear, check_classifier, make_classifier
from msg.layers.decoder import FermiDirac, LearnedFermiDirac, LorentzianDecoder, TangentInnerProduct
from msg.layers.draws import Draws
from msg.layers.dropout import Dropout, dropout
from msg.layers.encoders import LatencyEncoder, PopulationEncoder
from msg.layers.graph_attention import GraphAttention
from msg.layers.graph_layer import GraphLayer
from msg.layers.grouped_gcn import GroupedGCN
from msg.layers.head import TangentHead
from msg.layers.hyperbolic_conv import EdgeAttention, HyperbolicGCNConv
from msg.layers.kappa_conv import GyroplaneHead, KappaGCNConv
from msg.layers.lorentz import LorentzAggregation, LorentzHead, LorentzLinear
from msg.layers.norm import NORMS, StepwiseBatchNorm, STFNorm, TrainBatchNorm, check_norm, make_norm, make_train_norm
from msg.layers.origin import DropConnect, LocalMean, OnManifold, OriginExp, OriginLog, Translation, frame
from msg.layers.path import JumpingPath, LastCurrent, ManifoldPath
from msg.layers.picked_mean import picked_mean
from msg.layers.pooling import POOLINGS, GraphReadout, ManifoldPooling
from msg.layers.propagation import Propagation
from msg.layers.pseudo_hyperbolic_conv import PseudoHyperbolicGCNConv
from msg.layers.recurrent import RecurrentSpikingLayer, RecurrentState, recurrent_steps, resting_state
from msg.layers.spiking_attention import SpikingAttention, SpikingMLP
from msg.layers.spiking_conv import SpikingConv
from msg.layers.spiking_layer import SpikingLayer, current_layer, readout_layer, spiking_layers
from msg.layers.state import cat_states, check_state, detach_state, grow_state, index_state
from msg.layers.structural_decoder import GraphDecoder, StructuralDecoder
from msg.layers.synapse import Conv, Synapse, first_rows, gcn_matrix, make_synapse
from msg.layers.train import MembraneShortcut, SpikeCount, SpikeLinear, SpikeProduct, SpikeSynapse, SpikeTrain

__all__ = [
    "NORMS",
    "POOLINGS",
    "AttentiveCell",
    "BernoulliEncoder",
    "BernoulliLinear",
    "Conv",
    "Draws",
    "DropConnect",
    "Dropout",
    "EdgeAttention",
    "FermiDirac",
    "FixedLinear",
    "GraphAttention",
    "GraphDecoder",
    "GraphLayer",
    "GraphReadout",
    "GroupedGCN",
    "GyroplaneHead",
    "HyperbolicGCNConv",
    "JumpingPath",
    "KappaGCNConv",
    "LastCurrent",
    "LatencyEncoder",
    "LearnedFermiDirac",
    "LocalMean",
    "LorentzAggregation",
    "LorentzHead",
    "LorentzLinear",
    "LorentzianDecoder",
    "ManifoldPath",
    "ManifoldPooling",
    "MembraneShortcut",
    "OnManifold",
    "OriginExp",
    "OriginLog",
    "PopulationEncoder",
    "Propagation",
    "PseudoHyperbolicGCNConv",
    "RecurrentSpikingLayer",
    "RecurrentState",
    "STFNorm",
    "SpikeCount",
    "SpikeLinear",
    "SpikeProduct",
    "SpikeSynapse",
    "SpikeTrain",
    "SpikingAttention",
    "SpikingConv",
    "SpikingLayer",
    "SpikingMLP",
    "StepwiseBatchNorm",
    "StructuralDecoder",
    "Synapse",
    "TangentHead",
    "TangentInnerProduct",
    "TrainBatchNorm",
    "Translation",
    "cat_states",
    "check_classifier",
    "check_norm",
    "check_state",
    "current_layer",
    "detach_state",
    "dropout",
    "first_rows",
    "frame",
    "gcn_matrix",
    "grow_state",
    "index_state",
    "make_classifier",
    "make_norm",
    "make_synapse",
    "make_train_norm",
    "picked_mean",
    "readout_layer",
    "recurrent_steps",
    "resting_state",
    "spiking_layers",
]

# a state is half of a checkpoint, and read as safely as the other
add_safe_globals([RecurrentState])
