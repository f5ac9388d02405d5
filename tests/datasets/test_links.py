import itertools

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import is_undirected, to_undirected

from msg.datasets import link_split, load_graph, pair_codes, ranking_negatives, sample_negatives


def pairs(edge_index: torch.Tensor) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in edge_index.t().tolist()}


def messy_graph(num_nodes: int = 60, num_edges: int = 400) -> Data:
    """Duplicates, some reverse edges, self-loops, in no order."""
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(num_nodes, (2, num_edges), generator=generator)
    loops = torch.arange(10).repeat(2, 1)
    edges = torch.cat([edges, edges[:, :50], edges[:, 100:200].flip(0), loops], dim=1)
    return Data(x=torch.rand(num_nodes, 3), edge_index=edges, y=torch.zeros(num_nodes, dtype=torch.long))


@pytest.mark.parametrize(
    "data", [messy_graph(), load_graph("karate"), load_graph("digits")], ids=["messy", "karate", "digits"]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_leaks(data, seed):
    split = link_split(data, seed=seed)
    every_edge = pairs(data.edge_index[:, data.edge_index[0] != data.edge_index[1]])
    positives, negatives = [], []
    for part in split:
        positives.append(pairs(part.edge_label_index[:, part.edge_label == 1]))
        negatives.append(pairs(part.edge_label_index[:, part.edge_label == 0]))
        assert len(positives[-1]) == len(negatives[-1]) == part.edge_label.numel() // 2, "duplicates, or unbalanced"
        assert pairs(part.edge_index) == positives[0], "other than training edges pass messages"
        assert is_undirected(part.edge_index)
        assert part.validate()
    for one, other in itertools.combinations(positives + negatives, 2):
        assert not one & other
    assert set.union(*positives) == every_edge
    assert not set.union(*negatives) & every_edge
    assert all(len(pair) == 2 for part in negatives for pair in part), "a self-loop"


def test_training_negatives_can_be_drawn_anew():
    data = messy_graph()
    split = link_split(data)
    held_out = pairs(torch.cat([part.edge_label_index for part in split[1:]], dim=1))
    fresh = sample_negatives(data.num_nodes, split.train.excluded, 300, torch.Generator().manual_seed(1))
    assert fresh.shape == (2, 300)
    assert not pairs(fresh) & (held_out | pairs(data.edge_index))
    assert (split.train.excluded[1:] > split.train.excluded[:-1]).all()


def test_sizes_and_attributes():
    data = load_graph("digits")
    data.edge_attr = torch.ones(data.num_edges)
    data.adj_t = data.adj = torch.eye(2)  # in the place of what ToSparseTensor makes, with all edges
    split = link_split(data, "link:85/5/10")
    edges = data.num_edges // 2
    assert [part.edge_label.numel() // 2 for part in split] == [10488, 617, 1234]
    assert edges == 12339
    assert split.train.split == "link:85/5/10"
    assert "train_mask" not in split.val
    assert not any(name in part for name in ("edge_attr", "adj_t", "adj") for part in split)
    assert "edge_attr" in data
    assert torch.equal(split.test.x, data.x)
    assert split.train.edge_label.dtype == torch.float32


def test_graph_without_features_keeps_its_nodes():
    data = Data(edge_index=to_undirected(torch.tensor([[0, 1, 2, 3], [1, 2, 3, 9]])), num_nodes=12)
    assert all(part.num_nodes == 12 for part in link_split(data, "link:50/25/25"))


def test_seed_decides_and_global_state_is_left_alone():
    data, state = load_graph("karate"), torch.random.get_rng_state()
    first, again, other = (link_split(data, seed=seed).val.edge_label_index for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_bad_splits():
    data = load_graph("karate")
    for split in ("link", "random:85/5/10", "link:85/15"):
        with pytest.raises(ValueError, match="link:TRAIN/VAL/TEST"):
            link_split(data, split)
    with pytest.raises(ValueError, match="sum to 100"):
        link_split(data, "link:80/5/10")
    with pytest.raises(ValueError, match="part of 78 undirected edges empty"):
        link_split(data, "link:100/0/0")


def test_too_dense_graph():
    with pytest.raises(ValueError, match="cannot draw 45 negatives: of 45 pairs of 10 nodes, 45 are excluded"):
        link_split(Data(edge_index=torch.combinations(torch.arange(10)).t(), num_nodes=10), "link:50/25/25")


def test_pair_codes():
    edge_index = torch.tensor([[1, 0, 2, 2, 1], [0, 1, 2, 1, 2]])
    assert pair_codes(edge_index, 3).tolist() == [1, 5]


@pytest.mark.parametrize(("num_nodes", "num_excluded", "size"), [(12, 40, 13), (40, 20, 150)])  # by listing, by refusal
def test_negatives_are_uniform(num_nodes, num_excluded, size):
    generator = torch.Generator().manual_seed(0)
    every = pair_codes(torch.combinations(torch.arange(num_nodes)).t(), num_nodes)
    exclude = every[torch.randperm(every.numel(), generator=generator)[:num_excluded]].sort().values
    free = every.numel() - num_excluded
    counts = torch.zeros(num_nodes**2)
    draws = 100
    for _ in range(draws):
        low, high = sample_negatives(num_nodes, exclude, size, generator)
        assert (low < high).all()
        counts[low * num_nodes + high] += 1
    assert counts[exclude].sum() == 0
    expected = draws * size / free
    assert counts.sum() == draws * size
    assert (counts[every[~torch.isin(every, exclude)]] - expected).abs().max() < 6 * expected**0.5


def test_every_free_pair_can_be_drawn():
    exclude = torch.tensor([1, 2])
    assert pairs(sample_negatives(4, exclude, 4)) == {frozenset(p) for p in [(0, 3), (1, 2), (1, 3), (2, 3)]}
    assert sample_negatives(4, exclude, 0).shape == (2, 0)
    with pytest.raises(ValueError, match="cannot draw 5 negatives"):
        sample_negatives(4, exclude, 5)
    with pytest.raises(ValueError, match="sorted, unique"):
        sample_negatives(4, exclude.flip(0), 1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32])
@pytest.mark.parametrize("num_nodes", [200, 60_000])
def test_every_type_of_integers_splits_alike(dtype, num_nodes):
    """Codes of pairs of 200 nodes overflow 8 and 16 bits, of 60,000 nodes 32 bits."""
    if num_nodes > torch.iinfo(dtype).max:
        pytest.skip("no such node")
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(num_nodes, (2, 5_000), generator=generator)
    edges[:, -1] = torch.tensor([num_nodes - 1, num_nodes - 2])
    expected = link_split(Data(edge_index=edges, num_nodes=num_nodes))
    for given in (edges.to(dtype), edges.to(dtype).numpy(), edges.tolist()):
        split = link_split(Data(edge_index=given, num_nodes=num_nodes))
        for part, other in zip(split, expected):
            assert part.edge_index.dtype == part.edge_label_index.dtype == torch.int64
            assert torch.equal(part.edge_index, other.edge_index)
            assert torch.equal(part.edge_label_index, other.edge_label_index)
        assert torch.equal(split.train.excluded, expected.train.excluded)
    assert pairs(split.test.edge_label_index[:, split.test.edge_label == 1]) <= pairs(edges)
    assert torch.equal(pair_codes(edges.to(dtype), num_nodes), pair_codes(edges, num_nodes))


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.complex64])
def test_what_are_no_indices_is_refused(dtype):
    edges = torch.tensor([[0, 1, 2, 1], [1, 0, 1, 2]]).to(dtype)
    for call in (
        lambda: link_split(Data(edge_index=edges, num_nodes=4), "link:50/25/25"),
        lambda: pair_codes(edges, 4),
        lambda: sample_negatives(4, edges[0], 1),
    ):
        with pytest.raises(ValueError, match="not integers: give indices as int64"):
            call()


def test_edges_outside_the_graph_are_refused():
    """Their codes would be those of other pairs."""
    with pytest.raises(ValueError, match=r"edges to nodes outside 0\.\.3"):
        pair_codes(torch.tensor([[0, 1], [1, 4]]), 4)
    with pytest.raises(ValueError, match=r"edges to nodes outside 0\.\.3"):
        link_split(Data(x=torch.ones(4, 1), edge_index=torch.tensor([[0, 1], [1, 4]])))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_codes_to_exclude_of_every_type(dtype):
    exclude = torch.tensor([1, 2], dtype=dtype)
    for given in (exclude, exclude.tolist(), exclude.numpy()):
        drawn = sample_negatives(60_000, given, 100, torch.Generator().manual_seed(0))
        assert drawn.dtype == torch.int64
        assert (drawn[0] < drawn[1]).all()
        assert int(drawn.max()) < 60_000


@pytest.mark.parametrize("data", [messy_graph(), load_graph("karate")], ids=["messy", "karate"])
def test_negatives_to_rank_against_keep_one_end_and_are_no_edges(data):
    split = link_split(data)
    positives = split.test.edge_label_index[:, split.test.edge_label == 1]
    excluded, nodes = split.train.excluded, int(data.num_nodes)
    drawn = ranking_negatives(positives, nodes, excluded, 10, torch.Generator().manual_seed(0))
    assert drawn.shape == (2, positives.size(1), 10)
    assert torch.equal(drawn[0, :, :5], positives[0][:, None].expand(-1, 5))
    assert torch.equal(drawn[0, :, 5:], positives[1][:, None].expand(-1, 5))
    assert not torch.isin(pair_codes(drawn.flatten(1), nodes), excluded).any()
    assert (drawn[0] != drawn[1]).all()
    again = ranking_negatives(positives, nodes, excluded, 10, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_pairs_to_rank_against_of_every_type():
    excluded, pairs = torch.tensor([1, 2]), torch.tensor([[0, 4], [1, 5]])
    drawn = [
        ranking_negatives(given, 9, excluded, 6, torch.Generator().manual_seed(0)) for given in (pairs, pairs.int())
    ]
    assert drawn[1].dtype == torch.int64
    assert torch.equal(*drawn)


def test_negatives_to_rank_against_are_uniform_among_the_free_nodes():
    excluded = pair_codes(torch.tensor([[0, 0, 0, 3], [1, 3, 5, 6]]), 8)
    drawn = ranking_negatives(torch.tensor([[0], [3]]), 8, excluded, 60_000, torch.Generator().manual_seed(0))
    kept, other = drawn[:, 0, :30_000], drawn[:, 0, 30_000:]
    for (node, ends), free in zip((kept, other), ({2, 4, 6, 7}, {1, 2, 4, 5, 7})):
        assert node.unique().numel() == 1
        counts = ends.bincount(minlength=8)
        assert set(counts.nonzero()[:, 0].tolist()) == free
        assert (counts[list(free)] / 30_000 - 1 / len(free)).abs().max() < 0.02


def test_nodes_that_are_joined_to_all_others_are_not_kept():
    star = pair_codes(torch.stack([torch.zeros(5, dtype=torch.long), torch.arange(1, 6)]), 6)
    drawn = ranking_negatives(torch.tensor([[0], [2]]), 6, star, 8)
    assert (drawn[0] == 2).all()
    assert set(drawn[1].flatten().tolist()) <= {1, 3, 4, 5}
    two = torch.triu_indices(4, 4, 1)[:, :-1]  # all but (2, 3)
    drawn = ranking_negatives(torch.tensor([[0], [1]]), 4, pair_codes(two, 4), 6)
    assert set(drawn.flatten().tolist()) == {2, 3}
    with pytest.raises(ValueError, match="all pairs of 3 nodes are excluded"):
        ranking_negatives(torch.tensor([[0], [1]]), 3, pair_codes(torch.triu_indices(3, 3, 1), 3), 2)
    assert ranking_negatives(torch.zeros(2, 0, dtype=torch.long), 6, star, 8).shape == (2, 0, 8)
