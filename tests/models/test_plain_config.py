"""A model's arguments as plain data: what checkpoints, loggers and hubs keep of it."""

import io
import json

import geoopt
import numpy as np
import pytest
import torch
from named import named
from torch_geometric.nn import GATConv

from msg.gradients import OTTT, EquilibriumPropagation, SparseAttentiveBacktracking, SurrogateBPTT
from msg.names import MODELS
from msg.neurons import ALIF, IF, LIF, Adapted, Sigmoid
from msg.nn import HGCN, MSG, SGC, CachedGCN, ConvergentGNN, RiemannianConvergentGNN, SpikeGCL, SpikeNet, SpikingGNN

MADE = {
    "MSG": lambda: MSG(5, 3, "H2xS2", 2, 4, LIF(3.0, 0.4), SurrogateBPTT(Sigmoid(2.0)), dropout=0.1),
    "SpikingGNN": lambda: SpikingGNN(5, 3, 4, neuron="plif", gradient="rate", timesteps=4),
    "CachedGCN": lambda: CachedGCN(5, 4, 2, 3),
    "SGC": lambda: SGC(5, 3),
    "HGCN": lambda: HGCN(5, 3),
    "SpikeGCL": lambda: SpikeGCL(5, 3, timesteps=3, neuron=LIF(2.0)),
    "SpikeNet": lambda: SpikeNet(5, 3, timesteps=3),
    "adaptive neurons": lambda: SpikingGNN(5, 3, 8, neuron=ALIF(beta=torch.full((8,), 0.5))),
    "ConvergentGNN": lambda: ConvergentGNN(5, 3, 8, gradient=EquilibriumPropagation(beta=0.1, symmetric=True)),
    "RiemannianConvergentGNN": lambda: RiemannianConvergentGNN(5, 3, "H4", gradient="settling-bptt"),
}


@pytest.mark.parametrize("name", list(MADE))
def test_a_checkpoint_that_unpickles_nothing(name, edge_index):
    model, x, buffer = MADE[name]().eval(), torch.rand(7, 5), io.BytesIO()
    torch.save({"config": model.config, "state_dict": model.state_dict()}, buffer)
    buffer.seek(0)
    kept = torch.load(buffer, weights_only=True)
    assert json.loads(json.dumps(kept["config"])) == kept["config"] == model.config
    other = type(model).from_config(kept["config"]).eval()
    other.load_state_dict(kept["state_dict"])
    assert torch.equal(other(x, edge_index), model(x, edge_index))
    assert repr(other) == repr(model)


@pytest.mark.parametrize("name", [name for name in MODELS if "timesteps" in MODELS[name].reads])
def test_steps_that_were_changed_are_kept_or_refused(name, edge_index):
    model, x = named(name, timesteps=4).eval(), torch.rand(7, 5)
    if isinstance(model, SpikeGCL | SpikeNet):
        with pytest.raises(ValueError, match=r"weights for each of its 4 time steps: make a new one with timesteps=9"):
            model.timesteps = 9
        model.timesteps = 4
    else:
        model.timesteps = 9
        assert model.config["timesteps"] == 9
    other = type(model).from_config(model.config).eval()
    other.load_state_dict(model.state_dict())
    assert other.timesteps == model.timesteps
    torch.manual_seed(0)
    out = model(x, edge_index)
    torch.manual_seed(0)
    torch.testing.assert_close(other(x, edge_index), out)


def test_names_and_dictionaries_are_taken():
    model = MSG(5, 3, neuron={"name": "lif", "tau": 3.0}, gradient={"name": "bptt", "surrogate": {"name": "sigmoid"}})
    assert model.stack.layers[0].neuron.tau == 3.0
    assert model.gradient == SurrogateBPTT(Sigmoid())


def test_numbers_of_numpy_are_kept_as_pythons(edge_index):
    model, buffer = MSG(np.int64(5), 3, "H4", timesteps=np.int64(3), step_size=np.logspace(-2, 0, 1)[0]), io.BytesIO()
    torch.save(model.config, buffer)
    buffer.seek(0)
    kept = torch.load(buffer, weights_only=True)
    assert (kept["in_channels"], kept["timesteps"], kept["step_size"]) == (5, 3, 0.01)
    assert {type(kept[name]) for name in ("in_channels", "timesteps")} == {int}
    assert type(kept["step_size"]) is float
    assert MSG.from_config(kept)(torch.rand(7, 5), edge_index).shape == (7, 3)


class Further(MSG):
    """Of a user, who hands on what he does not know."""

    def __init__(self, *args, extra=1, **kwargs):
        super().__init__(*args, **kwargs)
        self.extra = extra


class Fixed(MSG):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, manifold="S4", **kwargs)


def test_what_a_subclass_hands_on_has_the_names_of_the_class_above():
    model = Further(5, 3, manifold="H4", timesteps=4, dropout=0.1, extra=2)
    model.timesteps = 9
    want = {"in_channels": 5, "out_channels": 3, "manifold": "H4", "timesteps": 9, "dropout": 0.1, "extra": 2}
    assert model.config == want
    other = Further.from_config(model.config)
    assert (other.timesteps, other.extra, other.dropout) == (9, 2, 0.1)
    assert repr(other) == repr(model)
    # the defaults above are not its own
    assert Fixed(5, 3).config == {"in_channels": 5, "out_channels": 3}
    assert Fixed.from_config(Fixed(5, 3).config).head.manifold.name == "Sphere"
    with pytest.raises(ValueError, match="in_channels must be a whole number of at least 1, not 0"):
        Further(0, 3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        Further(5, 3, nonsense=1)


def test_what_no_class_above_has_a_name_for():
    class Taking(IF):
        def __init__(self, *sizes, **options):
            super().__init__(0.4)
            self.sizes, self.options = sizes, options

    class Deep(Taking):
        def __init__(self, *sizes, **options):
            super().__init__(*sizes, **options)

    assert Deep(mode="a").config == {"mode": "a"}
    with pytest.raises(ValueError, match=r"cannot hold \*args: \(3, 4, 5\) have no names there: give them by name"):
        Deep(3, 4, 5).config  # noqa: B018


def test_what_changed_since_is_kept():
    model = MSG(5, 3, timesteps=4)
    model.timesteps, model.gradient = 7, OTTT()
    other = MSG.from_config(model.config)
    assert (other.timesteps, other.gradient) == (7, OTTT())


def test_what_has_no_name_is_told():
    with pytest.raises(ValueError, match=r"cannot hold manifold.*signature"):
        MSG(5, 3, geoopt.Lorentz(), hidden_channels=4).config  # noqa: B018
    with pytest.raises(ValueError, match=r"cannot hold conv.*register"):
        MSG(5, 3, conv=lambda i, o: GATConv(i, o)).config  # noqa: B018


@pytest.mark.parametrize(
    "value",
    [
        *(Adapted(0.5), SparseAttentiveBacktracking(), geoopt.SymmetricPositiveDefinite()),
        geoopt.StereographicProductManifold((geoopt.PoincareBall(), 2), (geoopt.SphereProjection(), 2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_models_are_made_of_is_read_back(value):
    buffer = io.BytesIO()
    torch.save({"hyper_parameters": {"value": value}}, buffer)
    buffer.seek(0)
    assert repr(torch.load(buffer, weights_only=True)["hyper_parameters"]["value"]) == repr(value)
