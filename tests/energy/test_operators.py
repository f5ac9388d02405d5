import pytest
import torch
import torch.nn.functional as F
from torch import nn

from msg.energy import OPERATIONS, count
from msg.energy.counts import OUTSIDE

A = torch.tensor([[1.0, 0, 2], [0, 0, 3]])
B = torch.ones(3, 4)
I = torch.tensor([0, 1, 0])


def seen(function, convention="nonzero"):
    """What a function does outside any module."""
    with count(nn.Identity()) as ops:
        function()
    assert not ops.unknown
    found = ops.modules[OUTSIDE].under(convention) if OUTSIDE in ops.modules else {}
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
        (lambda: A / 2, {"transcendental": 6}),
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


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")  # where torch meets its first one
def test_conventions():
    assert seen(lambda: A @ B, "dense") == {"multiply_accumulate": 6 * 4}
    assert seen(lambda: A @ B, "events") == {"multiply_accumulate": 2 * 4, "accumulate": 4}
    linear = {"multiply_accumulate": 2 * 4, "accumulate": 4 + 8}
    assert seen(lambda: F.linear(-A, B.T, torch.ones(4)), "events") == linear
    assert seen(lambda: A.to_sparse_csr() @ B, "events") == {"multiply_accumulate": 2 * 4, "accumulate": 4}


def test_sparse_products_have_no_zeros_to_skip():
    sparse = A.to_sparse_coo().coalesce()
    assert seen(lambda: sparse @ B) == seen(lambda: sparse @ B, "dense") == {"multiply_accumulate": 12}


def test_what_is_not_known_is_named():
    with count(nn.Identity()) as ops:
        torch.linalg.det(torch.eye(3))
        torch.special.bessel_j0(A)
        torch.special.bessel_j0(A)
    assert ops.unknown["aten::special_bessel_j0"] == 2
    assert OUTSIDE not in ops.modules or not ops.modules[OUTSIDE].nonzero["transcendental"]
