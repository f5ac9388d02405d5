import copy

import dense
import pytest
import torch
from torch.nn.functional import cross_entropy, leaky_relu

from msg.energy import count
from msg.experiments.build import build_model
from msg.experiments.config import RunConfig
from msg.experiments.forms import form
from msg.layers import STFNorm
from msg.models import GASNN, GCSNN
from msg.models.peers.stfn import GA_SPEC, GC_SPEC
from msg.names import MODELS
from msg.neurons import LIF, ClippedReLU, ParametricLIF
from msg.testing import assert_model

MADE = {
    "gc": lambda **options: GCSNN(5, 3, 4, **{"timesteps": 5, **options}),
    "ga": lambda **options: GASNN(5, 3, 4, heads=2, **{"timesteps": 5, **options}),
}


def slow_convolution(conv, x, a):
    """PyG's GCNConv as a dense matrix: a node without a self-loop gets one."""
    lin, bias = conv.lin.weight, conv.bias
    a = a.clone()
    for i in range(len(a)):
        a[i, i] = max(a[i, i], 1)
    scale = a.sum(1).rsqrt()
    return (scale[:, None] * a * scale) @ x @ lin.t() + bias


def slow_mean(conv, x, a):
    degree = a.sum(1)
    out = torch.zeros(len(a), len(conv.bias), dtype=torch.float64)
    for i in range(len(a)):
        for j in range(len(a)):
            if a[i, j]:
                message = conv.weight @ x[j] / (degree[i] * degree[j]).sqrt() if degree[j] else 0 * conv.bias
                out[i] = out[i] + a[i, j] * (message + conv.bias) / degree[i]
    return out


def slow_attention(conv, x, a):
    a = a.clone()
    inner = getattr(conv, "attention", conv)
    if inner.add_self_loops:
        a.fill_diagonal_(1)
    out = []
    for head in range(inner.heads):
        width = inner.att_src.size(-1)
        h = x @ inner.lin.weight[head * width : (head + 1) * width].t()
        score = leaky_relu((h @ inner.att_src[0, head])[None] + (h @ inner.att_dst[0, head])[:, None], 0.2).exp() * a
        alpha = score / score.sum(1, keepdim=True).clamp(min=1e-300)
        out.append(alpha @ h / (a.sum(1, keepdim=True).clamp(min=1) if inner.mean else 1))
    y = torch.cat(out, dim=1)
    return y @ conv.lin.weight.t() if hasattr(conv, "attention") else y + inner.bias


def lif(current, v):
    u = v + (current - v) / 2
    s = (u > 0.5).double()
    return s, u * (1 - s)


def integrate(current, v):
    s = (v + current > 0.3).double()
    return s, v + current - 0.3 * s


def slow(model, x, edge_index, convolution, neuron=lif):
    """Step by step and layer by layer, each step's statistics over all steps so far."""
    a, layers = dense.counted(edge_index, len(x)), list(model.layers)
    seen, v, total = [[] for _ in layers], [0.0 for _ in layers], [0.0 for _ in layers]
    for _ in range(model.timesteps):
        s = x
        for l, layer in enumerate(layers):
            inner = layer.conv.conv if hasattr(layer.conv, "conv") else layer.conv
            current = convolution(inner, s, a)
            seen[l].append(current)
            if isinstance(layer.norm, STFNorm):
                so_far = torch.cat(seen[l], dim=1)
                mean = so_far.mean(1, keepdim=True)
                deviation = (so_far.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
                current = layer.norm.threshold * (current - mean) / deviation * layer.norm.weight + layer.norm.bias
            elif isinstance(layer.norm, torch.nn.LayerNorm):
                current = torch.nn.functional.layer_norm(current, (4,), layer.norm.weight, layer.norm.bias)
            if layer.shortcut is not None:
                current = current + layer.shortcut.conv(s)
            s, v[l] = neuron(current, v[l])
            total[l] = total[l] + s / model.timesteps
    read = {"none": total[-1], "cat": torch.cat(total, -1), "max": torch.stack(total).amax(0)}
    return model.lin(read[model.jumping])


SLOW = {
    ("gc", False): slow_convolution,
    ("gc", True): slow_mean,
    ("ga", False): slow_attention,
    ("ga", True): slow_attention,
}


@pytest.mark.parametrize(
    "options",
    [{}, {"residual": True}, {"jumping": "max"}, {"jumping": "cat", "num_layers": 3}, {"norm": "layer"}],
    ids=str,
)
@pytest.mark.parametrize(("name", "as_released"), list(SLOW))
def test_formula(name, as_released, options, edge_index):
    edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    edge_index = edge_index.unique(dim=1)
    x = torch.randn(7, 5, dtype=torch.float64)
    model = MADE[name](as_released=as_released, **options).double()
    for layer in model.layers:
        assert isinstance(layer.norm, torch.nn.LayerNorm if "norm" in options else STFNorm | torch.nn.Identity)
        if not isinstance(layer.norm, torch.nn.Identity):
            torch.nn.init.uniform_(layer.norm.bias, 0.2, 1.0)
    want = slow(model, x, edge_index, SLOW[name, as_released])
    out = model(x, edge_index)
    assert torch.allclose(out, want)
    assert not torch.allclose(out, model.lin.bias)


def test_neurons_of_ones_own(edge_index):
    x = torch.randn(7, 5, dtype=torch.float64)
    for neuron, one in (
        (LIF(2.0, 0.5, "zero"), lif),
        ({"name": "if", "threshold": 0.3}, integrate),
        (ClippedReLU(0.4), lambda current, v: ((current / 0.4).clamp(0, 1), v)),
    ):
        timesteps = 1 if isinstance(neuron, ClippedReLU) else 5
        model = GCSNN(5, 3, 4, timesteps=timesteps, residual=True, neuron=neuron).double()
        for layer in model.layers:
            torch.nn.init.uniform_(layer.norm.bias, 0.2, 1.0)
        edges = edge_index[:, edge_index[0] != edge_index[1]].unique(dim=1)
        out = model(x, edges)
        assert torch.allclose(out, slow(model, x, edges, slow_convolution, one))
        assert not torch.allclose(out, model.lin.bias)


def test_currents_are_brought_to_the_threshold_of_the_neurons():
    for options, wanted in (
        ({}, 0.5),
        ({"threshold": 0.3}, 0.3),
        ({"neuron": "if"}, 1.0),
        ({"neuron": "if", "threshold": 0.3}, 0.3),
        ({"neuron": {"name": "if"}, "threshold": 0.3}, 0.3),
        ({"neuron": {"name": "lif", "threshold": 5.0}}, 5.0),
        ({"neuron": ClippedReLU(0.4), "threshold": 0.4, "timesteps": 1}, 0.4),
        ({"neuron": "relu", "threshold": 0.3, "timesteps": 1}, 0.3),
    ):
        for layer in GCSNN(5, 3, **options).layers:
            assert layer.norm.threshold == wanted
            assert getattr(layer.fire.neuron, "threshold", wanted) == wanted


def test_each_layer_learns_a_time_constant_of_its_own(edge_index):
    neuron = ParametricLIF(2.0, 0.5, "zero")
    model, x = GCSNN(5, 3, 16, neuron=neuron), torch.randn(7, 5)
    model(x, edge_index).square().sum().backward()
    learned = [layer.fire.neuron.weight for layer in model.layers]
    assert learned[0] is not learned[1]
    assert all(weight is not neuron.weight and bool(weight.grad) for weight in learned)


@pytest.mark.parametrize("name", list(MADE))
def test_without_spikes_it_is_counted_as_any_network(name, edge_index):
    model, x = MADE[name](neuron="clipped-relu", timesteps=1, residual=True).eval(), torch.randn(7, 5)
    with torch.no_grad(), count(model) as ops:
        model(x, edge_index)
    assert not ops.unknown
    assert ops.total()["spike"] == ops.total()["state_update"] == 0
    assert ops.modules["layers.1.shortcut"].dense["multiply_accumulate"] == 7 * 4 * 4
    assert ops.modules["layers.1.conv"].dense["multiply_accumulate"] >= 7 * 4 * 4


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"as_released": True},
        {"residual": True, "jumping": "cat"},
        {"norm": "batch"},
        {"neuron": "relu", "timesteps": 1, "jumping": "max"},
    ],
)
@pytest.mark.parametrize("name", list(MADE))
def test_contract(name, options, edge_index):
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(1)) * 2
    assert_model(lambda: MADE[name](**options), x, edge_index)


@pytest.mark.parametrize("name", list(MADE))
@pytest.mark.parametrize("as_released", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 1, "norm": "layer"}, {"jumping": "cat", "residual": True, "norm": "none"}], ids=str
)
def test_nodes_that_are_asked_for_are_as_among_all(name, as_released, options, edge_index):
    model = MADE[name](as_released=as_released, threshold=0.1, **options).double()
    x, found = torch.rand(7, 5, dtype=torch.float64), []
    mask = torch.arange(7) % 3 == 1
    for nodes in (torch.tensor([5, 0, 2]), mask, torch.tensor([3]), mask.logical_not_()):  # changed in its place too
        for out in (model(x, edge_index, nodes=nodes), model(x, edge_index)[nodes]):
            found.append((out, torch.autograd.grad(out.square().sum(), list(model.parameters()), allow_unused=True)))
        assert found[-1][0].any()
        torch.testing.assert_close(found[-2], found[-1], rtol=1e-9, atol=1e-11)


def test_nodes_alone_are_refused_under_a_norm_over_all(edge_index):
    model = MADE["gc"](norm="batch")
    assert not model.takes_nodes
    with pytest.raises(ValueError, match="leave nodes out, or use norm='layer'"):
        model(torch.rand(7, 5), edge_index, nodes=torch.tensor([0]))


@pytest.mark.parametrize("name", list(MADE))
@pytest.mark.parametrize("as_released", [False, True])
def test_it_is_counted(name, as_released, edge_index):
    model, x = MADE[name](residual=True, as_released=as_released).eval(), torch.randn(7, 5)
    with torch.no_grad(), count(model) as ops:
        model(x, edge_index)
    assert not ops.unknown
    total = ops.total()
    assert total["state_update"] == 2 * 5 * 7 * 4
    assert total["spike"] > 0


def test_spikes_are_delivered_as_additions(edge_index):
    model, x = GCSNN(5, 3, 4, timesteps=5).eval(), torch.randn(7, 5)
    with torch.no_grad(), count(model) as ops:
        model(x, edge_index)
    second = ops.modules["layers.1.conv"].nonzero
    assert second["accumulate"] > 0
    assert second["multiply_accumulate"] == 0


def test_released_convolution_is_another(edge_index):
    torch.manual_seed(0)
    released = MADE["gc"](as_released=True)
    torch.manual_seed(0)
    model = MADE["gc"]()
    x = torch.randn(7, 5)
    alone = torch.zeros(2, 0, dtype=torch.long)
    # without self-loops a node without edges sees nothing, not even itself
    assert torch.equal(released(x, alone)[0], released(x, alone)[1])
    assert not torch.allclose(model(x, alone)[0], model(x, alone)[1])


def test_statistics_carry_gradient_unless_as_released(edge_index):
    x, grads = torch.randn(7, 5), []
    for detach in (False, True):
        torch.manual_seed(0)
        model = MADE["gc"](as_released=True)
        for layer in model.layers:
            assert layer.norm.detach
            layer.norm.detach = detach
        model(x, edge_index).square().sum().backward()
        grads.append(model.layers[0].conv.weight.grad.clone())
    assert not torch.allclose(*grads)
    assert not any(layer.norm.detach for layer in MADE["gc"]().layers)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_released_convolution_in_half_precision(kind, edge_index):
    torch.manual_seed(0)
    model, x = GCSNN(5, 3, 8, as_released=True).eval(), torch.rand(7, 5)
    want = model(x, edge_index)
    found = model.to(kind)(x.to(kind), edge_index)
    assert found.dtype == kind
    assert torch.cosine_similarity(found.float().flatten(), want.flatten(), dim=0) > 0.9


def test_any_graph_after_another(edge_index):
    model = GCSNN(5, 3, 4).eval()
    x = torch.randn(7, 5)
    want = model(x, edge_index)
    model.train()(torch.randn(9, 5), edge_index)
    assert torch.equal(model.eval()(x, edge_index), want)


def test_jumping():
    edge_index, x = torch.tensor([[0, 1], [1, 0]]), torch.randn(2, 5)
    for jumping, width in (("none", 4), ("max", 4), ("cat", 8)):
        model = GCSNN(5, 3, 4, jumping=jumping)
        assert model.lin.in_features == width
        assert model(x, edge_index).shape == (2, 3)


def test_edge_weights(edge_index):
    # in float64 no current lies within rounding of the threshold
    x, weight = torch.randn(7, 5, dtype=torch.float64), torch.rand(edge_index.size(1), dtype=torch.float64)
    for as_released in (False, True):
        model = GCSNN(5, 3, 16, as_released=as_released).double()
        ones = model(x, edge_index, torch.ones_like(weight))
        assert torch.allclose(ones, model(x, edge_index))
        assert not torch.allclose(model(x, edge_index, weight), ones)
        learned = weight.clone().requires_grad_()
        model(x, edge_index, learned).square().sum().backward()
        assert bool(learned.grad.any())
    for layers, nodes in ((2, None), (1, torch.tensor([0]))):
        with pytest.raises(ValueError, match="cannot honour edge_weight"):
            GASNN(5, 3, 4, layers).double()(x, edge_index, weight, nodes=nodes)


@pytest.mark.parametrize("name", list(MADE))
def test_learns(name):
    edge_index = torch.tensor([[0, 3, 1, 4, 2, 5], [3, 6, 4, 1, 5, 2]])
    y = torch.arange(7) % 3
    torch.manual_seed(0)
    model, x = MADE[name](), torch.eye(5)[y]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        loss = cross_entropy(model(x, edge_index), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3


def test_refusals():
    for options, message in (
        ({"num_layers": 0}, "num_layers must be a whole number of at least 1"),
        ({"timesteps": 0}, "timesteps must be a whole number of at least 1"),
        ({"jumping": "sum"}, "unknown jumping 'sum'"),
        ({"norm": "group"}, "unknown norm 'group'"),
        ({"threshold": 0.0}, "threshold must be positive"),
        ({"neuron": "tanh"}, "unknown neuron 'tanh'"),
        ({"neuron": LIF(2.0, 0.4), "threshold": 0.3}, "threshold=0.3 contradicts the 0.4 of LIF: leave one out"),
        ({"neuron": "relu"}, "timesteps=8 contradicts ReLU, which sends its value at once: use timesteps=1"),
    ):
        with pytest.raises(ValueError, match=message):
            GCSNN(5, 3, **options)
    with pytest.raises(ValueError, match="timesteps=2 contradicts ReLU"):
        GCSNN(5, 3, timesteps=1, neuron="relu").timesteps = 2
    with pytest.raises(ValueError, match="heads must divide the width 64, but heads=7"):
        GASNN(5, 3, heads=7)
    assert "as_released=False" in repr(GCSNN(5, 3))


def test_by_name():
    assert MODELS["gc-snn"] is GC_SPEC
    assert MODELS["ga-snn"] is GA_SPEC
    for spec in (GC_SPEC, GA_SPEC):
        options = {
            "hidden_channels": 8, "num_layers": 3, "timesteps": 4, "dropout": 0.1, "threshold": 0.4, "residual": True,
            "jumping": "max", "heads": 2, "neuron": "lif",
        }  # fmt: skip
        model = spec.build(5, 3, **{name: options[name] for name in spec.reads})
        assert len(model.layers) == 3
        assert model.layers[0].norm.threshold == 0.4
        assert isinstance(model.layers[0].fire.neuron, LIF)
        assert torch.equal(copy.deepcopy(model).lin.weight, model.lin.weight)


@pytest.mark.parametrize("name", ["gc-snn", "ga-snn"])
def test_a_configuration_has_the_neurons_of_the_model(name):
    config = RunConfig(dataset="karate", model=name)
    model = build_model(config, 5, 3)
    assert [
        (layer.fire.neuron.tau, layer.fire.neuron.threshold, layer.fire.neuron.reset) for layer in model.layers
    ] == [(2.0, 0.5, "zero")] * len(model.layers)
    assert all(layer.fire.decay_input for layer in model.layers)
    twin = build_model(config.with_options(**form(f"{name}-twin").fixed, threshold=0.4), 5, 3)
    assert twin.timesteps == 1
    assert all(layer.fire.neuron.threshold == layer.norm.threshold == 0.4 for layer in twin.layers)
    assert not any(layer.spiking for layer in twin.layers)
