import itertools
import math

import numpy as np
import pytest
import torch
from known_graphs import complete, cycle, path_edges, shortest, small, star, torus_grid
from scipy.optimize import linprog

from msg.datasets.generators import tree
from msg.geometry import forman_curvature, ollivier_curvature, sectional_curvature


def neighbours(edge_index, node):
    source, target = edge_index[:, edge_index[0] != edge_index[1]]
    return sorted({*target[source == node].tolist(), *source[target == node].tolist()})


# ------------------------------------------------------------------------------------------ sectional


def brute_sectional(edge_index, number):
    d, means = shortest(edge_index, number), []
    for m in range(number):
        around = neighbours(edge_index, m)
        found = [
            (d[a, m] ** 2 + d[b, c] ** 2 / 4 - (d[a, b] ** 2 + d[a, c] ** 2) / 2) / (2 * d[a, m])
            for b, c in itertools.combinations(around, 2)
            for a in range(number)
            if a != m
        ]
        if found:
            means.append(float(sum(found)) / len(found))
    return sum(means) / len(means)


@pytest.mark.parametrize(
    ("edge_index", "number", "expected"),
    [
        (path_edges(9), 9, 0.0),
        # a is one of the other leaves, or one of the two
        (star(5), 6, -3 / 5),
        # only the opposite node bends it
        (cycle(8), 8, 1 / 7),
        # d = 1 everywhere: 1/8 from n - 3 nodes, 3/8 from b and from c
        (complete(6), 6, (3 * 1 / 8 + 2 * 3 / 8) / 5),
        (small(), 10, None),
    ],
    ids=["path", "star", "cycle", "complete", "drawn"],
)
def test_sectional_curvature(edge_index, number, expected):
    every = brute_sectional(edge_index, number)
    assert expected is None or every == pytest.approx(expected)
    assert sectional_curvature(edge_index, num_samples=40_000, repeats=2).mean == pytest.approx(every, abs=0.01)


def test_a_tree_is_curved_negatively_and_has_an_error():
    found = sectional_curvature(tree(branching=3, levels=5).edge_index, num_samples=2_000)
    assert found.mean + 3 * found.error < 0
    assert len(found.values) == 5
    assert math.isnan(sectional_curvature(cycle(6), repeats=1).error)
    with pytest.raises(ValueError, match="no node has two neighbours"):
        sectional_curvature(path_edges(2))


# --------------------------------------------------------------------------------------------- Forman


@pytest.mark.parametrize(
    ("edge_index", "plain", "filled"),
    [(cycle(6), 0, 0), (complete(5), -4, 5), (star(4), -1, -1), (torus_grid(5), -4, -4)],
    ids=["cycle", "complete", "star", "grid"],
)
def test_forman_curvature(edge_index, plain, filled):
    assert forman_curvature(edge_index, triangles=False).unique().tolist() == [plain]
    assert forman_curvature(edge_index).unique().tolist() == [filled]


def test_forman_curvature_is_that_of_each_edge_in_its_order():
    edges = small()
    found = forman_curvature(torch.cat([edges, edges.flip(0)], dim=1))
    for (u, v), one in zip(torch.cat([edges, edges.flip(0)], dim=1).t().tolist(), found.tolist()):
        around_u, around_v = set(neighbours(edges, u)), set(neighbours(edges, v))
        if u == v:
            assert math.isnan(one)
        else:
            assert one == 4 - len(around_u) - len(around_v) + 3 * len(around_u & around_v)


# ------------------------------------------------------------------------------------------- Ollivier


def brute_ollivier(edge_index, number, u, v, idleness):
    """The whole transport as it is defined, over all pairs of nodes."""
    d, steps = shortest(edge_index, number).numpy(), []
    for node in (u, v):
        mass = np.zeros(number)
        around = neighbours(edge_index, node)
        mass[around] = (1 - idleness) / len(around)
        mass[node] += idleness
        steps.append(mass)
    leave = np.kron(np.eye(number), np.ones(number))
    arrive = np.kron(np.ones(number), np.eye(number))
    found = linprog(d.ravel(), A_eq=np.vstack([leave, arrive]), b_eq=np.concatenate(steps))
    return 1 - found.fun


@pytest.mark.parametrize("idleness", [0.0, 0.5])
def test_ollivier_curvature_is_the_whole_transports(idleness):
    edges = small()
    pairs = {tuple(sorted(pair)) for pair in edges.t().tolist() if pair[0] != pair[1]}
    every = [brute_ollivier(edges, 10, u, v, idleness) for u, v in pairs]
    found = ollivier_curvature(edges, num_edges=100, repeats=2, idleness=idleness)
    assert found.values == pytest.approx([np.mean(every)] * 2, abs=1e-8)


@pytest.mark.parametrize(
    ("edge_index", "expected"),
    [
        (complete(6), 4 / 5),
        (cycle(7), 0),
        (torus_grid(7), 0),
        (star(4), 0),
    ],
    ids=["complete", "cycle", "grid", "star"],
)
def test_ollivier_curvature_of_known_graphs(edge_index, expected):
    assert ollivier_curvature(edge_index, repeats=1).mean == pytest.approx(expected, abs=1e-9)


def test_ollivier_curvature_of_a_tree():
    edges = tree(branching=3, levels=4).edge_index
    degree = torch.bincount(edges[0] if len(edges[0]) == 2 * 39 else edges.flatten())
    expected = []
    for u, v in {tuple(sorted(pair)) for pair in edges.t().tolist()}:
        expected.append(-2 * max(0.0, 1 - 1 / int(degree[u]) - 1 / int(degree[v])))
    found = ollivier_curvature(edges, num_edges=1_000, repeats=1)
    assert found.mean == pytest.approx(sum(expected) / len(expected), abs=1e-9)


def test_of_many_neighbours_some_are_drawn():
    hubs = torch.cat([star(60), star(60) + 61, torch.tensor([[0], [61]])], dim=1)
    found = ollivier_curvature(hubs, num_edges=200, repeats=1, max_degree=20)
    # only the edge between the hubs is bent
    assert found.mean == pytest.approx(-2 * (1 - 2 / 20) / 121, abs=3 / 121)


def test_one_sample_is_enough():
    found = sectional_curvature(path_edges(3), num_samples=1, repeats=20)
    assert found.values == (0.0,) * 20


def test_bad_arguments():
    for wrong in ({"num_edges": 0}, {"max_degree": 1}, {"idleness": 1.0}):
        with pytest.raises(ValueError, match="num_edges must be at least 1, max_degree at least 2 and idleness"):
            ollivier_curvature(cycle(5), **wrong)
    with pytest.raises(ValueError, match="edge_index names node 4, but num_nodes is 3: give the number of all nodes"):
        forman_curvature(cycle(5), num_nodes=3)
