"""Samples of neighbours: what is in them, how they are distributed, and PyG's loaders on top of them."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, permutations, product

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch_geometric.data import Data, HeteroData
from torch_geometric.loader import LinkLoader, NodeLoader
from torch_geometric.nn import GraphSAGE
from torch_geometric.sampler import EdgeSamplerInput, NodeSamplerInput, NumNeighbors
from torch_geometric.utils import trim_to_layer

from msg.graph import NeighborSampler
from msg.kernels import status

FLUKE = 1e-6  # a right distribution looks this wrong once in a million seeds; the seeds here are fixed


@pytest.fixture(params=["torch", "numba"])
def kernels(request, monkeypatch):
    if request.param == "numba" and status().backend != "numba":
        pytest.skip(f"no compiled kernels: {status().reason}")
    monkeypatch.setenv("MSG_KERNELS", request.param)


def drawn_graph(nodes=60, edges=400, seed=0):
    """Multigraph with self-loops; the last ten nodes have no edges."""
    draw = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(0, nodes - 10, (2, edges), generator=draw)
    edge_index[:, :5] = edge_index[:1, :5]  # self-loops
    edge_index[:, 5:10] = edge_index[:, 10:15]  # duplicates
    return Data(
        x=torch.randn(nodes, 6, generator=draw),
        y=torch.arange(nodes) % 3,
        edge_index=edge_index,
        edge_attr=torch.randn(edges, 2, generator=draw),
        weight=torch.rand(edges, generator=draw) + 0.1,
    )


def star(weight):
    """Edges from ``1..d`` into node 0, with weights, in an order of their own."""
    source = torch.arange(len(weight), 0, -1)
    return Data(
        edge_index=torch.stack((source, torch.zeros_like(source))),
        weight=torch.tensor(weight, dtype=torch.float64).flip(0),
        num_nodes=len(weight) + 1,
    )


def nodes(sampler, seeds):
    return sampler.sample_from_nodes(NodeSamplerInput(torch.arange(len(seeds)), torch.as_tensor(seeds)))


def links(sampler, row, col, label=None, **kwargs):
    given = EdgeSamplerInput(torch.arange(len(row)), torch.as_tensor(row), torch.as_tensor(col), label)
    return sampler.sample_from_edges(given, **kwargs)


def same(a, b):
    parts = ("node", "row", "col", "edge", "batch", "num_sampled_nodes", "num_sampled_edges")
    for x, y in ((getattr(a, part), getattr(b, part)) for part in parts):
        if (x != y) if not isinstance(x, torch.Tensor) else not torch.equal(x, y):
            return False
    return True


def original(sampler, out):
    """Numbers of the edges in the graph that was given."""
    return out.edge if sampler.edge_permutation is None else sampler.edge_permutation[out.edge]


def draws(data, times=20_000, **kwargs):
    """What node 0 draws each of many times, ``[times, k]``, as nodes."""
    sampler = NeighborSampler(data, seed=1, **kwargs)
    out = nodes(sampler, torch.zeros(times, dtype=torch.long))
    assert out.num_sampled_edges[0] % times == 0
    assert torch.equal(out.col, torch.arange(times).repeat_interleave(len(out.col) // times))
    return out.node[out.row].view(times, -1).numpy()


def frequencies(found, outcomes):
    """How often each outcome, a tuple, was found."""
    base = found.max() + 1
    code = {sum(int(x) * base**i for i, x in enumerate(outcome)): n for n, outcome in enumerate(outcomes)}
    codes, counts = np.unique((found * base ** np.arange(found.shape[1])).sum(1), return_counts=True)
    out = np.zeros(len(outcomes))
    out[[code[int(c)] for c in codes]] = counts
    return out


# distributions


@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_without_replacement_each_set_is_as_likely(kernels, k, disjoint):
    found = np.sort(draws(star([1.0] * 5), num_neighbors=[k], disjoint=disjoint))
    counts = frequencies(found, list(combinations(range(1, 6), k)))
    assert chisquare(counts).pvalue > FLUKE
    included = np.bincount(found.ravel(), minlength=6)[1:] / len(found)
    np.testing.assert_allclose(included, k / 5, atol=0.02)


def test_many_of_many_without_replacement(kernels):
    found = draws(star([1.0] * 90), times=4000, num_neighbors=[60])
    assert all(len(set(row)) == 60 for row in found[:100])
    together = np.zeros((len(found), 91))
    np.put_along_axis(together, found, 1.0, axis=1)
    pairs = together[:, 1:].T @ together[:, 1:] / len(found)
    want = np.where(np.eye(90) > 0, 60 / 90, 60 * 59 / (90 * 89))
    z = (pairs - want) / np.sqrt(want * (1 - want) / len(found))
    assert abs(z).max() < 6  # of 4095 different ones


def test_with_replacement_each_sequence_is_as_likely(kernels):
    found = draws(star([1.0] * 4), num_neighbors=[3], replace=True)
    assert chisquare(frequencies(found, list(product(range(1, 5), repeat=3)))).pvalue > FLUKE


WEIGHT = [0.5, 3.0, 1.0, 0.0, 2.5, 1e-3]
POSITIVE = [i + 1 for i, w in enumerate(WEIGHT) if w > 0]


def test_weighted_with_replacement(kernels):
    found = draws(star(WEIGHT), num_neighbors=[2], weight_attr="weight", replace=True)
    outcomes = list(product(POSITIVE, repeat=2))
    p = np.array([WEIGHT[a - 1] * WEIGHT[b - 1] for a, b in outcomes]) / sum(WEIGHT) ** 2
    common = p * len(found) > 5
    counts = frequencies(found, outcomes)
    assert chisquare(
        [*counts[common], counts[~common].sum()], [*p[common] * len(found), p[~common].sum() * len(found)]
    ).pvalue > FLUKE  # fmt: skip


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_weighted_without_replacement_is_successive_sampling(kernels, k):
    found = np.sort(draws(star(WEIGHT), num_neighbors=[k], weight_attr="weight"))
    outcomes, p = list(combinations(POSITIVE, k)), []
    for outcome in outcomes:
        total = 0.0
        for order in permutations(outcome):
            chance, left = 1.0, sum(WEIGHT)
            for v in order:
                chance *= WEIGHT[v - 1] / left
                left -= WEIGHT[v - 1]
            total += chance
        p.append(total)
    np.testing.assert_allclose(sum(p), 1)
    p, counts = np.array(p), frequencies(found, outcomes)
    common = p * len(found) > 5
    observed, expected = counts[common], p[common] * len(found)
    if not common.all():
        observed, expected = [*observed, counts[~common].sum()], [*expected, p[~common].sum() * len(found)]
    assert chisquare(observed, expected).pvalue > FLUKE


def test_hops_are_independent(kernels):
    middle = torch.arange(1, 5)
    data = Data(
        edge_index=torch.cat(
            (torch.stack((middle, 0 * middle)), torch.stack((torch.arange(5, 21), middle.repeat_interleave(4)))), dim=1
        ),
        num_nodes=21,
    )
    out = nodes(NeighborSampler(data, [1, 1], disjoint=True, seed=3), [0] * 20_000)
    first, second = (out.node[out.row][n * 20_000 : (n + 1) * 20_000] for n in (0, 1))
    assert torch.equal((second - 1) // 4, first)
    assert chisquare(torch.bincount(second - 5)).pvalue > FLUKE


def test_batches_and_epochs_are_independent():
    sampler = NeighborSampler(star([1.0] * 4), [1], seed=5)
    found = np.zeros((4, 4))
    before = 0
    for epoch in range(3000):
        sampler.set_epoch(epoch)
        now = int(nodes(sampler, [0]).node[1]) - 1
        found[before, now] += 1
        before = now
    assert chisquare(found.ravel()).pvalue > FLUKE
    sampler = NeighborSampler(star([1.0] * 4), [1])
    counts = np.bincount([int(nodes(sampler, [0]).node[1]) for _ in range(2000)], minlength=5)[1:]
    assert chisquare(counts).pvalue > FLUKE


def test_a_common_weight_makes_no_difference(kernels):
    weight = [1e-300, 2e-300, 3e-300, 4e-300]
    found = draws(star(weight), times=5000, num_neighbors=[1], weight_attr="weight", replace=True)
    assert chisquare(np.bincount(found[:, 0])[1:], 500 * np.arange(1, 5)).pvalue > FLUKE
    found = draws(star(weight), times=5000, num_neighbors=[1], weight_attr="weight")
    assert chisquare(np.bincount(found[:, 0])[1:], 500 * np.arange(1, 5)).pvalue > FLUKE


# what is in a sample


@pytest.mark.parametrize("weight_attr", [None, "weight"])
@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("num_neighbors", [[4, 3], [-1, 2, 2], [2, 0, 5], [100], []])
def test_structure(kernels, num_neighbors, replace, disjoint, weight_attr):
    data = drawn_graph()
    sampler = NeighborSampler(data, num_neighbors, replace=replace, disjoint=disjoint, weight_attr=weight_attr, seed=0)
    seeds = torch.tensor([3, 59, 3, 17, 20, 8])  # 59 has no edges, 3 comes twice
    out = nodes(sampler, seeds)
    assert all(t.dtype == torch.long for t in (out.node, out.row, out.col, out.edge))
    assert torch.equal(out.node[:6], seeds)
    edge = original(sampler, out)
    assert torch.equal(data.edge_index[0, edge], out.node[out.row])
    assert torch.equal(data.edge_index[1, edge], out.node[out.col])
    hops = len(num_neighbors)
    assert len(out.num_sampled_nodes) == hops + 1
    assert len(out.num_sampled_edges) == hops
    assert sum(out.num_sampled_nodes) == len(out.node)
    assert sum(out.num_sampled_edges) == len(edge)
    identity = out.node if out.batch is None else out.batch * 100 + out.node
    if disjoint:
        assert torch.equal(out.batch[:6], torch.arange(6))
        assert torch.equal(out.batch[out.row], out.batch[out.col])
        assert len(identity.unique()) == len(identity)
    else:
        assert out.batch is None
        assert len(identity.unique()) == len(identity) - 1  # the seed that comes twice
    degree = torch.bincount(data.edge_index[1], minlength=60)
    node_ends, edge_ends = np.cumsum([0, *out.num_sampled_nodes]), np.cumsum([0, *out.num_sampled_edges])
    for hop, fanout in enumerate(num_neighbors):
        col = out.col[edge_ends[hop] : edge_ends[hop + 1]]
        row = out.row[edge_ends[hop] : edge_ends[hop + 1]]
        local = torch.arange(node_ends[hop], node_ends[hop + 1])
        met = degree[out.node[local]]
        if fanout < 0:
            want = met
        else:
            want = torch.where(met > 0, fanout, 0) if replace else met.clamp(max=fanout)
        assert torch.equal(col, local.repeat_interleave(want))
        new = row[row >= node_ends[hop + 1]]
        assert torch.equal(new.unique(), torch.arange(node_ends[hop + 1], node_ends[hop + 2]))
        first = [int((row == n).nonzero()[0]) for n in new.unique()]
        assert first == sorted(first)  # numbered as they come
        if not replace:
            chosen = torch.stack((col, edge[edge_ends[hop] : edge_ends[hop + 1]]))
            assert chosen.unique(dim=1).size(1) == chosen.size(1)


def test_all_neighbours_are_all_edges(kernels):
    data = drawn_graph()
    sampler = NeighborSampler(data, [-1])
    out = nodes(sampler, torch.arange(60))
    assert torch.equal(original(sampler, out).sort().values, torch.arange(data.num_edges))
    assert out.num_sampled_nodes == [60, 0]


@pytest.mark.parametrize("edge_index", [None, torch.empty(2, 0, dtype=torch.long)])
def test_no_edges(kernels, edge_index):
    out = nodes(NeighborSampler(Data(edge_index=edge_index, num_nodes=4), [3, 3]), [2, 0])
    assert out.node.tolist() == [2, 0]
    assert out.row.shape == out.col.shape == out.edge.shape == (0,)
    assert (out.num_sampled_nodes, out.num_sampled_edges) == ([2, 0, 0], [0, 0])
    for options in ({"weight_attr": "w"}, {"weight_attr": "w", "replace": True}):
        data = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), w=torch.zeros(2), num_nodes=4)
        assert nodes(NeighborSampler(data, [3], **options), [1]).row.shape == (0,)


def test_edges_that_are_sorted_need_no_permutation():
    data = drawn_graph()
    data.edge_index = data.edge_index[:, data.edge_index[1].argsort()]
    assert NeighborSampler(data, [2]).edge_permutation is None
    narrow = data.clone()
    narrow.edge_index = data.edge_index.int()
    assert same(nodes(NeighborSampler(narrow, [2], seed=0), [1]), nodes(NeighborSampler(data, [2], seed=0), [1]))


def test_induced(kernels):
    data = drawn_graph()
    sampler = NeighborSampler(data, [3, 2], subgraph_type="induced", seed=0)
    out = nodes(sampler, [4, 9, 4])
    assert torch.equal(out.node, nodes(NeighborSampler(data, [3, 2], seed=0), [4, 9, 4]).node)
    inside = torch.zeros(60, dtype=torch.bool).index_fill_(0, out.node, True)
    want = inside[data.edge_index].all(0).nonzero()[:, 0]
    edge = original(sampler, out)
    assert torch.equal(edge.unique(), want)
    assert torch.equal(data.edge_index[:, edge], out.node[torch.stack((out.row, out.col))])
    assert out.num_sampled_nodes is None
    assert out.num_sampled_edges is None


def test_bidirectional():
    data = drawn_graph()
    sampler = NeighborSampler(data, [3, 2], subgraph_type="bidirectional", seed=0)
    out, one = nodes(sampler, [4, 9]), nodes(NeighborSampler(data, [3, 2], seed=0), [4, 9])
    edges = {*zip(one.row.tolist(), one.col.tolist())}
    assert {*zip(out.row.tolist(), out.col.tolist())} == edges | {(b, a) for a, b in edges}
    assert out.num_sampled_nodes is None


# links


@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize("amount", [1, 2, 0.5])
def test_binary_negatives(disjoint, amount):
    sampler = NeighborSampler(drawn_graph(), [2], disjoint=disjoint, seed=0)
    row, col = torch.tensor([1, 2, 3, 1]), torch.tensor([5, 6, 1, 5])
    out = links(sampler, row, col, neg_sampling={"mode": "binary", "amount": amount})
    input_id, (source, target), label, time = out.metadata
    number = 4 + int(4 * amount)
    assert input_id.tolist() == [0, 1, 2, 3]
    assert time is None
    assert torch.equal(out.node[source][:4], row)
    assert torch.equal(out.node[target][:4], col)
    assert len(source) == len(target) == number
    assert label.tolist() == [1.0] * 4 + [0.0] * (number - 4)
    if disjoint:
        assert torch.equal(out.batch[source], out.batch[target])
        assert out.batch.max() == 3
    assert links(sampler, row, col, torch.tensor([2, 1, 1, 3]), neg_sampling="binary").metadata[2].tolist() == [
        *[2, 1, 1, 3],
        *[0, 0, 0, 0],
    ]


@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize("amount", [1, 3])
def test_triplets(disjoint, amount):
    sampler = NeighborSampler(drawn_graph(), [2], disjoint=disjoint, seed=0)
    row, col = torch.tensor([1, 2, 3, 1]), torch.tensor([5, 6, 1, 5])
    weight = torch.zeros(60)
    weight[40:44] = 1
    out = links(sampler, row, col, neg_sampling={"mode": "triplet", "amount": amount, "dst_weight": weight})
    _, source, positive, negative, _ = out.metadata
    assert torch.equal(out.node[source], row)
    assert torch.equal(out.node[positive], col)
    assert negative.shape == ((4,) if amount == 1 else (4, amount))
    assert set(out.node[negative].flatten().tolist()) <= {40, 41, 42, 43}
    if disjoint:
        assert torch.equal(out.batch[negative].view(4, -1), torch.arange(4)[:, None].expand(4, amount))


def test_links_without_negatives():
    sampler = NeighborSampler(drawn_graph(), [2], seed=0)
    label = torch.tensor([7, 8])
    out = links(sampler, [1, 2], [2, 1], label)
    assert out.node[:2].tolist() == [1, 2]  # one seed for each node
    assert torch.equal(out.metadata[1], torch.tensor([[0, 1], [1, 0]]))
    assert out.metadata[2] is label


def test_negative_nodes_follow_their_weights():
    sampler = NeighborSampler(star([1.0] * 3), [], seed=0)
    weight = torch.tensor([0.0, 1.0, 2.0, 1.0])
    out = links(sampler, [0] * 8000, [1] * 8000, neg_sampling={"mode": "binary", "src_weight": weight})
    source, target = out.node[out.metadata[1][:, 8000:]]
    assert chisquare(torch.bincount(source)[1:], [2000, 4000, 2000]).pvalue > FLUKE
    assert chisquare(torch.bincount(target)).pvalue > FLUKE


# loaders


class Trimmed(GraphSAGE):
    """Only what the seeds need is computed."""

    def forward(self, x, edge_index, sampled_nodes, sampled_edges):
        for n, conv in enumerate(self.convs):
            x, edge_index, _ = trim_to_layer(n, sampled_nodes, sampled_edges, x, edge_index)
            x = conv(x, edge_index)
            x = x.relu() if n < len(self.convs) - 1 else x
        return x


def test_node_loader_with_trimming_and_all_neighbours():
    data = drawn_graph()
    model = GraphSAGE(6, 8, num_layers=2, out_channels=3).eval()
    trimmed = Trimmed(6, 8, num_layers=2, out_channels=3).eval()
    trimmed.load_state_dict(model.state_dict())
    mask = torch.arange(60) % 2 == 1
    whole = model(data.x, data.edge_index)
    for fanouts in ([-1, -1], [3, 2]):
        sampler = NeighborSampler(data, fanouts)
        for batch in NodeLoader(data, node_sampler=sampler, input_nodes=mask, batch_size=13):
            size = batch.batch_size
            assert torch.equal(batch.n_id[:size], batch.input_id)
            assert torch.equal(batch.x, data.x[batch.n_id])
            assert torch.equal(batch.edge_attr, data.edge_attr[batch.e_id])
            assert torch.equal(batch.n_id[batch.edge_index], data.edge_index[:, batch.e_id])
            got = model(batch.x, batch.edge_index)[:size]
            part = trimmed(batch.x, batch.edge_index, batch.num_sampled_nodes, batch.num_sampled_edges)
            assert len(part) == sum(batch.num_sampled_nodes[:2])
            torch.testing.assert_close(part[:size], got)
            if fanouts[0] < 0:
                torch.testing.assert_close(got, whole[batch.n_id[:size]])


def test_training_on_batches_of_nodes():
    data = drawn_graph()
    data.x[:, :3] += 3 * torch.nn.functional.one_hot(data.y, 3)
    model = GraphSAGE(6, 16, num_layers=2, out_channels=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    sampler = NeighborSampler(data, [4, 4], seed=0)
    loader = NodeLoader(data, node_sampler=sampler, batch_size=20, shuffle=True)
    losses = []
    for epoch in range(12):
        sampler.set_epoch(epoch)
        for batch in loader:
            optimizer.zero_grad()
            out = model(batch.x, batch.edge_index)[: batch.batch_size]
            loss = torch.nn.functional.cross_entropy(out, batch.y[: batch.batch_size])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3])


@pytest.mark.parametrize("mode", ["binary", "triplet"])
def test_training_on_batches_of_links(mode):
    data = drawn_graph()
    model = GraphSAGE(6, 16, num_layers=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    sampler = NeighborSampler(data, [4, 4])
    negative = {"mode": mode, "amount": 1}
    loader = LinkLoader(data, link_sampler=sampler, neg_sampling=negative, batch_size=50, shuffle=True)
    losses = []
    for _ in range(4):
        for batch in loader:
            optimizer.zero_grad()
            z = model(batch.x, batch.edge_index)
            if mode == "binary":
                score = (z[batch.edge_label_index[0]] * z[batch.edge_label_index[1]]).sum(1)
                loss = torch.nn.functional.binary_cross_entropy_with_logits(score, batch.edge_label)
            else:
                score = z[batch.src_index] * (z[batch.dst_pos_index] - z[batch.dst_neg_index])
                loss = -torch.nn.functional.logsigmoid(score.sum(1)).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert torch.equal(batch.e_id.new_tensor(batch.edge_index.shape), torch.tensor([2, len(batch.e_id)]))
    assert sum(losses[-8:]) < sum(losses[:8])


# what decides a sample


def loaded(sampler, data, **kwargs):
    return [
        (batch.n_id, batch.e_id, batch.edge_index)
        for batch in NodeLoader(data, node_sampler=sampler, batch_size=16, **kwargs)
    ]


def equal(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for m, n in zip(a, b) for x, y in zip(m, n))


workers = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
quiet = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded", "ignore:This DataLoader will create")


@workers
@quiet
def test_a_seed_reproduces_with_any_number_of_workers():
    data = drawn_graph()
    want = loaded(NeighborSampler(data, [3, 3], seed=4), data)
    assert equal(loaded(NeighborSampler(data, [3, 3], seed=4), data, num_workers=2), want)
    assert not equal(loaded(NeighborSampler(data, [3, 3], seed=5), data), want)


@pytest.mark.slow  # PyG's loaders wait five seconds for such workers when they are thrown away
@workers
@quiet
def test_epochs_reach_workers_that_persist():
    data, found = drawn_graph(), []
    sampler = NeighborSampler(data, [2], seed=4)
    loader = NodeLoader(data, node_sampler=sampler, batch_size=30, num_workers=1, persistent_workers=True)
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        found.append([(batch.n_id, batch.e_id) for batch in loader])
    assert equal(found[0], found[2])
    assert not equal(found[0], found[1])
    assert sampler.epoch == 0


@workers
@quiet
@pytest.mark.parametrize("num_workers", [0, 1])
def test_torchs_generator_reproduces_without_a_seed(num_workers):
    data = drawn_graph()
    sampler = NeighborSampler(data, [3, 3])
    found = []
    for start in (1, 1, 2):
        torch.manual_seed(start)
        found.append(loaded(sampler, data, num_workers=num_workers))
    assert equal(found[0], found[1])
    assert not equal(found[0], found[2])
    assert not equal(loaded(sampler, data), loaded(sampler, data))  # from epoch to epoch


def test_links_reproduce():
    sampler = NeighborSampler(drawn_graph(), [3], seed=2)
    one, two = (links(sampler, [1, 2, 3], [4, 5, 6], neg_sampling="binary") for _ in range(2))
    assert same(one, two)
    assert torch.equal(one.metadata[1], two.metadata[1])
    sampler.set_epoch(1)
    assert not torch.equal(one.node, links(sampler, [1, 2, 3], [4, 5, 6], neg_sampling="binary").node)


@pytest.mark.parametrize("options", [{}, {"replace": True}, {"weight_attr": "weight"}, {"disjoint": True}])
def test_the_number_of_threads_makes_no_difference(kernels, options):
    data = drawn_graph(500, 6000)
    sampler, found = NeighborSampler(data, [5, 5], seed=0, **options), []
    before = torch.get_num_threads()
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            found.append(nodes(sampler, torch.arange(400)))
    finally:
        torch.set_num_threads(before)
    assert same(found[0], found[1])
    assert same(found[0], found[2])


def test_callers_at_once_do_not_meet():
    sampler = NeighborSampler(drawn_graph(500, 6000), [5, 5], seed=0)
    batches = [torch.arange(n, n + 40) for n in range(0, 400, 40)]
    want = [nodes(sampler, batch) for batch in batches]
    with ThreadPoolExecutor(4) as callers:
        for _ in range(5):
            assert all(map(same, callers.map(lambda batch: nodes(sampler, batch), batches), want))


def test_copies_draw_the_same():
    sampler = NeighborSampler(drawn_graph(), [3, 3], seed=1)
    want = nodes(sampler, [1, 2])
    for other in (pickle.loads(pickle.dumps(sampler)), copy.deepcopy(sampler)):
        assert same(nodes(other, [1, 2]), want)
    assert repr(sampler) == "NeighborSampler([3, 3])"


def test_order_and_number_of_seeds_count():
    sampler = NeighborSampler(star([1.0] * 50), [5], seed=1)
    found = [nodes(sampler, seeds).node[-5:].tolist() for seeds in ([0], [0, 1], [1, 0])]
    assert found[0] != found[1] != found[2]


# what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_neighbors": 5}, "list of integers"),
        ({"num_neighbors": [5, -2]}, "list of integers"),
        ({"num_neighbors": [True]}, "list of integers"),
        ({"num_neighbors": [2.5]}, "list of integers"),
        ({"num_neighbors": {("a", "to", "b"): [2]}}, "list of integers"),
        ({"num_neighbors": [2], "subgraph_type": "undirected"}, "'undirected': choose one of directional"),
        ({"num_neighbors": [2], "subgraph_type": "induced", "disjoint": True}, "leave out one"),
        ({"num_neighbors": [2], "weight_attr": "none"}, "no 'none'"),
        ({"num_neighbors": [2], "weight_attr": "x"}, "one weight for each of 400 edges"),
        ({"num_neighbors": [2], "weight_attr": "negative"}, "not negative"),
        ({"num_neighbors": [2], "weight_attr": "infinite"}, "finite"),
        ({"num_neighbors": [2], "seed": "1"}, "seed must be an integer"),
    ],
)
def test_options_that_are_refused(options, message):
    data = drawn_graph()
    data.negative, data.infinite = -data.weight, data.weight / 0
    with pytest.raises(ValueError, match=message):
        NeighborSampler(data, **options)


def test_graphs_that_are_refused():
    with pytest.raises(ValueError, match="to_homogeneous"):
        NeighborSampler(HeteroData(), [2])
    with pytest.raises(ValueError, match="not tuple"):
        NeighborSampler((1, 2), [2])
    with pytest.raises(ValueError, match="to_edge_index"):
        NeighborSampler(Data(adj_t=torch.eye(3).to_sparse(), num_nodes=3), [2])
    with pytest.raises(ValueError, match="node 9"):
        NeighborSampler(Data(edge_index=torch.tensor([[0], [9]]), num_nodes=3), [2])


def test_seeds_that_are_refused():
    data = drawn_graph()
    sampler = NeighborSampler(data, NumNeighbors([2]))
    for seeds in ([60], [-1]):
        with pytest.raises(ValueError, match="60 nodes"):
            nodes(sampler, seeds)
        with pytest.raises(ValueError, match="60 nodes"):
            links(sampler, [0], seeds)
    time = torch.zeros(2)
    with pytest.raises(ValueError, match="by time"):
        next(iter(NodeLoader(data, node_sampler=sampler, input_nodes=torch.arange(2), input_time=time)))
    with pytest.raises(ValueError, match="by time"):
        sampler.sample_from_edges(EdgeSamplerInput(None, torch.arange(2), torch.arange(2), time=time))
    with pytest.raises(ValueError, match="of type 'paper'"):
        sampler.sample_from_nodes(NodeSamplerInput(None, torch.arange(2), input_type="paper"))
    with pytest.raises(ValueError, match="triplets"):
        links(sampler, [0], [1], torch.ones(1), neg_sampling="triplet")
    with pytest.raises(ValueError, match="weights of negative nodes"):
        links(sampler, [0], [1], neg_sampling={"mode": "binary", "src_weight": torch.ones(3)})
    with pytest.raises(ValueError, match="unknown arguments: speed"):
        sampler.sample_from_nodes(NodeSamplerInput(None, torch.arange(2)), speed=1)
