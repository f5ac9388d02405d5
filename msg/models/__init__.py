"""Models, one a file, and what is known of those that have a name (:data:`msg.names.MODELS`)."""

from msg.models.attentive_recurrence import AttentiveRecurrence
from msg.models.baselines import SAGE, SGC, CachedGCN
from msg.models.convergent_gnn import ConvergentGNN, ConvergentNetwork
from msg.models.lsnn import LSNN, LSNNOutput, LSNNState
from msg.models.msg import MSG
from msg.models.network import Embedding, GraphNetwork, LayeredNetwork, SpikingNetwork
from msg.models.peers.spike_graphormer import SpikeGraphormer
from msg.models.peers.stfn import GASNN, GCSNN
from msg.models.riemannian_convergent_gnn import RiemannianConvergentGNN
from msg.models.spec import ModelSpec
from msg.models.spiking_gcn import SpikingGCN
from msg.models.spiking_gnn import SpikingGNN
from msg.models.stack import SpikingStack

__all__ = [
    "GASNN",
    "GCSNN",
    "LSNN",
    "MSG",
    "SAGE",
    "SGC",
    "AttentiveRecurrence",
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
    "SpikeGraphormer",
    "SpikingGCN",
    "SpikingGNN",
    "SpikingNetwork",
    "SpikingStack",
]
