import itertools

import pytest
import torch

from msg.datasets.generators import tree
from msg.manifolds import distance, exp0, parse_signature
from msg.training import distortion


def shortest(edge_index, num_nodes):
    """Lengths of shortest paths by Floyd and Warshall."""
    lengths = torch.full((num_nodes, num_nodes), float("inf"), dtype=torch.float64).fill_diagonal_(0)
    lengths[edge_index[0], edge_index[1]] = lengths[edge_index[1], edge_index[0]] = 1
    for k in range(num_nodes):
        lengths = torch.minimum(lengths, lengths[:, k : k + 1] + lengths[k : k + 1])
    return lengths


def test_a_path_on_a_line_has_none_at_its_own_scale():
    edges = torch.stack([torch.arange(9), torch.arange(1, 10)])
    points = 0.5 * torch.arange(10.0)[:, None]
    found = distortion(points, edges)
    assert found.mean == pytest.approx(0, abs=1e-12)
    assert found.scale == pytest.approx(2)
    assert distortion(points, edges, scale=1.0).mean == pytest.approx(0.5)


@pytest.mark.parametrize("signature", ["H2", "S2", None])
def test_sampled_pairs_agree_with_all_of_them(signature):
    edges = tree(branching=3, levels=3).edge_index
    manifold = None if signature is None else parse_signature(signature)[0]
    torch.manual_seed(0)
    vectors = torch.randn(13, 2, dtype=torch.float64)
    points = vectors if manifold is None else exp0(manifold, vectors)
    lengths = shortest(edges, 13)
    ratios = []
    for i, j in itertools.permutations(range(13), 2):
        a, b = points[i : i + 1], points[j : j + 1]
        apart = (a - b).norm() if manifold is None else distance(manifold, a, b)[0]
        ratios.append(float(apart) / float(lengths[i, j]))
    ratio = torch.tensor(ratios, dtype=torch.float64)
    scale = float(ratio.sum() / ratio.square().sum())
    found = distortion(points, edges, manifold, num_pairs=40_000)
    assert found.scale == pytest.approx(scale, rel=0.02)
    assert found.mean == pytest.approx(float((scale * ratio - 1).abs().mean()), rel=0.03)
    assert distortion(points, edges, manifold, num_pairs=50, seed=1) == distortion(points, edges, manifold, 50, 1)


def test_only_nodes_that_a_path_joins_are_compared():
    edges = torch.tensor([[0, 2], [1, 3]])
    points = torch.tensor([[0.0], [1.0], [100.0], [101.0]])
    assert distortion(points, edges, num_pairs=200).mean == pytest.approx(0)


def test_bad_arguments():
    points = torch.randn(4, 2)
    with pytest.raises(ValueError, match="no path joins two"):
        distortion(points, torch.zeros(2, 0, dtype=torch.long))
    with pytest.raises(ValueError, match="num_pairs must be a whole number of at least 1, not 0"):
        distortion(points, torch.tensor([[0], [1]]), num_pairs=0)
    with pytest.raises(ValueError, match="all points coincide"):
        distortion(torch.zeros(4, 2), torch.tensor([[0, 1, 2], [1, 2, 3]]))
