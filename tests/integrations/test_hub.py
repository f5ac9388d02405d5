"""What users of the Hugging Face Hub do: models that are saved to a folder and loaded from it, as safetensors."""

import json

import geoopt
import pytest
import torch

from msg.gradients import SurrogateBPTT
from msg.neurons import LIF, Sigmoid
from msg.nn import MSG, SpikingGNN

hub = pytest.importorskip("huggingface_hub", reason='needs pip install "msg-graph[integrations]"')
safetensors = pytest.importorskip("safetensors.torch", reason='needs pip install "msg-graph[integrations]"')


class OnHub(MSG, hub.PyTorchModelHubMixin):
    """As huggingface_hub's documentation has it."""


class SpikingOnHub(SpikingGNN, hub.PyTorchModelHubMixin):
    """The same of another model."""


MADE = {
    "names": lambda: OnHub(5, 3, "H4xS4", neuron="lif", gradient="bptt"),
    "dictionaries": lambda: OnHub(5, 3, "P4", neuron={"name": "lif", "tau": 3.0}, gradient={"name": "bptt"}),
    "objects": lambda: OnHub(5, 3, "U4", neuron=LIF(3.0, 0.4), gradient=SurrogateBPTT(Sigmoid(2.0))),
    "thresholds that are fitted": lambda: OnHub(5, 3, "L4", neuron=LIF(3.0, "auto")),
    "another model": lambda: SpikingOnHub(5, 3, 4, neuron="plif", gradient="rate", timesteps=4),
}


@pytest.mark.parametrize("name", list(MADE))
def test_saved_and_loaded(name, tmp_path, edge_index):
    model, x = MADE[name]().eval(), torch.rand(7, 5)
    with torch.no_grad():
        want = model(x, edge_index)
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert type(model).from_config(written).config == model.config
    kept = safetensors.load_file(tmp_path / "model.safetensors")
    assert kept.keys() == model.state_dict().keys()
    again = type(model).from_pretrained(tmp_path).eval()
    assert repr(again) == repr(model)
    with torch.no_grad():
        assert torch.equal(again(x, edge_index), want)


def test_what_was_changed_is_saved(tmp_path, edge_index):
    model, x = OnHub(5, 3, "H4", timesteps=4).eval(), torch.rand(7, 5)
    model.timesteps = 20
    model.save_pretrained(tmp_path)
    again = OnHub.from_pretrained(tmp_path).eval()
    assert again.timesteps == 20
    assert torch.equal(again(x, edge_index), model(x, edge_index))


def test_safetensors_alone(tmp_path, edge_index):
    model, x = MSG(5, 3, "H4xS4").eval(), torch.rand(7, 5)
    safetensors.save_model(model, str(tmp_path / "m.safetensors"))
    again = MSG.from_config(model.config).eval()
    safetensors.load_model(again, str(tmp_path / "m.safetensors"))
    assert torch.equal(again(x, edge_index), model(x, edge_index))


def test_what_has_no_name_is_given_again(tmp_path):
    model = OnHub(5, 3, geoopt.Sphere(), hidden_channels=4)
    model.save_pretrained(tmp_path)
    assert not (tmp_path / "config.json").exists()  # never one that leaves it out, and makes another model
    again = OnHub.from_pretrained(tmp_path, in_channels=5, out_channels=3, manifold=geoopt.Sphere(), hidden_channels=4)
    assert isinstance(again.manifold, geoopt.Sphere)


def test_the_mixin_stands_last():
    class First(hub.PyTorchModelHubMixin, MSG):
        pass

    with pytest.raises(TypeError, match="First must have PyTorchModelHubMixin as its last base, not its first"):
        First(5, 3)
