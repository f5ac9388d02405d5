import itertools

import pytest
import torch
from known_graphs import complete, cycle, path_edges, shortest, small

from msg.datasets.generators import tree
from msg.geometry import gromov_hyperbolicity


def brute_force(edge_index, number):
    """Every quadruple."""
    d, found = shortest(edge_index, number), []
    for x, y, u, v in itertools.combinations(range(number), 4):
        sums = sorted([d[x, y] + d[u, v], d[x, u] + d[y, v], d[x, v] + d[y, u]])
        found.append(float(sums[2] - sums[1]) / 2)
    return found


@pytest.mark.parametrize("edge_index", [tree(branching=3, levels=4).edge_index, complete(7), path_edges(9)])
def test_trees_and_complete_graphs_have_none(edge_index):
    found = gromov_hyperbolicity(edge_index, num_samples=500, repeats=2)
    assert (found.mean.mean, found.largest, found.relative) == (0, 0, 0)


@pytest.mark.parametrize("number", [4, 5, 6, 7, 8, 9, 12, 13])
def test_a_cycle(number):
    expected = number // 4 - (0.5 if number % 4 == 1 else 0)
    found = gromov_hyperbolicity(cycle(number), num_samples=5_000, repeats=2)
    assert found.largest == expected == max(brute_force(cycle(number), number))
    assert found.diameter == number // 2
    assert found.relative == 2 * expected / (number // 2)


def test_sampled_quadruples_agree_with_all_of_them():
    every = brute_force(small(), 10)
    found = gromov_hyperbolicity(small(), num_samples=20_000, repeats=3)
    assert found.mean.mean == pytest.approx(sum(every) / len(every), abs=0.01)
    assert found.largest == max(every)
    assert found.mean.error < 0.01
    assert found == gromov_hyperbolicity(small(), num_samples=20_000, repeats=3)
    assert found.mean != gromov_hyperbolicity(small(), num_samples=20_000, repeats=3, seed=1).mean


def test_of_few_nodes_as_many_quadruples_are_measured():
    for samples in (1, 3, 50):  # each draw of four nodes has one of them twice nine times in ten
        found = gromov_hyperbolicity(cycle(4), num_samples=samples, repeats=3)
        assert found.mean.values == (1.0, 1.0, 1.0)


def test_the_largest_connected_part_is_measured():
    apart = torch.cat([cycle(8), path_edges(5) + 8], dim=1)
    assert gromov_hyperbolicity(apart, num_nodes=20, repeats=1).largest == 2


def test_bad_arguments():
    with pytest.raises(ValueError, match="four connected nodes are needed, and the largest part has 3"):
        gromov_hyperbolicity(path_edges(3), num_nodes=9)
    with pytest.raises(ValueError, match="no edge between two nodes"):
        gromov_hyperbolicity(torch.tensor([[1], [1]]))
    with pytest.raises(ValueError, match=r"shape \[2, E\], not \[3, 1\]"):
        gromov_hyperbolicity(torch.zeros(3, 1, dtype=torch.long))
    with pytest.raises(ValueError, match="num_samples must be a whole number of at least 1, not 0"):
        gromov_hyperbolicity(cycle(5), num_samples=0)
    with pytest.raises(ValueError, match="repeats must be a whole number of at least 1, not 0"):
        gromov_hyperbolicity(cycle(5), repeats=0)
