import copy
import gc
import math
import operator
import pickle

import pytest
import torch
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from msg.energy import count
from msg.graph import Graph, Memo, SparseMatrix, WeightedEdges, sparse

EDGE = torch.tensor([[0, 1], [1, 0]])


def _entries(dtype=torch.float64, requires_grad=False):
    row = torch.tensor([0, 3, 1, 0, 3, 0])
    col = torch.tensor([1, 0, 4, 1, 3, 0])  # (0, 1) twice; row 2 and column 2 empty
    value = torch.tensor([1.0, -2.0, 0.5, 3.0, 4.0, 0.0], dtype=dtype, requires_grad=requires_grad)
    return row, col, value


def _dense(row, col, value, shape):
    dense = torch.zeros(shape, dtype=value.dtype)
    for r, c, v in zip(row.tolist(), col.tolist(), value.detach().tolist()):
        dense[r, c] += v
    return dense


@pytest.mark.parametrize("kind", [SparseMatrix, WeightedEdges])
@pytest.mark.parametrize("trailing", [(3,), (2, 3), (2, 0), (200,), (2, 200)])
def test_matmul_is_the_dense_product(kind, trailing, dtype):
    entries, shape = _entries(dtype), (4, 5)
    matrix = kind(*entries, shape)
    x = torch.randn(5, *trailing, dtype=dtype, requires_grad=True)
    got, want = matrix.matmul(x), torch.einsum("nm,m...->n...", _dense(*entries, shape), x)
    assert got.shape == (4, *trailing)
    torch.testing.assert_close(got, want)
    upstream = torch.randn_like(got)
    a, b = (torch.autograd.grad(out, x, upstream)[0] for out in (got, want))
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", [SparseMatrix, WeightedEdges])
@pytest.mark.parametrize(("width", "long"), [(1, False), (63, False), (128, True)])
def test_which_loop_adds_up_does_not_depend_on_steps_folded_into_columns(kind, width, long, dtype, monkeypatch):
    """Their sums differ in last digits, which decide spikes."""
    matrix, calls = kind(*_entries(dtype), (4, 5)), []
    product = torch.sparse.mm
    monkeypatch.setattr(torch.sparse, "mm", lambda *operands: calls.append(operands) or product(*operands))
    for steps in (1, 2, 30):
        matrix.matmul(torch.randn(5, steps, width, dtype=dtype))
    assert len(calls) == 3 * long


@pytest.mark.parametrize("width", [3, 200])
def test_some_columns_at_a_time_are_the_same_product(width, dtype, monkeypatch):
    entries = _entries(dtype)
    matrix, x = SparseMatrix(*entries, (4, 5)), torch.randn(5, 7, width, dtype=dtype)
    want, calls = torch.einsum("nm,m...->n...", _dense(*entries, (4, 5)), x), []
    for name, value in (("_CACHED", 0), ("_MANY", 0), ("_ABREAST", 16)):
        monkeypatch.setattr(sparse, name, value)
    for name in ("mm", "sparse.mm"):
        product = operator.attrgetter(name)(torch)
        monkeypatch.setattr(f"torch.{name}", lambda *args, product=product: calls.append(args) or product(*args))
    torch.testing.assert_close(matrix.matmul(x), want)
    parts = math.ceil(7 * width / 16)
    assert len(calls) == parts
    with count(torch.nn.Identity()) as ops:  # one product is counted as one
        torch.testing.assert_close(matrix.matmul(x), want)
    assert not ops.unknown
    assert len(calls) == parts + 1


@pytest.mark.parametrize("width", [3, 200])
def test_many_operands_at_once(width):
    matrix = SparseMatrix(*_entries(), (4, 5), left=torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64))
    x = torch.randn(6, 5, 2, width, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(matrix.matmul)(x), torch.stack([matrix.matmul(one) for one in x]))


@pytest.mark.parametrize("kind", [SparseMatrix, WeightedEdges])
def test_transpose_and_entries(kind, dtype):
    shape = (4, 5)
    matrix = kind(*_entries(dtype), shape)
    dense = _dense(*_entries(dtype), shape)
    assert torch.equal(_dense(*matrix.entries(), shape), dense)
    assert matrix.T.shape == (5, 4)
    assert torch.equal(_dense(*matrix.T.entries(), (5, 4)), dense.t())
    x = torch.randn(4, 3, dtype=dtype, requires_grad=True)
    got, want = matrix.T.matmul(x), dense.t() @ x
    torch.testing.assert_close(got, want)
    upstream = torch.randn_like(got)
    a, b = (torch.autograd.grad(out, x, upstream)[0] for out in (got, want))
    torch.testing.assert_close(a, b)
    assert torch.equal(_dense(*matrix.T.T.entries(), shape), dense)


def test_other_values_at_the_same_entries(dtype):
    shape = (4, 5)
    matrix = SparseMatrix(*_entries(dtype), shape)
    row, col, value = matrix.entries()
    values = torch.randn_like(value)
    other, want = matrix.with_values(values), SparseMatrix(row, col, values, shape)
    assert torch.equal(other.csr.to_dense(), want.csr.to_dense())
    assert torch.equal(other.transposed.to_dense(), want.transposed.to_dense())
    assert torch.equal(other.T.csr.to_dense(), want.T.csr.to_dense())
    again = other.with_values(2 * values)
    assert torch.equal(again.transposed.to_dense(), 2 * want.transposed.to_dense())
    assert torch.equal(matrix.csr.values(), value)


def test_gradient_in_the_entries():
    row, col, value = _entries(requires_grad=True)
    for width in (3, 70):
        x = torch.randn(5, 2, width, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda v, x: WeightedEdges(row, col, v, (4, 5)).matmul(x), (value, x))


def test_backward_of_a_transposed_view_and_an_expanded_gradient():
    matrix = SparseMatrix(*_entries(), (4, 5))
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(matrix.matmul(x.t()).sum(), x)
    torch.testing.assert_close(grad, _dense(*_entries(), (4, 5)).sum(0).expand(3, 5))


def test_properties():
    matrix = SparseMatrix(*_entries(), (4, 5))
    assert (matrix.nnz, matrix.dtype, matrix.shape) == (6, torch.float64, (4, 5))
    assert (matrix.size(0), matrix.size(1)) == (4, 5)
    torch.testing.assert_close(matrix.transposed.to_dense(), _dense(*_entries(), (4, 5)).t())
    assert matrix.transposed is matrix.transposed


@pytest.mark.parametrize("empty", [(0, 5), (4, 0), (4, 5)])
def test_no_entries(empty):
    none = torch.zeros(0, dtype=torch.int64)
    matrix = SparseMatrix(none, none, torch.zeros(0), empty)
    x = torch.randn(empty[1], 3, requires_grad=True)
    out = matrix.matmul(x)
    assert torch.equal(out, torch.zeros(empty[0], 3))
    assert torch.equal(torch.autograd.grad(out.sum(), x)[0], torch.zeros_like(x))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state:UserWarning")
@pytest.mark.filterwarnings("ignore:Sparse CSC tensor support is in beta state:UserWarning")
@pytest.mark.parametrize("convert", ["to_sparse_coo", "to_sparse_csr", "to_sparse_csc"])
def test_from_tensor_of_any_layout(convert):
    dense = torch.randn(4, 5) * (torch.rand(4, 5) < 0.4)
    torch.testing.assert_close(SparseMatrix.from_tensor(getattr(dense, convert)()).csr.to_dense(), dense)


def test_from_uncoalesced_tensor_adds_up():
    row, col, value = _entries()
    x = torch.sparse_coo_tensor(torch.stack([row, col]), value, (4, 5), check_invariants=True)
    torch.testing.assert_close(SparseMatrix.from_tensor(x).csr.to_dense(), _dense(row, col, value, (4, 5)))


def _forms(dtype):
    """The same matrix with what it does not store, and with all of its entries."""
    row, col, _ = _entries(dtype)
    left = torch.rand(4, dtype=dtype) + 0.5
    ones = torch.ones(len(row), dtype=dtype)
    yield SparseMatrix(row, col, dtype, (4, 5)), SparseMatrix(row, col, ones, (4, 5))
    yield SparseMatrix(row, col, dtype, (4, 5), left), SparseMatrix(row, col, left[row], (4, 5))
    yield SparseMatrix(row, col, 2 * ones, (4, 5), left), SparseMatrix(row, col, 2 * left[row], (4, 5))


def test_entries_that_are_not_stored(dtype):
    for found, want in _forms(dtype):
        assert (found.nnz, found.dtype) == (6, dtype)
        for a, b in zip(found.entries(), want.entries()):
            torch.testing.assert_close(a, b)
        torch.testing.assert_close(found.csr.to_dense(), want.csr.to_dense())
        torch.testing.assert_close(found.values, want.values)
        torch.testing.assert_close(found.T.csr.to_dense(), want.T.csr.to_dense())
        torch.testing.assert_close(found.T.T.csr.to_dense(), want.csr.to_dense())
        x = torch.randn(5, 2, 3, dtype=dtype, requires_grad=True)
        upstream = torch.randn(4, 2, 3, dtype=dtype)
        for a, b in zip(*(_product_and_gradient(matrix, x, upstream) for matrix in (found, want))):
            torch.testing.assert_close(a, b)
        other = found.with_values(torch.ones(6, dtype=dtype))
        assert torch.equal(other.values, torch.ones(6, dtype=dtype))


def _product_and_gradient(matrix, x, upstream):
    out = matrix.matmul(x)
    (grad,) = torch.autograd.grad(out, x, upstream)
    torch.testing.assert_close(matrix.back(upstream.flatten(1)).view_as(grad), grad)
    return out, grad


def test_second_derivatives_through_factors_of_rows():
    for matrix, _ in _forms(torch.float64):
        x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradgradcheck(lambda x, matrix=matrix: matrix.matmul(x).square(), x)


def test_weights_of_one_are_made_by_the_first_product_alone():
    with torch.inference_mode():
        matrix = Graph(EDGE, None, 2).matrix("a", lambda _: (EDGE, torch.float32))
        assert "unscaled" not in vars(matrix)
        matrix.matmul(torch.ones(2, 1))
    x = torch.ones(2, 1, requires_grad=True)
    assert torch.autograd.grad(matrix.matmul(x).sum(), x)[0].tolist() == [[1], [1]]


@pytest.fixture(params=[3, 2**20], ids=["chunks", "whole"])
def chunk(request, monkeypatch):
    monkeypatch.setattr(sparse, "_CHUNK", request.param)


def _both_ways(nodes=9, edges=20):
    """Both directions of edges, some of them twice, with self-loops."""
    row, col = torch.randint(0, nodes, (2, edges))
    row, col = torch.cat([row, row[:4], torch.arange(3)]), torch.cat([col, col[:4], torch.arange(3)])
    value = torch.randn(nodes, nodes, dtype=torch.float64)
    row, col = torch.cat([row, col]), torch.cat([col, row])
    return row, col, (value + value.t())[row, col]


@pytest.mark.usefixtures("chunk")
def test_a_symmetric_matrix_is_its_own_transpose():
    row, col, value = _both_ways()
    left = torch.rand(9, dtype=torch.float64)
    for given in ((value,), (torch.float64,), (torch.float64, left)):
        matrix = SparseMatrix(row, col, given[0], (9, 9), *given[1:])
        dense = matrix.csr.to_dense()
        assert matrix.transposed is matrix.unscaled
        assert (matrix.T is matrix) is (len(given) == 1)
        torch.testing.assert_close(matrix.T.csr.to_dense(), dense.t())
        grad = torch.randn(9, 2, dtype=torch.float64)
        torch.testing.assert_close(matrix.back(grad), dense.t() @ grad)
    for nodes in (0, 3):
        none = torch.zeros(0, dtype=torch.long)
        matrix = SparseMatrix(none, none, torch.float32, (nodes, nodes))
        assert matrix.transposed is matrix.unscaled


@pytest.mark.usefixtures("chunk")
def test_what_is_not_symmetric_gets_a_transpose():
    row, col, value = _both_ways()
    once = value.clone()
    once[(row != col).nonzero()[-1]] += 1e-9  # in one of the two directions
    unknown = torch.where(row == row[0], torch.nan, value)
    circle = torch.arange(9), (torch.arange(9) + 1) % 9  # as many edges from a node as to it
    line = torch.tensor([0, 1]), torch.tensor([1, 2])
    every = [(row, col, once, (9, 9)), (row, col, unknown, (9, 9)), (*circle, torch.float64, (9, 9))]
    every += [(*line, torch.float64, (3, 3)), (*line, torch.float64, (2, 3))]
    for row, col, value, shape in every:
        matrix = SparseMatrix(row, col, value, shape)
        assert matrix.transposed is not matrix.unscaled
        torch.testing.assert_close(matrix.transposed.to_dense(), matrix.csr.to_dense().t(), equal_nan=True)


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("improved", [True, False])
def test_an_undirected_graph_is_normalised_symmetrically(improved, loops, dtype):
    row, col, _ = _both_ways()
    matrix = Graph(torch.stack([col, row]), None, 9).normalized(dtype, improved, loops)
    assert matrix.T is matrix
    index, value = gcn_norm(torch.stack([col, row]), None, 9, improved, loops, dtype=dtype)
    assert torch.equal(matrix.csr.to_dense(), _dense(index[1], index[0], value, (9, 9)))


# -------------------------------------------------------------------------------- Graph


@pytest.mark.parametrize(
    ("edge_index", "weight", "match"),
    [
        (torch.zeros(3, 4, dtype=torch.long), None, r"\[2, num_edges\]"),
        (torch.zeros(2, dtype=torch.long), None, r"\[2, num_edges\]"),
        (torch.zeros(2, 4), None, "integer"),
        (torch.tensor([[0], [5]]), None, "node 5.*5 nodes"),
        (torch.tensor([[-1], [1]]), None, "smallest: -1"),
        (torch.tensor([[0], [1]]), torch.ones(2), r"\[2\].*1 edges"),
        (torch.tensor([[0], [1]]), torch.ones(1, 1), r"\[1, 1\].*1 edges"),
        (torch.eye(5).to_sparse_coo(), None, "as_edges"),
    ],
)
def test_graph_refuses_what_does_not_fit(edge_index, weight, match):
    with pytest.raises(ValueError, match=match):
        Graph(edge_index, weight, 5)


def test_graph_builds_each_matrix_once():
    graph, built = Graph(torch.tensor([[0, 1], [1, 2]]), None, 3), []

    def entries(_):
        built.append(1)
        return graph.edge_index, torch.tensor([2.0, 3.0])

    first = graph.matrix("a", entries)
    assert graph.matrix("a", entries) is first
    assert isinstance(first, SparseMatrix)
    assert graph.matrix("b", entries) is not first
    assert len(built) == 2
    # rows are targets: messages flow from source to target
    assert first.csr.to_dense().tolist() == [[0, 0, 0], [2, 0, 0], [0, 3, 0]]


def test_graph_keeps_weights_that_learn_differentiable():
    weight = torch.ones(1, requires_grad=True)
    graph = Graph(torch.tensor([[0], [1]]), weight, 2)
    assert isinstance(graph.matrix("a", lambda _: (graph.edge_index, weight)), WeightedEdges)


# -------------------------------------------------------------------------------- Memo


class _Counted:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return self.calls


def test_memo_recalls_the_same_unmodified_objects():
    memo, build = Memo(), _Counted()
    a, b = torch.zeros(3), torch.ones(3)
    assert memo.recall((a, b), (1,), build) == 1
    assert memo.recall((a, b), (1,), build) == 1
    assert memo.recall((a, None), (1,), build) == 2
    assert memo.recall((a, None), (1,), build) == 2
    assert memo.recall((a, None), (2,), build) == 3
    assert memo.recall((a.clone(), None), (2,), build) == 4


def test_memo_sees_changes_in_place():
    memo, build = Memo(), _Counted()
    a, b = torch.zeros(3), torch.ones(3)
    memo.recall((a, b), (), build)
    a[0] = 5
    assert memo.recall((a, b), (), build) == 2
    b.mul_(2)
    assert memo.recall((a, b), (), build) == 3
    a.view(-1)[1] = 7  # through a view
    assert memo.recall((a, b), (), build) == 4
    assert memo.recall((a, b), (), build) == 4


def test_memo_sees_changes_of_sparse_values_in_place():
    memo, build = Memo(), _Counted()
    x = torch.eye(3).to_sparse_coo().coalesce()
    memo.recall((x,), (), build)
    x.mul_(2)
    assert memo.recall((x,), (), build) == 2


def test_memo_does_not_mistake_a_new_object_at_an_old_address():
    memo, build = Memo(), _Counted()
    for expected in range(1, 5):
        a = torch.full((3,), float(expected))
        assert memo.recall((a,), (), build) == expected
        del a  # the next one is likely to be allocated in its place


def test_memo_does_not_keep_its_key_alive():
    import weakref

    memo, a = Memo(), torch.zeros(3)
    ref = weakref.ref(a)
    memo.recall((a,), (), lambda: 1)
    del a
    gc.collect()
    assert ref() is None


def test_memo_never_caches_what_carries_gradient_or_counts_no_versions():
    memo, build = Memo(), _Counted()
    a = torch.zeros(3, requires_grad=True)
    assert [memo.recall((a,), (), build) for _ in range(2)] == [1, 2]
    with torch.inference_mode():
        b = torch.zeros(3)
    assert [memo.recall((b,), (), build) for _ in range(2)] == [3, 4]


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m))])
def test_memo_is_not_copied(copied):
    memo, build, a = Memo(), _Counted(), torch.zeros(3)
    memo.recall((a,), (), build)
    assert copied(memo).recall((a,), (), build) == 2
    assert memo.recall((a,), (), build) == 1


def test_a_failed_build_is_not_remembered():
    memo, a = Memo(), torch.zeros(3)

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        memo.recall((a,), (), fail)
    assert memo.recall((a,), (), lambda: 1) == 1
    b = torch.ones(3)
    with pytest.raises(ValueError, match="no"):
        memo.recall((b,), (), fail)
    assert memo.recall((b,), (), lambda: 2) == 2


def test_entries_have_second_derivatives_too():
    row, col, value = _entries(requires_grad=True)
    dense = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)

    def product(value, dense):
        return WeightedEdges(row, col, value, (4, 5)).matmul(dense).tanh()

    assert torch.autograd.gradgradcheck(product, (value, dense))


def test_a_matrix_that_is_first_asked_for_without_gradient_has_it_later():
    weight = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    graph, x = Graph(EDGE, weight, 2), torch.randn(2, 3, dtype=torch.float64)
    with torch.no_grad():
        first = graph.normalized(torch.float64).matmul(x)
    then = graph.normalized(torch.float64).matmul(x)
    torch.testing.assert_close(first, then.detach())
    (found,) = torch.autograd.grad(then.square().sum(), weight)
    assert found.abs().max() > 1e-3
