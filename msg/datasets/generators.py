"""Graphs that are made, not downloaded."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import pairwise_distances
from torch_geometric.datasets import KarateClub
from torch_geometric.utils import index_to_mask

from msg.datasets.graph_sets import RawGraphs
from msg.datasets.raw_graph import RawGraph


def digits(neighbors: int = 10) -> RawGraph:
    """Handwritten digits as a graph of nearest neighbours, the embedded default.

    1,797 images of 8 x 8 pixels (``sklearn.datasets.load_digits``). Two images are joined if one is among the other's
    ``neighbors`` nearest in Euclidean distance; the features are the pixels divided by 16, the classes the ten digits.

    Args:
        neighbors: The number of nearest neighbours.

    Raises:
        ValueError: If ``neighbors`` is not between 1 and 1,796.
    """
    images: Any = load_digits()
    pixels, labels = images.data, images.target
    num_nodes = len(pixels)
    if not 1 <= neighbors < num_nodes:
        raise ValueError(f"neighbors must be between 1 and {num_nodes - 1}, not {neighbors}")
    # Pixels are whole numbers, so many distances are equal: exact distances and a stable sort make the graph the same
    # on every machine, which a library's neighbour search does not promise.
    squared = pairwise_distances(pixels, metric="sqeuclidean")
    np.fill_diagonal(squared, np.inf)
    nearest = np.argsort(squared, axis=1, kind="stable")[:, :neighbors]
    edges = np.stack([np.repeat(np.arange(num_nodes), neighbors), nearest.reshape(-1)])
    return RawGraph((pixels / 16).astype(np.float32), torch.from_numpy(edges), labels.astype(np.int64))


def karate() -> RawGraph:
    """Zachary's karate club: 34 members, 78 friendships, four communities, one-hot features.

    PyTorch Geometric gives one training node a class and no more. Here the other 30 nodes, in a fixed random order,
    give 10 to validation and 20 to the test, so that the ``public`` split is whole and never changes.
    """
    data = KarateClub().get(0)
    rest = (~data["train_mask"]).nonzero().view(-1)
    rest = rest[torch.randperm(rest.numel(), generator=torch.Generator().manual_seed(0))]
    masks = {
        "train_mask": data["train_mask"],
        "val_mask": index_to_mask(rest[:10], data.num_nodes),
        "test_mask": index_to_mask(rest[10:], data.num_nodes),
    }
    return RawGraph(sp.csr_matrix(data["x"].numpy()), data["edge_index"], data["y"].numpy(), masks)


def disease(
    num_nodes: int = 1044,
    max_children: int = 6,
    steps: int = 12,
    transmission: float = 0.8,
    resistant: float = 0.15,
    num_features: int = 10,
    noise: float = 0.5,
    seed: int = 0,
) -> RawGraph:
    r"""A disease that spreads down a random tree (susceptible-infected model): who is infected at the end?

    The idea is that of the Disease graphs of Chami et al., "Hyperbolic Graph Convolutional Neural Networks" (2019);
    tree, numbers and features are this library's own.

    *Tree.* Breadth first from the root, each node gets :math:`2, \dots,` ``max_children`` children, uniformly, until
    there are ``num_nodes``.

    *Spread.* A node is resistant with probability ``resistant``: its susceptibility is :math:`s_i \sim U(0, 0.1)`, that
    of the others :math:`s_i \sim U(0.5, 1)`. The root is infected at time 0. In each of the ``steps`` steps, an
    infected node infects each healthy child with probability ``transmission`` :math:`s_i`, the child's susceptibility.
    The label is 1 if the node is infected at the end.

    *Features.* ``num_features`` noisy readings :math:`x_{ik} = s_i + u_{ik}`, :math:`u_{ik} \sim U(-a, a)` with
    :math:`a` = ``noise`` :math:`\sqrt{k}`, :math:`k = 1, 2, \dots`. They tell who could be infected; whether the
    disease came that far, only the ancestors tell.

    Args:
        num_nodes: The number of nodes, at least 2.
        max_children: The largest number of children, at least 2.
        steps: The number of time steps.
        transmission: The probability, a step, that a parent infects a child of susceptibility 1.
        resistant: The share of resistant nodes.
        num_features: The number of readings of a node.
        noise: The half-width of the first reading's noise.
        seed: The seed of tree, spread and features.

    Raises:
        ValueError: If an argument is out of range.
    """
    if num_nodes < 2 or max_children < 2 or steps < 1 or num_features < 1:
        raise ValueError("disease needs num_nodes >= 2, max_children >= 2, steps >= 1 and num_features >= 1")
    if not (0 < transmission <= 1 and 0 <= resistant <= 1 and noise >= 0):
        raise ValueError("disease needs 0 < transmission <= 1, 0 <= resistant <= 1 and noise >= 0")
    # Uniform draws of this generator are the same for ever and on every machine; other distributions are not.
    random = np.random.Generator(np.random.PCG64(seed))
    parent = _random_tree(num_nodes, max_children, random)
    draw = random.random(num_nodes)
    susceptibility = np.where(random.random(num_nodes) < resistant, 0.1 * draw, 0.5 + 0.5 * draw)
    infected = _spread(parent, transmission * susceptibility, steps, random)
    width = noise * np.sqrt(np.arange(1, num_features + 1))
    features = susceptibility[:, None] + width * (2 * random.random((num_nodes, num_features)) - 1)
    edges = torch.from_numpy(np.stack([parent[1:], np.arange(1, num_nodes)]))
    return RawGraph(features.astype(np.float32), edges, infected.astype(np.int64))


def tree(
    branching: int = 10,
    levels: int = 4,
    correlation: float = 1.0,
    num_features: int = 100,
    seed: int = 0,
) -> RawGraph:
    r"""A perfect tree whose features know the hierarchy as much as is wished, or nothing of it.

    Every node but the last level's has ``branching`` children. The features of the root are noise, and those of a
    child are :math:`x_v = \gamma\, x_{u} + \varepsilon_v` with the parent ``u``, so that with :math:`\gamma` =
    ``correlation`` 0 edges can be told from the graph alone, and with 1 from the features as well. The label is the
    branch: the ancestor among the root's children, and 0 of the root.

    Source: the trees of Katsman & Gilbert, "Shedding Light on Problems with Hyperbolic Graph Learning" (2024,
    arXiv:2411.06688), whose Tree1111 has 10 children, 4 levels, 1,000 Gaussian features and no labels. Noise is uniform
    here, with variance 1, since uniform draws are the same for ever and on every machine; labels are this library's.

    Args:
        branching: The number of children, at least 2.
        levels: The number of levels, the root's included, at least 2.
        correlation: The weight of the parent's features.
        num_features: The number of features.
        seed: The seed of the features.

    Raises:
        ValueError: If an argument is out of range.
    """
    if branching < 2 or levels < 2 or num_features < 1 or not 0 <= correlation <= 1:
        raise ValueError("tree needs branching >= 2, levels >= 2, num_features >= 1 and 0 <= correlation <= 1")
    random = np.random.Generator(np.random.PCG64(seed))
    num_nodes = (branching**levels - 1) // (branching - 1)
    features = _uniform(random, (num_nodes, num_features))
    parent = (np.arange(1, num_nodes) - 1) // branching
    branch = np.zeros(num_nodes, np.int64)
    for node, above in enumerate(parent.tolist(), start=1):  # parents come before their children
        features[node] += correlation * features[above]
        branch[node] = branch[above] if above else node - 1
    edges = torch.from_numpy(np.stack([parent, np.arange(1, num_nodes)]))
    return RawGraph(features.astype(np.float32), edges, branch)


def noise_tree() -> RawGraph:
    """The same tree with features that know nothing of it."""
    return tree(correlation=0.0)


def blocks(
    num_nodes: int = 169_343,
    num_edges: int = 1_166_243,
    num_classes: int = 40,
    num_features: int = 128,
    homophily: float = 0.5,
    noise: float = 6.0,
    seed: int = 0,
) -> RawGraph:
    r"""Blocks of nodes with dense features, of the size of ogbn-arxiv, which no machine needs to download.

    *Nodes.* The blocks are the classes; the :math:`k`-th is chosen with probability :math:`\propto 1/k`, and a node's
    propensity is :math:`\theta_v = u^{-1/2}`, :math:`u \sim U(0, 1)`, at most 100: degrees have a heavy tail.

    *Edges.* Of each of the ``num_edges`` pairs, one end is drawn :math:`\propto \theta`; the other too, with
    probability ``homophily`` among the nodes of the same block, else among all. Repeated pairs are one edge, so there
    are fewer.

    *Features.* :math:`x_v = \mu_{y_v} + a\,\varepsilon_v`, with :math:`a` = ``noise`` and centres and
    :math:`\varepsilon` uniform of variance 1, as 32-bit numbers of both signs. Classes come in groups of five with a
    common centre, which is half of the variance of their own.

    Source: contextual (`Deshpande et al. 2018 <https://arxiv.org/abs/1807.09596>`_), degree-corrected (Karrer & Newman
    2011, Phys. Rev. E 83) block models; numbers are those of ogbn-arxiv, all else is this library's own.

    Args:
        num_nodes: The number of nodes, at least one a class.
        num_edges: The number of pairs that are drawn.
        num_classes: The number of blocks, at least 2.
        num_features: The number of features.
        homophily: The probability that a pair is drawn within a block.
        noise: How many times as wide as its centres' spread a class is.
        seed: The seed of everything.

    Raises:
        ValueError: If an argument is out of range.
    """
    if not num_nodes >= num_classes >= 2 or num_edges < 1 or num_features < 1:
        raise ValueError("blocks needs num_nodes >= num_classes >= 2, num_edges >= 1 and num_features >= 1")
    if not (0 <= homophily <= 1 and noise >= 0):
        raise ValueError("blocks needs 0 <= homophily <= 1 and noise >= 0")
    random = np.random.Generator(np.random.PCG64(seed))  # uniform draws alone, as in disease
    shares = np.cumsum(1 / np.arange(1, num_classes + 1))
    labels = np.searchsorted(shares / shares[-1], random.random(num_nodes), side="right")
    labels[:num_classes] = np.arange(num_classes)  # no class is empty
    # in the order of blocks, a draw within one is a draw in a slice of the cumulative propensities
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.minimum(1 / np.sqrt(1 - random.random(num_nodes)), 100)[order])
    until = np.searchsorted(labels[order], np.arange(num_classes), side="right")
    high = ends[until - 1]
    low = np.concatenate([[0.0], high[:-1]])

    def drawn(low: Any, high: Any) -> np.ndarray:
        place = np.searchsorted(ends, low + (high - low) * random.random(num_edges), side="right")
        return np.minimum(place, num_nodes - 1)

    one, within = drawn(0.0, ends[-1]), random.random(num_edges) < homophily
    block = labels[order][one]
    other = drawn(np.where(within, low[block], 0.0), np.where(within, high[block], ends[-1]))
    edges = torch.from_numpy(order[np.stack([one, other])])
    groups = _uniform(random, ((num_classes + 4) // 5, num_features))
    centres = np.sqrt(0.5) * (groups[np.arange(num_classes) // 5] + _uniform(random, (num_classes, num_features)))
    features = centres[labels] + noise * _uniform(random, (num_nodes, num_features))
    return RawGraph(features.astype(np.float32), edges, labels.astype(np.int64))


def _uniform(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of mean 0 and variance 1."""
    return np.sqrt(3) * (2 * random.random(shape) - 1)


_HOUSE = ((0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (1, 4))
_BIPARTITE = ((0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4))


def motifs(num_graphs: int = 300, most_nodes: int = 20, most_degree: int = 6, seed: int = 0) -> RawGraphs:
    r"""Random trees, to each of which a house (a square with a roof) or a :math:`K_{2,3}` is tied: which?

    Both have five nodes, six edges and degrees 3, 3, 2, 2, 2, and are tied by an edge to a node of degree 2, so numbers
    of nodes, of edges and of nodes of each degree say nothing of the class. Whether the two nodes of degree 3 are
    neighbours does: a model that passes messages can be right about every graph.

    Each tree has 10 to ``most_nodes`` nodes, each but the first joined to one before it, uniformly; the two classes
    take turns. Features are degrees, one-hot, ``most_degree`` and more together.

    The idea is that of the BA-2motifs of `Luo et al. 2020 <https://arxiv.org/abs/2011.04573>`_, whose two motifs have
    different numbers of edges; trees, motifs and features are this library's own.

    Args:
        num_graphs: The number of graphs.
        most_nodes: The largest number of nodes of a tree, at least 10.
        most_degree: The degree from which on nodes look alike, at least 3.
        seed: The seed of the trees.

    Raises:
        ValueError: If an argument is out of range.
    """
    if num_graphs < 2 or most_nodes < 10 or most_degree < 3:
        raise ValueError("motifs needs num_graphs >= 2, most_nodes >= 10 and most_degree >= 3")
    random = np.random.Generator(np.random.PCG64(seed))
    edges, sizes = [], []
    for number in range(num_graphs):
        nodes, start = 10 + int(random.random() * (most_nodes - 9)), sum(sizes)
        tree = [(int(random.random() * node), node) for node in range(1, nodes)]
        motif = [(nodes + a, nodes + b) for a, b in (_HOUSE, _BIPARTITE)[number % 2]]
        tied = [(int(random.random() * nodes), nodes + 4)]
        edges.append(start + np.array(tree + motif + tied))
        sizes.append(nodes + 5)
    joined = np.concatenate(edges)
    degrees = np.minimum(np.bincount(joined.reshape(-1)), most_degree)
    features = np.eye(most_degree, dtype=np.float32)[degrees - 1]
    return RawGraphs(features, joined.T, np.repeat(np.arange(num_graphs), sizes), np.arange(num_graphs) % 2)


def _random_tree(num_nodes: int, max_children: int, random: np.random.Generator) -> np.ndarray:
    """Return each node's parent, numbered breadth first; the root's is -1."""
    children = 2 + np.floor((max_children - 1) * random.random(num_nodes)).astype(np.int64)
    parents = np.repeat(np.arange(num_nodes), children)[: num_nodes - 1]
    return np.concatenate([[-1], parents])


def _spread(parent: np.ndarray, probability: np.ndarray, steps: int, random: np.random.Generator) -> np.ndarray:
    """Return which nodes are infected after ``steps`` steps."""
    infected = np.zeros(len(parent), dtype=bool)
    infected[0] = True
    for _ in range(steps):
        exposed = infected[parent] & (parent >= 0)  # by who was infected before this step
        infected |= exposed & (random.random(len(parent)) < probability)
    return infected
