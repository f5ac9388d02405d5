"""HGCN against the paper's formulas, written out with every exponential map and logarithm, node by node."""

import math

import pytest
import torch

from msg.energy import count
from msg.manifolds import curvature
from msg.models.peers.hgcn import SPEC
from msg.nn import HGCN, QGCN, FermiDirac, Graph, HyboNet, HyperbolicGCNConv, KappaGCN, KappaGCNConv
from msg.testing import assert_model
from msg.training import link_prediction

# in ambient coordinates, the hyperboloid of curvature -c


def _lorentz(a, b):
    return -a[0] * b[0] + (a[1:] * b[1:]).sum()


def _origin(dim, c):
    return torch.cat([c.rsqrt().reshape(1), torch.zeros(dim, dtype=torch.float64)])


def _exp(x, v, c):
    r = (c * _lorentz(v, v)).sqrt()
    return torch.cosh(r) * x + torch.sinh(r) * v / r


def _log(x, y, c):
    cosh = -c * _lorentz(x, y)
    u = y - cosh * x
    return torch.acosh(cosh) * u / (cosh**2 - 1).sqrt()


def _carry(x, v, c):
    """From the origin to a point."""
    o = _origin(len(x) - 1, c)
    return v + c * _lorentz(x, v) / (1 - c * _lorentz(o, x)) * (o + x)


class Lorentz:
    def __init__(self, c):
        self.c = c

    def exp0(self, u):
        return _exp(_origin(len(u), self.c), torch.cat([u.new_zeros(1), u]), self.c)

    def log0(self, x):
        return _log(_origin(len(x) - 1, self.c), x, self.c)[1:]

    def add(self, m, b):
        return _exp(m, _carry(m, torch.cat([b.new_zeros(1), b]), self.c), self.c)

    def mean(self, weights, points, at):
        return _exp(at, sum(w * _log(at, p, self.c) for w, p in zip(weights, points)), self.c)


class Ball:
    """In the chart, with Möbius operations."""

    def __init__(self, c):
        self.c = c

    def exp0(self, u):
        r = self.c.sqrt() * u.norm()
        return torch.tanh(r) * u / r

    def log0(self, x):
        r = self.c.sqrt() * x.norm()
        return torch.atanh(r) * x / r

    def _sum(self, x, y):
        c, xy, x2, y2 = self.c, x @ y, x @ x, y @ y
        return ((1 + 2 * c * xy + c * y2) * x + (1 - c * x2) * y) / (1 + 2 * c * xy + c**2 * x2 * y2)

    def add(self, m, b):
        return self._sum(m, self.exp0(b))

    def _log(self, x, y):
        u = self._sum(-x, y)
        r = self.c.sqrt() * u.norm()
        return (1 - self.c * (x @ x)) * torch.atanh(r) * u / r

    def mean(self, weights, points, at):
        logs = [w * self._log(at, p) for w, p in zip(weights, points) if p is not at]
        v = sum(logs, torch.zeros_like(at))
        r = self.c.sqrt() * v.norm() / (1 - self.c * (at @ at))
        return at if not bool(r > 0) else self._sum(at, torch.tanh(r) * v / (self.c.sqrt() * v.norm()))


def _neighbours(edge_index, nodes):
    rows = [[] for _ in range(nodes)]
    for j, i in edge_index.t().tolist():
        rows[i].append(j)
    return [[*row, *([] if i in row else [i])] for i, row in enumerate(rows)]


def _weights(conv, u, i, row, released):
    if conv.attention is None:
        return [1 / len(row)] * len(row)
    w, b = conv.attention.lin.weight[0], conv.attention.lin.bias[0]
    scores = torch.stack([w @ torch.cat([u[i], u[j]]) + b for j in row])
    return list(scores.sigmoid() / len(row) if released else scores.softmax(0))


def slow(model, x, edge_index, kind, released=False):
    spaces = [kind(torch.tensor(-curvature(conv.manifold), dtype=torch.float64)) for conv in model.convs]
    spaces.append(kind(torch.tensor(-curvature(model.manifold), dtype=torch.float64)))
    rows = _neighbours(edge_index, len(x))
    points = [spaces[0].exp0(row) for row in x]
    for conv, space, after in zip(model.convs, spaces, spaces[1:]):
        m = [space.add(space.exp0(conv.lin.weight @ space.log0(p)), conv.bias.bias) for p in points]
        u = [space.log0(p) for p in m]
        h = []
        for i, row in enumerate(rows):
            w = _weights(conv, u, i, row, released)
            if conv.local is None:
                h.append(space.exp0(sum(a * u[j] for a, j in zip(w, row))))
            else:
                others = [(a, m[j]) for a, j in zip(w, row) if j != i]
                h.append(space.mean([a for a, _ in others], [p for _, p in others], m[i]) if others else m[i])
        sent = [torch.nn.functional.elu(conv.norm(space.log0(p)[None])[0]) for p in h]
        if model.residual and conv is not model.convs[0]:
            sent = [now + space.log0(p) for now, p in zip(sent, points)]
        points = [after.exp0(now) for now in sent]
    return torch.stack(points), torch.stack([model.head.lin(spaces[-1].log0(p) * _frame(kind)) for p in points])


def _frame(kind):
    # the head reads an orthonormal frame
    return 2.0 if kind is Ball else 1.0


def _make(letter, **options):
    model = HGCN(4, 3, f"{letter}3", num_layers=2, act="elu", **options).double()
    with torch.no_grad():
        for number, manifold in enumerate([*(conv.manifold for conv in model.convs), model.manifold]):
            next(manifold.parameters()).fill_(0.3 * number - 0.2)
        for conv in model.convs:
            conv.bias.bias.normal_(std=0.3)
    return model


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attention": True},
        {"attention": True, "as_released": True},
        {"aggregation": "local"},
        {"attention": True, "aggregation": "local"},
        {"residual": True, "norm": "layer"},
    ],
    ids=str,
)
@pytest.mark.parametrize(("letter", "kind"), [("H", Lorentz), ("P", Ball)])
def test_it_is_the_papers_formula(letter, kind, options, edge_index):
    # an edge that is there twice would be two edges
    edge_index = edge_index[:, :7]
    # inside the radius bound, which the formulas do not have
    model, x = _make(letter, **options), 0.3 * torch.randn(7, 4, dtype=torch.float64)
    points, logits = slow(model, x, edge_index, kind, options.get("as_released", False))
    got = model(x, edge_index)
    assert torch.allclose(got, logits, atol=1e-9)
    model.head = torch.nn.Identity()
    assert torch.allclose(model(x, edge_index), points, atol=1e-9)
    weights = [conv.lin.weight for conv in model.convs] + [conv.bias.bias for conv in model.convs]
    for a, b in zip(
        torch.autograd.grad(got.square().sum(), weights), torch.autograd.grad(logits.square().sum(), weights)
    ):
        assert torch.allclose(a, b, atol=1e-8 * float(b.abs().max()))


@pytest.mark.parametrize(
    "options",
    [
        {"manifold": "P4"},
        {"manifold": "H4", "num_layers": 3, "residual": True, "norm": "batch"},
        {"manifold": "L4", "attention": True, "aggregation": "local", "norm": "layer", "dropout": 0.3},
        {"manifold": "P4", "attention": True, "as_released": True, "dropout": 0.3},
        {"manifold": "P4", "out_channels": None, "learn_curvature": False, "bias": False},
    ],
    ids=str,
)
def test_it_keeps_the_contract_and_is_counted(options, edge_index):
    def make():
        return HGCN(**{"in_channels": 5, "out_channels": 3, **options})

    x = 2 * torch.randn(7, 5)
    assert_model(make, x, edge_index)
    model = make().eval()
    with torch.no_grad(), count(model) as ops:
        model(x, edge_index)
    assert not ops.unknown
    assert ops.total()["transcendental"] > 0


def test_curvature_learns_and_stays_negative(edge_index):
    for letter in "HP":
        model = HGCN(5, 3, f"{letter}4", num_layers=2)
        manifolds = [*(conv.manifold for conv in model.convs), model.manifold]
        assert [curvature(m) for m in manifolds] == pytest.approx([-1.0] * 3)
        with torch.no_grad():
            for conv in model.convs:
                conv.bias.bias.normal_()
        model(torch.randn(7, 5), edge_index).square().sum().backward()
        assert all(float(p.grad.abs()) > 0 for conv in model.convs for p in conv.manifold.parameters())
        with torch.no_grad():
            for m in manifolds:
                next(m.parameters()).sub_(30.0)
        assert all(curvature(m) < 0 for m in manifolds)
        assert not any(p.requires_grad for p in HGCN(5, 3, f"{letter}4", learn_curvature=False).manifold.parameters())
        assert [name for name in model.state_dict() if name.startswith("head")] == ["head.lin.weight", "head.lin.bias"]


def test_without_a_bias_it_is_flat(edge_index):
    models = [HGCN(5, 3, name, bias=False).double() for name in ("P4", "H4")]
    models[1].load_state_dict({k: v for k, v in models[0].state_dict().items() if "manifold" not in k}, strict=False)
    with torch.no_grad():
        models[1].head.lin.weight.mul_(2)  # the ball's vectors are twice as long there
    x = 0.3 * torch.randn(7, 5, dtype=torch.float64)
    assert torch.allclose(models[0](x, edge_index), models[1](x, edge_index), atol=1e-9)


def test_as_released_drops_logits_and_attention_differs(edge_index):
    x = torch.randn(7, 5)
    model = HGCN(5, 50, "P4", dropout=0.5, as_released=True)
    assert float((model(x, edge_index) == 0).float().mean()) == pytest.approx(0.5, abs=0.15)
    assert not bool((HGCN(5, 50, "P4", dropout=0.5)(x, edge_index) == 0).any())
    ours, theirs = HGCN(5, 3, "P4", attention=True), HGCN(5, 3, "P4", attention=True, as_released=True)
    theirs.load_state_dict(ours.state_dict())
    assert not torch.allclose(ours(x, edge_index), theirs(x, edge_index), atol=1e-3)


def test_layer_maps_points_to_points(edge_index):
    from msg.manifolds import LearnedLorentz, exp0, log0
    from msg.testing import assert_on_manifold

    out = LearnedLorentz(2.0)
    conv = HyperbolicGCNConv(5, 4, "L", out)
    v = torch.randn(7, 5, dtype=torch.float64)
    z = conv(exp0(conv.manifold, v), edge_index)
    assert_on_manifold(out, z)
    want = conv(v.float(), edge_index, tangent=True)
    assert torch.allclose(log0(out, z).float(), want, atol=1e-5)


def test_far_points_and_zeros_are_finite_in_float32(edge_index):
    for letter in "HP":
        model = HGCN(5, 3, f"{letter}4", aggregation="local")
        for scale in (0.0, 1e4):
            x = torch.full((7, 5), scale, requires_grad=True)
            out = model(x, edge_index)
            (grad,) = torch.autograd.grad(out.sum(), x)
            assert out.isfinite().all()
            assert grad.isfinite().all()
            assert out.dtype == torch.float32


def test_links_are_decoded_on_its_manifold(edge_index):
    from msg.datasets import load_graph

    data = load_graph("karate", features="dense")
    model = SPEC.build(data.num_features, None, manifold="P4")
    task = link_prediction(data, "link:85/5/10", model, 0)
    assert isinstance(task.decoder, FermiDirac)
    assert task.decoder.manifold is model.manifold
    task.loss(model, next(task.batches(0))).backward()
    assert float(next(model.manifold.parameters()).grad.abs()) > 0
    assert math.isfinite(task.evaluate(model, "val").loss)


def test_bad_arguments():
    for options, said in (
        ({"num_layers": 0}, "num_layers"),
        ({"manifold": "S4"}, "hyperbolic"),
        ({"aggregation": "global"}, "aggregation"),
        ({"norm": "graph"}, "norm"),
        ({"dropout": 1.0}, "dropout"),
        ({"hidden_channels": 3}, "hidden_channels"),
    ):
        with pytest.raises(ValueError, match=said):
            HGCN(5, 3, **options)


def test_features_in_place_of_points_are_refused(edge_index):
    conv, x = HyperbolicGCNConv(8, 4), torch.randn(7, 8)
    with pytest.raises(ValueError, match="points here have 9 coordinates, not 8: of features, use tangent=True"):
        conv(x, edge_index)
    with pytest.raises(ValueError, match="x must be a tensor, not tuple"):
        conv((x, x), edge_index)
    assert conv(x, edge_index, tangent=True).shape == (7, 4)


@pytest.mark.parametrize("aggregation", ["origin", "local"])
def test_attention_refuses_weights_that_it_would_not_read(aggregation, edge_index):
    x, weight = torch.randn(7, 5), torch.rand(10)
    conv = HyperbolicGCNConv(5, 4, "H", attention=True, aggregation=aggregation)
    with pytest.raises(ValueError, match=r"attention weighs edges itself.*attention=False"):
        conv(x, edge_index, weight, tangent=True)
    conv(x, edge_index, tangent=True)
    released = HyperbolicGCNConv(5, 4, "H", attention=True, aggregation=aggregation, as_released=True)
    assert not torch.allclose(released(x, edge_index, weight, tangent=True), released(x, edge_index, tangent=True))


@pytest.mark.parametrize("model", [HGCN, HyboNet, KappaGCN, QGCN])
def test_an_activation_that_learns_is_reset_too(model):
    network = model(5, 3, act="prelu")
    learned = [module for module in network.modules() if isinstance(module, torch.nn.PReLU)]
    assert learned
    for module in learned:
        module.weight.data.fill_(9.0)
    network.reset_parameters()
    assert [float(module.weight.detach()) for module in learned] == [0.25] * len(learned)


def test_weights_beside_a_graph_that_is_made_are_refused_by_layers_too(edge_index):
    graph, x = Graph(edge_index, None, 7), torch.randn(7, 5)
    for layer in (HyperbolicGCNConv(5, 4, "H"), KappaGCNConv(5, 4, "U")):
        with pytest.raises(ValueError, match="edge_weight contradicts a graph that is made already"):
            layer(x, graph, torch.rand(10), tangent=True)
        with pytest.raises(ValueError, match="x has 6 nodes, but the graph has 7"):
            layer(x[:6], graph, tangent=True)


@pytest.mark.parametrize("manifold", ["H16", "H4xS4", "", 16, None])
def test_a_layers_manifold_is_a_letter(manifold):
    with pytest.raises(ValueError, match=r"a layer's manifold is one of geoopt's, or a letter.*out_channels"):
        HyperbolicGCNConv(5, 4, manifold)
