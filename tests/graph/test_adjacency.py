"""Graphs as a transposed adjacency matrix, in every layout that PyG's users have it in."""

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import ToSparseTensor
from torch_geometric.utils import coalesce, to_torch_coo_tensor

from msg.graph import Graph, GraphMemo, as_edges
from msg.nn import MSG, SGC, SpikingGNN


@pytest.fixture
def weighted(edge_index):
    edges = coalesce(edge_index)
    return edges, torch.rand(edges.size(1))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")  # where torch meets its first one
@pytest.mark.parametrize("layout", ["sparse_coo", "sparse_csr", "sparse_csc"])
def test_edges_and_weights_are_those_of_the_matrix(weighted, layout):
    dense = torch.zeros(7, 7)
    dense[weighted[0][1], weighted[0][0]] = weighted[1]
    edges, weight = as_edges(getattr(dense, f"to_{layout}")(), None, 7)
    back = torch.zeros(7, 7)
    back[edges[1], edges[0]] = weight
    assert torch.equal(back, dense)
    assert as_edges((dense > 0).float().to_sparse_coo(), None, 7)[1] is None


@pytest.mark.parametrize("make", [lambda: MSG(5, 3, "H4"), lambda: SpikingGNN(5, 3, 4)])
def test_models_read_what_pygs_transform_makes(make, weighted):
    edges, weight = weighted
    model, x = make().eval(), torch.rand(7, 5)
    data = ToSparseTensor(attr="edge_weight", layout=torch.sparse_coo)(Data(x=x, edge_index=edges, edge_weight=weight))
    torch.testing.assert_close(model(data.x, data.adj_t), model(x, edges, weight))


def test_a_matrix_is_read_once_and_a_change_is_seen(weighted):
    memo, adj_t = GraphMemo(), to_torch_coo_tensor(weighted[0].flip(0), weighted[1], (7, 7))
    graph, want = memo.graph(adj_t, None, 7), adj_t.to_dense() / 2
    assert memo.graph(adj_t, None, 7) is graph
    adj_t._values().mul_(0.5)
    changed = memo.graph(adj_t, None, 7)
    assert changed is not graph
    assert torch.equal(want[changed.edge_index[1], changed.edge_index[0]], changed.edge_weight)


def test_entries_that_stand_there_twice_are_sums_and_stay_the_callers():
    indices, values = torch.tensor([[0, 0, 1, 2], [0, 0, 0, 1]]), torch.tensor([3.0, 1.0, 1.0, 2.0])
    adj_t = torch.sparse_coo_tensor(indices, values, (3, 3), check_invariants=True)
    model, x = SGC(4, 3).eval(), torch.eye(3, 4)
    out = model(x, adj_t)
    assert not adj_t.is_coalesced()
    assert torch.equal(adj_t.coalesce().values(), torch.tensor([4.0, 1.0, 2.0]))
    torch.testing.assert_close(out, model(x, adj_t.coalesce()))
    once = torch.tensor([[0, 0, 1], [0, 1, 2]]), torch.tensor([4.0, 1.0, 2.0])
    torch.testing.assert_close(out, model(x, *once))


def test_torch_sparse(weighted):
    torch_sparse = pytest.importorskip("torch_sparse")
    (source, target), weight = weighted
    adj_t = torch_sparse.SparseTensor(row=target, col=source, value=weight, sparse_sizes=(7, 7))
    model, x = MSG(5, 3, "H4").eval(), torch.rand(7, 5)
    torch.testing.assert_close(model(x, adj_t), model(x, *weighted))
    assert model._graphs.graph(adj_t, None, 7) is model._graphs.graph(adj_t, None, 7)
    torch.testing.assert_close(model(x, adj_t.set_value(None)), model(x, weighted[0]))


def test_refusals(weighted):
    adj_t, x = to_torch_coo_tensor(weighted[0].flip(0), size=(7, 7)), torch.rand(7, 5)
    with pytest.raises(ValueError, match=r"in blocks holds zeros.*use adj_t\.to_dense\(\)\.to_sparse_csr"):
        as_edges(torch.eye(6).to_sparse_bsr(3), None, 6)
    with pytest.raises(ValueError, match="edge_weight contradicts"):
        MSG(5, 3)(x, adj_t, weighted[1])
    with pytest.raises(ValueError, match=r"x has 6 nodes.*\[7, 7\].*SpikingConv"):
        MSG(5, 3)(x[:6], adj_t)


@pytest.mark.parametrize("conv", ["gcn", "sage", "gin"])
def test_a_graph_whose_weights_are_learned_is_read_anew_in_each_pass(conv, edge_index):
    weight, x = torch.rand(10).requires_grad_(), torch.rand(7, 5)
    model, graph = SpikingGNN(5, 3, 4, conv=conv).eval(), Graph(edge_index, weight, 7)
    for _ in range(3):  # a second backward pass, too
        torch.testing.assert_close(model(x, graph), model(x, edge_index, weight))
        (grad,) = torch.autograd.grad(model(x, graph).square().sum(), weight)
        assert grad.abs().sum() > 0
        with torch.no_grad():
            weight -= 0.5 * grad
    constant = Graph(edge_index, weight.detach(), 7)
    assert constant.of_a_pass() is constant
