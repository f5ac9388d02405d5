"""MSG on every manifold: the formula, hard inputs, and the tools around a model."""

import copy
import io
import pickle
import shutil
import warnings

import geoopt
import pytest
import torch
from torch import nn
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.nn import GATv2Conv, GCNConv, HeteroConv, SAGEConv

from msg.gradients import DvM, SurrogateBPTT
from msg.manifolds import ambient_dim, bound_length, distance, log0, max_radius, move, origin, transport0
from msg.neurons import IF, LIF, ParametricLIF
from msg.nn import MSG, Embedding, FermiDirac
from msg.testing import assert_on_manifold

pytestmark = pytest.mark.covering


def _msg(space, out=3, **kw):
    manifold, dim = space
    kw = {"num_layers": 3, "timesteps": 4, "neuron": IF(threshold=0.5), **kw}
    return MSG(5, out, manifold, hidden_channels=dim, **kw)


def _grads(model, out):
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.autograd.grad(out.square().sum(), parameters, allow_unused=True)


def _assert_sound(model, x, edge_index, weight=None):
    """Finite output, finite gradients, every point on the manifold; returns the points."""
    point = model.embed(x, edge_index, weight).point
    assert point.dtype == torch.float64
    assert_on_manifold(model.manifold, point)
    out = model.head(point)
    assert bool(out.isfinite().all())
    for grad in _grads(model, out):
        assert grad is None or bool(grad.isfinite().all())
    return point


# -------------------------------------------------------------------------------- the formula


@pytest.mark.parametrize("max_step", [None, 1.0, 0.3])
def test_points_are_the_drives_carried_from_the_origin(space, edge_index, max_step):
    manifold, dim = space
    model = _msg(space, step_size=0.7, max_step=max_step).double()
    x = torch.randn(7, 5, dtype=torch.float64)
    embedding = model.embed(x, edge_index)
    assert isinstance(embedding, Embedding)
    z = origin(manifold, 7, dim)
    for drive in embedding.activity.currents:
        v = 0.7 * drive
        if max_step is not None:
            size = v.norm(dim=-1, keepdim=True).clamp(min=1e-300)
            v = v / size * max_step * (size / max_step).tanh()
        z = move(manifold, z, v)
    torch.testing.assert_close(embedding.point, z, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(model(x, edge_index), model.head.lin(log0(manifold, z)), rtol=1e-10, atol=1e-12)


def test_out_channels_none_returns_the_points(space, edge_index, dtype):
    manifold, dim = space
    model, x = _msg(space, out=None).to(dtype), torch.randn(7, 5, dtype=dtype)
    z = model(x, edge_index)
    assert z.shape == (7, ambient_dim(manifold, dim))
    assert z.dtype == torch.float64
    assert torch.equal(z, model.embed(x, edge_index).point)
    assert_on_manifold(manifold, z)
    FermiDirac(manifold)(z, edge_index).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.stack.layers.parameters())


def test_output_has_the_dtype_of_the_features(space, edge_index, dtype):
    model = _msg(space).to(dtype)
    assert model(torch.randn(7, 5, dtype=dtype), edge_index).dtype == dtype


# -------------------------------------------------------------------------------- hard inputs


@pytest.mark.parametrize(
    ("scale", "rule"),
    [(0.0, DvM()), (1e-8, DvM()), (1e4, DvM()), (0.0, SurrogateBPTT()), (1e4, SurrogateBPTT())],
    ids=repr,
)
def test_features_of_any_size(space, dtype, edge_index, scale, rule):
    model = _msg(space, step_size=1.0, gradient=rule).to(dtype)
    _assert_sound(model, torch.randn(7, 5, dtype=dtype) * scale, edge_index)


def test_silent_neurons(space, dtype, edge_index):
    model = _msg(space, neuron=IF(threshold=1e6)).to(dtype)
    x = torch.randn(7, 5, dtype=dtype)
    _assert_sound(model, x, edge_index)
    assert all(bool((rate == 0).all()) for rate in model.embed(x, edge_index).activity.rates)
    # without bias nothing moves after the encoder, and the gradient is still that of the identity
    nn.init.zeros_(model.stack.layers[0].synapse.conv.lin.weight)
    _assert_sound(model, x, edge_index)
    point = model.embed(x, edge_index).point
    torch.testing.assert_close(point, origin(model.manifold, 7, model.hidden_channels), rtol=0, atol=0)
    grad = _grads(model, model(x, edge_index) + 1)[0]
    assert grad is not None
    assert grad.abs().max() > 0


@pytest.mark.parametrize(
    ("nodes", "edges"),
    [(1, [[], []]), (1, [[0], [0]]), (4, [[], []]), (4, [[0], [1]])],
    ids=["one node", "one loop", "no edges", "isolated"],
)
def test_small_graphs(space, nodes, edges):
    for conv, dtype in (("gcn", torch.float32), ("sage", torch.float64), ("gin", torch.float32)):
        model = _msg(space, conv=conv, num_layers=2).to(dtype)
        _assert_sound(model, torch.randn(nodes, 5, dtype=dtype), torch.tensor(edges, dtype=torch.long).view(2, -1))


@pytest.mark.parametrize(("dtype", "max_step"), [(torch.float32, 1.0), (torch.float64, None)], ids=str)
def test_thirty_two_layers_with_unit_steps(space, dtype, edge_index, max_step):
    model = _msg(space, num_layers=33, timesteps=2, step_size=1.0, max_step=max_step).to(dtype)
    with torch.no_grad():
        for layer in model.stack.layers:
            layer.synapse.conv.bias.uniform_(0.5, 2.0)  # all steps point into one quadrant
    x = torch.randn(7, 5, dtype=dtype)
    _assert_sound(model, x, edge_index)
    radius = distance(
        model.manifold, origin(model.manifold, 7, model.hidden_channels), model.embed(x, edge_index).point
    )
    assert bool((radius <= max_radius(model.manifold) * (1 + 1e-9)).all())


def test_learned_curvature_gets_gradient(edge_index):
    for manifold in ("U4", geoopt.Lorentz(k=2.0, learnable=True)):
        model = MSG(5, 3, manifold, hidden_channels=4, timesteps=4, neuron=IF(threshold=0.3), step_size=1.0)
        model(torch.randn(7, 5) * 3, edge_index).square().sum().backward()
        assert model.manifold.k.grad is not None
        assert model.manifold.k.grad.abs() > 0


def test_isolated_node_depends_on_itself_alone(edge_index):
    model, x = MSG(5, 3, "H4", timesteps=4), torch.randn(7, 5)
    other = torch.cat([torch.randn(6, 5), x[6:]])
    torch.testing.assert_close(model(x, edge_index)[6], model(other, edge_index)[6])


def test_relabelling_nodes_relabels_the_output(space, edge_index):
    model, x, order = _msg(space).double(), torch.randn(7, 5, dtype=torch.float64), torch.randperm(7)
    inverse = order.argsort()
    torch.testing.assert_close(model(x[order], inverse[edge_index]), model(x, edge_index)[order], rtol=1e-9, atol=1e-10)


def test_edge_weight_gradient_in_the_model(edge_index):
    model = MSG(5, 3, "H4", timesteps=4, neuron=IF(threshold=0.3)).double()
    weight = torch.rand(10, dtype=torch.float64, requires_grad=True)
    model(torch.randn(7, 5, dtype=torch.float64) * 2, edge_index, weight).square().sum().backward()
    assert weight.grad.abs().max() > 0
    with torch.no_grad():
        x = torch.randn(7, 5, dtype=torch.float64)
        torch.testing.assert_close(model(x, edge_index, weight), model(x, edge_index, weight.detach()))


def test_attention_learns_under_dvm(edge_index):
    # in float64, or a potential may lie within rounding of the threshold and the loop below fire otherwise
    model = MSG(5, 3, "H4", timesteps=4, neuron=IF(threshold=0.3), conv=lambda i, o: GATv2Conv(i, o, heads=1)).double()
    x = torch.randn(7, 5, dtype=torch.float64) * 2
    activity = model.activity(x, edge_index)
    model(x, edge_index).square().sum().backward()
    for name, parameter in model.stack.layers.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all())
    assert model.stack.layers[1].synapse.conv.att.grad.abs().max() > 0
    # the mean current is the mean over the loop, not the current of the mean
    neuron, state, currents = IF(threshold=0.3), None, []
    encoder, conv = model.stack.layers[0].synapse.conv, model.stack.layers[1].synapse.conv
    for _ in range(4):
        spikes, state = neuron(encoder(x, edge_index).detach(), state)
        currents.append(conv(spikes, edge_index))
    torch.testing.assert_close(activity.currents[1], torch.stack(currents).mean(0))


def test_parametric_lif_learns_with_bptt(edge_index):
    model = MSG(5, 3, "H4", 2, 6, ParametricLIF(threshold=0.4), SurrogateBPTT(), step_size=1.0)
    optimizer, x = torch.optim.Adam(model.parameters(), lr=0.05), torch.randn(7, 5) * 2
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x, edge_index), torch.arange(7) % 3).backward()
        optimizer.step()
    taus = [layer.neuron.tau for layer in model.stack.layers if layer.neuron is not None]
    assert all(abs(tau - 2.0) > 1e-3 for tau in taus)
    # DistributedDataParallel stops at a parameter that never gets a gradient
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


# -------------------------------------------------------------------------------- objects


def test_state_dict_copies_and_pickles(space, edge_index):
    manifold, dim = space
    model, x = _msg(space), torch.randn(7, 5)
    want = model(x, edge_index)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(x, edge_index), want)
        assert repr(twin) == repr(model)
    other = MSG(5, 3, copy.deepcopy(manifold), hidden_channels=dim, timesteps=4, neuron=IF(threshold=0.5))
    assert not torch.equal(other(x, edge_index), want)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer))
    assert torch.equal(other(x, edge_index), want)


def test_without_bias_no_current_has_a_constant():
    for bias in (False, True):
        names = [name for name, _ in MSG(5, 3, "H8", num_layers=3, bias=bias).stack.named_parameters()]
        assert sum("bias" in name for name in names) == (3 if bias else 0)


def test_models_are_independent(edge_index):
    model = MSG(5, 3, "U4", timesteps=4)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    assert not torch.equal(model.manifold.k, twin.manifold.k)


def test_reset_parameters_resets_the_read_out():
    model = MSG(5, 3, "H4")
    with torch.no_grad():
        model.head.lin.weight.fill_(7.0)
    model.reset_parameters()
    assert not bool((model.head.lin.weight == 7.0).any())
    MSG(5, None, "H4").reset_parameters()


def test_repr_shows_what_matters():
    text = repr(MSG(5, 3, "H4", timesteps=9, gradient=DvM(), step_size=0.2, neuron=LIF(tau=3.0)))
    for part in (
        "in_channels=5, out_channels=3",
        "num_layers=3",
        "timesteps=9",
        "DvM()",
        "step_size=0.2",
        "max_step=1.0",
        "tau=3",
        "manifold='H4'",
        "dropout=0.0",
    ):
        assert part in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"manifold": "X4"}, ValueError, "X4"),
        ({"num_layers": 1}, ValueError, "num_layers"),
        ({"conv": "chebyshev"}, ValueError, "'chebyshev'"),
        ({"manifold": "H4", "hidden_channels": 5}, ValueError, "contradicts"),
        ({"manifold": geoopt.Lorentz()}, ValueError, "hidden_channels"),
        ({"manifold": geoopt.Stiefel(), "hidden_channels": 4}, TypeError, "Stiefel"),
        ({"neuron": ParametricLIF()}, ValueError, "DvM"),
        ({"timesteps": 0}, ValueError, "timesteps"),
        ({"max_step": 0.0}, ValueError, "max_step"),
        ({"max_step": -1.0}, ValueError, "max_step"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_bad_arguments(arguments, error, match):
    with pytest.raises(error, match=match):
        MSG(5, 3, **arguments)


# -------------------------------------------------------------------------------- tools around a model


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # dynamo's own, while it traces
@pytest.mark.slow  # what PyG asks of compiled models is asked of it in tests/testing/test_pyg.py
@pytest.mark.parametrize(
    "backend",
    [
        "eager",
        pytest.param(
            "inductor",
            marks=pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler"),
        ),
    ],
)
def test_compiled_equals_eager(backend, edge_index, tmp_path, monkeypatch):
    # what another process compiled, perhaps for other instructions, is not taken up
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    model, x = MSG(5, 3, "H4", 2, 3, IF(threshold=0.5)), torch.randn(7, 5) * 2
    want = model(x, edge_index)
    wanted = _grads(model, want)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend=backend)
    for _ in range(2):
        got = compiled(x, edge_index)
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
    for a, b in zip(_grads(model, got), wanted):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()


@pytest.mark.parametrize("rule", [DvM(), SurrogateBPTT()], ids=repr)
def test_explainer_masks_nodes_and_edges(rule):
    edge_index = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 2], [1, 2, 3, 4, 5, 6, 0, 5]])
    model, x = MSG(5, 3, "H4", 2, 4, IF(threshold=0.3), rule), torch.randn(7, 5) * 2
    explainer = Explainer(
        model,
        GNNExplainer(epochs=15, lr=0.1),
        explanation_type="model",
        node_mask_type="attributes",
        edge_mask_type="object",
        model_config={"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"},
    )
    explanation = explainer(x, edge_index, index=3)
    assert explanation.edge_mask.shape == (8,)
    assert explanation.edge_mask.std() > 1e-3
    assert explanation.node_mask.std() > 1e-3
    # node 3 hears node 2 directly; nodes 4 and 6 are out of its reach
    assert explanation.edge_mask[2] > 0
    assert explanation.edge_mask[3] == 0
    # and the fast path is back afterwards
    assert not any(layer.synapse.conv.explain for layer in model.stack.layers)


def test_edge_masks_act():
    edge_index = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    model, x = MSG(5, 3, "H4", 2, 4, IF(threshold=0.3)).double(), torch.randn(4, 5, dtype=torch.float64) * 2
    from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

    plain = model(x, edge_index)
    set_masks(model, torch.full((4,), 50.0), edge_index)
    torch.testing.assert_close(model(x, edge_index), plain)  # everything open
    set_masks(model, torch.full((4,), -50.0), edge_index)
    assert not torch.allclose(model(x, edge_index), plain, rtol=1e-2)
    clear_masks(model)
    torch.testing.assert_close(model(x, edge_index), plain)


def test_a_heterogeneous_model_by_composition():
    """HeteroConv computes currents; neuron and move act per node type."""

    class Hetero(nn.Module):
        def __init__(self):
            super().__init__()
            types = [("paper", "cites", "paper"), ("author", "writes", "paper"), ("paper", "by", "author")]

            def convs(width):
                return HeteroConv(
                    {t: GCNConv(width, 4) if t[0] == t[2] else SAGEConv((width, width), 4) for t in types}
                )

            self.convs = nn.ModuleList([convs(5), convs(4)])
            self.neuron, self.lin = IF(threshold=0.3), nn.Linear(4, 3)
            self.manifold = geoopt.Lorentz()

        def forward(self, x, edges, timesteps=4):
            current = self.convs[0](x, edges)
            rates = {kind: self.neuron.rate(c, timesteps) for kind, c in current.items()}
            currents = [current, self.convs[1](rates, edges)]
            z = {kind: origin(self.manifold, c.size(0), 4) for kind, c in current.items()}
            for drive in currents:
                z = {kind: move(self.manifold, z[kind], bound_length(v)) for kind, v in drive.items()}
            return self.lin(log0(self.manifold, z["paper"]).float()), z

    model = Hetero()
    x = {"paper": torch.randn(6, 5), "author": torch.randn(3, 5)}
    edges = {
        ("paper", "cites", "paper"): torch.randint(0, 6, (2, 9)),
        ("author", "writes", "paper"): torch.stack([torch.randint(0, 3, (8,)), torch.randint(0, 6, (8,))]),
        ("paper", "by", "author"): torch.stack([torch.randint(0, 6, (8,)), torch.randint(0, 3, (8,))]),
    }
    optimizer, labels, losses = torch.optim.Adam(model.parameters(), lr=0.05), torch.arange(6) % 3, []
    for _ in range(5):
        optimizer.zero_grad()
        logits, z = model(x, edges)
        for points in z.values():
            assert_on_manifold(model.manifold, points)
        loss = nn.functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_a_forward_does_not_warn(edge_index):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # PyG's own, on Python 3.13
        warnings.filterwarnings("ignore", message="Failing to pass a value to the 'type_params' parameter")
        torch.set_warn_always(True)
        try:
            model = MSG(5, 3, "H2xU2", timesteps=4)
            model(torch.randn(7, 5), edge_index).sum().backward()
            repr(model)
        finally:
            torch.set_warn_always(False)


def test_transport_is_what_moves(edge_index):
    model = MSG(5, None, "H4", timesteps=4, neuron=IF(threshold=0.3), step_size=1.0).double()
    activity = model.activity(torch.randn(7, 5, dtype=torch.float64), edge_index)
    z = move(model.manifold, origin(model.manifold, 7, 4), bound_length(activity.currents[0]))
    v = bound_length(activity.currents[1])
    want = model.manifold.expmap(z, transport0(model.manifold, z, v))
    torch.testing.assert_close(move(model.manifold, z, v), want, rtol=1e-8, atol=1e-9)


@pytest.mark.skipif(torch.__version__ < "2.11", reason="older torch compiles in pieces")
def test_a_forward_without_gradient_is_compiled_whole(edge_index):
    model, x = MSG(5, 3, "E4", 2, timesteps=2).eval(), torch.rand(7, 5)
    torch._dynamo.reset()
    with torch.no_grad():
        want = model(x, edge_index)
        found = torch.compile(model, fullgraph=True, backend="eager")(x, edge_index)
    torch._dynamo.reset()
    torch.testing.assert_close(found, want)
