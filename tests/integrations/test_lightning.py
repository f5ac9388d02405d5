"""What users of Lightning do: a module that keeps its arguments, a checkpoint that unpickles nothing."""

import warnings

import geoopt
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from msg.datasets import load_graph
from msg.gradients import SurrogateBPTT
from msg.neurons import LIF, ParametricLIF, Sigmoid
from msg.nn import MSG

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # theirs, as they are imported
    lightning = pytest.importorskip("lightning", reason='needs pip install "msg-graph[integrations]"')

pytestmark = pytest.mark.filterwarnings("ignore")

GIVEN = {
    "names": {"manifold": "H4", "neuron": "lif", "gradient": "bptt"},
    "dictionaries": {"neuron": {"name": "lif", "tau": 3.0}, "gradient": {"name": "bptt", "detach_reset": False}},
    "objects": {"neuron": LIF(3.0, 0.4), "gradient": SurrogateBPTT(Sigmoid(2.0)), "manifold": geoopt.Lorentz()},
    "objects with parameters": {"neuron": ParametricLIF(), "gradient": "bptt", "manifold": geoopt.Stereographic()},
    "a product": {"manifold": geoopt.ProductManifold((geoopt.Sphere(), 5), (geoopt.Lorentz(), 5))},
}


class Classifier(lightning.LightningModule):
    def __init__(self, in_channels, out_channels, manifold="H4", neuron=None, gradient=None, hidden_channels=None):
        super().__init__()
        self.save_hyperparameters()
        options = {"neuron": neuron, "gradient": gradient, "hidden_channels": hidden_channels}
        self.model = MSG(in_channels, out_channels, manifold, num_layers=2, timesteps=3, **options)

    def training_step(self, data, _):
        out = self.model(data.x, data.edge_index)
        return F.cross_entropy(out[data.train_mask], data.y[data.train_mask])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def trainer(epochs, folder):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return lightning.Trainer(max_epochs=epochs, accelerator="cpu", default_root_dir=folder, **quiet)


@pytest.mark.parametrize("kind", list(GIVEN))
def test_a_checkpoint_is_read_with_weights_only(kind, tmp_path):
    given, data = dict(GIVEN[kind]), load_graph("karate")
    if isinstance(given.get("manifold"), nn.Module):
        given["hidden_channels"] = 8 if kind == "a product" else 4
    module = Classifier(data.num_features, 4, **given)
    loader = torch.utils.data.DataLoader([data], batch_size=None, collate_fn=lambda whole: whole)
    fit = trainer(1, tmp_path)
    fit.fit(module, loader)
    fit.save_checkpoint(tmp_path / "c.ckpt")
    again = Classifier.load_from_checkpoint(tmp_path / "c.ckpt", weights_only=True)
    for one in (module, again):
        one.eval()
    with torch.no_grad():
        found, want = (one.model(data.x, data.edge_index) for one in (again, module))
    assert torch.equal(found, want)
    assert repr(again.model) == repr(module.model)
    # and it goes on from it
    more = trainer(2, tmp_path)
    more.fit(again, loader, ckpt_path=tmp_path / "c.ckpt", weights_only=True)
    assert more.current_epoch == 2


def test_what_is_not_a_value_is_still_refused(tmp_path):
    torch.save({"conv": MSG}, tmp_path / "m.pt")
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(tmp_path / "m.pt", weights_only=True)
