"""Which manifold fits a graph, and what one does with points that lie on one.

:func:`choose_signature` measures a graph and embeds it in flat, hyperbolic, spherical and mixed spaces; the measures
stand alone too. :class:`KMeans`, :class:`GyroplaneClassifier`, :func:`nearest_neighbors` and :func:`plot_embedding`
work on points of the manifolds that :mod:`msg.manifolds` knows.
"""

from msg.geometry.classifier import GyroplaneClassifier
from msg.geometry.clustering import KMeans
from msg.geometry.curvature import forman_curvature, ollivier_curvature, sectional_curvature
from msg.geometry.embedding import Embedding, embed
from msg.geometry.estimate import Estimate
from msg.geometry.hyperbolicity import Hyperbolicity, gromov_hyperbolicity
from msg.geometry.neighbors import nearest_neighbors, pairwise_distances
from msg.geometry.plot import node_trajectories, plot_embedding
from msg.geometry.signature import Score, Verdict, choose_signature

__all__ = [
    "Embedding",
    "Estimate",
    "GyroplaneClassifier",
    "Hyperbolicity",
    "KMeans",
    "Score",
    "Verdict",
    "choose_signature",
    "embed",
    "forman_curvature",
    "gromov_hyperbolicity",
    "nearest_neighbors",
    "node_trajectories",
    "ollivier_curvature",
    "pairwise_distances",
    "plot_embedding",
    "sectional_curvature",
]
