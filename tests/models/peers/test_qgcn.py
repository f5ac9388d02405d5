"""Q-GCN against the formulas of paper and released code, node by node."""

import pytest
import torch

from msg.energy import count
from msg.manifolds import PseudoHyperboloid
from msg.nn import QGCN, PseudoHyperbolicGCNConv
from msg.testing import assert_model


def _inner(x, y, t):
    return x[t:] @ y[t:] - x[:t] @ y[:t]


def _exp0(v, t, beta):
    turn, r, scale = v[: t - 1], v[t - 1 :], beta**0.5
    unit = torch.ones(1, dtype=torch.float64)
    if t > 1:
        angle = turn.norm() / scale
        unit = torch.cat([angle.cos().reshape(1), angle.sin() * turn / turn.norm()])
    return torch.cat([(1 + r @ r).sqrt() * scale * unit, scale * r])


def _log0(x, t, beta):
    scale = beta**0.5
    r = x[t:] / scale
    if t == 1:
        return r
    unit = x[:t] / x[:t].norm()
    return torch.cat([scale * torch.acos(unit[0]) * unit[1:] / unit[1:].norm(), r])


def _add(x, b, t, beta):
    """Along a geodesic, by the sign of the vector's square."""
    o = torch.zeros_like(x)
    o[0] = beta**0.5
    b = torch.cat([b.new_zeros(1), b])
    joined = bool(_inner(o, x, t) < beta)
    y = x if joined else -x
    w = b + _inner(b, y, t) / (beta - _inner(o, y, t)) * (o + y)
    q = _inner(w, w, t) / beta
    n = abs(q) ** 0.5
    moved = torch.cosh(n) * y + torch.sinh(n) / n * w if bool(q > 0) else torch.cos(n) * y + torch.sin(n) / n * w
    return moved if joined else -moved


def slow(model, x, edge_index, released):
    t = model.time_dim
    rows = [[*row, *([] if i in row else [i])] for i, row in enumerate(_rows(edge_index, len(x)))]
    u = list(x)
    for conv in model.convs:
        beta = conv.manifold.beta
        tangents = [conv.lin.weight @ v for v in u]
        if released and conv.manifold.space_dim:
            tangents = [v / v.norm() for v in tangents]
        m = [_log0(_add(_exp0(v, t, beta), conv.bias, t, beta), t, beta) for v in tangents]
        sent = [torch.nn.functional.elu(conv.norm(sum(m[j] for j in row)[None] / len(row))[0]) for row in rows]
        u = [a + b for a, b in zip(sent, u)] if model.residual and conv is not model.convs[0] else sent
    return torch.stack([model.lin(v) for v in u])


def _rows(edge_index, nodes):
    rows = [[] for _ in range(nodes)]
    for j, i in edge_index.t().tolist():
        rows[i].append(j)
    return rows


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("time_dim", [1, 2, 3, 5])
@pytest.mark.parametrize("options", [{}, {"residual": True, "norm": "layer"}], ids=str)
def test_it_is_the_papers_formula(options, time_dim, released, edge_index):
    model = QGCN(4, 3, 4, time_dim=time_dim, act="elu", as_released=released, **options).double()
    with torch.no_grad():
        for number, conv in enumerate(model.convs):
            conv.manifold.log_beta.fill_(0.4 * number - 0.2)
            conv.bias.normal_(std=0.3)
            if options:
                conv.norm.weight.fill_(0.2)
    x = 0.3 * torch.randn(7, 4, dtype=torch.float64)
    got, want = model(x, edge_index), slow(model, x, edge_index, released)
    assert torch.allclose(got, want, atol=1e-9)
    weights = [p for conv in model.convs for p in (conv.lin.weight, conv.bias, conv.manifold.log_beta)]
    for a, b in zip(
        torch.autograd.grad(got.square().sum(), weights), torch.autograd.grad(want.square().sum(), weights)
    ):
        assert torch.allclose(a.double(), b.double(), atol=1e-7 if a.dim() else 1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"time_dim": 1, "norm": "batch"},
        {"time_dim": 5, "num_layers": 3, "residual": True, "norm": "layer", "dropout": 0.3},
        {"as_released": True, "learn_curvature": False},
        {"bias": False, "learn_curvature": False},
    ],
    ids=str,
)
def test_it_keeps_the_contract_and_is_counted(options, edge_index):
    def make():
        return QGCN(5, 3, 4, **options)

    x = 2 * torch.randn(7, 5)
    assert_model(make, x, edge_index)
    model = make().eval()
    with torch.no_grad(), count(model) as ops:
        model(x, edge_index)
    assert not ops.unknown


def test_released_layers_forget_lengths(edge_index):
    x = torch.randn(7, 5)
    ours, theirs = QGCN(5, 3, 4), QGCN(5, 3, 4, as_released=True)
    assert torch.allclose(theirs(x, edge_index), theirs(3 * x, edge_index), atol=1e-5)
    assert not torch.allclose(ours(x, edge_index), ours(3 * x, edge_index), atol=1e-2)
    # but those of time alone
    sphere = QGCN(5, 3, 4, time_dim=5, as_released=True)
    assert not torch.allclose(sphere(0.1 * x, edge_index), sphere(0.2 * x, edge_index), atol=1e-3)


def test_layer_maps_points_to_points(edge_index):
    before, after = PseudoHyperboloid(2, 4), PseudoHyperboloid(2, 2)
    conv, v = PseudoHyperbolicGCNConv(5, after, before), 0.5 * torch.randn(7, 5)
    z = conv(before.exp0(v), edge_index)
    assert torch.allclose(after.inner(z, z), -torch.ones(7, 1, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(after.log0(z).float(), conv(v, edge_index, tangent=True), atol=1e-5)
    with pytest.raises(ValueError, match="in_manifold"):
        PseudoHyperbolicGCNConv(5, after)(z, edge_index)


def test_curvature_learns_and_stays_positive(edge_index):
    model = QGCN(5, 3, 4)
    with torch.no_grad():
        for conv in model.convs:
            conv.bias.normal_()
            conv.manifold.log_beta.sub_(5.0)
    model(torch.randn(7, 5), edge_index).square().sum().backward()
    for conv in model.convs:
        assert float(conv.manifold.beta.detach()) > 0
        assert 0 < float(conv.manifold.log_beta.grad.abs()) < float("inf")


def test_curvatures_that_stay():
    model = QGCN(5, 3, 4, learn_curvature=False)
    assert not any(beta.requires_grad for conv in model.convs for beta in conv.manifold.parameters())


def test_far_points_and_zeros_are_finite_in_float32(edge_index):
    for time_dim in (1, 3, 5):
        model = QGCN(5, 3, 4, time_dim=time_dim)
        for scale in (0.0, 1e4):
            x = torch.full((7, 5), scale, requires_grad=True)
            out = model(x, edge_index)
            assert out.isfinite().all()
            assert torch.autograd.grad(out.sum(), x)[0].isfinite().all()


def test_bad_arguments():
    for given, options, said in (
        ((5, 3), {"num_layers": 0}, "num_layers"),
        ((5, None), {}, "out_channels"),
        ((5, 3), {"time_dim": 0}, "time_dim"),
        ((5, 3), {"time_dim": 18}, "time_dim"),
        ((5, 3), {"norm": "graph"}, "norm"),
    ):
        with pytest.raises(ValueError, match=said):
            QGCN(*given, **options)
