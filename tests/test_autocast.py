"""Automatic mixed precision beyond the contract of models: rules that simulate twice, states of recurrences."""

import pytest
import torch
from torch import nn
from torch_geometric.nn.models.tgn import IdentityMessage, LastAggregator

from msg.calls import autocast_of, full_precision
from msg.neurons import ALIF, LIF
from msg.nn import (
    LSNN,
    MSG,
    AttentiveRecurrence,
    ConvergentGNN,
    RecurrentSpikingGNN,
    RecurrentSpikingLayer,
    RiemannianConvergentGNN,
    SpikingGNN,
    SpikingTGNMemory,
)

HALF = torch.bfloat16


@pytest.fixture
def x():
    return 3 * torch.rand(7, 5, generator=torch.Generator().manual_seed(0))


# a threshold is fitted without gradient, with the weights that are to get one
@pytest.mark.parametrize("threshold", [1.0, "auto"])
@pytest.mark.parametrize("rule", ["dvm", "bptt", "rate", "ottt", "checkpointed"])
def test_gradients_are_those_of_full_precision_rounded(rule, threshold, x, edge_index):
    found = []
    for enabled in (False, True):
        torch.manual_seed(0)
        model = MSG(5, 3, "E8", 3, 6, LIF(threshold=threshold), rule)
        with torch.autocast("cpu", HALF, enabled=enabled):
            out = model(x, edge_index)
        found.append(torch.autograd.grad(out.float().square().sum(), list(model.parameters()), allow_unused=True))
    for full, half in zip(*found):
        assert (full is None) == (half is None)
        if full is not None and full.norm() > 0:  # some spikes may fall on the other side of the threshold
            assert torch.cosine_similarity(full.flatten(), half.flatten(), dim=0) > 0.8


@pytest.mark.parametrize("rule", ["ottt", "checkpointed"])
def test_the_simulation_that_is_run_again_is_the_same(rule, x, edge_index):
    """Where the spikes of the backward pass were others, its gradient would be of another network than the loss."""
    torch.manual_seed(0)
    model, again = (SpikingGNN(5, 3, 8, 1, 6, LIF(), name) for name in (rule, "bptt"))
    again.load_state_dict(model.state_dict())
    found = []
    for one in (model, again):
        with torch.autocast("cpu", HALF):
            out = one(x, edge_index)
        found.append(torch.autograd.grad(out.float().square().sum(), list(one.parameters())))
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05 * float(theirs.abs().max()))


def test_states_keep_their_precision(x, edge_index):
    snapshots, lsnn = RecurrentSpikingGNN(5, 3), LSNN(5, 3, 8)
    with torch.autocast("cpu", HALF):
        out, state = snapshots(x, edge_index)
        out, _ = snapshots(x, edge_index, state=state)
        train = x[None].expand(4, -1, -1)
        first = lsnn(train)
        second = lsnn(train, state=first.state)
    assert out.dtype == second.outputs.dtype == torch.float32
    (out.sum() + second.outputs.sum()).backward()
    plain = lsnn(train, state=lsnn(train).state)
    torch.testing.assert_close(second.outputs, plain.outputs)


def test_it_is_entered_and_left():
    x = torch.rand(3, 3)
    with torch.autocast("cpu", HALF):
        same = autocast_of(x)
        with full_precision(x):
            assert (x @ x).dtype == torch.float32
        assert (x @ x).dtype == HALF
    assert (x @ x).dtype == torch.float32
    with same():
        assert (x @ x).dtype == HALF
    with full_precision(x), autocast_of(x)():
        assert (x @ x).dtype == torch.float32


@pytest.mark.parametrize("network", [lambda: ConvergentGNN(5, 3, 8), lambda: RiemannianConvergentGNN(5, 3, "H4")])
def test_networks_that_settle_keep_their_precision(network, x, edge_index):
    model = network()
    plain, residual = model(x, edge_index), model.settle(x, edge_index).residual
    with torch.autocast("cpu", HALF):
        torch.testing.assert_close(model(x, edge_index), plain)
        torch.testing.assert_close(model.settle(x, edge_index).residual, residual)


@pytest.mark.parametrize("neuron", [LIF(), ALIF()], ids=repr)
def test_recurrent_layers_and_what_reads_them_keep_their_precision(neuron, x):
    train, layer = x[None].expand(4, -1, -1), RecurrentSpikingLayer(5, 6, neuron)
    memory = SpikingTGNMemory(7, 5, 6, 4, IdentityMessage(5, 6, 4), LastAggregator(), neuron=neuron)
    recalling = AttentiveRecurrence(layer, 6, entry="spikes"), AttentiveRecurrence(nn.LSTMCell(5, 6), 6)
    plain = [one(train, one(train)[1])[0] for one in (layer, *recalling)]
    with torch.autocast("cpu", HALF):
        _, state = layer(train)
        found = [layer(train, state)[0], *(one(train, one(train.to(HALF).float())[1])[0] for one in recalling)]
        nodes, times = torch.arange(7), torch.arange(7)
        memory.update_state(nodes, nodes.flip(0), times, x)
        z, _ = memory(nodes)
    assert z.dtype == torch.float32
    torch.testing.assert_close(found[0], plain[0])
    for got, want in zip(found[1:], plain[1:]):
        assert got.dtype == want.dtype == torch.float32
