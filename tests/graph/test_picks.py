import math
from collections import Counter
from itertools import combinations, product

import pytest
import torch

from msg.graph import Graph, neighbor_mean, pick_neighbors
from msg.layers import picked_mean


def _dense(edge_index, weight, nodes):
    """The mean over neighbours and the node itself, edge by edge."""
    matrix = torch.zeros(nodes, nodes, dtype=torch.float64)
    weight = torch.ones(edge_index.size(1)) if weight is None else weight
    for (source, target), w in zip(edge_index.t().tolist(), weight.tolist()):
        matrix[target, source] += w
    for node in range(nodes):
        if not any(s == t == node for s, t in edge_index.t().tolist()):
            matrix[node, node] += 1
    return matrix / matrix.sum(1, keepdim=True)


@pytest.fixture(params=[False, True], ids=["plain", "weighted"])
def graph(request, edge_index):
    weight = torch.tensor([1.0, 0.5, 2.0, 0.0, 1.0, 3.0, 1.0, 0.2, 1.0, 4.0]) if request.param else None
    return Graph(edge_index, weight, 7)


def test_mean_over_neighbours_and_itself(graph):
    want = _dense(graph.edge_index, graph.edge_weight, 7)
    got = neighbor_mean(graph, torch.float64).matmul(torch.eye(7, dtype=torch.float64))
    torch.testing.assert_close(got, want)
    assert neighbor_mean(graph, torch.float64) is neighbor_mean(graph, torch.float64)


@pytest.mark.parametrize("distinct", [False, True])
def test_draws_are_as_often_as_their_share(graph, distinct):
    matrix, weighted = neighbor_mean(graph, torch.float64), graph.edge_weight is not None
    picks = pick_neighbors(
        matrix, torch.arange(7).repeat(4000, 1), 5, torch.Generator().manual_seed(1), weighted, distinct
    )
    assert picks.shape == (4000, 7, 5)
    shares = torch.nn.functional.one_hot(picks, 7).double().mean((0, 2))
    want = _dense(graph.edge_index, graph.edge_weight, 7)
    assert (shares - want).abs().max() < 0.02
    assert bool((shares[want == 0] == 0).all())


@pytest.mark.parametrize(("degree", "number"), [(7, 3), (3, 3), (2, 5), (5, 2), (1, 4), (4, 5)])
def test_neighbours_are_different_where_there_are_enough(degree, number):
    star = torch.stack([torch.arange(1, degree), torch.zeros(degree - 1, dtype=torch.long)])  # beside itself
    matrix, nodes = neighbor_mean(Graph(star, None, degree), torch.float32), torch.zeros(20_000, dtype=torch.long)
    picks = pick_neighbors(matrix, nodes, number, torch.Generator().manual_seed(1), distinct=True).tolist()
    found = Counter(tuple(sorted(row)) for row in picks)
    if degree >= number:  # each choice as often as any other
        wanted = dict.fromkeys(combinations(range(degree), number), 1 / math.comb(degree, number))
    else:
        wanted = Counter()
        for more in product(range(degree), repeat=number - degree):
            wanted[tuple(sorted([*range(degree), *more]))] += degree ** (degree - number)
    assert found.keys() == wanted.keys()
    for choice, share in wanted.items():
        assert abs(found[choice] / 20_000 - share) <= 5 * math.sqrt(share * (1 - share) / 20_000) + 1e-9


def test_what_is_drawn_depends_on_the_generator_alone(graph):
    matrix, nodes = neighbor_mean(graph, torch.float32), torch.tensor([3, 3, 6])
    a, b = (pick_neighbors(matrix, nodes, 8, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a[0], a[1])  # a node that stands there twice draws twice
    assert a[2].tolist() == [6] * 8  # an isolated node draws itself


@pytest.mark.parametrize("train", [False, True])
def test_mean_of_what_was_drawn(train):
    picks = torch.randint(0, 6, (3, 5, 4))
    x = torch.randn(*([3] if train else []), 6, 2, dtype=torch.float64)
    got = picked_mean(x, picks)
    for t in range(3):
        for row in range(5):
            here = x[t] if train else x
            torch.testing.assert_close(got[t, row], sum(here[node] for node in picks[t, row].tolist()) / 4)


@pytest.mark.parametrize("train", [False, True], ids=["constant", "train"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_way_back_of_a_mean(train, threads, dtype):
    before, picks = torch.get_num_threads(), torch.randint(0, 6, (3, 5, 4))
    x = torch.randn(*([3] if train else []), 6, 2, dtype=dtype, requires_grad=True)
    upstream = torch.randn(3, 5, 2, dtype=dtype, requires_grad=True)
    rows = [[(x[t] if train else x)[picks[t, row]].mean(0) for row in range(5)] for t in range(3)]
    want = torch.autograd.grad(torch.stack([torch.stack(step) for step in rows]), x, upstream, create_graph=True)
    try:
        torch.set_num_threads(threads)
        plain = torch.autograd.grad(picked_mean(x, picks), x, upstream)
        twice = torch.autograd.grad(picked_mean(x, picks), x, upstream, create_graph=True)
    finally:
        torch.set_num_threads(before)
    for got in (*plain, *twice):
        torch.testing.assert_close(got, *want)
    again = torch.randn_like(x)
    torch.testing.assert_close(*(torch.autograd.grad((g * again).sum(), upstream) for (g,) in (twice, want)))


def test_a_mean_under_transforms():
    picks, x = torch.randint(0, 6, (3, 5, 4)), torch.randn(3, 6, 2, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(3, 5, 2, dtype=torch.float64)
    (want,) = torch.autograd.grad(picked_mean(x, picks), x, upstream)
    gradient = torch.func.grad(lambda given: (picked_mean(given, picks) * upstream).sum())(x.detach())
    torch.testing.assert_close(gradient, want)


def test_what_cannot_be_drawn_is_refused(edge_index):
    with pytest.raises(ValueError, match="at least 1"):
        pick_neighbors(neighbor_mean(Graph(edge_index, None, 7), torch.float32), torch.arange(7), 0, torch.Generator())
    for weight in (-torch.ones(10), torch.ones(10, requires_grad=True)):
        with pytest.raises(ValueError, match="edge weights"):
            neighbor_mean(Graph(edge_index, weight, 7), torch.float32)
