"""κ-GCN against the paper's formulas with dense matrices, node by node; at curvature 0 against PyG's GCN."""

import dense
import pytest
import torch
from torch_geometric.nn import GCNConv

from msg.datasets import load_graph
from msg.energy import count
from msg.manifolds import distance
from msg.models.peers.kappa_gcn import SPEC
from msg.nn import KappaGCN, KappaGCNConv, LearnedFermiDirac
from msg.testing import assert_model, assert_on_manifold
from msg.training import link_prediction


def _exp(u, k):
    r = abs(k) ** 0.5 * u.norm()
    return u if k == 0 else (torch.tanh(r) if k < 0 else torch.tan(r)) * u / r


def _log(x, k):
    r = abs(k) ** 0.5 * x.norm()
    return x if k == 0 else (torch.atanh(r) if k < 0 else torch.atan(r)) * x / r


def _midpoint(weights, x, k):
    factor = [2 / (1 + k * p @ p) for p in x]
    above = sum(w * f * p for w, f, p in zip(weights, factor, x))
    below = sum(w * (f - 1) for w, f in zip(weights, factor))
    return _exp(_log(above / below, k) / 2, k)


def _logit(x, p, a, k):
    xy, x2, p2 = -p @ x, x @ x, p @ p
    z = (-(1 - 2 * k * xy - k * x2) * p + (1 + k * p2) * x) / (1 - 2 * k * xy + k**2 * x2 * p2)
    sine, root = 2 * (z @ a) / ((1 + k * z @ z) * a.norm()), abs(k) ** 0.5
    inverse = sine if k == 0 else (torch.asinh if k < 0 else torch.asin)(root * sine) / root
    return 2 / (1 + k * p2) * a.norm() * inverse


def slow(model, x, edge_index, k):
    adjacency = dense.gcn(edge_index, len(x))
    h = [_exp(row, k) for row in x]
    for conv in model.convs:
        m = [_exp(conv.lin.weight @ _log(p, k), k) for p in h]
        scaled = [_exp(row.sum() * _log(_midpoint(row, m, k), k), k) for row in adjacency]
        sent = [torch.nn.functional.elu(conv.norm(_log(p, k)[None])[0]) for p in scaled]
        if model.residual and conv is not model.convs[0]:
            sent = [now + _log(p, k) for now, p in zip(sent, h)]
        h = [_exp(now, k) for now in sent]
    offsets = [_exp(row, k) for row in model.head.offset]
    logits = [[_logit(p, q, a, k) for q, a in zip(offsets, model.head.normal)] for p in h]
    return adjacency @ torch.stack([torch.stack(row) for row in logits])


@pytest.mark.parametrize("options", [{}, {"residual": True, "norm": "layer"}], ids=str)
@pytest.mark.parametrize("k", [-1.0, -0.4, 0.0, 0.4])
def test_it_is_the_papers_formula(k, options, edge_index):
    model = KappaGCN(4, 3, 3, num_layers=3, curvature=k, act="elu", **options).double()
    with torch.no_grad():
        model.head.offset.normal_(std=0.3)
        for conv in model.convs if options else ():
            conv.norm.weight.fill_(0.2)
    # within a hemisphere, where the quotient of the paper means one point
    x = 0.2 * torch.randn(7, 4, dtype=torch.float64)
    got, want = model(x, edge_index), slow(model, x, edge_index, k)
    assert torch.allclose(got, want, atol=1e-10)
    weights = [*(conv.lin.weight for conv in model.convs), model.head.offset, model.head.normal]
    for a, b in zip(
        torch.autograd.grad(got.square().sum(), weights), torch.autograd.grad(want.square().sum(), weights)
    ):
        assert torch.allclose(a, b, atol=1e-8)


def test_flat_it_is_the_gcn(edge_index):
    model, x = KappaGCN(4, 3, 5, curvature=0.0).double(), torch.randn(7, 4, dtype=torch.float64)
    first, last = GCNConv(4, 5, bias=False).double(), GCNConv(5, 3, bias=False).double()
    with torch.no_grad():
        first.lin.weight.copy_(model.convs[0].lin.weight)
        last.lin.weight.copy_(4 * model.head.normal)
        bias = -4 * (model.head.offset * model.head.normal).sum(-1)
        rows = dense.gcn(edge_index, 7).sum(1, keepdim=True)
        want = last(first(x, edge_index).relu(), edge_index) + rows * bias
        assert torch.allclose(model(x, edge_index), want, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"curvature": 1.0, "num_layers": 3, "residual": True, "norm": "layer"},
        {"curvature": -1.0, "norm": "batch", "dropout": 0.3, "learn_curvature": False},
    ],
    ids=str,
)
def test_it_keeps_the_contract_and_is_counted(options, edge_index):
    def make():
        return KappaGCN(5, 3, 4, **options)

    x = 2 * torch.randn(7, 5)
    assert_model(make, x, edge_index)
    model = make().eval()
    with torch.no_grad(), count(model) as ops:
        model(x, edge_index)
    assert not ops.unknown


def test_curvature_changes_its_sign_in_training(edge_index):
    model = KappaGCN(5, 3, 4)
    assert float(model.manifold.k.detach()) == 0.0
    assert [name for name in model.state_dict() if name.endswith(".k")] == ["path.manifold.k"]
    seen = []
    for sign in (1, -1):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        x = torch.randn(7, 5)
        for _ in range(5):
            optimizer.zero_grad()
            (model(x, edge_index).square().mean() * 1e-3 + sign * model.manifold.k).backward()
            optimizer.step()
        seen.append(float(model.manifold.k.detach()))
        assert model(x, edge_index).isfinite().all()
    assert seen[0] < 0
    with torch.no_grad():
        model.manifold.k.fill_(0.7)
    assert model(x, edge_index).isfinite().all()


def test_a_curvature_that_stays():
    assert not any(k.requires_grad for k in KappaGCN(5, 3, 4, learn_curvature=False).manifold.parameters())


def test_points_and_learned_decoder(edge_index):
    data = load_graph("karate", features="dense")
    model = SPEC.build(data.num_features, None, hidden_channels=4)
    z = model(data.x, data.edge_index)
    assert_on_manifold(model.manifold, z)
    task = link_prediction(data, "link:85/5/10", model, 0)
    assert task.decoder is model.link_decoder
    pairs = torch.tensor([[0, 1], [2, 2]])
    want = (0.5 - distance(model.manifold, z[pairs[0]], z[pairs[1]]) ** 2) / 2
    decoder = LearnedFermiDirac(model.manifold, radius=0.5, temperature=2.0)
    assert torch.allclose(decoder(z, pairs), want, atol=1e-6)
    task.loss(model, next(task.batches(0))).backward()
    for parameter in (*model.link_decoder.parameters(), *model.parameters()):
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_layer_maps_points_to_points(edge_index):
    from msg.manifolds import exp0, log0

    for letter in "PU":
        conv = KappaGCNConv(5, 4, letter)
        v = torch.randn(7, 5, dtype=torch.float64)
        z = conv(exp0(conv.manifold, 2 * v), edge_index)
        assert_on_manifold(conv.manifold, z)
        assert torch.allclose(log0(conv.manifold, z).float() / 2, conv(v.float(), edge_index, tangent=True), atol=1e-5)
        assert len(list(conv.parameters())) == 2


def test_far_points_and_zeros_are_finite_in_float32(edge_index):
    for k in (-1.0, 0.0, 1.0):
        model = KappaGCN(5, 3, 4, curvature=k)
        for scale in (0.0, 1e4):
            x = torch.full((7, 5), scale, requires_grad=True)
            out = model(x, edge_index)
            grads = torch.autograd.grad(out.sum(), [x, model.manifold.k])
            assert all(t.isfinite().all() for t in (out, *grads)), (k, scale)


def test_bad_arguments():
    for given, options, said in (
        ((5, 3), {"num_layers": 1}, "num_layers"),
        ((5, None), {"num_layers": 0}, "num_layers"),
        ((5, 3), {"norm": "graph"}, "norm"),
        ((5, 3), {"dropout": -0.1}, "dropout"),
    ):
        with pytest.raises(ValueError, match=said):
            KappaGCN(*given, **options)
    with pytest.raises(ValueError, match="stereographic"):
        KappaGCNConv(5, 3, "H")
    with pytest.raises(ValueError, match="temperature"):
        LearnedFermiDirac(KappaGCN(5).manifold, temperature=0.0)
