"""A partition: every node in one part, every edge where its target is, and borders that fit together."""

import builtins
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Data
from torch_geometric.datasets import KarateClub

from msg.graph import Graph, Partition, PartitionedGraph, partition
from msg.graph.exchange import planes_of
from msg.nn import MSG


def drawn(nodes=30, edges=90, seed=0):
    draw = torch.Generator().manual_seed(seed)
    data = Data(edge_index=torch.randint(0, nodes, (2, edges), generator=draw), num_nodes=nodes)
    data.x = torch.randn(nodes, 4, generator=draw)
    data.edge_weight = torch.rand(edges, generator=draw)
    return data


@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 40), st.integers(0, 99))
def test_borders_fit_together_and_no_edge_is_lost(parts, nodes, edges, seed):
    data = drawn(nodes, edges, seed)
    owner = torch.randint(0, parts, (nodes,), generator=torch.Generator().manual_seed(seed))
    cut = Partition(data, owner, parts)
    held = [cut[part] for part in range(parts)]
    assert sorted(torch.cat([part.nodes for part in held]).tolist()) == list(range(nodes))
    found = []
    for part in held:
        graph = part.graph
        names = torch.cat([graph.nodes, graph.halo])
        found += [(*pair, w) for *pair, w in zip(*names[graph.edge_index].tolist(), graph.edge_weight.tolist())]
        assert graph.most_nodes == max(len(other.nodes) for other in held)
        assert torch.equal(part.x, data.x[part.nodes])
    assert sorted(found) == sorted((*pair, w) for *pair, w in zip(*data.edge_index.tolist(), data.edge_weight.tolist()))
    for number, part in enumerate(held):  # what the others send is the halo, in its order
        arriving = []
        for other in held:
            border = other.graph.border
            first = sum(border.send_counts[:number])
            arriving += other.nodes[border.send[first : first + border.send_counts[number]]].tolist()
            assert border.send_counts[number] == part.graph.border.receive_counts[held.index(other)]
        assert arriving == part.graph.halo.tolist()


def test_rows_add_up_in_the_order_of_the_whole_graph():
    data = drawn()
    whole = Graph(data.edge_index, data.edge_weight, 30).matrix("sum", lambda _: (data.edge_index, data.edge_weight))
    cut = Partition(data, torch.arange(30) % 3, 3)
    for number in range(3):
        graph = cut[number].graph
        matrix = graph.matrix("sum", lambda _, g=graph: (g.edge_index, g.edge_weight))
        names = torch.cat([graph.nodes, graph.halo])
        for row, node in enumerate(graph.nodes.tolist()):
            own, other = (slice(*m.pointers[i : i + 2].tolist()) for m, i in ((matrix, row), (whole, node)))
            assert torch.equal(names[matrix.columns[own].long()], whole.columns[other].long())
            assert torch.equal(matrix.values[own], whole.values[other])


@pytest.mark.parametrize("method", ["metis", "range"])
@pytest.mark.parametrize(("nodes", "parts"), [(30, 1), (30, 4), (3, 5), (1, 2)])
def test_every_method_deals_all_nodes(method, nodes, parts):
    cut = partition(drawn(nodes), parts, method)
    assert len(cut) == parts
    assert cut.assignment.shape == (nodes,)
    assert 0 <= int(cut.assignment.min()) <= int(cut.assignment.max()) < parts
    assert torch.equal(cut.assignment, partition(drawn(nodes), parts, method).assignment)


def test_metis_cuts_fewer_edges():
    blocks = torch.randint(0, 50, (2, 600), generator=torch.Generator().manual_seed(0))
    shuffled = torch.randperm(100, generator=torch.Generator().manual_seed(1))
    data = Data(edge_index=shuffled[torch.cat([blocks, blocks + 50], dim=1)], num_nodes=100)
    assert partition(data, 2, "metis").cut == 0
    assert partition(data, 2, "range").cut > 400


def test_features_may_be_sparse():
    data = drawn()
    dense, data.x = data.x, data.x.to_sparse_csr()
    part = partition(data, 2, "range")[1]
    assert torch.equal(part.x, dense[part.nodes])


def test_a_part_can_be_kept_and_copied():
    part = partition(drawn(), 1, "range")[0]
    model = MSG(4, 2, manifold="H4", num_layers=2, timesteps=3)
    model(part.x, part.graph)
    copy = pickle.loads(pickle.dumps(part))
    assert isinstance(copy.graph, PartitionedGraph)
    assert torch.equal(model(copy.x, copy.graph), model(part.x, part.graph))


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 15, 16, 64, 255, 256])
def test_planes_hold_every_count(levels):
    assert 2 ** planes_of(levels) > levels >= 2 ** (planes_of(levels) - 1)


@pytest.mark.parametrize("parts", [0, -1, 1.5, True])
def test_impossible_parts(parts):
    with pytest.raises(ValueError, match="parts must be a whole number of at least 1"):
        partition(drawn(), parts, "range")


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="unknown partition 'halves': use 'metis', 'range'"):
        partition(drawn(), 2, "halves")
    cut = partition(drawn(), 2, "range")
    with pytest.raises(IndexError, match="part 2 of a graph in 2 parts"):
        cut[2]
    model, part = MSG(4, 2, manifold="H4"), partition(drawn(), 1, "range")[0]
    with pytest.raises(ValueError, match="x has 29 nodes, but the graph has 30"):
        model(part.x[1:], part.graph)
    with pytest.raises(ValueError, match="edge_weight contradicts"):
        model(part.x, part.graph, part.graph.edge_weight)
    with pytest.raises(ValueError, match=r"dense: use x\.to_dense"):
        model(part.x.to_sparse(), part.graph)
    data = drawn()
    data.edge_weight.requires_grad_()
    with pytest.raises(ValueError, match=r"constant: use edge_weight\.detach"):
        partition(data, 2, "range")[0]


def test_without_pymetis_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def absent(name, *arguments, **more):
        if name == "pymetis":
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r'msg-graph\[distributed\]", or choose \'range\''):
        partition(drawn(), 2)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_single(half):
    data = drawn(seed=3)
    graph = partition(data, 1, "range")[0].graph
    x = data.x[graph.nodes].to(half)
    matrix, whole = graph.normalized(half), Graph(data.edge_index, data.edge_weight, 30).normalized(half)
    graph.border.halo = lambda rows: rows[:0]
    assert matrix.matmul(x).dtype == matrix.here(x).dtype == half
    torch.testing.assert_close(matrix.matmul(x), whole.matmul(x), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(matrix.here(x), whole.matmul(x), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("parts", [9, 10, 16])
def test_no_part_is_empty_where_there_are_few_nodes_each(parts):
    pytest.importorskip("pymetis")
    assert torch.bincount(partition(KarateClub()[0], parts).assignment, minlength=parts).min() > 0


def test_a_train_of_features_is_cut_along_its_nodes():
    data = drawn()
    data.x = torch.randn(50, 30, 4)
    for part in partition(data, 2, "range"):
        assert torch.equal(part.x, data.x[:, part.nodes])
    for wrong in (torch.randn(30), torch.randn(29, 4), torch.randn(30, 5, 4)):
        data.x = wrong
        with pytest.raises(ValueError, match=r"x must be \[N, F\] or a train \[T, N, F\] of 30 nodes, not"):
            partition(data, 2, "range")
