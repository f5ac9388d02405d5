"""Squared distances and inner products of pairs of rows against those of the rows themselves, written down."""

import pytest
import torch
from spaces import SIGNATURES, space
from torch.autograd import gradcheck, gradgradcheck

from msg.kernels import status
from msg.manifolds import (
    exp0,
    inner_products,
    one_pass,
    resolve,
    squared_distance,
    squared_distances,
    squared_lorentzian_distance,
    squared_lorentzian_distances,
)

pytestmark = pytest.mark.covering

PAIRS = torch.tensor([[0, 1, 5, 2, 2, 3, 8, 0, 4], [1, 0, 6, 2, 7, 7, 3, 1, 5]])
"""One of them twice, both ways round, a point with itself, and a point (9) that is in none."""


def points(manifold, dim, scale, dtype=torch.float64):
    vectors = torch.randn(10, dim, dtype=torch.float64)
    vectors = scale * vectors / vectors.norm(dim=1, keepdim=True)
    vectors[7] = vectors[3]  # two that coincide
    vectors[6] = vectors[5] * (1 + 1e-7)  # and two that nearly do
    return exp0(manifold, vectors).detach().to(dtype)


def results(manifold, z, function):
    z = z.clone().requires_grad_()
    out = function(manifold, z)
    weights = torch.linspace(-1, 2, len(out), dtype=out.dtype)
    return [out, *torch.autograd.grad(out @ weights, [z, *learned(manifold)], materialize_grads=True)]


def learned(manifold):
    return [p for p in manifold.parameters() if p.requires_grad]


def written_down(manifold, z):
    return squared_distance(manifold, z[PAIRS[0]], z[PAIRS[1]])


def of_pairs(manifold, z):
    return squared_distances(manifold, z, PAIRS)


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e-3, 0.7, 2.5])
@pytest.mark.parametrize("signature", SIGNATURES)
def test_values_and_gradients(signature, scale, dtype, monkeypatch):
    manifold, dim = space(signature)
    z = points(manifold, dim, scale, dtype)
    found = results(manifold, z, of_pairs)
    monkeypatch.setenv("MSG_KERNELS", "torch")
    for twin in (results(manifold, z, written_down), results(manifold, z, of_pairs)):
        for a, b in zip(found, twin):
            assert a.dtype == b.dtype
            torch.testing.assert_close(
                a, b, rtol=1e-9 if dtype == torch.float64 else 1e-5, atol=1e-12 if dtype == torch.float64 else 1e-5
            )


@pytest.mark.parametrize("signature", SIGNATURES)
def test_by_finite_differences(signature):
    manifold, dim = space(signature)
    v = torch.randn(4, dim, dtype=torch.float64, requires_grad=True)
    pairs = torch.tensor([[0, 1, 0], [1, 0, 2]])
    run = lambda v, *_: squared_distances(manifold, exp0(manifold, v / 2), pairs)  # noqa: E731
    assert gradcheck(run, (v, *learned(manifold)))
    paired = v[:3].detach().requires_grad_()
    assert gradgradcheck(run, (paired, *learned(manifold)), atol=1e-4)


def test_opposite_points_of_a_sphere(monkeypatch):
    manifold, _ = resolve("S2")
    z = torch.tensor([[0.0, 1, 0], [0.0, -1, 0], [0.6, 0, 0.8], [-0.6, 1e-9, -0.8]], dtype=torch.float64)
    pairs = torch.tensor([[0, 2], [1, 3]])
    found = squared_distances(manifold, z, pairs)
    monkeypatch.setenv("MSG_KERNELS", "torch")
    torch.testing.assert_close(found, squared_distance(manifold, z[::2], z[1::2]), rtol=1e-12, atol=0.0)


def test_inner_products(dtype):
    z = torch.randn(10, 5, dtype=dtype, requires_grad=True)
    weights = torch.randn(9, dtype=dtype)
    found, want = inner_products(z, PAIRS), (z[PAIRS[0]] * z[PAIRS[1]]).sum(1)
    torch.testing.assert_close(found, want)
    grads = [torch.autograd.grad(out @ weights, z)[0] for out in (found, want)]
    torch.testing.assert_close(*grads)
    assert not grads[0][9].any()
    if dtype == torch.float64:
        assert gradcheck(lambda z: inner_products(z, PAIRS), z)
        assert gradgradcheck(lambda z: inner_products(z, PAIRS), z)


def test_lorentzian_distances(monkeypatch):
    manifold, dim = resolve("H4")
    z = points(manifold, dim, 0.7).requires_grad_()
    weights = torch.randn(9, dtype=torch.float64)
    found = squared_lorentzian_distances(z, PAIRS)
    grads = [torch.autograd.grad(found @ weights, z)[0]]
    assert gradgradcheck(lambda z: squared_lorentzian_distances(z, PAIRS[:, :4]), z, atol=1e-4)
    assert squared_lorentzian_distances(z.float(), PAIRS).dtype == torch.float64
    monkeypatch.setenv("MSG_KERNELS", "torch")
    want = squared_lorentzian_distance(z[PAIRS[0]], z[PAIRS[1]])
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(squared_lorentzian_distances(z, PAIRS), want)
    torch.testing.assert_close(*grads, torch.autograd.grad(want @ weights, z)[0], rtol=1e-12, atol=1e-12)


def test_on_any_number_of_threads():
    manifold, dim = resolve("H3xS4")
    z, pairs = exp0(manifold, torch.randn(500, dim)).requires_grad_(), torch.randint(500, (2, 3000))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            out = squared_distances(manifold, z, pairs)
            found.append([out, *torch.autograd.grad(out.sum(), z)])
    finally:
        torch.set_num_threads(before)
    for a, b in zip(*found):
        assert torch.equal(a, b)


@pytest.mark.parametrize("signature", ["E3", "H3"])
def test_pairs_that_name_no_row_are_left_to_torch(signature):
    manifold, dim = resolve(signature)
    z = points(manifold, dim, 0.5)
    last = torch.tensor([[-1], [0]])
    torch.testing.assert_close(squared_distances(manifold, z, last), squared_distance(manifold, z[9:], z[:1]))
    torch.testing.assert_close(inner_products(z, last), z[9:] @ z[0])
    for pairs in (torch.tensor([[0], [10]]), torch.tensor([[-11], [0]])):
        with pytest.raises(IndexError):
            squared_distances(manifold, z, pairs)
        with pytest.raises(IndexError):
            inner_products(z, pairs)


def test_no_pairs_and_rows_that_are_not_contiguous():
    manifold, dim = resolve("H3")
    z = points(manifold, dim, 0.5)
    none = torch.zeros(2, 0, dtype=torch.long)
    assert squared_distances(manifold, z, none).shape == inner_products(z, none).shape == (0,)
    turned = z.t().contiguous().t().requires_grad_()
    grad = torch.autograd.grad(squared_distances(manifold, turned, PAIRS.flip(0)).sum(), turned)[0]
    want = z.clone().requires_grad_()
    torch.testing.assert_close(grad, torch.autograd.grad(written_down(manifold, want).sum(), want)[0])


def test_compiled_kernels_run_where_they_are(monkeypatch):
    if status().backend != "numba":
        pytest.skip(f"no compiled kernels: {status().reason}")
    manifold, dim = resolve("H3")
    z = points(manifold, dim, 0.5)
    monkeypatch.setattr(type(one_pass.find(manifold)), "squared_distance", None)
    assert squared_distances(manifold, z, PAIRS).shape == (9,)


def test_what_names_no_pairs_is_refused():
    manifold, dim = space("H4")
    z = exp0(manifold, torch.randn(9, dim))
    for score in (lambda p: squared_distances(manifold, z, p), lambda p: inner_products(z, p)):
        for wrong in (PAIRS.t(), PAIRS[:1], PAIRS[:, 0], PAIRS.float(), PAIRS.bool()):
            with pytest.raises(ValueError, match=r"pairs must be node numbers \[2, M\]"):
                score(wrong)
        with pytest.raises(TypeError, match=r"use torch\.tensor"):
            score([[0], [1]])
        for dtype in (torch.uint8, torch.int16, torch.int32):
            torch.testing.assert_close(score(PAIRS.to(dtype)), score(PAIRS))
