"""HyboNet against the paper's formulas, node by node."""

import math

import pytest
import torch

from msg.datasets import load_graph
from msg.energy import count
from msg.models.peers.hybonet import SPEC
from msg.nn import HyboNet, LorentzAggregation, LorentzianDecoder, LorentzLinear
from msg.testing import assert_model, assert_on_manifold
from msg.training import link_prediction


def _lorentz(a, b):
    return -a[0] * b[0] + a[1:] @ b[1:]


def _exp0(v):
    r = v.norm()
    return torch.cat([r.cosh().reshape(1), r.sinh() * v / r])


def _linear(lin, x, act, released):
    time = act(x) if released else x
    first = (lin.weight[0] @ time + lin.bias[0]).sigmoid() * lin.scale.exp()
    y = lin.weight[1:] @ act(x) + lin.bias[1:]
    length = ((first + 1.1) ** 2 - 1).sqrt() if released else first
    rest = length * y / y.norm()
    return torch.cat([(1 + rest @ rest).sqrt().reshape(1), rest])


def _centroid(points):
    total = sum(points)
    return total / _lorentz(total, total).abs().sqrt()


def slow(model, x, edge_index, act, released):
    rows = [{i} for i in range(len(x))]
    for j, i in edge_index.t().tolist():
        rows[i].add(j)
    z = [_exp0(row) for row in x]
    for number, lin in enumerate(model.lins):
        y = [_linear(lin, p, act if number else (lambda t: t), released) for p in z]
        after = [_centroid([y[j] for j in row]) for row in rows]
        z = [_centroid([a, b]) for a, b in zip(z, after)] if model.residual and number else after
    classes = [_exp0(v) for v in model.head.vector]
    logits = [[2 + 2 * _lorentz(p, w) + b for w, b in zip(classes, model.head.bias)] for p in z]
    return torch.stack(z), torch.stack([torch.stack(row) for row in logits])


@pytest.mark.parametrize("options", [{}, {"as_released": True}, {"act": "relu"}, {"act": "relu", "as_released": True}])
@pytest.mark.parametrize("residual", [False, True])
def test_it_is_the_papers_formula(options, residual, edge_index):
    edge_index = edge_index[:, :7]
    model = HyboNet(4, 3, 5, num_layers=3, residual=residual, **options).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    x = torch.randn(7, 4, dtype=torch.float64)
    act = torch.relu if "act" in options else (lambda t: t)
    points, want = slow(model, x, edge_index, act, "as_released" in options)
    got = model(x, edge_index)
    assert torch.allclose(got, want, atol=1e-9)
    weights = [p for p in model.parameters() if p.requires_grad]
    for a, b in zip(
        torch.autograd.grad(got.square().sum(), weights), torch.autograd.grad(want.square().sum(), weights)
    ):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-8)
    model.head = None
    assert torch.allclose(model(x, edge_index), points, atol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"as_released": True, "dropout": 0.3},
        {"num_layers": 3, "act": "relu", "residual": True, "norm": "layer"},
        {"out_channels": None, "norm": "batch"},
    ],
    ids=str,
)
def test_it_keeps_the_contract_and_is_counted(options, edge_index):
    def make():
        return HyboNet(**{"in_channels": 5, "out_channels": 3, "hidden_channels": 4, **options})

    x = 2 * torch.randn(7, 5)
    assert_model(make, x, edge_index)
    model = make().eval()
    with torch.no_grad(), count(model) as ops:
        model(x, edge_index)
    assert not ops.unknown


def test_the_released_layer_keeps_away_from_the_origin():
    lin, x = LorentzLinear(3, 4), torch.randn(50, 3)
    with torch.no_grad():
        lin.bias[0] = -20.0
    lin.requires_grad_(False)
    assert float(lin(x, tangent=True)[:, 0].max()) < 1.001
    lin.as_released = True
    z = lin(x, tangent=True)
    assert float(z[:, 0].detach().min()) >= 1.1 - 1e-9
    assert math.acosh(1.1) == pytest.approx(0.4436, abs=1e-4)


def test_points_are_on_the_hyperboloid_whatever_comes_in(edge_index):
    model = HyboNet(5, None, 4)
    for scale in (0.0, 1.0, 1e4):
        x = torch.full((7, 5), scale, requires_grad=True)
        z = model(x, edge_index)
        assert_on_manifold(model.manifold, z)
        assert torch.autograd.grad(z.sum(), x)[0].isfinite().all()
    with torch.no_grad():
        for lin in model.lins:
            lin.weight.zero_()
            lin.scale.fill_(100.0)
    assert_on_manifold(model.manifold, model(x, edge_index))


def test_dropout_acts_on_sparse_features_as_on_dense_ones(edge_index):
    lin = LorentzLinear(400, 6, dropout=0.5).train()
    from msg.graph import SparseMatrix

    x = torch.rand(50, 400)
    dense, sparse = lin(x, tangent=True), lin(SparseMatrix.from_tensor(x.to_sparse()), tangent=True)
    assert not torch.allclose(dense, lin.eval()(x, tangent=True), atol=1e-3)
    assert not torch.allclose(sparse, lin(x, tangent=True), atol=1e-3)


@pytest.mark.parametrize("as_released", [False, True])
def test_what_is_read_is_dropped_after_the_activation(as_released):
    lin = LorentzLinear(4, 3, dropout=0.5, act="tanh", as_released=as_released).double().train()
    v = torch.randn(2000, 4, dtype=torch.float64)
    x = torch.cat([(1 + v.square().sum(1, keepdim=True)).sqrt(), v], dim=1)
    torch.nn.init.zeros_(lin.bias)
    torch.nn.init.ones_(lin.weight)
    seen = []
    lin.norm.register_forward_hook(lambda module, given, out: seen.append(out.detach()))
    lin(x)
    # sums of kept ones, which weigh twice as much: each is one of 2 ** 5
    kept = torch.cartesian_prod(*[torch.tensor([0.0, 2.0], dtype=torch.float64)] * 5)
    for column, terms in ((0, x.tanh() if as_released else x), (1, x.tanh())):
        apart = (terms @ kept.t() - seen[0][:, column : column + 1]).abs().amin(1)
        assert apart.max() < 1e-9


def test_criterion_is_the_published_hinge(edge_index):
    model = HyboNet(5, 3, margin=0.7)
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    want = sum(max(0.0, 0.7 - float(logits[i, labels[i]]) + float(logits[i, c])) for i in range(4) for c in range(3))
    assert float(model.criterion(logits, labels)) == pytest.approx(want / 12, rel=1e-5)
    # the correct class is among them
    assert float(model.criterion(100 * torch.eye(3), torch.arange(3))) == pytest.approx(0.7 / 3, rel=1e-4)


def test_links_are_decoded_by_the_lorentzian_distance():
    data = load_graph("karate", features="dense")
    model = SPEC.build(data.num_features, None, hidden_channels=4)
    task = link_prediction(data, "link:85/5/10", model, 0)
    assert isinstance(task.decoder, LorentzianDecoder)
    z, pairs = model(data.x, data.edge_index), torch.tensor([[0, 3], [1, 3]])
    got = LorentzianDecoder(radius=1.0, temperature=0.5)(z, pairs)
    assert float(got[0].detach()) == pytest.approx(float((3 + 2 * _lorentz(z[0], z[1])).detach()) / 0.5, rel=1e-6)
    assert float(got[1].detach()) == 2.0
    task.loss(model, next(task.batches(0))).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_aggregation_is_a_layer_of_its_own(edge_index):
    z = LorentzLinear(3, 4)(torch.randn(7, 3), tangent=True)
    weight = torch.rand(edge_index.size(1))
    mean = LorentzAggregation()(z, edge_index, weight)
    assert mean.shape == z.shape
    assert torch.allclose(mean[6], z[6])
    assert not torch.allclose(mean, LorentzAggregation()(z, edge_index))


def test_bad_arguments():
    for options, said in (
        ({"num_layers": 0}, "num_layers"),
        ({"norm": "graph"}, "norm"),
        ({"dropout": 2.0}, "dropout"),
        ({"hidden_channels": 0}, "hidden_channels must be a whole number of at least 1"),
    ):
        with pytest.raises(ValueError, match=said):
            HyboNet(5, 3, **options)
    with pytest.raises(ValueError, match="temperature"):
        LorentzianDecoder(temperature=0.0)
    with pytest.raises(ValueError, match="in_channels must be a whole number of at least 1, not 0"):
        LorentzLinear(0, 3)


@pytest.mark.parametrize("as_released", [False, True])
def test_a_node_without_features_does_not_outweigh_all_others(as_released, edge_index):
    """At first its map is zero, which has no direction."""
    x = torch.randn(7, 5)

    def slope(x):
        torch.manual_seed(0)
        model = HyboNet(5, 3, 4, as_released=as_released)
        (found,) = torch.autograd.grad(model(x, edge_index).square().sum(), model.lins[0].weight)
        return found.norm()

    bare = x.clone()
    bare[6] = 0.0  # no other node hears of it
    assert (slope(bare) > 1e3 * slope(x)) == as_released
