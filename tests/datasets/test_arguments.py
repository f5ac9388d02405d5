import numpy as np
import pytest
import torch

from msg.datasets import apply_split, link_split, load_graph
from msg.datasets.arguments import as_edge_index, as_int64, boolean_masks, seeded


@pytest.mark.parametrize("seed", [-1, 2**32, 2**70, 1.0, 0.5, "0", None, True, np.float64(1)])
def test_a_seed_that_means_the_same_as_another_or_nothing_is_refused(seed):
    data = load_graph("karate")
    for call in (
        lambda: seeded(seed),
        lambda: load_graph("karate", seed=seed),
        lambda: load_graph("no-such-file.npz", seed=seed),  # before anything is read
        lambda: apply_split(data, "random:10/10/80", seed),
        lambda: link_split(data, seed=seed),
    ):
        with pytest.raises(ValueError, match="seed must be an integer from 0 to 4294967295, not "):
            call()


def test_every_other_seed_is_itself():
    def draw(seed):
        return torch.rand(3, generator=seeded(seed)).tolist()

    assert len({tuple(draw(seed)) for seed in (0, 1, 2**31, 2**32 - 1)}) == 4
    assert draw(np.int64(7)) == draw(7) == torch.rand(3, generator=torch.Generator().manual_seed(7)).tolist()


@pytest.mark.parametrize(
    "dtype",
    [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64],
)
def test_integers_of_every_type(dtype):
    values = torch.tensor([[0, 127], [1, 2]])
    for given in (values.to(dtype), values.to(dtype).numpy(), values.tolist()):
        found = as_int64(given, "edges")
        assert found.dtype == torch.int64
        assert torch.equal(found, values)


def test_read_only_arrays_and_views():
    array = np.arange(6).reshape(3, 2)
    array.setflags(write=False)
    assert as_edge_index(array.T, 6).tolist() == [[0, 2, 4], [1, 3, 5]]
    assert as_edge_index(array[::-1].T, 6).tolist() == [[4, 2, 0], [5, 3, 1]]


def test_no_edges_are_edges_of_any_type():
    for empty in (torch.empty(2, 0), [[], []], np.empty((2, 0), bool)):
        assert as_edge_index(empty, 0).shape == (2, 0)
        assert as_edge_index(empty, 3).dtype == torch.int64


@pytest.mark.parametrize(
    ("edges", "problem"),
    [
        (torch.tensor([[0.0], [1.0]]), r"edges of type torch\.float32, not integers"),
        (torch.tensor([[False], [True]]), r"edges of type torch\.bool, not integers"),
        (torch.tensor([[0j], [1j]]), "not integers"),
        (np.array([["0"], ["1"]]), "no tensor of integers"),
        ([[0], [1, 2]], "no tensor of integers"),
        (None, "no tensor of integers"),
        (torch.tensor([[0, 1], [1, 2], [2, 0]]), r"edges of shape \(3, 2\), not \[2, E\]: transpose a list of pairs"),
        (torch.tensor([0, 1]), r"not \[2, E\]"),
        (torch.tensor([[0], [3]]), r"outside 0\.\.2"),
        (torch.tensor([[0], [-1]]), r"outside 0\.\.2"),
        (torch.tensor([[0], [2**64 - 1]], dtype=torch.uint64), r"outside 0\.\.2"),
    ],
)
def test_what_are_no_edges_is_named(edges, problem):
    with pytest.raises(ValueError, match=problem):
        as_edge_index(edges, 3)


def test_so_many_nodes_that_codes_of_pairs_would_overflow_are_refused():
    with pytest.raises(
        ValueError, match="3,037,000,500 nodes: pairs of more than 3,037,000,499 have no code of 64 bits"
    ):
        as_edge_index([[0], [1]], 3_037_000_500)
    assert 3_037_000_499**2 < 2**63 <= 3_037_000_500**2


def test_masks_of_booleans_or_of_zeros_and_ones():
    for given in ([True, False, True], [1, 0, 1], torch.tensor([1.0, 0.0, 1.0]), np.array([1, 0, 1], np.uint8)):
        assert torch.equal(boolean_masks({"train_mask": given}, 3)["train_mask"], torch.tensor([True, False, True]))
    several = boolean_masks({"train_mask": np.eye(3)[:, :2], "test_mask": np.eye(3)[:, 1:]}, 3)
    assert several["test_mask"].dtype == torch.bool
    assert several["test_mask"].tolist() == [[False, False], [True, False], [False, True]]
