import math

import pytest
import torch
from known_graphs import cycle, path_edges, shortest

from msg.datasets.generators import tree
from msg.geometry import embed, pairwise_distances
from msg.testing import assert_on_manifold


def test_a_path_lies_on_a_line_and_a_cycle_on_a_circle():
    assert embed(shortest(path_edges(10), 10).numpy(), "E2").distortion < 0.01
    found = embed(shortest(cycle(20), 20).numpy(), "S2")
    assert found.distortion < 0.02
    assert found.curvatures[0] == pytest.approx((2 * math.pi / 20) ** 2, rel=0.05)


def test_a_tree_fits_hyperbolic_space_better():
    distances = shortest(tree(branching=3, levels=4).edge_index, 40).numpy()
    flat, curved, round_ = (embed(distances, f"{letter}4") for letter in "EHS")
    assert curved.distortion < 0.8 * flat.distortion < round_.distortion
    assert curved.curvatures[0] < 0 == flat.curvatures[0] < round_.curvatures[0]


@pytest.mark.parametrize("signature", ["E2", "H2", "S2", "P2", "L2", "U2", "H2xS1", "E1xP2"])
def test_its_distances_are_those_of_its_manifold(signature):
    lengths = shortest(cycle(9), 9)
    found = embed(lengths.numpy(), signature, steps=20)
    assert_on_manifold(found.manifold, found.points, rtol=1e-6)
    apart = pairwise_distances(found.manifold, found.points)
    first, second = torch.triu_indices(9, 9, 1)
    relative = apart[first, second] / lengths[first, second]
    assert float((relative - 1).abs().mean()) == pytest.approx(found.distortion, rel=1e-6)
    assert embed(lengths.numpy(), signature, steps=20).distortion == found.distortion


def test_bad_arguments():
    with pytest.raises(ValueError, match="square matrix of at least three"):
        embed(torch.zeros(2, 3).numpy(), "E2")
    with pytest.raises(ValueError, match="finite and positive: take one connected part"):
        embed(torch.zeros(3, 3).numpy(), "E2")
    with pytest.raises(ValueError, match="unknown manifold 'X2'"):
        embed(shortest(cycle(5), 5).numpy(), "X2")
