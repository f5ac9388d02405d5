"""Models, one a file, and what is known of those that have a name (:data:`msg.names.MODELS`)."""

from msg.models.attentive_recurrence import AttentiveRecurrence
from msg.models.baselines import SAGE, SGC, CachedGCN
from msg.models.convergent_gnn import ConvergentGNN, ConvergentNetwork
from msg.models.lsnn import LSNN, LSNNOutput, LSNNState
from msg.models.msg import MSG
from msg.models.network import Embedding, GraphNetwork, LayeredNetwork, SpikingNetwork
from msg.models.peers.bernoulli_spikinggcn import BernoulliSpikingGCN
from msg.models.peers.spikegcl import SpikeGCL
from msg.models.peers.spikenet import SpikeNet
from msg.models.riemannian_convergent_gnn import RiemannianConvergentGNN
from msg.models.spec import ModelSpec
from msg.models.spiking_gcn import SpikingGCN
from msg.models.spiking_gnn import SpikingGNN
from msg.models.stack import SpikingStack

__all__ = [
    "LSNN",
    "MSG",
    "SAGE",
    "SGC",
    "AttentiveRecurrence",
    "BernoulliSpikingGCN",
    "CachedGCN",
    "ConvergentGNN",
    "ConvergentNetwork",
    "Embedding",
    "GraphNetwork",
    "LSNNOutput",
    "LSNNState",
    "LayeredNetwork",
    "ModelSpec",
    "RiemannianConvergentGNN",
    "SpikeGCL",
    "SpikeNet",
    "SpikingGCN",
    "SpikingGNN",
    "SpikingNetwork",
    "SpikingStack",
]
