"""How things travel along edges: the graph as layers see it, its sparse matrices, samples of it, and caches."""

from msg.graph.adjacency import GraphMemo, as_edges, is_adjacency
from msg.graph.graph import Graph, check_tensors
from msg.graph.memo import Memo
from msg.graph.neighborhoods import Neighborhoods
from msg.graph.partition import Partition, partition
from msg.graph.partitioned import PartitionedGraph
from msg.graph.parts import GraphPart, SampledGraph
from msg.graph.picks import neighbor_mean, pick_neighbors
from msg.graph.sampling import NeighborSampler
from msg.graph.sparse import SparseMatrix, WeightedEdges

__all__ = [
    "Graph",
    "GraphMemo",
    "GraphPart",
    "Memo",
    "NeighborSampler",
    "Neighborhoods",
    "Partition",
    "PartitionedGraph",
    "SampledGraph",
    "SparseMatrix",
    "WeightedEdges",
    "as_edges",
    "check_tensors",
    "is_adjacency",
    "neighbor_mean",
    "partition",
    "pick_neighbors",
]
