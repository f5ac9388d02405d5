import pytest
import torch
from torch.nn.functional import cross_entropy, layer_norm

from msg.energy import count
from msg.models import SpikeGraphormer
from msg.models.peers.spike_graphormer import SPEC
from msg.names import MODELS
from msg.testing import assert_model


def drawn(hidden=4, **options):
    """With parameters large enough that all neurons have something to do."""
    model = SpikeGraphormer(5, 3, hidden, timesteps=3, **{"threshold": 0.4, **options}).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def neurons(current, threshold):
    """Of ``[N, T, d]``."""
    out, v = torch.zeros_like(current), torch.zeros_like(current[:, 0])
    for t in range(current.size(1)):
        u = v + (current[:, t] - v) / 2
        out[:, t] = (u > threshold).double()
        v = u * (1 - out[:, t])
    return out


def linear(lin, norm, s):
    """Linear map, and batch norm in evaluation."""
    current = s @ lin.weight.t() + lin.bias
    norm = norm.norm
    return (current - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias


def slow(model, x, edge_index):
    transformer, nodes = model.transformer, len(x)
    h = layer_norm(transformer.embed.conv(x), (4,), transformer.norm.weight, transformer.norm.bias).relu()
    h = torch.stack([h] * model.timesteps, dim=1)
    for attention, mlp in ((block[0].body, block[1].body.body) for block in transformer.blocks):
        s = neurons(h, 0.4)
        q, k, v = (neurons(linear(*part[:2], s), 0.4) for part in (attention.query, attention.key, attention.value))
        kv = k * v
        if model.as_released:
            # at its threshold too
            mask = neurons(sum(kv.split(4, dim=-1)), 0.5 - 1e-6).repeat(1, 1, attention.heads)
        else:
            mask = neurons(sum(kv[n : n + 1] for n in range(nodes)), 0.5)
        h = h + linear(*attention.out, q * mask)
        wide = linear(mlp[1], mlp[2], neurons(h, 0.4))
        h = h + linear(mlp[4], mlp[5], neurons(wide, 0.4))
    y = torch.stack([transformer.lin(s) for s in neurons(h, 0.4).unbind(1)]).mean(0)
    if model.branch is None:
        return y
    a = torch.zeros(nodes, nodes, dtype=torch.float64)
    for j, i in edge_index.t().tolist():
        a[i, j] += 1
    scale = a.sum(1).rsqrt().nan_to_num(posinf=0)
    branch = model.branch
    start = z = branch.norms[0](branch.embed.conv(x)).relu()
    for lin, norm in zip(branch.lins, list(branch.norms)[1:]):
        z = norm(lin((scale[:, None] * a * scale) @ z)).relu() + (start if branch.residual else 0)
    w = model.graph_weight
    return model.lin(torch.cat([y, z], 1) if model.aggregate == "cat" else w * z + (1 - w) * y)


OPTIONS = [
    {},
    {"as_released": True},
    {"num_blocks": 2, "heads": 3, "norm": "layer", "weights": True, "residual": False},
    {"aggregate": "cat", "norm": "batch", "weights": True},
    {"graph_weight": 0.0},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_formula(options, edge_index):
    model, x = drawn(**options), torch.randn(7, 5, dtype=torch.float64)
    assert torch.allclose(model(x, edge_index), slow(model, x, edge_index))


def test_nodes_see_all_others_unless_as_released():
    # no edges and no graph network: only attention is left to see others by
    alone, x = torch.zeros(2, 0, dtype=torch.long), torch.randn(8, 5, dtype=torch.float64)
    other = torch.cat([x[:4], 3 * torch.randn(4, 5, dtype=torch.float64)])
    seen = {}
    for as_released in (False, True):
        # several, since in one of them no channel of the mask may hang on those that change
        models = [drawn(32, as_released=as_released, graph_weight=0.0) for _ in range(8)]
        seen[as_released] = any(not torch.equal(model(x, alone)[:4], model(other, alone)[:4]) for model in models)
    assert seen == {False: True, True: False}


@pytest.mark.parametrize("options", [*OPTIONS, {"learn_tau": True}])
def test_contract(options, edge_index):
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(1)) * 2
    assert_model(lambda: SpikeGraphormer(5, 3, 4, **options), x, edge_index)


@pytest.mark.parametrize("options", OPTIONS)
def test_it_is_counted(options, edge_index):
    model, x = drawn(**options).float(), torch.randn(7, 5)
    with torch.no_grad(), count(model) as ops:
        model(x, edge_index)
    assert not ops.unknown
    assert ops.total()["spike"] > 0
    query = ops.modules["transformer.blocks.0.0.body.query.0"].nonzero
    assert query["multiply_accumulate"] == 0
    mask = ops.modules["transformer.blocks.0.0.body.masked"].nonzero
    assert mask["multiply"] == 0


def test_dropout_differs_from_step_to_step(edge_index):
    model = SpikeGraphormer(5, 3, 64, timesteps=4, dropout=0.5)
    seen = []
    model.transformer.dropout.register_forward_hook(lambda module, args, output: seen.append(output))
    model(torch.randn(7, 5), edge_index)
    assert not torch.equal(seen[0][:, 0], seen[0][:, 1])


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_learns(norm):
    edge_index = torch.tensor([[0, 3, 1, 4, 2, 5], [3, 6, 4, 1, 5, 2]])
    y = torch.arange(7) % 3
    torch.manual_seed(0)
    model, x = SpikeGraphormer(5, 3, 8, norm=norm), torch.eye(5)[y]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        loss = cross_entropy(model(x, edge_index), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3


def test_weights_begin_small_and_biases_at_zero():
    model = SpikeGraphormer(5, 3)
    for lin in (m for m in model.modules() if isinstance(m, torch.nn.Linear)):
        assert lin.weight.abs().max() < 0.2
        assert not lin.bias.any()


def test_edge_weights(edge_index):
    model, x = drawn(), torch.randn(7, 5, dtype=torch.float64)
    ones = torch.ones(edge_index.size(1), dtype=torch.float64)
    assert torch.allclose(model(x, edge_index, ones), model(x, edge_index))
    assert not torch.allclose(model(x, edge_index, ones * torch.rand_like(ones)), model(x, edge_index))


def test_refusals():
    for options, message in (
        ({"num_layers": -1}, "num_layers must be a whole number of at least 0"),
        ({"num_blocks": 0}, "num_blocks must be a whole number of at least 1"),
        ({"timesteps": 0}, "timesteps must be a whole number of at least 1"),
        ({"heads": 0}, "heads must be a whole number of at least 1"),
        ({"graph_weight": 1.5}, "graph_weight must be between 0 and 1"),
        ({"aggregate": "sum"}, "unknown aggregate 'sum'"),
        ({"norm": "group"}, "unknown norm 'group'"),
    ):
        with pytest.raises(ValueError, match=message):
            SpikeGraphormer(5, 3, **options)
    assert "as_released=False" in repr(SpikeGraphormer(5, 3))


def test_by_name():
    assert MODELS["spikegraphormer"] is SPEC
    options = {
        "hidden_channels": 8, "num_layers": 3, "timesteps": 4, "dropout": 0.1, "threshold": 0.4, "norm": "batch",
        "residual": False, "heads": 1, "graph_weight": 0.3, "graph_dropout": 0.2, "num_blocks": 2,
    }  # fmt: skip
    model = SPEC.build(5, 3, **{name: options[name] for name in SPEC.reads})
    assert (len(model.branch.lins), model.graph_weight) == (3, 0.3)
    assert (len(model.transformer.blocks), model.branch.dropout.p) == (2, 0.2)
    assert model.fire.neuron.threshold == 0.4
