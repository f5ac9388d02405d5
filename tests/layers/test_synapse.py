"""The fast path against PyG's own forward of the same module, and the slow path against a loop over time."""

import copy
import inspect

import pytest
import torch
from torch import nn
from torch_geometric.nn import (
    ARMAConv,
    ChebConv,
    GATConv,
    GATv2Conv,
    GCNConv,
    GINConv,
    GraphConv,
    MixHopConv,
    SAGEConv,
    TAGConv,
    TransformerConv,
)

from msg.nn import Graph, SparseMatrix, Synapse, make_synapse

pytestmark = pytest.mark.covering

IN, OUT, STEPS = 4, 3, 5


def _gin_with_eps(i, o):
    return GINConv(nn.Linear(i, o), eps=0.3, train_eps=True)


# synapses whose fast path must equal PyG's forward; a new linear synapse is one entry
LINEAR = {
    "gcn": GCNConv,
    "gcn, no bias": lambda i, o: GCNConv(i, o, bias=False),
    "gcn, improved": lambda i, o: GCNConv(i, o, improved=True),
    "gcn, no loops": lambda i, o: GCNConv(i, o, add_self_loops=False),
    "gcn, not normalized": lambda i, o: GCNConv(i, o, normalize=False),
    "sage": SAGEConv,
    "sage, sum": lambda i, o: SAGEConv(i, o, aggr="sum"),
    "sage, add, no root": lambda i, o: SAGEConv(i, o, aggr="add", root_weight=False),
    "sage, no bias": lambda i, o: SAGEConv(i, o, bias=False),
    "gin": lambda i, o: GINConv(nn.Linear(i, o)),
    "gin, no bias": lambda i, o: GINConv(nn.Linear(i, o, bias=False)),
    "gin, eps": _gin_with_eps,
}
# whatever the fast path must leave alone
SLOW = {
    "gatv2": lambda i, o: GATv2Conv(i, o),
    "gat, reversed": lambda i, o: GATConv(i, o, flow="target_to_source"),
    "gat, residual": lambda i, o: GATConv(i, o, residual=True),
    "gat, edge features": lambda i, o: GATConv(i, o, edge_dim=2),
    "gat, maximum": lambda i, o: GATConv(i, o, aggr="max"),
    "transformer": TransformerConv,
    "sage, max": lambda i, o: SAGEConv(i, o, aggr="max"),
    "sage, normalized": lambda i, o: SAGEConv(i, o, normalize=True),
    "sage, projected": lambda i, o: SAGEConv(i, o, project=True),
    "gin, mlp": lambda i, o: GINConv(nn.Sequential(nn.Linear(i, o), nn.ReLU(), nn.Linear(o, o))),
    "gcn, reversed": lambda i, o: GCNConv(i, o, flow="target_to_source"),
    "tag": TAGConv,
    "cheb": lambda i, o: ChebConv(i, o, K=2),
    "graph": GraphConv,
}
# not linear, and yet without a call of PyG's forward
ATTENTION = {
    "gat": GATConv,
    "gat, heads": lambda i, o: GATConv(i, o, heads=3),
    "gat, mean of heads": lambda i, o: GATConv(i, o, heads=2, concat=False),
    "gat, no loops": lambda i, o: GATConv(i, o, add_self_loops=False, negative_slope=0.5),
    "gat, no bias": lambda i, o: GATConv(i, o, heads=2, bias=False),
}
GRAPHS = {
    "odd": None,  # the fixture: directed, loop, duplicate, isolated node
    "no edges": torch.zeros(2, 0, dtype=torch.long),
    "loops only": torch.arange(7).repeat(2, 1),
    "weighted loop twice": torch.tensor([[2, 2, 1], [2, 2, 2]]),
}


@pytest.fixture(params=list(LINEAR))
def linear(request):
    torch.manual_seed(1)
    return LINEAR[request.param](IN, OUT).double()


@pytest.fixture(params=list(GRAPHS))
def edges(request, edge_index):
    graph = GRAPHS[request.param]
    return edge_index if graph is None else graph


def _gradients(out, *inputs):
    generator = torch.Generator().manual_seed(2)
    upstream = torch.randn(out.shape, dtype=out.dtype, generator=generator)
    grads = torch.autograd.grad(out, inputs, upstream, allow_unused=True, retain_graph=True)
    # a weight that touches no node gets None from one path and zeros from the other
    return [torch.zeros_like(i) if g is None else g for i, g in zip(inputs, grads)]


def _close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_fast_path_equals_pyg(linear, edges):
    synapse = Synapse(linear)
    assert synapse.linear
    x = torch.randn(7, IN, dtype=torch.float64, requires_grad=True)
    got, want = synapse(x, Graph(edges, None, 7)), linear(x, edges)
    _close(got, want)
    parameters = [p for p in linear.parameters() if p.requires_grad]
    for a, b in zip(_gradients(got, x, *parameters), _gradients(want, x, *parameters)):
        _close(a, b)


def test_fast_path_of_a_train_is_pyg_at_each_step(linear, edges):
    synapse, graph = Synapse(linear), Graph(edges, None, 7)
    x = torch.randn(7, STEPS, IN, dtype=torch.float64, requires_grad=True)
    got = synapse(x, graph)
    want = torch.stack([linear(x[:, t], edges) for t in range(STEPS)], dim=1)
    _close(got, want)
    _close(got.mean(1), synapse(x.mean(1), graph))  # what 'linear' promises
    parameters = [p for p in linear.parameters() if p.requires_grad]
    for a, b in zip(_gradients(got, x, *parameters), _gradients(want, x, *parameters)):
        _close(a, b)


@pytest.mark.parametrize(("width_in", "width_out"), [(2, 6), (6, 2), (4, 4)])
@pytest.mark.parametrize("name", ["gcn", "sage", "gin"])
def test_either_order_of_aggregation_and_weight(name, width_in, width_out, edge_index, dtype):
    conv = make_synapse(name, width_in, width_out).to(dtype)
    x = torch.randn(7, width_in, dtype=dtype)
    torch.testing.assert_close(conv(x, Graph(edge_index, None, 7)), conv.conv(x, edge_index))


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("name", [n for n in LINEAR if n.startswith("gcn")])
def test_weighted_gcn_equals_pyg(name, learned, edge_index):
    conv = LINEAR[name](IN, OUT).double()
    weight = (torch.rand(10, dtype=torch.float64) + 0.1).requires_grad_(learned)
    for shape in ((7, IN), (7, STEPS, IN)):
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        got = Synapse(conv)(x, Graph(edge_index, weight, 7))
        steps = x.unbind(1) if x.dim() == 3 else [x]
        want = torch.stack([conv(step, edge_index, weight) for step in steps], dim=1).view(got.shape)
        _close(got, want)
        inputs = [x, *conv.parameters(), *([weight] if learned else [])]
        for a, b in zip(_gradients(got, *inputs), _gradients(want, *inputs)):
            _close(a, b)


def _slow_weighted(conv, x, edge_index, weight):
    """SAGE and GIN with weighted messages, edge by edge."""
    total = [torch.zeros(IN, dtype=torch.float64) for _ in range(7)]
    mass = [torch.zeros((), dtype=torch.float64) for _ in range(7)]
    for e, (s, t) in enumerate(edge_index.t().tolist()):
        total[t] = total[t] + weight[e] * x[s]
        mass[t] = mass[t] + weight[e]
    if isinstance(conv, GINConv):
        return conv.nn(torch.stack(total) + (1 + conv.eps) * x)
    if conv.aggr == "mean":
        total = [s / m if m.detach() else s for s, m in zip(total, mass)]
    out = conv.lin_l(torch.stack(total))
    return out + conv.lin_r(x) if conv.root_weight else out


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("name", [n for n in LINEAR if not n.startswith("gcn")])
def test_weighted_sage_and_gin_equal_the_slow_loop(name, learned, edge_index):
    conv = LINEAR[name](IN, OUT).double()
    weight = (torch.rand(10, dtype=torch.float64) + 0.1).requires_grad_(learned)
    x = torch.randn(7, IN, dtype=torch.float64, requires_grad=True)
    got = Synapse(conv)(x, Graph(edge_index, weight, 7))
    want = _slow_weighted(conv, x, edge_index, weight)
    _close(got, want)
    inputs = [x, *conv.parameters(), *([weight] if learned else [])]
    for a, b in zip(_gradients(got, *inputs), _gradients(want, *inputs)):
        _close(a, b)


def test_weights_of_another_dtype_are_taken(linear, edge_index):
    weight = torch.randint(1, 4, (10,))
    x = torch.randn(7, IN, dtype=torch.float64)
    _close(Synapse(linear)(x, Graph(edge_index, weight, 7)), Synapse(linear)(x, Graph(edge_index, weight.double(), 7)))


def test_two_convs_share_a_graph_but_not_a_matrix(edge_index):
    graph, x = Graph(edge_index, None, 7), torch.randn(7, IN, dtype=torch.float64)
    for name in LINEAR:  # the cache must tell every one of them apart
        conv = LINEAR[name](IN, OUT).double()
        _close(Synapse(conv)(x, graph), conv(x, edge_index))
        torch.testing.assert_close(Synapse(conv.float())(x.float(), graph), conv(x.float(), edge_index))


def test_sparse_features_equal_dense(linear, edge_index):
    dense = (torch.randn(7, IN) * (torch.rand(7, IN) < 0.4)).double()
    synapse, graph = Synapse(linear), Graph(edge_index, None, 7)
    got = synapse(SparseMatrix.from_tensor(dense.to_sparse_coo()), graph)
    want = synapse(dense, graph)
    _close(got, want)
    parameters = list(linear.parameters())
    for a, b in zip(_gradients(got, *parameters), _gradients(want, *parameters)):
        _close(a, b)


def test_linear_layer_aggregates_nothing(edge_index):
    layer = nn.Linear(IN, OUT)
    synapse, x = Synapse(layer), torch.randn(7, STEPS, IN)
    assert synapse.linear
    torch.testing.assert_close(synapse(x, Graph(edge_index, None, 7)), layer(x))


# -------------------------------------------------------------------------------- attention


@pytest.fixture(params=list(ATTENTION))
def attention(request, monkeypatch):
    torch.manual_seed(1)
    conv = ATTENTION[request.param](IN, OUT).double()
    called = []
    monkeypatch.setattr(type(conv), "propagate", _counting(type(conv).propagate, called))
    return conv, called


def _counting(function, called):
    def wrapped(self, *args, **kwargs):
        called.append(self)
        return function(self, *args, **kwargs)

    return wrapped


@pytest.mark.parametrize("steps", [None, STEPS])
def test_attention_equals_pyg(attention, edges, steps):
    conv, called = attention
    x = torch.randn(7, IN, dtype=torch.float64) if steps is None else torch.randn(7, steps, IN, dtype=torch.float64)
    x.requires_grad_()
    synapse, graph = Synapse(conv), Graph(edges, None, 7)
    assert not synapse.linear
    got = synapse(x, graph)
    assert not called
    one = [conv(now, edges) for now in (x.unbind(1) if steps else [x])]
    want = torch.stack(one, dim=1).view(got.shape)
    assert called
    _close(got, want)
    for a, b in zip(_gradients(got, x, *conv.parameters()), _gradients(want, x, *conv.parameters())):
        _close(a, b)


def test_attention_of_sparse_features_equals_dense(attention, edge_index):
    conv, called = attention
    dense = (torch.randn(7, IN) * (torch.rand(7, IN) < 0.4)).double()
    synapse, graph = Synapse(conv), Graph(edge_index, None, 7)
    _close(synapse(SparseMatrix.from_tensor(dense.to_sparse_coo()), graph), synapse(dense, graph))
    assert not called


def test_attention_can_be_differentiated_twice(edge_index):
    conv = GATConv(2, 2, heads=2).double()
    graph = Graph(edge_index, None, 7)

    def function(x, weight):
        return torch.func.functional_call(Synapse(conv), {"conv.lin.weight": weight}, (x, graph))

    inputs = torch.randn(7, 2, dtype=torch.float64), conv.lin.weight.detach().clone()
    for given in inputs:
        given.requires_grad_()
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_attention_is_dropped_in_training(edge_index):
    conv, x = GATConv(IN, OUT, heads=2, dropout=0.5), torch.randn(7, IN)
    synapse, graph = Synapse(conv), Graph(edge_index, None, 7)
    torch.testing.assert_close(synapse.eval()(x, graph), conv(x, edge_index))
    synapse.train()
    mean = torch.stack([synapse(x, graph) for _ in range(1000)]).mean(0)
    torch.testing.assert_close(mean, synapse.eval()(x, graph), atol=0.2, rtol=0)
    # an edge kept with probability 1/2 weighs twice as much: a sum of one edge is 0 or doubled
    lone, away = torch.tensor([[0], [1]]), GATConv(IN, OUT, add_self_loops=False, bias=False, dropout=0.5)
    sums = torch.stack([Synapse(away)(x, Graph(lone, None, 7))[1] for _ in range(40)])
    sent = away.lin(x)[0]
    kinds = {tuple(row.tolist()) for row in (sums / sent).round(decimals=3)}
    assert kinds == {(0.0,) * OUT, (2.0,) * OUT}


@pytest.mark.parametrize("kind", [GCNConv, SAGEConv, GATConv])
def test_who_looks_into_a_convolution_sees_it_work(kind, edge_index):
    for register in ("register_forward_hook", "register_message_forward_hook", "register_propagate_forward_pre_hook"):
        conv, seen = kind(IN, OUT), []
        getattr(conv, register)(lambda *_, seen=seen: seen.append(1))
        Synapse(conv)(torch.randn(7, IN), Graph(edge_index, None, 7))
        assert seen, register
    conv = kind(IN, OUT)
    conv.seen = torch.ones(2)  # neither true nor false
    Synapse(conv)(torch.randn(7, IN), Graph(edge_index, None, 7))
    conv.forward = lambda *_: torch.ones(1)
    assert Synapse(conv)(torch.randn(7, IN), Graph(edge_index, None, 7)) == 1


@pytest.mark.parametrize("name", LINEAR)
def test_a_hook_does_not_change_what_weights_of_edges_do(name, edge_index):
    x, weight = torch.randn(7, STEPS, IN), torch.rand(edge_index.size(1), requires_grad=True)
    synapse, graph, ran = Synapse(LINEAR[name](IN, OUT)), Graph(edge_index, weight, 7), []
    want = synapse(x, graph)
    (towards,) = torch.autograd.grad(want.square().sum(), weight)
    synapse.conv.register_forward_hook(lambda *_: ran.append(1))
    for _ in range(2):  # nothing is left behind
        out = synapse(x, graph)
        torch.testing.assert_close(out, want)
        (found,) = torch.autograd.grad(out.square().sum(), weight)
        torch.testing.assert_close(found, towards, rtol=1e-4, atol=1e-4)
    assert len(ran) == 2 * STEPS


class _Adapter(nn.Module):
    """A map with something beside it, and the weight of the map alone."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.weight, self.bias = inner, inner.weight, inner.bias

    def forward(self, x):
        return 2 * self.inner(x)


@pytest.mark.parametrize("kind", [GCNConv, SAGEConv, GATConv])
def test_a_map_put_in_place_of_the_own_is_not_passed_by(kind, edge_index):
    x, graph = torch.randn(7, IN), Graph(edge_index, None, 7)
    for put in (_Adapter, lambda _: nn.Linear(IN, OUT), nn.Sequential):
        conv = kind(IN, OUT)
        for name in ("lin", "lin_l"):
            if isinstance(getattr(conv, name, None), nn.Module):
                setattr(conv, name, put(getattr(conv, name)))
        torch.testing.assert_close(Synapse(conv)(x, graph), conv(x, edge_index))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_attention_of_many_neighbours_in_half_precision(dtype):
    many = 3000
    edges = torch.stack([torch.arange(1, many), torch.zeros(many - 1, dtype=torch.long)])
    conv = GATConv(2, 3, add_self_loops=False).to(dtype)
    nn.init.constant_(conv.lin.weight, 8.0)
    out = Synapse(conv)(torch.full((many, 2), 4.0, dtype=dtype), Graph(edges, None, many))
    assert out.dtype == dtype
    torch.testing.assert_close(out[0], torch.full((3,), 64.0, dtype=dtype))  # the sum of all is beyond float16


def test_attention_without_nodes():
    assert Synapse(GATConv(IN, OUT, 2))(torch.zeros(0, IN), Graph(torch.zeros(2, 0).long(), None, 0)).shape == (0, 6)


# -------------------------------------------------------------------------------- slow path


@pytest.fixture(params=list(SLOW))
def slow(request):
    torch.manual_seed(1)
    return SLOW[request.param](IN, OUT)


def test_slow_path_is_pyg_at_each_step(slow, edge_index):
    synapse, graph = Synapse(slow), Graph(edge_index, None, 7)
    assert not synapse.linear
    x = torch.randn(7, STEPS, IN)
    torch.testing.assert_close(synapse(x[:, 0], graph), slow(x[:, 0], edge_index))
    want = torch.stack([slow(x[:, t], edge_index) for t in range(STEPS)], dim=1)
    torch.testing.assert_close(synapse(x, graph), want)


def test_slow_path_of_sparse_features_equals_dense(slow, edge_index):
    dense = torch.randn(7, IN) * (torch.rand(7, IN) < 0.4)
    synapse, graph = Synapse(slow), Graph(edge_index, None, 7)
    got = synapse(SparseMatrix.from_tensor(dense.to_sparse_coo()), graph)
    torch.testing.assert_close(got, synapse(dense, graph))
    got.sum().backward()


def test_edge_weight_is_honoured_or_refused(slow, edge_index):
    synapse, weight = Synapse(slow), torch.rand(10)
    x, graph = torch.randn(7, IN), Graph(edge_index, weight, 7)
    if "edge_weight" in inspect.signature(slow.forward).parameters:
        torch.testing.assert_close(synapse(x, graph), slow(x, edge_index, edge_weight=weight))
    elif isinstance(slow, SAGEConv | GINConv) and slow.aggr in ("mean", "add"):
        times = torch.tensor([3, 1, 2, 1, 4, 1, 1, 2, 1, 2])  # a weight of three is an edge that is there three times
        want = slow(x, edge_index.repeat_interleave(times, dim=1))
        torch.testing.assert_close(synapse(x, Graph(edge_index, times.float(), 7)), want)
    else:
        with pytest.raises(ValueError, match=rf"{type(slow).__name__} cannot honour edge_weight.*edge_dim=1"):
            synapse(x, graph)


def test_edge_weight_becomes_the_one_edge_feature(edge_index):
    conv, weight, x = GATv2Conv(IN, OUT, edge_dim=1), torch.rand(10, requires_grad=True), torch.randn(7, IN)
    got = Synapse(conv)(x, Graph(edge_index, weight, 7))
    torch.testing.assert_close(got, conv(x, edge_index, weight.detach().view(-1, 1)))
    assert torch.autograd.grad(got.square().sum(), weight)[0].abs().sum() > 0
    with pytest.raises(ValueError, match="edge_dim=1"):
        Synapse(GATv2Conv(IN, OUT, edge_dim=2))(x, Graph(edge_index, weight, 7))


# -------------------------------------------------------------------------------- make_synapse


@pytest.mark.parametrize(("name", "kind"), [("gcn", GCNConv), ("sage", SAGEConv), ("gin", GINConv)])
def test_make_synapse_by_name(name, kind):
    synapse = make_synapse(name, IN, OUT)
    assert type(synapse.conv) is kind
    assert synapse.linear


def test_make_synapse_by_function_and_unknown():
    assert type(make_synapse(TAGConv, IN, OUT).conv) is TAGConv
    with pytest.raises(ValueError, match=r"'chebyshev'.*'gcn', 'sage', 'gin', 'gat'"):
        make_synapse("chebyshev", IN, OUT)
    with pytest.raises(ValueError, match=r"not a TAGConv that is made already: use conv=TAGConv"):
        make_synapse(TAGConv(IN, OUT), IN, OUT)


def test_reset_parameters(linear):
    synapse = Synapse(linear)
    before = copy.deepcopy(synapse.state_dict())
    synapse.reset_parameters()
    assert any(not torch.equal(before[key], value) for key, value in synapse.state_dict().items())


@pytest.mark.parametrize(
    "make", [lambda i, o: GCNConv(i, o, aggr="max"), lambda i, o: GINConv(torch.nn.Linear(i, o), aggr="mean")]
)
def test_another_aggregation_than_the_sum_is_the_convolutions_own(make, edge_index):
    conv, x = make(IN, OUT), torch.randn(7, IN)
    assert not Synapse(conv).linear
    torch.testing.assert_close(Synapse(conv)(x, Graph(edge_index, None, 7)), conv(x, edge_index))


@pytest.mark.parametrize(
    ("make", "hops"),
    [
        (lambda i, o: ARMAConv(i, o, num_layers=3), 3),
        (lambda i, o: ChebConv(i, o, K=3), 2),
        (lambda i, o: MixHopConv(i, o, powers=[0, 1, 4]), 4),
        (lambda i, o: TAGConv(i, o, K=2), 2),
        (GraphConv, 1),
        (torch.nn.Linear, 0),
    ],
)
def test_how_far_a_convolution_looks(make, hops):
    assert Synapse(make(IN, OUT)).hops == hops


@pytest.mark.parametrize(
    ("make", "beyond"),
    [
        (lambda i, o: TAGConv(i, o, K=1), True),
        (lambda i, o: ChebConv(i, o, K=2), True),
        (lambda i, o: GCNConv(i, o, aggr="mean"), True),
        (ARMAConv, True),
        (GraphConv, False),
        (GATv2Conv, False),
        (lambda i, o: SAGEConv(i, o, aggr="max"), False),
        (GCNConv, False),  # taken apart, with degrees of the whole graph
    ],
)
def test_whose_degrees_a_convolution_reads(make, beyond):
    synapse = Synapse(make(IN, OUT))
    state = torch.get_rng_state()
    assert synapse.looks_beyond(IN) is beyond
    assert torch.equal(state, torch.get_rng_state())
