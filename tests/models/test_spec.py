import pytest
import torch
from named import named

from msg.experiments import RunConfig
from msg.experiments.build import build_model
from msg.models import SAGE
from msg.models.spec import embedder
from msg.names import MODELS
from msg.nn import SpikeNet
from msg.training import decoder_of

NODES, LINKS = "node-classification", "link-prediction"
TRAINED = [name for name, spec in MODELS.items() if LINKS in spec.tasks and not spec.own_decoder]


@pytest.mark.parametrize("kind", [SAGE, SpikeNet])
def test_without_classes_a_network_is_as_wide_as_inside(kind, edge_index):
    build, x = embedder(kind), torch.rand(7, 5)
    assert build(5, None, hidden_channels=6, num_layers=2)(x, edge_index).shape == (7, 6)
    assert build(5, 3, hidden_channels=6, num_layers=2)(x, edge_index).shape == (7, 3)


@pytest.mark.parametrize("name", TRAINED)
def test_pairs_of_what_is_embedded_are_scored_and_learned_from(name, edge_index):
    config = RunConfig(task=LINKS, model=name, baseline="none", dropout=0.0, decoder="plain")
    torch.manual_seed(0)
    model, x = build_model(config, 5, 2), torch.rand(7, 5) * 3
    score = decoder_of(model, edge_index)
    before = score(model(x, edge_index), edge_index)
    assert before.shape == edge_index.shape[1:]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(15):
        optimizer.zero_grad()
        loss = torch.nn.functional.softplus(-score(model(x, edge_index), edge_index)).mean()
        loss.backward()
        optimizer.step()
    assert loss < torch.nn.functional.softplus(-before).mean()


def test_a_loss_of_ones_own_is_named_so():
    having = {name for name, spec in MODELS.items() if NODES in spec.tasks and hasattr(named(name), "criterion")}
    naming = {name for name, spec in MODELS.items() if spec.own_loss}
    assert naming == having
    for name in naming:
        with pytest.raises(ValueError, match=f"label_smoothing=0.1 contradicts model='{name}'"):
            RunConfig(model=name, baseline="none", label_smoothing=0.1)


def test_spiking_peers_predict_links():
    assert {"spikenet", "gc-snn", "ga-snn", "spikegraphormer", "spiking-gnn", "gcn", "msg"} <= set(TRAINED)
