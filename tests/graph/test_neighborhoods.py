import numpy as np
import pytest
import torch

from msg.datasets import link_split, load_graph
from msg.graph import Neighborhoods


@pytest.fixture(autouse=True, params=["auto", "torch"])
def _kernels(request, monkeypatch):
    monkeypatch.setenv("MSG_KERNELS", request.param)


def graph(num_nodes=25, edges=70, seed=0):
    """Both directions of some edges, duplicates and loops, and a node on its own."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(num_nodes - 1, (2, edges), generator=generator)
    loops = torch.arange(3).repeat(2, 1)
    return torch.cat([drawn, drawn[:, :20].flip(0), drawn[:, :5], loops], dim=1), num_nodes


def without(edge_index, num_nodes, i, j):
    """Neighbours of each node in the graph without the edge between two."""
    found = {node: set() for node in range(num_nodes)}
    for one, other in edge_index.t().tolist():
        if one != other and {one, other} != {i, j}:
            found[one].add(other)
            found[other].add(one)
    return found


def slow(edge_index, num_nodes, i, j):
    """All scores by loops, in the graph in which the edge between the two is not."""
    near = without(edge_index, num_nodes, i, j)
    whole = without(edge_index, num_nodes, -1, -1)
    shared = near[i] & near[j]
    walks = sum(1 / (len(whole[k]) * len(whole[m])) for k in near[i] for m in near[j] if m in near[k])
    scores = [len(shared), sum(1 / np.log(len(near[k])) for k in shared), sum(1 / len(near[k]) for k in shared), walks]
    return scores, [len(near[i]), len(near[j])]


@pytest.mark.parametrize("size", [None, 3])
def test_scores_are_those_of_the_graph_without_the_pair_own_edge(size, monkeypatch):
    if size is not None:  # many chunks and blocks
        monkeypatch.setattr("msg.graph.neighborhoods._CHUNK", 20)
        monkeypatch.setattr("msg.graph.neighborhoods._ROWS", size)
    edge_index, num_nodes = graph()
    pairs = torch.triu_indices(num_nodes, num_nodes, 1)
    pairs = torch.cat([pairs, pairs[:, ::7].flip(0)], dim=1)  # the order of the two does not matter
    neighborhoods = Neighborhoods(edge_index, num_nodes)
    want = [slow(edge_index, num_nodes, *pair) for pair in pairs.t().tolist()]
    counts, degrees = (torch.tensor(part, dtype=torch.float32) for part in zip(*want))
    torch.testing.assert_close(neighborhoods.counts(pairs), counts, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(neighborhoods.shared(pairs), counts[:, :3], rtol=1e-5, atol=1e-6)
    assert torch.equal(neighborhoods.degrees(pairs), degrees)
    assert (counts[:, 3] > 0).any()


@pytest.mark.parametrize("edges", [300, 9000])
def test_compiled_counts_are_those_of_sparse_products(edges, monkeypatch):
    """Few walks of two steps, which are forgotten one by one, and so many that they reach everywhere."""
    edge_index, num_nodes = graph(400, edges)
    pairs = torch.randint(num_nodes, (2, 2000))
    counts, degrees = Neighborhoods(edge_index, num_nodes).counts_and_degrees(pairs)
    monkeypatch.setenv("MSG_KERNELS", "torch")
    other = Neighborhoods(edge_index, num_nodes)
    torch.testing.assert_close(counts, other.counts(pairs), rtol=1e-5, atol=1e-6)
    assert torch.equal(degrees, other.degrees(pairs))


def test_a_training_edge_scores_as_if_it_were_held_out():
    edge_index, num_nodes = graph(seed=1)
    whole = Neighborhoods(edge_index, num_nodes)
    for i, j in edge_index.t().tolist()[:15]:
        if i == j:
            continue
        own = ((edge_index == torch.tensor([[i], [j]])) | (edge_index == torch.tensor([[j], [i]]))).all(0)
        held_out = Neighborhoods(edge_index[:, ~own], num_nodes)
        pair = torch.tensor([[i], [j]])
        # walks of the whole graph weigh its degrees; no walk that is left passes through the two
        torch.testing.assert_close(whole.counts(pair), held_out.counts(pair), rtol=1e-5, atol=1e-6)
        assert torch.equal(whole.degrees(pair), held_out.degrees(pair))


def test_shared_neighbours_by_name():
    edge_index, num_nodes = graph()
    near = without(edge_index, num_nodes, -1, -1)
    pairs = torch.tensor([[0, 1, 2, 24], [1, 5, 9, 3]])
    rows = Neighborhoods(edge_index, num_nodes).common(pairs).toarray()
    assert rows.shape == (4, num_nodes)
    for row, (i, j) in zip(rows, pairs.t().tolist()):
        assert set(row.nonzero()[0]) == near[i] & near[j]


@pytest.mark.parametrize("edges", [torch.zeros(2, 0, dtype=torch.long), torch.tensor([[1], [1]])])
def test_a_graph_without_edges_and_no_pairs(edges):
    neighborhoods = Neighborhoods(edges, 4)
    assert neighborhoods.counts(torch.tensor([[0, 1], [1, 2]])).tolist() == [[0] * 4] * 2
    assert neighborhoods.degrees(torch.tensor([[0], [1]])).tolist() == [[0, 0]]
    assert neighborhoods.counts(torch.zeros(2, 0, dtype=torch.long)).shape == (0, 4)


def test_held_out_edges_are_never_seen():
    data = load_graph("karate", features="dense")
    split = link_split(data, "link:60/20/20")
    neighborhoods = Neighborhoods(split.train["edge_index"], 34)
    assert neighborhoods.adjacency.nnz == split.train["edge_index"].size(1) < data["edge_index"].size(1)
    for part in split:
        for number, (i, j) in enumerate(part["edge_label_index"].t().tolist()):
            scores, degrees = slow(split.train["edge_index"], 34, i, j)
            pair = part["edge_label_index"][:, number : number + 1]
            assert neighborhoods.counts(pair)[0].tolist() == pytest.approx(scores, rel=1e-5, abs=1e-6)
            assert neighborhoods.degrees(pair)[0].tolist() == degrees


@pytest.mark.parametrize("pair", [[0, 25], [-1, 3]])
def test_nodes_that_are_not_there(pair):
    neighborhoods = Neighborhoods(*graph())
    for look in (neighborhoods.counts, neighborhoods.degrees, neighborhoods.shared):
        with pytest.raises(IndexError, match="must name nodes 0 to 24"):
            look(torch.tensor(pair)[:, None])
