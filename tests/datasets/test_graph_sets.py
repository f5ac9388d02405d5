"""Sets of graphs that are made: the motifs, one's own, and their folds."""

from collections import Counter

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.utils import to_networkx

from msg.datasets import Card, DatasetError, RawGraphs, load_graph, load_graphs, register, remove
from msg.datasets.generators import motifs

MASKS = ("train_mask", "val_mask", "test_mask")


def test_motifs_differ_in_nothing_but_the_motif():
    data = load_graphs("motifs")
    graphs = data.to_data_list()
    assert len(graphs) == data.num_graphs == 300
    assert Counter(data.y.tolist()) == {0: 150, 1: 150}
    for graph in graphs[:20]:
        whole = to_networkx(graph, to_undirected=True)
        assert nx.is_connected(whole)
        # what is left when leaves are taken away again and again: the motif
        core = nx.k_core(whole, 2)
        assert sorted(d for _, d in core.degree()) == [2, 2, 2, 3, 3]
        assert nx.is_bipartite(core) == (int(graph.y) == 1)
        degrees = torch.tensor([min(d, 6) for _, d in sorted(whole.degree())])
        assert torch.equal(graph.x, torch.nn.functional.one_hot(degrees - 1, 6).float())
    # two trees alike with another motif would have the same numbers of nodes of each degree: the sums say nothing
    with pytest.raises(ValueError, match="motifs needs num_graphs >= 2"):
        motifs(1)


def test_a_set_of_your_own():
    def rings():
        sizes = np.arange(3, 9)
        starts = np.cumsum(sizes) - sizes
        edges = [np.stack([s + np.arange(n), s + (np.arange(n) + 1) % n]) for s, n in zip(starts, sizes)]
        graph = np.repeat(np.arange(6), sizes)
        return RawGraphs(np.ones((len(graph), 1)), np.concatenate(edges, axis=1), graph, sizes % 2)

    register(Card(key="rings", title="Rings", graphs=6, features=1, classes=2), rings)
    try:
        data = load_graphs("rings", split="random:50/20/30", seed=3)
        assert [graph.num_edges for graph in data.to_data_list()] == [2 * n for n in range(3, 9)]
        assert [int(data[name].sum()) for name in MASKS] == [3, 1, 2]
        chosen = data.index_select(data.train_mask)
        assert len(chosen) == 3
    finally:
        remove("rings")
    register(Card(key="ring", title="A ring", features=1, classes=2), rings)
    try:
        with pytest.raises(ValueError, match="is a set if its card has a number of graphs"):
            load_graph("ring")
    finally:
        remove("ring")


def test_sets_that_are_none_are_refused():
    def broken():
        return RawGraphs(np.ones((3, 1)), np.zeros((2, 0), int), np.array([0, 0, 2]), np.array([0, 1, 0]))

    register(Card(key="broken", title="Broken", graphs=3), broken)
    try:
        with pytest.raises(DatasetError, match="graph 'broken' has graphs without nodes"):
            load_graphs("broken")
    finally:
        remove("broken")


def test_folds_test_every_graph_once_and_keep_the_shares_of_classes():
    seen, shuffled = [], []
    for seed in range(20):
        data = load_graphs("motifs", split="folds:10", seed=seed)
        train, val, test = (data[name] for name in MASKS)
        assert bool(((train.int() + val.int() + test.int()) == 1).all())
        assert [int(part.sum()) for part in (train, val, test)] == [243, 27, 30]
        assert [abs(2 * int(data.y[part].sum()) - int(part.sum())) <= 1 for part in (train, val, test)] == [True] * 3
        (seen if seed < 10 else shuffled).append(test)
    assert torch.equal(torch.stack(seen).sum(0), torch.ones(300, dtype=torch.long))
    assert torch.equal(torch.stack(shuffled).sum(0), torch.ones(300, dtype=torch.long))
    assert not any(torch.equal(a, b) for a, b in zip(seen, shuffled))
    again = load_graphs("motifs", split="folds:10", seed=7)
    assert torch.equal(again.test_mask, seen[7])
    with pytest.raises(ValueError, match="class 0 has only 150 members, choose fewer folds"):
        load_graphs("motifs", split="folds:200")
    with pytest.raises(ValueError, match=r"unknown split 'folds:1'.*folds:K"):
        load_graphs("motifs", split="folds:1")
    with pytest.raises(ValueError, match="leaves no graph for the val part"):
        load_graphs("motifs", split="random:99/0/1")
