import pytest
import torch
from named import OPTIONS, named
from torch_geometric.nn.models import Polynormer as PyGPolynormer

from msg.energy import count
from msg.models import Polynormer
from msg.testing import assert_model


@pytest.fixture
def x():
    return torch.rand(7, 5)


def as_pygs(ours, theirs):
    """Hand our weights to PyG's model; the pairs of modules that have them."""
    pairs = [(ours.lin, theirs.pred_local), (ours.global_lin, theirs.pred_global), (ours.norm, theirs.ln)]
    pairs += zip(ours.attention, theirs.global_attn, strict=True)
    parts = theirs.h_lins, theirs.lins, theirs.local_convs, theirs.post_bns, theirs.lns
    for layer, *their in zip(ours.layers, *parts, strict=True):
        own = layer.gate.conv, layer.lin.conv, layer.conv.conv, layer.batch_norm, layer.norm
        pairs += zip(own, their, strict=True)
    for own, their in pairs:
        their.load_state_dict(own.state_dict())
    return pairs


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("warm_up", [0, 2])
def test_it_is_pygs_with_its_schedule(warm_up, sparse, x, edge_index, dtype):
    x = x.to(dtype)
    ours = Polynormer(5, 3, 8, 2, 1, dropout=0.0, input_dropout=0.0, warm_up=warm_up).to(dtype)
    theirs = PyGPolynormer(5, 8, 3, 2, 1, in_dropout=0.0, dropout=0.0, global_dropout=0.0).to(dtype)
    pairs = as_pygs(ours, theirs)
    upstream = torch.randn(7, 3, dtype=dtype)
    for update in range(1, 5):
        theirs._global = update > warm_up
        got = ours(x.to_sparse_csr() if sparse else x, edge_index)
        want = theirs(x, edge_index, torch.zeros(7, dtype=torch.long))
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
        for model, out in ((ours, got), (theirs, want)):
            model.zero_grad()
            (out * upstream).sum().backward()
        for own, their in pairs:
            for a, b in zip(own.parameters(), their.parameters(), strict=True):
                assert (a.grad is None) == (b.grad is None)
                if a.grad is not None:
                    torch.testing.assert_close(a.grad, b.grad, atol=1e-4, rtol=1e-3)
        assert (ours.global_lin.weight.grad is not None) == (update > warm_up)
        unread = {id(p) for p in ours.parameters() if p.grad is None}
        assert {id(p) for p in ours.resting} == unread
    ours.eval(), theirs.eval()
    got = ours(x, edge_index)
    torch.testing.assert_close(got, theirs(x, edge_index, torch.zeros(7, dtype=torch.long)), atol=1e-5, rtol=1e-4)


def test_features_are_dropped(x, edge_index):
    model = Polynormer(5, 3, 8, 2, dropout=0.0, input_dropout=1.0)
    assert torch.equal(model(x, edge_index), model(2 * x, edge_index))


def test_by_name_it_leaves_dropped_features_to_the_training():
    model = named("polynormer")
    assert (model.input_dropout.p, model.warm_up) == (0.0, OPTIONS["warm_up"])


def test_the_schedule_leaves_alone_what_learns(x, edge_index):
    model = Polynormer(5, 3, 8, 2, warm_up=1)
    filtered = {id(p) for p in model.parameters() if p.requires_grad}
    assert filtered >= {id(p) for p in model.attention.parameters()}
    model.requires_grad_(False)
    for _ in range(3):
        model(x, edge_index)
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.slow  # torch compiles
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of what follows the break at which updates are counted
def test_a_compiled_model_leaves_the_warm_up_too(x, edge_index):
    model = Polynormer(5, 3, 8, 2, warm_up=2)
    compiled = torch.compile(model, backend="eager")
    for update in range(1, 5):
        compiled(x, edge_index)
        assert (int(model.updates), model._global) == (update, update > 2)


def test_the_phase_is_kept_with_the_weights(x, edge_index):
    model = Polynormer(5, 3, 8, 2, warm_up=2)
    early = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    want = model.eval()(x, edge_index)
    model.train()
    for _ in range(4):
        model(x, edge_index)
    model.eval()
    assert not torch.allclose(model(x, edge_index), want, atol=1e-3)
    model.load_state_dict(early)
    assert torch.equal(model(x, edge_index), want)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("warm_up", [0, 100])
def test_contract(warm_up, x, edge_index):
    def make():
        model = Polynormer(5, 3, 8, 2, warm_up=warm_up)
        model.updates.fill_(1)
        return model

    assert_model(make, x, edge_index)


def test_it_is_counted(x, edge_index):
    model = Polynormer(5, 3, 8, 2, warm_up=0).eval()
    model.updates.fill_(1)
    with torch.no_grad(), count(model) as ops:
        model(x, edge_index)
    assert not ops.unknown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_layers": 0}, "num_layers must be a whole number of at least 1, not 0"),
        ({"warm_up": -1}, "warm_up must be a whole number of at least 0, not -1"),
    ],
)
def test_what_cannot_be(options, said):
    with pytest.raises(ValueError, match=said):
        Polynormer(5, 3, **options)


def test_weights_of_edges_are_those_of_the_convolutions(x, edge_index):
    torch.manual_seed(0)
    model = Polynormer(5, 3, 8, 1, warm_up=100).double().eval()
    x, weight = x.double(), torch.rand(edge_index.size(1)).double()
    (layer,) = model.layers
    heard = layer.conv.conv(x, edge_index, weight) + layer.lin.conv(x)
    heard = layer.batch_norm(heard).relu()
    mixed = 0.1 * layer.norm(layer.gate.conv(x).relu() * heard) + 0.9 * heard
    torch.testing.assert_close(model(x, edge_index, weight), model.lin(mixed).log_softmax(-1))
