"""SpikeGCL against one convolution, normalisation and neuron a step, as PyG has them."""

import copy

import pytest
import torch
from torch.nn.functional import elu, layer_norm, margin_ranking_loss
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

from msg.energy import count
from msg.graph import Graph, SparseMatrix, partition
from msg.neurons import ScaledLIF
from msg.nn import SpikeGCL
from msg.testing import assert_model

FEATURES, WIDTH = 11, 4


class _Slow(torch.nn.Module):
    """One group after another, with modules of PyG and torch, neurons in the paper's form, and the model's weights."""

    def __init__(self, model):
        super().__init__()
        self.size, self.threshold = model.first.size, model.neurons.neuron.threshold
        kind = torch.nn.BatchNorm1d
        sizes = [len(rows) for rows in model.first.weight.split(self.size)]
        self.norms = torch.nn.ModuleList(kind(size) for size in sizes)
        self.convs = torch.nn.ModuleList(GCNConv(size, WIDTH) for size in sizes)
        self.shared_norm, self.shared = kind(WIDTH), GCNConv(WIDTH, WIDTH)
        self.decoder = torch.nn.Linear(WIDTH, model.decoder.out_features, bias=False)
        self.tau = torch.nn.Parameter(model.neurons.neuron.time_constant.detach().clone())
        self.double()
        with torch.no_grad():
            for conv, weight, bias in zip(
                self.convs, model.first.weight.split(self.size), model.first.bias.view(-1, WIDTH)
            ):
                conv.lin.weight.copy_(weight.t())
                conv.bias.copy_(bias)
            for part, norm in zip(model.first.norm.weight.split(self.size), self.norms):
                norm.weight.copy_(part)
            for part, norm in zip(model.first.norm.bias.split(self.size), self.norms):
                norm.bias.copy_(part)
            (layer,) = model.layers
            self.shared.lin.weight.copy_(layer.lin.weight)
            self.shared.bias.copy_(layer.bias)
            self.shared_norm.load_state_dict(layer.norm.state_dict())
            self.decoder.load_state_dict(model.decoder.state_dict())

    def encode(self, x, edge_index, weight=None):
        v, spikes = torch.zeros(len(x), WIDTH, dtype=torch.float64), []
        for norm, conv, part in zip(self.norms, self.convs, x.split(self.size, dim=1)):
            h = elu(conv(norm(part), edge_index, weight))
            current = self.shared(self.shared_norm(h), edge_index, weight)
            v = v.detach()
            v = v + (current - v) / self.tau
            u = v - self.threshold
            g = torch.sigmoid(2 * u.detach())
            s = (u > 0).double() + (u - u.detach()) * 2 * g * (1 - g)
            v = (1 - s) * v
            spikes.append(s)
        return spikes

    def loss(self, good, bad, margin):
        loss = 0.0
        for a, b in zip(self.encode(*good), self.encode(*bad)):
            one, other = self.decoder(a).sum(1), self.decoder(b).sum(1)
            loss = loss + margin_ranking_loss(one, other, torch.ones_like(one), margin=margin)
        return loss


def _model(**options):
    torch.manual_seed(3)
    model = SpikeGCL(FEATURES, 3, WIDTH, timesteps=4, dropout=0.0, threshold=0.1, seed=1, **options).double()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.add_(0.3 * torch.rand_like(p))  # biases and scales that are not trivial
            if "time_constant" in name:
                p.fill_(1.3)
    return model


@pytest.fixture
def x():
    return torch.randn(7, FEATURES, dtype=torch.float64)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_loss_and_gradients_are_those_of_one_step_after_another(x, edge_index, margin, sparse, weighted):
    weight = torch.rand(10, dtype=torch.float64) + 0.2 if weighted else None
    x = x * (x > 0)
    model = _model(margin=margin)
    slow = _Slow(model)
    assert (model.first.size, model.first.count) == (3, 4)
    generator = copy.deepcopy(model.draws).next()
    order = torch.randperm(FEATURES, generator=generator)
    kept = torch.rand(10, generator=generator) >= 0.2
    corrupted = x[:, order], edge_index[:, kept], None if weight is None else weight[kept]
    want = slow.loss((x, edge_index, weight), corrupted, margin)
    got = model.unsupervised_loss(x.to_sparse_csr() if sparse else x, edge_index, weight)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
    want.backward()
    got.backward()
    pairs = {
        "weights": (model.first.weight.grad, torch.cat([conv.lin.weight.grad.t() for conv in slow.convs])),
        "bias": (model.first.bias.grad, torch.cat([conv.bias.grad for conv in slow.convs])),
        "scale": (model.first.norm.weight.grad, torch.cat([norm.weight.grad for norm in slow.norms])),
        "shift": (model.first.norm.bias.grad, torch.cat([norm.bias.grad for norm in slow.norms])),
        "shared": (model.layers[0].lin.weight.grad, slow.shared.lin.weight.grad),
        "shared scale": (model.layers[0].norm.weight.grad, slow.shared_norm.weight.grad),
        "tau": (model.neurons.neuron.time_constant.grad, slow.tau.grad),
        "decoder": (model.decoder.weight.grad, slow.decoder.weight.grad),
    }
    for name, (a, b) in pairs.items():
        assert b.abs().max() > 0, name
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10, msg=name)
    assert model.head.weight.grad is None
    torch.testing.assert_close(model.first.norm.running_mean, torch.cat([n.running_mean for n in slow.norms]))
    torch.testing.assert_close(model.first.norm.running_var, torch.cat([n.running_var for n in slow.norms]))
    torch.testing.assert_close(model.layers[0].norm.running_var, slow.shared_norm.running_var)
    model.eval(), slow.eval()
    want = torch.cat(slow.encode(x, edge_index, weight), dim=1)
    torch.testing.assert_close(model.embed(x, edge_index, weight), want.detach())
    torch.testing.assert_close(model(x, edge_index, weight), model.head(want.detach()))


def test_groups_may_be_fewer_than_steps():
    model = SpikeGCL(1433, 7, 8, timesteps=64)
    assert (model.first.size, model.first.count, model.head.in_features) == (23, 63, 63 * 8)
    assert SpikeGCL(3, 2, 8, timesteps=9).first.count == 3


def test_the_probe_trains_nothing_but_itself(x, edge_index):
    model = _model()
    model(x, edge_index).sum().backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {"head.weight", "head.bias"}
    assert set(model.embed(x, edge_index).unique().tolist()) == {0.0, 1.0}


def test_the_probe_reads_the_embedding_of_evaluation(x, edge_index):
    model = _model()
    model.dropout = 0.5
    before = copy.deepcopy(model.state_dict())
    want = model.eval()(x, edge_index)
    assert torch.equal(model.train()(x, edge_index), want)
    assert model.first.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name  # running statistics stay as they are


def test_each_run_starts_from_rest(x, edge_index):
    # the released code goes on with the membrane of the run before, which shows once τ is not 1
    model = _model().eval()
    want = model.embed(x, edge_index)
    model.train()
    model.unsupervised_loss(x, edge_index)
    model.eval()
    again = copy.deepcopy(model)
    assert torch.equal(again.embed(x, edge_index), model.embed(x, edge_index))
    assert torch.equal(_model().eval().embed(x, edge_index), want)


def test_views_differ_from_epoch_to_epoch_and_can_be_had_again(x, edge_index):
    model = _model(margin=0.5)
    twin = copy.deepcopy(model)
    first, second = (model.unsupervised_loss(x, edge_index).item() for _ in range(2))
    assert first != second
    assert [twin.unsupervised_loss(x, edge_index).item() for _ in range(2)] == [first, second]
    model.eval()
    assert model.unsupervised_loss(x, edge_index).item() == model.unsupervised_loss(x, edge_index).item()


def test_the_encoder_is_trained_for_so_many_epochs(x, edge_index):
    model = _model(margin=0.5, encoder_epochs=2)
    losses = [model.unsupervised_loss(x, edge_index) for _ in range(4)]
    assert [loss.requires_grad for loss in losses] == [True, True, False, False]
    assert losses[3].item() == 0
    (model(x, edge_index).sum() + losses[3]).backward()
    assert model.first.weight.grad is None  # so that an optimiser leaves it as it is
    assert model.eval().unsupervised_loss(x, edge_index).item() > 0  # what it comes to can still be measured
    always = _model(margin=0.5, encoder_epochs=None)
    assert all(always.unsupervised_loss(x, edge_index).requires_grad for _ in range(60))


def _counted(monkeypatch, owner, name):
    """A list that grows with each call of a method."""
    calls, method = [], getattr(owner, name)

    def call(*args, **kwargs):
        calls.append(name)
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)
    return calls


def test_dense_features_are_sent_once(edge_index, x, monkeypatch):
    model = _model().eval()
    calls = _counted(monkeypatch, SparseMatrix, "product")
    model(x, edge_index)
    whole = len(calls)
    with torch.no_grad():
        model.layers[0].bias.add_(1)
    model(x, edge_index)
    assert len(calls) == 2 * whole - 1  # all but of the features
    x.mul_(2)
    assert not torch.equal(model.embed(x, edge_index), _model().eval().embed(x / 2, edge_index))


@pytest.mark.parametrize("sparse", [False, True])
def test_an_embedding_is_kept_until_what_decides_it_changes(x, edge_index, sparse, monkeypatch):
    model, seen = _model(margin=0.5), x.to_sparse_csr() if sparse else x
    calls = _counted(monkeypatch, SpikeGCL, "_encode")

    def anew():
        """Whether the next forward embeds anew; in both cases it gives what a copy gives, which keeps nothing."""
        before = len(calls)
        got = model(seen, edge_index)
        made = len(calls) - before
        assert torch.equal(got, copy.deepcopy(model)(seen, edge_index))
        return bool(made)

    assert anew()
    assert not anew()
    model.embed(seen, edge_index).zero_()
    assert not anew()
    with torch.inference_mode():
        assert not anew()
    model.eval()
    assert not anew()
    model.train()
    model.head.weight.data.mul_(2)
    assert not anew()
    model.unsupervised_loss(seen, edge_index)  # moves running statistics
    assert anew()
    for change in (
        lambda: model.first.weight.data.mul_(1.1),
        lambda: model.neurons.neuron.time_constant.data.add_(0.1),
        lambda: setattr(model.layers[0].norm, "eps", 0.1),
        lambda: setattr(model, "act", torch.nn.ReLU()),
        lambda: setattr(model, "residual", True),
        lambda: (seen.values() if sparse else seen).mul_(2),
    ):
        change()
        assert anew()
        assert not anew()
    handle = model.neurons.register_forward_hook(lambda *_: None)
    assert anew()
    assert anew()
    handle.remove()
    model(seen, edge_index).sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"head.weight", "head.bias"}


OPTIONS = [
    {},
    {"num_layers": 3, "norm": "layer", "residual": True},
    {"num_layers": 1, "norm": "none", "neuron": ScaledLIF(2.0, 0.1)},
    {"timesteps": 2, "num_layers": 4},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_contract_and_counting(options, edge_index):
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(1)) * 2
    assert_model(lambda: SpikeGCL(5, 3, 6, **{"timesteps": 3, **options}), x, edge_index)
    model = SpikeGCL(5, 3, 6, **{"timesteps": 3, **options})
    (model(x, edge_index).sum() + model.unsupervised_loss(x, edge_index)).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad(), count(model.eval()) as ops:
        model(x, edge_index)
    assert not ops.unknown


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_one_node_alone(norm):
    model, x = SpikeGCL(5, 3, norm=norm), torch.randn(1, 5)
    loss = model.unsupervised_loss(x, torch.empty(2, 0, dtype=torch.long))
    assert loss.isfinite()
    assert model(x, torch.empty(2, 0, dtype=torch.long)).isfinite().all()


@pytest.mark.parametrize(
    "bad",
    [
        {"num_layers": 0},
        {"timesteps": 0},
        {"hidden_channels": 0},
        {"decoder_channels": 0},
        {"dropout": 1.0},
        {"drop_edge": -0.1},
        {"encoder_epochs": -1},
        {"norm": "graph"},
        {"threshold": -1.0},
    ],
    ids=str,
)
def test_bad_arguments_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        SpikeGCL(5, 3, **bad)


def test_a_part_of_a_graph_is_refused(edge_index):
    part = partition(Data(edge_index=edge_index, num_nodes=7), 2, "range")[0]
    with pytest.raises(ValueError, match="SpikeGCL"):
        SpikeGCL(5, 3)(torch.rand(part.graph.num_nodes, 5), part.graph)


@pytest.mark.parametrize("options", [{}, {"residual": True}, {"norm": "layer"}], ids=str)
def test_further_layers(options, x, edge_index):
    model = _model(num_layers=3, **options).eval()
    graph = Graph(edge_index, None, 7)
    h = list(model.first(x, graph).unbind(1))
    for layer in model.layers:
        conv = GCNConv(WIDTH, WIDTH).double()
        conv.load_state_dict({"bias": layer.bias, "lin.weight": layer.lin.weight})
        read = [elu(now) for now in h]
        normed = [
            now if options.get("norm") != "layer" else layer_norm(now, (WIDTH,), layer.norm.weight, layer.norm.bias)
            for now in read
        ]
        if "norm" not in options:
            normed = [layer.norm(now[:, None])[:, 0] for now in read]
        h = [conv(n, edge_index) + (now if options.get("residual") else 0) for n, now in zip(normed, read)]
    want = model.neurons(torch.stack(h)).transpose(0, 1).flatten(1)
    assert 0.05 < want.mean() < 0.95
    torch.testing.assert_close(model.embed(x, edge_index), want.detach())


def test_an_embedding_leaves_the_modes_of_parts_alone(edge_index):
    model = SpikeGCL(FEATURES, 3, WIDTH, 2)
    frozen = model.layers[0].norm.eval()
    before = copy.deepcopy(frozen.state_dict())
    x = torch.rand(7, FEATURES)
    model(x, edge_index)
    assert not frozen.training
    assert model.first.training
    model.unsupervised_loss(x, edge_index)
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())
