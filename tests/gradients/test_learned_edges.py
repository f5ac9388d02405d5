"""What edges weigh and carry may be learned too: rules that run the simulation again give it the same gradient."""

import pytest
import torch
from torch import nn
from torch_geometric.nn import GATv2Conv

from msg.gradients import OTTT, CheckpointedBPTT, SurrogateBPTT
from msg.neurons import LIF, ParametricLIF
from msg.nn import MSG, SpikingGNN

FEATURES, CLASSES = 5, 3
CHECKPOINTED = [CheckpointedBPTT(), CheckpointedBPTT(states=2), CheckpointedBPTT(states=3, store="internal")]


@pytest.fixture(autouse=True)
def _one_draw():
    """Spikes jump: where a potential came to lie at its threshold two orders of additions would differ by one."""
    torch.manual_seed(0)


def _network(rule, timesteps, conv="gcn"):
    """The same weights and features whatever the rule."""
    torch.manual_seed(1)
    model = MSG(
        FEATURES, CLASSES, "E8", conv=conv, num_layers=4, timesteps=timesteps, neuron=LIF(2.0, 0.3), gradient=rule
    ).double()
    return model, torch.rand(7, FEATURES, dtype=torch.float64)


def _gradients(rule, edge_index, timesteps, **known):
    """Of all weights, then of what edges have."""
    conv = (lambda i, o: GATv2Conv(i, o, edge_dim=3)) if "edge_attr" in known else "gcn"
    model, x = _network(rule, timesteps, conv)
    learned = [*model.parameters(), *known.values()]
    return torch.autograd.grad(model(x, edge_index, **known).square().sum(), learned)


def _edges(edge_index, name):
    shape = {"edge_weight": (edge_index.size(1),), "edge_attr": (edge_index.size(1), 3)}[name]
    return {name: torch.rand(shape, dtype=torch.float64, requires_grad=True)}


@pytest.mark.parametrize("name", ["edge_weight", "edge_attr"])
@pytest.mark.parametrize("rule", CHECKPOINTED, ids=repr)
def test_checkpointed_is_backpropagation(rule, name, edge_index):
    known = _edges(edge_index, name)
    want = _gradients(SurrogateBPTT(), edge_index, 6, **known)
    assert want[-1].abs().max() > 1e-4
    torch.testing.assert_close(_gradients(rule, edge_index, 6, **known), want)


def test_online_training_is_backpropagation_in_one_step(edge_index):
    known = _edges(edge_index, "edge_weight")
    want = _gradients(SurrogateBPTT(), edge_index, 1, **known)
    torch.testing.assert_close(_gradients(OTTT(), edge_index, 1, **known), want)


@pytest.mark.parametrize("rule", [*CHECKPOINTED, OTTT()], ids=repr)
def test_weights_that_something_makes(rule, edge_index):
    """Two backward passes through what made them are no mistake."""
    scorer, scores = nn.Linear(3, 1).double(), torch.rand(edge_index.size(1), 3, dtype=torch.float64)
    weight = scorer(scores).sigmoid()[:, 0]
    leaf = weight.detach().requires_grad_()
    want = torch.autograd.grad(weight, scorer.weight, _gradients(rule, edge_index, 4, edge_weight=leaf)[-1])
    model, x = _network(rule, 4)
    out = model(x, edge_index, scorer(scores).sigmoid()[:, 0]).square().sum()
    out.backward(retain_graph=True)
    torch.testing.assert_close(scorer.weight.grad, want[0])
    out.backward()
    torch.testing.assert_close(scorer.weight.grad, 2 * want[0])


def test_online_steps_with_learned_weights(edge_index):
    weight = _edges(edge_index, "edge_weight")["edge_weight"]
    model = SpikingGNN(FEATURES, CLASSES, 8, num_layers=3, timesteps=3, neuron=LIF(2.0, 0.3), gradient=OTTT()).double()
    x = torch.rand(7, FEATURES, dtype=torch.float64)
    found = []
    for out in model.online(x, edge_index, weight):
        found += torch.autograd.grad(out.square().sum(), weight)
    single = SpikingGNN(FEATURES, CLASSES, 8, num_layers=3, timesteps=1, neuron=LIF(2.0, 0.3)).double()
    single.load_state_dict(model.state_dict())
    single.stack.gradient = SurrogateBPTT()
    assert len(found) == 3
    want = torch.autograd.grad(single(x, edge_index, weight).square().sum(), weight)
    torch.testing.assert_close(found[0], want[0])


@pytest.mark.parametrize("rule", [*CHECKPOINTED, OTTT()], ids=repr)
def test_what_is_used_twice_is_counted_once(rule, edge_index):
    """One synapse in two layers, one neuron with a decay of its own in all."""

    def gradients(gradient):
        torch.manual_seed(2)
        model = SpikingGNN(
            FEATURES, CLASSES, 8, num_layers=3, timesteps=1, neuron=ParametricLIF(2.0, 0.3), gradient=gradient
        ).double()
        first, second, third, _ = model.stack.layers
        third.synapse, second.neuron = second.synapse, first.neuron
        x = torch.rand(7, FEATURES, dtype=torch.float64)
        parameters = list(model.parameters())
        return torch.autograd.grad(model(x, edge_index).square().sum(), parameters, materialize_grads=True)

    torch.testing.assert_close(gradients(rule), gradients(SurrogateBPTT()))
