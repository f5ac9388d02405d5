"""What attention does with edges, by compiled kernels and by torch, beside autograd of the plain formula."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import leaky_relu

from msg.graph import Graph
from msg.layers.neighbours import Neighbours

NODES, EDGES, WIDTH, CHANNELS = 300, 2000, 3, 5


@pytest.fixture(params=["auto", "torch"])
def kernels(request, monkeypatch):
    monkeypatch.setenv("MSG_KERNELS", request.param)
    return request.param


def drawn(dtype, nodes=NODES, count=EDGES, loops=False):
    """Edges one way, the last node without any, and what stands at ends and edges."""
    draw = torch.Generator().manual_seed(0)
    edge_index = torch.randint(nodes - 1, (2, count), generator=draw).unique(dim=1)
    edges = Neighbours.of(Graph(edge_index, None, nodes), dtype, loops)
    source, target = (torch.randn(nodes, WIDTH, generator=draw, dtype=dtype, requires_grad=True) for _ in range(2))
    x = torch.randn(nodes, WIDTH, CHANNELS, generator=draw, dtype=dtype, requires_grad=True)
    weight = torch.randn(len(edges.target), WIDTH, generator=draw, dtype=dtype, requires_grad=True)
    return edges, source, target, weight, x


def plain_scores(edges, source, target, slope):
    score = leaky_relu(source[edges.source] + target[edges.target], slope)
    highest = torch.stack([
        score.detach()[edges.target == i].amax(0) if (edges.target == i).any() else score.new_zeros(WIDTH)
        for i in range(len(target))
    ])  # fmt: skip
    return score - highest[edges.target]


def close(found, want, dtype):
    tolerance = 1e-12 if dtype == torch.float64 else 1e-4
    for a, b in zip(found, want, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def with_gradients(out, leaves):
    by = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    return [out.detach(), *torch.autograd.grad((out * by).sum(), leaves)]


@pytest.mark.parametrize("slope", [0.2, 1.0, 0.0])
def test_scores(kernels, dtype, slope):
    edges, source, target, _, _ = drawn(dtype)
    leaves = [source, target]
    found = with_gradients(edges.scores(source, target, slope), leaves)
    close(found, with_gradients(plain_scores(edges, source, target, slope), leaves), dtype)
    assert not found[0].gt(0).any()


@pytest.mark.parametrize("threads", [1, 2])
def test_sums_of_what_is_weighed(kernels, dtype, threads):
    edges, _, _, weight, x = drawn(dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = with_gradients(edges.weigh(weight, x), [weight, x])
    finally:
        torch.set_num_threads(before)
    sent = weight[..., None] * x[edges.source]
    plain = torch.zeros_like(x).index_add(0, edges.target, sent)
    close(found, with_gradients(plain, [weight, x]), dtype)
    assert not found[0][-1].any()  # a node without edges


def test_derivatives_of_second_order(kernels):
    edges, source, target, weight, x = drawn(torch.float64, nodes=5, count=9, loops=True)

    def attention(source, target):
        weight = edges.scores(source, target, 0.2).exp()  # what is divided by its sum does not see the highest
        return weight / torch.zeros_like(target).index_add(0, edges.target, weight)[edges.target]

    assert gradcheck(attention, (source, target))
    assert gradgradcheck(attention, (source, target))
    assert gradcheck(edges.weigh, (weight, x))
    assert gradgradcheck(edges.weigh, (weight, x))


def test_rows_that_lie_apart(kernels):
    """Views of larger tensors, as a caller may have them."""
    edges, source, target, weight, x = drawn(torch.float64)
    apart = [torch.stack([t, t], -1).detach()[..., 0] for t in (source, target, weight, x)]
    assert not any(t.is_contiguous() for t in apart)
    close([edges.scores(*apart[:2], 0.2)], [edges.scores(source, target, 0.2)], torch.float64)
    close([edges.weigh(*apart[2:])], [edges.weigh(weight, x)], torch.float64)


def test_one_edge_way_back_is_another():
    """Sums go from source to target: a graph of one edge says which is which."""
    edges = Neighbours.of(Graph(torch.tensor([[0], [1]]), None, 3), torch.float32, False)
    x = torch.arange(3.0)[:, None, None] + 1
    assert edges.weigh(torch.tensor([[2.0]]), x).flatten().tolist() == [0.0, 2.0, 0.0]
