import pytest
import torch
from torch_geometric.nn.models import Polynormer as PyGPolynormer

from msg.energy import count
from msg.models import Polynormer
from msg.testing import assert_model


@pytest.fixture
def x():
    return torch.rand(7, 5)


@pytest.mark.parametrize("warm_up", [0, 2])
def test_it_is_pygs_with_its_schedule(warm_up, x, edge_index):
    ours = Polynormer(5, 3, 8, 2, 1, dropout=0.0, input_dropout=0.0, warm_up=warm_up)
    theirs = PyGPolynormer(5, 8, 3, 2, 1, in_dropout=0.0, dropout=0.0, global_dropout=0.0)
    theirs.load_state_dict(ours.network.state_dict())
    for update in range(1, 5):
        theirs._global = update > warm_up
        assert torch.allclose(ours(x, edge_index), theirs(x, edge_index, torch.zeros(7, dtype=torch.long)), atol=1e-6)
        ours.zero_grad()
        ours.network(x, edge_index, torch.zeros(7, dtype=torch.long)).sum().backward()
        learning = {name for name, p in ours.network.named_parameters() if p.grad is not None}
        assert any(name.startswith("pred_global") for name in learning) == theirs._global
        assert any(name.startswith("pred_local") for name in learning) != theirs._global
        resting = {id(p) for p in ours.resting}
        unread = {id(p) for p in ours.network.parameters() if p.requires_grad and p.grad is None}
        assert resting == unread


def test_the_schedule_leaves_alone_what_learns(x, edge_index):
    model = Polynormer(5, 3, 8, 2, warm_up=1)
    filtered = {id(p) for p in model.parameters() if p.requires_grad}
    assert filtered >= {id(p) for p in model.network.global_attn.parameters()}
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
        assert (int(model.updates), model.network._global) == (update, update > 2)


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


def test_weights_of_edges_are_refused(x, edge_index):
    with pytest.raises(ValueError, match="does not read weights of edges"):
        Polynormer(5, 3)(x, edge_index, torch.ones(edge_index.size(1)))
