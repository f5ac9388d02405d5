"""States of recurrent networks: cut, picked, grown and put together, whatever they are made of."""

import io

import pytest
import torch
from torch.utils._pytree import tree_leaves

from msg.neurons import ALIF, DecayingThresholdLIF
from msg.nn import (
    LSNN,
    RecurrentSpikingGNN,
    RecurrentSpikingLayer,
    RecurrentState,
    cat_states,
    detach_state,
    grow_state,
    index_state,
)


def _state(number, width=3):
    neuron, x = ALIF(threshold=0.1, refractory=2), torch.randn(number, width)
    spikes, inner = neuron(x, neuron(x)[1])
    return RecurrentState(spikes, inner)


def _rows(state):
    return [state.spikes, *state.neuron]


def test_rows_are_picked_in_order_and_at_rest():
    state = _state(4)
    picked = index_state(state, torch.tensor([2, -1, 0, 2]))
    assert type(picked) is RecurrentState
    assert type(picked.neuron) is type(state.neuron)
    for before, after in zip(_rows(state), _rows(picked)):
        assert torch.equal(after, torch.stack([before[2], torch.zeros(3), before[0], before[2]]))


def test_new_nodes_come_last_and_at_rest():
    state = _state(4)
    grown = grow_state(state, 6)
    for before, after in zip(_rows(state), _rows(grown)):
        assert torch.equal(after, torch.cat([before, torch.zeros(2, 3)]))
    assert grow_state(_state(0), 3).spikes.shape == (3, 3)
    assert grow_state(None, 3) is None
    with pytest.raises(ValueError, match=r"has 4 nodes, more than 3: use index_state"):
        grow_state(state, 3)


def test_a_batch_is_taken_apart_again():
    parts = [_state(2), _state(3)]
    whole = cat_states(parts)
    assert whole.spikes.shape == (5, 3)
    back = [index_state(whole, torch.arange(2)), index_state(whole, torch.arange(2, 5))]
    for part, again in zip(parts, back):
        assert all(torch.equal(a, b) for a, b in zip(_rows(part), _rows(again)))


def test_states_that_are_not_alike_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        cat_states([])
    with pytest.raises(ValueError, match="different networks"):
        cat_states([_state(2), (torch.zeros(2, 3),)])
    neuron, x = DecayingThresholdLIF(), torch.ones(2, 3)
    one = neuron(x)[1]
    two = neuron(x, one)[1]
    assert cat_states([one, one]).steps == 1  # of the network, not of a node
    assert grow_state(two, 3).steps == 2
    with pytest.raises(ValueError, match="number that all nodes share"):
        cat_states([one, two])
    with pytest.raises(ValueError, match=r"tensors of \[2, 4\] nodes"):
        index_state((torch.zeros(2, 1), torch.zeros(4, 1)), torch.tensor([0]))


@pytest.mark.parametrize("nodes", [[4], [-2], [[0]], [0.5], [True]])
def test_rows_that_are_none_are_refused(nodes):
    with pytest.raises(ValueError, match="nodes must be"):
        index_state(_state(4), torch.tensor(nodes))


def test_an_lsnn_goes_on_without_its_past(edge_index):
    model = LSNN(5, 3, 8, threshold=0.05, conv="gcn")
    x = torch.randn(6, 7, 5).requires_grad_()
    first = model(x[:3], edge_index)
    whole = model(x[3:], edge_index, state=first.state)
    cut = model(x[3:], edge_index, state=detach_state(first.state))
    assert torch.equal(whole.outputs, cut.outputs)
    through, without = (torch.autograd.grad(o.outputs.sum(), x, retain_graph=True)[0] for o in (whole, cut))
    assert through[:3].abs().max() > 0
    assert not without[:3].any()
    torch.testing.assert_close(through[3:], without[3:])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_rows_of_every_type_of_integers(dtype):
    state = torch.tensor([[10.0], [20.0], [30.0]])
    assert index_state(state, torch.tensor([1, 1, 2, 0], dtype=dtype)).flatten().tolist() == [20, 20, 30, 10]


def test_a_saved_one_is_read_without_unpickling(edge_index):
    x = torch.rand(7, 5)
    states = [
        RecurrentSpikingGNN(5, 3)(x, edge_index)[1],
        LSNN(5, 3, 8)(x[None]).state,
        RecurrentSpikingLayer(5, 4, ALIF())(x)[1],
        RecurrentSpikingLayer(5, 4, DecayingThresholdLIF())(x)[1],
    ]
    for state in states:
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        read = torch.load(file, weights_only=True)
        assert type(read) is type(state)
        torch.testing.assert_close(tree_leaves(read), tree_leaves(state))
