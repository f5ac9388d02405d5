import threading
import weakref

import numpy as np
import pytest
import torch

from msg.graph import Graph, Memo, SparseMatrix
from msg.graph.memo import settings_of
from msg.nn import MSG


def _calls(memo, tensors):
    built = []
    memo.recall(tensors, (), lambda: built.append(1))
    return len(built)


@pytest.mark.parametrize("change", ["numpy", "data", "set_", "exchange", "shuffle"])
def test_changes_that_torch_does_not_see_are_seen(change):
    memo, tensor = Memo(), torch.arange(20).view(2, 10)
    assert _calls(memo, (tensor,)) == 1
    assert _calls(memo, (tensor,)) == 0
    if change == "numpy":
        tensor.numpy()[0, 3] = 7
    elif change == "data":
        tensor.data = torch.arange(1, 21).view(2, 10)
    elif change == "set_":
        tensor.set_(torch.arange(20).flip(0).view(2, 10))
    elif change == "shuffle":  # one row of edges rewired, as in a null model
        np.random.default_rng(0).shuffle(tensor.numpy()[1])
    else:
        array = tensor.numpy()
        array[:, [0, 9]] = array[:, [9, 0]]
        array[0, 0], array[1, 9] = array[1, 9], array[0, 0]
    assert _calls(memo, (tensor,)) == 1
    assert _calls(memo, (tensor,)) == 0


def test_fewer_than_two_elements_of_any_stride_are_read():
    wide = torch.arange(12).view(3, 4)
    for tensor in (torch.tensor(1.0).expand(1), torch.tensor(1.0).expand(0), wide[:1, ::2][:, :1], wide[:0].t()):
        memo = Memo()
        assert _calls(memo, (tensor,)) == 1
        assert _calls(memo, (tensor,)) == 0
    one = torch.tensor(1.0)
    memo, seen = Memo(), one.expand(1)
    assert _calls(memo, (seen,)) == 1
    one.data.fill_(2)
    assert _calls(memo, (seen,)) == 1


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.int32, torch.bool])
@pytest.mark.parametrize("start", [0, 1])
def test_an_exchange_of_any_two_is_seen_whatever_their_type(kind, start):
    memo, tensor = Memo(), torch.arange(24).remainder(2 if kind == torch.bool else 24).to(kind)[start:]
    assert _calls(memo, (tensor,)) == 1
    for i, j in ((0, 1), (3, 20), (9, 22)):
        tensor.data[[i, j]] = tensor.data[[j, i]]
        assert _calls(memo, (tensor,)) == 1
        assert _calls(memo, (tensor,)) == 0


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_changes_of_a_sparse_tensor_are_seen(layout):
    memo, tensor = Memo(), torch.eye(4).to_sparse(layout=layout)
    indices = {torch.sparse_coo: tensor._indices, torch.sparse_csr: tensor.col_indices}.get(layout, tensor.row_indices)
    assert _calls(memo, (tensor,)) == 1
    assert _calls(memo, (tensor,)) == 0
    indices().numpy()[..., :2] = indices().numpy()[..., [1, 0]]
    assert _calls(memo, (tensor,)) == 1
    (tensor._values if layout == torch.sparse_coo else tensor.values)().numpy()[2] = 5
    assert _calls(memo, (tensor,)) == 1
    assert _calls(memo, (tensor,)) == 0


def test_what_is_drawn_anew_does_not_drive_out_what_stays():
    memo, stays = Memo(), torch.arange(4)
    assert _calls(memo, (stays,)) == 1
    for number in range(3):
        assert _calls(memo, (torch.full((4,), number),)) == 1
        assert _calls(memo, (stays,)) == 0


def test_two_are_kept_the_least_recent_goes_and_what_is_gone_is_freed():
    memo, (a, b, c) = Memo(), torch.arange(12).view(3, 4).clone().unbind()
    assert [_calls(memo, (t,)) for t in (a, b, a, c, a, b)] == [1, 1, 0, 1, 0, 1]
    made = weakref.ref(memo.recall((c,), (), torch.nn.Linear(1, 1).double))
    del c
    _calls(memo, (b,))
    assert made() is None
    # what was made of a tensor before it changed is of no use to anyone
    made = weakref.ref(memo.recall((a,), (), torch.nn.Linear(1, 1).double))
    a.numpy()[0] = 7
    assert _calls(memo, (a,)) == 1
    assert made() is None


def test_a_model_sees_edges_changed_behind_torchs_back():
    torch.manual_seed(0)
    model, x, edges = MSG(5, 3).eval(), torch.randn(7, 5) * 3, torch.randint(0, 7, (2, 20))
    model(x, edges)
    edges.numpy()[:] = (edges.numpy() + 1) % 7
    assert torch.equal(model(x, edges), model(x, edges.clone()))


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_coo])
def test_sparse_features_changed_through_their_values_are_seen(layout):
    memo, dense = Memo(), torch.eye(4)
    tensor = dense.to_sparse_csr() if layout == torch.sparse_csr else dense.to_sparse_coo()
    assert _calls(memo, (tensor,)) == 1
    (tensor.values() if layout == torch.sparse_csr else tensor._values()).numpy()[1] = 3.0
    assert _calls(memo, (tensor,)) == 1


def test_threads_that_share_a_model_get_their_own_graph():
    torch.manual_seed(0)
    model, x = MSG(5, 3).eval(), torch.randn(7, 5) * 3
    graphs = [torch.randint(0, 7, (2, 20)) for _ in range(4)]
    with torch.no_grad():
        want = [model(x, graph) for graph in graphs]
    assert not torch.allclose(want[0], want[1], atol=1e-2)
    wrong = []

    def run(graph, expected):
        with torch.no_grad():
            found = [model(x, graph) for _ in range(200)]
        wrong.extend((one - expected).abs().max() for one in found if not torch.allclose(one, expected, atol=1e-4))

    threads = [threading.Thread(target=run, args=pair) for pair in zip(graphs, want)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_is_made_in_inference_mode_serves_training():
    edges, x = torch.tensor([[0, 1], [1, 2]]), torch.randn(3, 2, requires_grad=True)
    memo = Memo()
    with torch.inference_mode():
        graph = memo.recall((edges,), (), lambda: Graph(edges, None, 3))
        matrix = graph.normalized(torch.float32)
        matrix.matmul(torch.randn(3, 2))
        made = SparseMatrix.from_tensor(torch.eye(3).to_sparse())
        _ = made.transposed
    assert memo.recall((edges,), (), lambda: None) is graph
    graph.normalized(torch.float32).matmul(x).sum().backward()
    assert x.grad is not None


def test_what_learns_counts_where_no_gradient_is_recorded():
    weight, memo = torch.nn.Parameter(torch.ones(2)), Memo()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            made = memo.recall((weight,), (), lambda: weight * 2)
            assert memo.recall((weight,), (), lambda: None) is made
        assert not made.requires_grad
    assert memo.recall((weight,), (), lambda: weight * 2).requires_grad
    with torch.no_grad():
        assert memo.recall((weight,), (), lambda: None) is made
        weight.mul_(3)
        assert torch.equal(memo.recall((weight,), (), lambda: weight * 2), torch.full((2,), 6.0))


def test_settings_tell_modules_apart():
    def norm(eps=1e-5):
        return torch.nn.Sequential(torch.nn.BatchNorm1d(3, eps), torch.nn.ReLU())

    assert settings_of(norm()) == settings_of(norm().eval())
    assert settings_of(norm()) != settings_of(norm(1e-4))
    assert settings_of(torch.nn.ReLU()) != settings_of(torch.nn.ELU())
