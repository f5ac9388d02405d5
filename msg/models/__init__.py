"""Models, one a file, and what is known of those that have a name (:data:`msg.names.MODELS`)."""

from torch.serialization import add_safe_globals

from msg.models.attentive_recurrence import AttentiveRecurrence
from msg.models.baselines import GAT, SAGE, SGC, CachedGCN
from msg.models.classic import ClassicGNN
from msg.models.convergent_gnn import ConvergentGNN, ConvergentNetwork
from msg.models.graph_classifier import GraphClassifier
from msg.models.heuristics import L3, AdamicAdar, CommonNeighbors, Heuristic, PageRank, ResourceAllocation
from msg.models.lsnn import LSNN, LSNNOutput, LSNNState
from msg.models.msg import MSG
from msg.models.network import Embedding, GraphNetwork, LayeredNetwork, SpikingNetwork
from msg.models.peers.bernoulli_spikinggcn import BernoulliSpikingGCN
from msg.models.peers.dynamic_spikenet import DynamicSpikeNet
from msg.models.peers.hgcn import HGCN
from msg.models.peers.hybonet import HyboNet
from msg.models.peers.kappa_gcn import KappaGCN
from msg.models.peers.polynormer import Polynormer
from msg.models.peers.qgcn import QGCN
from msg.models.peers.spike_graphormer import SpikeGraphormer
from msg.models.peers.spikegcl import SpikeGCL
from msg.models.peers.spikenet import SpikeNet
from msg.models.peers.stfn import GASNN, GCSNN
from msg.models.propagated import Propagated
from msg.models.recording import Record, Recording, record
from msg.models.recurrent_spiking_gnn import RecurrentSpikingGNN, SnapshotState
from msg.models.riemannian_convergent_gnn import RiemannianConvergentGNN
from msg.models.spec import ModelSpec
from msg.models.spiking_gcn import SpikingGCN
from msg.models.spiking_gnn import SpikingGNN
from msg.models.stack import SpikingStack
from msg.models.tgn import SpikingTGNMemory

__all__ = [
    "GASNN",
    "GAT",
    "GCSNN",
    "HGCN",
    "L3",
    "LSNN",
    "MSG",
    "QGCN",
    "SAGE",
    "SGC",
    "AdamicAdar",
    "AttentiveRecurrence",
    "BernoulliSpikingGCN",
    "CachedGCN",
    "ClassicGNN",
    "CommonNeighbors",
    "ConvergentGNN",
    "ConvergentNetwork",
    "DynamicSpikeNet",
    "Embedding",
    "GraphClassifier",
    "GraphNetwork",
    "Heuristic",
    "HyboNet",
    "KappaGCN",
    "LSNNOutput",
    "LSNNState",
    "LayeredNetwork",
    "ModelSpec",
    "PageRank",
    "Polynormer",
    "Propagated",
    "Record",
    "Recording",
    "RecurrentSpikingGNN",
    "ResourceAllocation",
    "RiemannianConvergentGNN",
    "SnapshotState",
    "SpikeGCL",
    "SpikeGraphormer",
    "SpikeNet",
    "SpikingGCN",
    "SpikingGNN",
    "SpikingNetwork",
    "SpikingStack",
    "SpikingTGNMemory",
    "record",
]

add_safe_globals([LSNNState, SnapshotState])
