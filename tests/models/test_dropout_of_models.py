"""Dropout of every model that reads it: it acts in training, in training alone, and in each of its places."""

import pytest
import torch
from named import named

from msg.layers import Dropout
from msg.names import MODELS
from msg.neurons import IF
from msg.nn import GCSNN, MSG, GraphClassifier, SpikeGCL, SpikeGraphormer, SpikeNet

DROPPING = [name for name, spec in MODELS.items() if "dropout" in spec.reads and "node-classification" in spec.tasks]
EDGES = torch.tensor([[0, 1, 2, 3, 3, 4, 5, 1, 1, 0], [1, 2, 0, 3, 4, 5, 3, 2, 0, 4]])


def made(name, dropout):
    torch.manual_seed(0)
    return named(name, dropout=dropout, neuron=IF(threshold=0.1), threshold=0.1)


def ran(model, x, training=True):
    """What a model says with the same draws of whatever it draws."""
    torch.manual_seed(1)
    model.train(training)
    return getattr(model, "unsupervised_loss", model)(x, EDGES).detach()


@pytest.mark.parametrize("name", DROPPING)
def test_dropout_is_of_training_alone(name):
    x = torch.rand(7, 5)
    found = {(p, training): ran(made(name, p), x, training) for p in (0.0, 0.6) for training in (True, False)}
    assert torch.equal(found[0.6, False], found[0.0, False])
    assert not torch.allclose(found[0.6, True], found[0.0, True])


PLACES = {
    "MSG": lambda: MSG(5, 3, "H8", num_layers=3, timesteps=6, dropout=0.5),
    "MSG, all points": lambda: MSG(5, 3, "H8", num_layers=3, timesteps=6, dropout=0.5, jumping="cat"),
    "GC-SNN": lambda: GCSNN(5, 3, 16, dropout=0.5),
    "SpikeGraphormer": lambda: SpikeGraphormer(5, 3, 16, dropout=0.5),
    "SpikeGraphormer, graph": lambda: SpikeGraphormer(5, 3, 16, graph_dropout=0.5),
    "SpikeNet": lambda: SpikeNet(5, 3, 16, dropout=0.5),
    "SpikeNet, released": lambda: SpikeNet(5, 3, 16, dropout=0.5, as_released=True),
}


@pytest.mark.parametrize("name", PLACES)
def test_dropout_acts_in_each_of_its_places(name):
    x = 2 * torch.rand(7, 5)
    places = [place for place, part in PLACES[name]().named_modules() if isinstance(part, Dropout) and part.p]
    assert places
    for place in places:
        torch.manual_seed(0)
        model = PLACES[name]()
        for part in model.modules():
            if isinstance(part, Dropout):
                part.p = 0.0
        torch.manual_seed(1)
        without = ran(model, x)
        model.get_submodule(place).p = 0.5
        assert not torch.allclose(ran(model, x), without), place


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_features_and_hidden_numbers_of_spikegcl_are_dropped(dropout):
    model, read = SpikeGCL(5, 3, 16, num_layers=2, timesteps=4, dropout=dropout), []
    for layer in (model.first, model.layers[0]):
        layer.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    model.unsupervised_loss(torch.rand(7, 5) + 1, EDGES)
    assert len(read) == 4  # of the graph, and of the corrupted one
    assert all(bool((numbers == 0).any()) == (dropout > 0) for numbers in read)


def test_a_classifier_of_graphs_drops_of_its_own():
    torch.manual_seed(0)
    model, x = GraphClassifier(MSG(5, None, "H8", timesteps=3), 3, dropout=0.5), torch.rand(7, 5)
    assert not torch.allclose(model.train()(x, EDGES), model(x, EDGES))
    assert torch.equal(model.eval()(x, EDGES), model(x, EDGES))
