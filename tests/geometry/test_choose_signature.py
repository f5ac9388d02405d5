import pytest
import torch
from known_graphs import cycle, path_edges, torus_grid
from torch_geometric.data import Data

from msg.datasets import load_graph
from msg.datasets.generators import tree
from msg.geometry import Estimate, Score, choose_signature
from msg.geometry.signature import _judged

QUICK = {"signatures": ("E4", "H4", "S4"), "num_nodes": 40, "repeats": 3}
QUICKER = {"signatures": ("E2", "S2"), "num_nodes": 12, "repeats": 2}


def graph(edge_index):
    return Data(edge_index=edge_index, num_nodes=int(edge_index.max()) + 1)


def test_a_tree_is_hyperbolic_a_cycle_spherical_a_path_flat():
    hyperbolic = choose_signature(graph(tree(branching=3, levels=5).edge_index), **QUICK)
    assert hyperbolic.signature == "H4"
    assert not hyperbolic.flat_is_as_good
    assert hyperbolic.hyperbolicity.largest == 0
    assert hyperbolic.sectional.mean < 0
    assert hyperbolic.ollivier.mean < 0
    assert "H4 is better than flat space" in str(hyperbolic)
    assert choose_signature(graph(cycle(40)), **QUICK).signature == "S4"
    flat = choose_signature(graph(path_edges(40)), **QUICK)
    assert flat.signature == "E4"
    assert "flat space is as good" in str(flat)
    assert max(map(len, str(flat).splitlines())) <= 100


def test_it_is_the_same_again_and_leaves_the_generator_alone():
    before = torch.get_rng_state()
    found = choose_signature(graph(torus_grid(5)), **QUICKER)
    assert torch.equal(torch.get_rng_state(), before)
    again = choose_signature(graph(torus_grid(5)), **QUICKER)
    assert str(found) == str(again)
    assert found.scores == again.scores
    assert (found.nodes, found.share) == (25, 1)


def test_default_candidates_have_the_same_dimension():
    found = choose_signature(graph(cycle(12)), dim=2, num_nodes=12, repeats=2)
    assert {score.signature for score in found.scores} == {"E2", "H2", "S2", "H1xS1", "H1xH1", "S1xS1"}
    with pytest.raises(ValueError, match=r"dim must be even and at least 2, .* not 3"):
        choose_signature(graph(cycle(12)), dim=3)


def test_validation_decides_where_it_is_asked_for():
    data = load_graph("karate", features="dense")
    found = choose_signature(data, ("E4", "S4"), epochs=2, num_nodes=10, repeats=2)
    assert found.judged_by == "validation"
    assert all(0 <= value <= 1 for score in found.scores for value in score.validation.values)
    assert found.scores[0].validation.mean >= found.scores[1].validation.mean
    assert "validation" in str(found)


def judged(flat, curved):
    scores = [Score("E2", Estimate.of(flat), (0.0,)), Score("H2", Estimate.of(curved), (-1.0,))]
    rest = dict.fromkeys(("hyperbolicity", "sectional", "forman", "ollivier", "nodes", "share"))
    return _judged(scores, **rest)


def test_a_gain_must_be_beyond_doubt_and_worth_it():
    clear = judged([0.30, 0.31, 0.29], [0.20, 0.21, 0.19])
    assert (clear.signature, clear.flat_is_as_good) == ("H2", False)
    assert clear.gain.mean == pytest.approx(0.1)
    # paired: what all spaces find hard in a repeat does not count
    assert judged([0.30, 0.90, 0.60], [0.15, 0.75, 0.45]).signature == "H2"
    # uncertain
    assert judged([0.30, 0.31, 0.29], [0.05, 0.31, 0.29]).signature == "E2"
    # certain, and too little
    assert judged([0.30, 0.31, 0.29], [0.28, 0.29, 0.27]).signature == "E2"
    assert judged([0.20, 0.21, 0.19], [0.30, 0.31, 0.29]).gain.mean < 0


def test_bad_arguments():
    ring = graph(cycle(12))
    for names in (("E4",), ("H4", "S4")):
        with pytest.raises(ValueError, match="signatures must have a flat one to compare with"):
            choose_signature(ring, names)
    with pytest.raises(ValueError, match="unknown manifold 'Q2'"):
        choose_signature(ring, ("E2", "Q2"))
    with pytest.raises(ValueError, match="repeats must be at least 2"):
        choose_signature(ring, repeats=1)
    with pytest.raises(ValueError, match="a training needs x, y, train_mask"):
        choose_signature(ring, ("E2", "H2"), epochs=1, num_nodes=8, repeats=2)
