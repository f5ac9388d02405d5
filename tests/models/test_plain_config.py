"""A model's arguments as plain data: what checkpoints, loggers and hubs keep of it."""

import io
import json

import geoopt
import pytest
import torch
from torch_geometric.nn import GATConv

from msg.gradients import OTTT, SurrogateBPTT
from msg.neurons import LIF, Sigmoid
from msg.nn import HGCN, MSG, SGC, CachedGCN, SpikeGCL, SpikeNet, SpikingGNN

MADE = {
    "MSG": lambda: MSG(5, 3, "H2xS2", 2, 4, LIF(3.0, 0.4), SurrogateBPTT(Sigmoid(2.0)), dropout=0.1),
    "SpikingGNN": lambda: SpikingGNN(5, 3, 4, neuron="plif", gradient="rate", timesteps=4),
    "CachedGCN": lambda: CachedGCN(5, 4, 2, 3),
    "SGC": lambda: SGC(5, 3),
    "HGCN": lambda: HGCN(5, 3),
    "SpikeGCL": lambda: SpikeGCL(5, 3, timesteps=3, neuron=LIF(2.0)),
    "SpikeNet": lambda: SpikeNet(5, 3, timesteps=3),
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


def test_names_and_dictionaries_are_taken():
    model = MSG(5, 3, neuron={"name": "lif", "tau": 3.0}, gradient={"name": "bptt", "surrogate": {"name": "sigmoid"}})
    assert model.stack.layers[0].neuron.tau == 3.0
    assert model.gradient == SurrogateBPTT(Sigmoid())


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
