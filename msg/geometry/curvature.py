"""Curvatures of a graph, straight from its edges."""

import numpy as np
import scipy.sparse as sp
import torch
from scipy.optimize import linprog
from torch import Tensor

from msg.geometry.estimate import Estimate
from msg.geometry.metric import Component, generators, undirected
from msg.graph.neighborhoods import Neighborhoods
from msg.sizes import check_sizes

_REFERENCES = 64
"""Nodes of a repeat from which triangles are looked at: each costs a search through the graph."""


def sectional_curvature(
    edge_index: Tensor, num_nodes: int | None = None, num_samples: int = 20_000, repeats: int = 5, seed: int = 0
) -> Estimate:
    r"""Mean sectional curvature, by the parallelogram law on triangles of the graph's metric.

    For a node ``m`` with neighbours ``b`` and ``c``, seen from a node ``a``,

    .. math::
        \xi(m; b, c; a) = \frac{1}{2 d(a, m)}
        \Bigl(d(a, m)^2 + \frac{d(b, c)^2}{4} - \frac{d(a, b)^2 + d(a, c)^2}{2}\Bigr),

    which is 0 in flat space, where ``m`` is the middle of ``b`` and ``c``: on a line. It is -1 where three branches
    of a tree meet, 1 for opposite nodes of an even cycle and 1/8 for four nodes of a complete graph. Drawn uniformly:
    ``m`` among nodes of the largest connected part with two neighbours, two of these, and ``a`` among 64 nodes of a
    repeat without ``m``.

    Source: `Gu et al. 2019, Learning Mixed-Curvature Representations in Product Spaces
    <https://openreview.net/forum?id=HJxeWnCcF7>`_ (ICLR), section 3.2.

    Args:
        edge_index: ``[2, E]``; an edge leads both ways.
        num_nodes: of the graph; ``None``: as many as ``edge_index`` names.
        num_samples: triangles of a repeat.
        repeats: how often nodes are drawn.
        seed: of what is drawn.

    Raises:
        ValueError: if no node has two neighbours; fewer samples or repeats than one.
    """
    return sectional_of(Component(edge_index, num_nodes), num_samples, repeats, seed)


def sectional_of(part: Component, num_samples: int, repeats: int, seed: int) -> Estimate:
    """The same of a connected graph."""
    check_sizes(num_samples=num_samples)
    starts, degree = part.adjacency.indptr, np.diff(part.adjacency.indptr)
    middles = np.flatnonzero(degree >= 2)
    if not len(middles):
        raise ValueError("no node has two neighbours, so there is no triangle: give a larger graph")
    means = []
    for random in generators(seed, repeats):
        references = part.draw(_REFERENCES, random)
        hops = part.hops(references)
        while True:
            m, row = random.choice(middles, num_samples), random.integers(len(references), size=num_samples)
            first = random.integers(degree[m])
            second = (first + random.integers(1, degree[m])) % degree[m]  # another one
            kept = references[row] != m
            if kept.any():  # of few samples each may be a middle that is its own reference
                break
        b, c = part.adjacency.indices[starts[m] + first], part.adjacency.indices[starts[m] + second]
        m, b, c, row = m[kept], b[kept], c[kept], row[kept]
        joined = np.asarray(part.adjacency[b, c]).ravel() > 0
        am, ab, ac = hops[row, m], hops[row, b], hops[row, c]
        xi = (am**2 + np.where(joined, 1, 4) / 4 - (ab**2 + ac**2) / 2) / (2 * am)
        means.append(float(xi.mean()))
    return Estimate.of(means)


def forman_curvature(edge_index: Tensor, num_nodes: int | None = None, triangles: bool = True) -> Tensor:
    r"""Forman's curvature of every edge of an unweighted graph,

    .. math:: F(u, v) = 4 - d_u - d_v + 3\,|\Gamma_u \cap \Gamma_v|.

    The last term fills triangles with faces; without it the graph has edges only. Exact, and fast on large graphs.

    Sources: `Sreejith et al. 2016, Forman curvature for complex networks <https://arxiv.org/abs/1603.00386>`_; with
    triangles `Samal et al. 2018, Comparative analysis of two discretizations of Ricci curvature
    <https://arxiv.org/abs/1712.07600>`_.

    Args:
        edge_index: ``[2, E]``; an edge and its reverse have the same curvature.
        num_nodes: of the graph; ``None``: as many as ``edge_index`` names.
        triangles: whether they count.

    Shapes:
        Returns ``[E]`` float32, in the order of ``edge_index``; NaN for a self-loop.

    Raises:
        ValueError: for a graph without edges.
    """
    adjacency = undirected(edge_index, num_nodes)
    source, target = ends = edge_index.cpu()
    degree = torch.from_numpy(np.diff(adjacency.indptr)).float()
    found = 4 - degree[source] - degree[target]
    if triangles:
        both = Neighborhoods(ends, len(degree)).common(ends)
        found += 3 * torch.from_numpy(np.asarray(both.sum(1), dtype=np.float32)).ravel()
    return torch.where(source == target, torch.nan, found)


def ollivier_curvature(
    edge_index: Tensor,
    num_nodes: int | None = None,
    num_edges: int = 50,
    repeats: int = 5,
    idleness: float = 0.0,
    max_degree: int = 64,
    seed: int = 0,
) -> Estimate:
    r"""Mean Ollivier–Ricci curvature of sampled edges,

    .. math:: \kappa(u, v) = 1 - W_1(\mu_u, \mu_v),

    with Wasserstein's distance, in edges, between a walker's places after a step from ``u`` and from ``v``: with
    probability :math:`\alpha` it stays, else it goes to a neighbour, all alike. For :math:`\alpha = 0` it is
    :math:`(n-2)/(n-1)` in a complete graph, 0 in a grid and in a cycle of at least six, and
    :math:`-2(1 - 1/d_u - 1/d_v)_+` in a tree. Solved as a linear programme: mass that both share stays, and no path is
    longer than three.

    Sources: `Ollivier 2009, Ricci curvature of Markov chains on metric spaces <https://arxiv.org/abs/math/0701886>`_;
    values of graphs in `Jost & Liu 2014 <https://arxiv.org/abs/1103.4037>`_.

    Args:
        edge_index: ``[2, E]``; an edge leads both ways.
        num_nodes: of the graph; ``None``: as many as ``edge_index`` names.
        num_edges: of a repeat, drawn without replacement.
        repeats: how often edges are drawn.
        idleness: :math:`\alpha`, from 0 to below 1.
        max_degree: of a node with more neighbours so many are drawn, which lowers the curvature of its edges a little.
        seed: of what is drawn.

    Raises:
        ValueError: for a graph without edges, and numbers that cannot be.
    """
    return ollivier_of(undirected(edge_index, num_nodes), num_edges, repeats, idleness, max_degree, seed)


def ollivier_of(
    adjacency: sp.csr_matrix, num_edges: int, repeats: int, idleness: float, max_degree: int, seed: int
) -> Estimate:
    """The same of an adjacency matrix."""
    if num_edges < 1 or max_degree < 2 or not 0 <= idleness < 1:
        raise ValueError(
            "num_edges must be at least 1, max_degree at least 2 and idleness from 0 to below 1, not "
            f"{num_edges}, {max_degree} and {idleness}"
        )
    edges = np.stack(sp.triu(adjacency).nonzero(), axis=1)
    means = []
    for random in generators(seed, repeats):
        drawn = edges[random.permutation(len(edges))[:num_edges]]
        found = [1 - _wasserstein(adjacency, u, v, idleness, max_degree, random) for u, v in drawn]
        means.append(float(np.mean(found)))
    return Estimate.of(means)


def _wasserstein(
    adjacency: sp.csr_matrix, u: int, v: int, idleness: float, max_degree: int, random: np.random.Generator
) -> float:
    """Of the steps from two ends of an edge."""
    mass: dict[int, float] = {}
    for node, sign in ((u, 1.0), (v, -1.0)):
        near = adjacency.indices[adjacency.indptr[node] : adjacency.indptr[node + 1]]
        if len(near) > max_degree:
            near = random.choice(near, max_degree, replace=False)
        for place in near:
            mass[place] = mass.get(place, 0.0) + sign * (1 - idleness) / len(near)
        mass[node] = mass.get(node, 0.0) + sign * idleness
    nodes, excess = np.array(list(mass)), np.array(list(mass.values()))
    given, taken = excess > 1e-12, excess < -1e-12
    if not given.any():
        return 0.0
    # all paths have at most three edges: one and two are what can be saved
    rows = adjacency[nodes[given]]
    direct, over = rows[:, nodes[taken]], rows @ adjacency[:, nodes[taken]]
    saved = sp.coo_matrix(direct + (direct + over > 0))
    total = float(excess[given].sum())
    if not saved.nnz:
        return 3 * total
    pairs = np.arange(saved.nnz)
    bounds = sp.vstack(
        [
            sp.csr_matrix((np.ones(saved.nnz), (ends, pairs)), (size, saved.nnz))
            for ends, size in zip((saved.row, saved.col), (given.sum(), taken.sum()))
        ]
    )
    solved = linprog(
        -np.asarray(saved.data, dtype=float),
        A_ub=bounds,
        b_ub=np.concatenate([excess[given], -excess[taken]]),
        method="highs",
    )
    if not solved.success:
        raise RuntimeError(f"the transport between nodes {u} and {v} was not solved: {solved.message}")
    return 3 * total + float(solved.fun)
