import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GCNConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from msg.energy import OPERATIONS, count
from msg.energy.counts import OUTSIDE, Count

A = torch.tensor([[1.0, 0, 2], [0, 0, 3]])
B = torch.ones(3, 4)
I = torch.tensor([0, 1, 0])


def counted(function):
    """What a function does outside any module."""
    with count(nn.Identity()) as ops:
        function()
    assert not ops.unknown
    return ops.modules.get(OUTSIDE, Count())


def seen(function, convention="nonzero"):
    """Its operations by kind."""
    found = counted(function).under(convention)
    return {kind: found[kind] for kind in OPERATIONS if found.get(kind)}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda: A @ B, {"multiply_accumulate": 3 * 4}),
        (lambda: F.linear(A, B.T, torch.ones(4)), {"multiply_accumulate": 3 * 4, "accumulate": 8}),
        (lambda: torch.bmm(A[None], B[None]), {"multiply_accumulate": 3 * 4}),
        (lambda: torch.mv(A, B[:, 0]), {"multiply_accumulate": 3}),
        (lambda: A + 1, {"accumulate": 6}),
        (lambda: A.clone().mul_(A), {"multiply": 6}),
        (lambda: A / 2, {"multiply": 6}),
        (lambda: A / (A + 1), {"transcendental": 6, "accumulate": 6}),
        (lambda: A / B[:, 0], {"transcendental": 3, "multiply": 6}),
        (lambda: A / B[0, 0], {"transcendental": 1, "multiply": 6}),
        (lambda: A / B[:2, :1].expand_as(A), {"transcendental": 2, "multiply": 6}),
        (lambda: A.cumsum(0), {"accumulate": 6}),
        (lambda: I.cumsum(0).sort(), {}),
        (lambda: torch._foreach_add([A, B], [A, B]), {"accumulate": 6 + 12}),
        (lambda: torch._foreach_div_([A.clone(), B.clone()], [2.0, 3.0]), {"multiply": 6 + 12}),
        (lambda: A.square(), {"multiply": 6}),
        (lambda: A**3, {"transcendental": 6}),
        (lambda: A > 1, {"comparison": 6}),
        (lambda: I > 1, {}),
        (lambda: A.exp().log().sqrt().tanh(), {"transcendental": 24}),
        (lambda: A.relu(), {"comparison": 6}),
        (lambda: A.sum(0), {"accumulate": 6}),
        (lambda: A.mean(1), {"accumulate": 6, "multiply": 2}),
        (lambda: A.amax(1), {"comparison": 6}),
        (lambda: torch.linalg.vector_norm(A, dim=1), {"multiply_accumulate": 6, "transcendental": 2}),
        (lambda: F.softmax(A, -1), {"comparison": 6, "accumulate": 12, "transcendental": 12}),
        (lambda: A[:, [0, 1]].T.reshape(4).unsqueeze(0), {}),
        (lambda: A.index_select(1, I), {}),
        (lambda: torch.zeros(2, 3).index_add(0, I, torch.ones(3, 3)), {"accumulate": 9}),
        (lambda: torch.zeros(2).scatter_add(0, I, torch.ones(3)), {"accumulate": 3}),
        (lambda: torch.zeros(2).scatter_reduce(0, I, torch.ones(3), "amax"), {"comparison": 3}),
        (lambda: torch.zeros(2).index_put((I,), torch.ones(3), accumulate=True), {"accumulate": 3}),
        (lambda: torch.addcmul(A, A, A), {"multiply": 6, "multiply_accumulate": 6}),
        (lambda: torch.lerp(A, A, 0.5), {"accumulate": 6, "multiply_accumulate": 6}),
    ],
)
def test_counts(function, expected):
    assert seen(function) == expected


def test_an_optimizer_costs_the_same_tensor_by_tensor_and_all_at_once():
    found = []
    for foreach in (False, True):
        model = nn.Linear(5, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1, foreach=foreach)
        for _ in range(2):  # the first makes the momentum
            model(torch.ones(7, 5)).sum().backward()
            found.append(seen(optimizer.step))
    assert found[0] == found[2]
    assert found[1] == found[3] == {"accumulate": 3 * 18, "multiply": 18}


def test_what_sorts_numbers_is_named():
    with count(nn.Identity()) as ops:
        A.sort()
    assert set(ops.unknown) == {"aten::sort"}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")  # where torch meets its first one
def test_conventions():
    assert seen(lambda: A @ B, "dense") == {"multiply_accumulate": 6 * 4}
    assert seen(lambda: A @ B, "events") == {"multiply_accumulate": 2 * 4, "accumulate": 4}
    linear = {"multiply_accumulate": 2 * 4, "accumulate": 4 + 8}
    assert seen(lambda: F.linear(-A, B.T, torch.ones(4)), "events") == linear
    assert seen(lambda: A.to_sparse_csr() @ B, "events") == {"multiply_accumulate": 2 * 4, "accumulate": 4}


@pytest.mark.parametrize("convention", ["nonzero", "dense", "events"])
def test_sparse_features_are_multiplied_as_dense_ones_are(convention):
    dense, sparse = (counted(lambda a=a: a @ B) for a in (A, A.to_sparse_coo().coalesce()))
    assert sparse.under(convention) == dense.under(convention)
    assert sparse.footprint == dense.footprint


BAG = torch.tensor([[0.5, 0, -0.5, 0], [0, 0, 0, 0], [0, 0.25, 0, 0], [1, 1, 1, 1.0], [0.3, 0.3, 0, 0.3]])
BAG_OF = {"accumulate": (2 + 4 + 3) * 4, "multiply": 2 * 4, "multiply_accumulate": 4}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("form", [Tensor.to_dense, Tensor.to_sparse_coo, Tensor.to_sparse_csr])
def test_events_of_a_bag_of_words_stay_events_where_it_is_normalised(form):
    x, weight = form(BAG), torch.ones(4, 4)
    assert seen(lambda: x @ weight, "events") == BAG_OF
    assert seen(lambda: x @ weight) == {"multiply_accumulate": 10 * 4}
    layer = nn.Linear(4, 4, bias=False)
    with count(layer) as ops:
        layer(form(BAG))
    assert {kind: ops.total("events")[kind] for kind in BAG_OF} == BAG_OF
    many = BAG.repeat(60, 1)  # more rows than are looked at first
    assert seen(lambda: form(many) @ weight, "events") == {kind: 60 * number for kind, number in BAG_OF.items()}
    many[299, 3] = 0.1  # behind those
    assert "multiply" not in seen(lambda: form(many) @ weight, "events")
    mixed = BAG.clone()
    mixed[4, 3] = 0.1  # no bag any more
    assert seen(lambda: form(mixed) @ weight, "events") == {"accumulate": 4 * 4, "multiply_accumulate": 6 * 4}


def adjacency(edge_index, weight, layout):
    found = torch.sparse_coo_tensor(edge_index.flip(0), weight, (5, 5)).coalesce()
    return found if layout == torch.sparse_coo else found.to_sparse_csr()


EDGES = torch.tensor([[0, 0, 1, 2, 3, 4, 3, 1], [1, 2, 0, 0, 3, 1, 4, 1]])
RECEIVED = torch.bincount(EDGES[1], minlength=5).float()
SENT = torch.bincount(EDGES[0], minlength=5).float()


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("weight", "scalings"),
    [
        (torch.ones(8), 0),
        (1 / RECEIVED[EDGES[1]], 1),
        (1 / SENT[EDGES[0]], 1),
        ((RECEIVED[EDGES[1]] * SENT[EDGES[0]]).rsqrt(), 2),
        (gcn_norm(EDGES, None, 5, add_self_loops=False)[1], 2),
        (torch.arange(1.0, 9), None),
    ],
    ids=["sum", "mean", "shares", "both ends", "gcn_norm", "weights"],
)
def test_a_graph_adds_messages_and_scales_nodes(layout, dtype, weight, scalings):
    matrix, x = adjacency(EDGES, weight.to(dtype), layout), torch.ones(5, 4, dtype=dtype)
    kind = "accumulate" if scalings is not None else "multiply_accumulate"
    expected = {kind: 8 * 4, **({"multiply": scalings * 5 * 4} if scalings else {})}
    for convention in ("nonzero", "dense", "events"):
        assert seen(lambda: matrix @ x, convention) == expected
    found = counted(lambda: matrix @ x).nonzero
    assert (found["message"], found["indices"], found["weights"]) == (8 * 4, 8 + 6, 8 * (scalings is None))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_a_sum_along_edges_is_the_product_and_other_reductions_are_not_known():
    matrix, x = adjacency(EDGES, torch.ones(8), torch.sparse_csr), torch.ones(5, 4)
    product, added = counted(lambda: matrix @ x), counted(lambda: torch.sparse.mm(matrix, x, "sum"))
    assert added.nonzero == product.nonzero
    assert added.footprint == product.footprint
    with count(nn.Identity()) as ops:
        torch.sparse.mm(matrix, x, "amax")
    assert ops.unknown


def test_an_edge_that_is_there_twice_is_two_messages():
    twice = torch.sparse_coo_tensor(torch.tensor([[0, 0, 1], [1, 1, 0]]), torch.tensor([0.5, 0.5, 1.0]), (2, 2))
    assert seen(lambda: twice @ torch.ones(2, 4)) == {"accumulate": 3 * 4, "multiply": 2 * 4}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("loops", [True, False])
def test_a_normalised_matrix_costs_what_the_convolution_does(loops):
    edges = EDGES[:, EDGES[0] != EDGES[1]]
    conv, x, weights = GCNConv(4, 4, bias=False, add_self_loops=loops), torch.rand(5, 4) + 1, torch.rand(4, 4)
    with count(conv) as ops:
        conv(x, edges)
    matrix = adjacency(*gcn_norm(edges, None, 5, add_self_loops=loops), torch.sparse_csr)
    by_hand = counted(lambda: matrix @ x) + counted(lambda: x @ weights)
    for kind in OPERATIONS:
        assert by_hand.nonzero[kind] == ops.modules[""].nonzero[kind]


def test_what_is_not_known_is_named():
    with count(nn.Identity()) as ops:
        torch.linalg.det(torch.eye(3))
        torch.special.bessel_j0(A)
        torch.special.bessel_j0(A)
    assert ops.unknown["aten::special_bessel_j0"] == 2
    assert OUTSIDE not in ops.modules or not ops.modules[OUTSIDE].nonzero["transcendental"]
