"""Every neuron, rule and model keeps the contract of its kind; a broken promise is told by name."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from named import named
from torch import nn

from msg.gradients import DvM, SurrogateBPTT
from msg.names import GRADIENTS, MODELS, NEURONS
from msg.neurons import ALIF, IF, LIF
from msg.nn import MSG, ConvergentGNN, RiemannianConvergentGNN, SpikingGNN
from msg.testing import assert_model, assert_neuron, assert_rule

MADE = {
    **{name: partial(named, name) for name in MODELS if "node-classification" in MODELS[name].tasks},
    "msg, points": lambda: MSG(5, None, "H2xS2", timesteps=5, neuron=LIF(threshold=0.3)),
    "convergent": lambda: ConvergentGNN(5, 3, 4),
    "riemannian convergent": lambda: RiemannianConvergentGNN(5, 3, "H4"),
    **{
        f"{model.__name__}, {conv}": lambda model=model, conv=conv: model(5, 3, conv=conv, timesteps=5)
        for model in (MSG, SpikingGNN)
        for conv in ("sage", "gin")
    },
    **{
        f"msg, {name}": lambda name=name: MSG(5, 3, "H4", timesteps=1, neuron=NEURONS[name](), gradient=SurrogateBPTT())
        for name in NEURONS
        if not NEURONS[name].spiking
    },
}


@pytest.mark.parametrize("name", list(MADE))
def test_models(name, edge_index):
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(1)) * 2
    assert_model(MADE[name], x, edge_index, sparse=name not in ("gat", "classic-gat"))


@pytest.mark.parametrize("name", list(GRADIENTS))
def test_rules(name):
    assert_rule(GRADIENTS[name]())


@pytest.mark.parametrize(
    "neuron",
    [*(NEURONS[name](threshold=0.7) for name in NEURONS if NEURONS[name].spiking), IF(reset="zero"), ALIF()],
    ids=repr,
)
def test_neurons(neuron, dtype):
    draw = torch.Generator().manual_seed(2)
    assert_neuron(neuron.to(dtype), torch.rand(12, 3, 4, dtype=dtype, generator=draw))


def test_a_model_that_breaks_a_promise_is_told_which(edge_index):
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(5, 3)

        def forward(self, x, edge_index):
            return self.lin(x) + torch.rand(1)

    with pytest.raises(AssertionError, match="same output twice"):
        assert_model(Noisy, torch.randn(7, 5), edge_index)


def test_a_neuron_that_remembers_is_told(dtype):
    class Forgetful(IF):
        def forward(self, current, state=None, fire=None, detach_reset=True):
            self.kept = getattr(self, "kept", 0.0) + 1
            return (current > self.kept).to(current.dtype), current

    with pytest.raises(AssertionError, match=r"rest|keeps nothing"):
        assert_neuron(Forgetful(), torch.full((6, 3), 2.5, dtype=dtype))


def test_a_rule_that_changes_spikes_is_told():
    @dataclass(frozen=True)
    class Half(DvM):
        def simulate(self, dynamics, current):
            return super().simulate(dynamics, current / 2)

    Half.__qualname__ = "Half"
    globals()["Half"] = Half
    with pytest.raises(AssertionError, match="rates"):
        assert_rule(Half())
