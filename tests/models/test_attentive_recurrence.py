"""The oracle is a loop over steps and nodes that reads the formulas off the paper, without any sharing of work."""

import copy
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from msg.gradients import DvM, SparseAttentiveBacktracking
from msg.neurons import ALIF, LIF
from msg.nn import AttentiveRecurrence, RecurrentSpikingLayer

pytestmark = pytest.mark.covering

STEPS, NODES, FEATURES, WIDTH = 9, 4, 3, 5


@pytest.fixture(autouse=True)
def _scores_apart():
    """One draw for every run: which memory is recalled hangs on which of two scores is larger, and a weight is a ratio
    of their differences. In this draw scores lie apart (:func:`_slow_summary` sees to it), so rounding decides nothing
    and is amplified little.
    """
    torch.manual_seed(99)


class Spiking(NamedTuple):
    membrane: Tensor
    spikes: Tensor


class RecurrentLIF(nn.Module):
    """A recurrent spiking layer of the explicit-state contract."""

    def __init__(self):
        super().__init__()
        self.input, self.recurrent = nn.Linear(FEATURES, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.neuron = LIF(threshold=0.3)

    def forward(self, x, state=None):
        membrane, past = (None, x.new_zeros(len(x), WIDTH)) if state is None else state
        spikes, membrane = self.neuron(self.input(x) + self.recurrent(past), membrane)
        return spikes, Spiking(membrane, spikes)


class GraphGRU(nn.Module):
    """A GRU cell that reads its neighbours' hidden states."""

    def __init__(self):
        super().__init__()
        self.conv, self.cell = GCNConv(WIDTH, WIDTH), nn.GRUCell(FEATURES + WIDTH, WIDTH)

    def forward(self, x, state, graph):
        state = x.new_zeros(len(x), WIDTH) if state is None else state
        state = self.cell(torch.cat([x, self.conv(state, graph)], dim=-1), state)
        return state, state


CELLS = {
    "lstm": (lambda: nn.LSTMCell(FEATURES, WIDTH), 0, False),
    "gru": (lambda: nn.GRUCell(FEATURES, WIDTH), 0, False),
    "rnn": (lambda: nn.RNNCell(FEATURES, WIDTH), 0, False),
    "spiking": (RecurrentLIF, "membrane", False),
    "graph": (GraphGRU, 0, True),
}


@pytest.fixture(params=list(CELLS))
def name(request):
    return request.param


@pytest.fixture
def ring():
    nodes = torch.arange(NODES)
    return torch.stack([nodes, (nodes + 1) % NODES])


def _model(name, rule, dtype=torch.float64):
    make, entry, _ = CELLS[name]
    return AttentiveRecurrence(make(), WIDTH, rule, attention_channels=3, entry=entry).to(dtype)


def _input(dtype=torch.float64):
    return torch.randn(STEPS, NODES, FEATURES, dtype=dtype) * 2


def _as_tuple(state):
    return (state,) if isinstance(state, Tensor) else tuple(state)


def _cut(state):
    parts = [part.detach() for part in _as_tuple(state)]
    return parts[0] if isinstance(state, Tensor) else type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def _slow_summary(model, memories, hidden, node, top):
    def score(memory):
        mixed = model.present.weight @ hidden[node] + model.present.bias + model.past.weight @ memory
        return (model.weight.weight[0] * torch.tanh(mixed)).sum()

    scores = [score(m[node]) for m in memories]
    order = sorted(range(len(memories)), key=lambda i: -scores[i].item())
    lowest = memories[order[min(top, len(memories) - 1)]][node]
    threshold = score(lowest.detach() if len(memories) > top else lowest)
    kept = {i: scores[i] - threshold for i in order[:top] if (scores[i] - threshold).item() > 0}
    total = sum(kept.values())
    assert len(memories) == 1 or total > (5e-3 if total.dtype == torch.float32 else 1e-4)
    return sum((kept[i] / total * memories[i][node] for i in kept), torch.zeros_like(hidden[node]))


def _slow(model, x, graph=None):
    """Outputs, and the tensors that became memories."""
    rule, state = model.rule, None
    memories, outputs = [x.new_zeros(NODES, WIDTH)], []
    for t in range(len(x)):
        if rule.k_trunc is not None and t and t % rule.k_trunc == 0:
            state = _cut(state)
        found = model.cell(x[t], state) if graph is None else model.cell(x[t], state, graph)
        state = found if isinstance(model.cell, nn.RNNCellBase) else found[1]
        hidden = _as_tuple(state)[0]
        summary = torch.zeros_like(hidden)
        if rule.k_top:
            summary = torch.stack([_slow_summary(model, memories, hidden, n, rule.k_top) for n in range(NODES)])
        hidden = hidden + summary
        state = (
            hidden
            if isinstance(state, Tensor)
            else type(state)(hidden, *state[1:])
            if hasattr(state, "_fields")
            else (hidden, *state[1:])
        )
        if (t + 1) % rule.k_att == 0:
            memories.append(hidden)
        outputs.append(torch.cat([hidden, summary], dim=-1))
    return torch.stack(outputs), memories


def _grads(model, x, outputs):
    weight = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).view_as(outputs)
    return torch.autograd.grad((outputs * weight).sum(), [x, *model.parameters()], materialize_grads=True)


RULES = [
    SparseAttentiveBacktracking(k_top=2, k_trunc=3, k_att=1),
    SparseAttentiveBacktracking(k_top=3, k_trunc=4, k_att=2),
    SparseAttentiveBacktracking(k_top=1, k_trunc=None, k_att=3),
    SparseAttentiveBacktracking(k_top=0, k_trunc=3),
    SparseAttentiveBacktracking(k_top=STEPS + 1, k_trunc=STEPS),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_outputs_and_gradients_are_those_of_the_slow_loop(name, rule, ring, dtype):
    # weights are ratios of differences of scores, so float32 loses digits with every recall
    steps = STEPS if dtype == torch.float64 else 4
    model, x = _model(name, rule, dtype), _input(dtype)[:steps].requires_grad_()
    graph = ring if CELLS[name][2] else None
    got, state = model(x, graph=graph)
    want, memories = _slow(model, x, graph)
    tolerance = {"rtol": 1e-10, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(got, want, **tolerance)
    torch.testing.assert_close(model.hidden(state), got[-1, :, :WIDTH])
    if rule.k_top:
        assert got[..., WIDTH:].abs().max() > 0.01
        recall = model.recall(x, graph=graph)
        assert recall.weights.shape == (steps, NODES, 1 + steps // rule.k_att)
        assert int((recall.weights > 0).sum(-1).max()) <= rule.k_top
        kept = torch.stack(memories, dim=1)
        torch.testing.assert_close(torch.einsum("tnm,nmh->tnh", recall.weights, kept), recall.summary, **tolerance)
    if dtype == torch.float64:
        for a, b in zip(_grads(model, x, got), _grads(model, x, want)):
            torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("top", [1, 2, 4])
def test_weights_of_at_most_top_memories_sum_to_one(name, top, ring):
    model = _model(name, SparseAttentiveBacktracking(k_top=top, k_trunc=3))
    weights = model.recall(_input(), graph=ring if CELLS[name][2] else None).weights
    assert int((weights > 0).sum(-1).max()) == top
    total = weights.sum(-1)
    # one memory alone sets the threshold, and memories that tie leave nothing to normalise
    assert not total[0].any()
    assert bool((total < 1 + 1e-12).all())
    assert ((total - 1).abs() < 1e-12).double().mean() > 0.5


def test_each_node_recalls_its_own_memories():
    model, x = _model("lstm", SparseAttentiveBacktracking(k_top=2, k_trunc=3)), _input()
    together, _ = model(x)
    for node in range(NODES):
        alone, _ = model(x[:, node : node + 1])
        torch.testing.assert_close(together[:, node : node + 1], alone, rtol=1e-12, atol=1e-12)


def test_continues_from_a_state_that_is_the_first_memory():
    model, x = _model("lstm", SparseAttentiveBacktracking(k_top=9, k_trunc=5)), _input()
    with torch.no_grad():
        model.past.weight.abs_()
        model.present.weight.zero_()
        model.weight.weight.fill_(1.0)
    hidden = torch.full((NODES, WIDTH), 3.0, dtype=x.dtype, requires_grad=True)
    recall = model.recall(x, (hidden, torch.zeros_like(hidden)))
    # of the two memories at the second step the state scores higher, so it alone is recalled
    torch.testing.assert_close(recall.summary[1], hidden)
    (grad,) = torch.autograd.grad(recall.summary[1].sum(), hidden)
    assert grad.abs().min() > 0.5


def test_spikes_stay_binary_where_the_membrane_is_the_hidden_state():
    model = _model("spiking", SparseAttentiveBacktracking(k_top=2, k_trunc=3))
    _, state = model(_input())
    assert isinstance(state, Spiking)
    assert set(state.spikes.unique().tolist()) <= {0.0, 1.0}


def test_trains_saves_and_copies(name, ring):
    model, x = _model(name, SparseAttentiveBacktracking(k_top=2, k_trunc=4)), _input()
    graph = ring if CELLS[name][2] else None
    target = torch.randn(STEPS, NODES, 2 * WIDTH, dtype=x.dtype) / 4
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = (model(x, graph=graph)[0] - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    twin = _model(name, model.rule)
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin(x, graph=graph)[0], model(x, graph=graph)[0])
    torch.testing.assert_close(copy.deepcopy(model)(x, graph=graph)[0], model(x, graph=graph)[0])
    with torch.inference_mode():
        torch.testing.assert_close(model(x.clone(), graph=graph)[0], twin(x, graph=graph)[0].detach())


def test_reset_parameters_resets_cell_and_attention():
    model = _model("lstm", SparseAttentiveBacktracking())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(9.0)
    model.reset_parameters()
    assert all(bool((parameter.abs() < 1).all()) for parameter in model.parameters())


def test_says_what_it_is_and_what_it_needs():
    model = _model("lstm", SparseAttentiveBacktracking(k_top=2, k_trunc=3, k_att=4))
    assert "SparseAttentiveBacktracking(k_top=2, k_trunc=3, k_att=4)" in repr(model)
    assert AttentiveRecurrence(nn.GRUCell(2, 3), 3).rule == SparseAttentiveBacktracking()
    with pytest.raises(ValueError, match="hidden_channels must be a whole number of at least 1, not 0"):
        AttentiveRecurrence(nn.GRUCell(2, 3), 0, attention_channels=2)
    with pytest.raises(ValueError, match=r"DvM trains.*SparseAttentiveBacktracking"):
        AttentiveRecurrence(nn.GRUCell(2, 3), 3, DvM())
    with pytest.raises(ValueError, match=r"shape \[4, 3\].*timesteps, num_nodes, channels"):
        model(torch.randn(NODES, FEATURES))
    wrong = AttentiveRecurrence(nn.GRUCell(FEATURES, WIDTH), WIDTH + 1)
    with pytest.raises(ValueError, match=rf"shape \[4, {WIDTH}\].*hidden_channels={WIDTH + 1}.*entry"):
        wrong(torch.randn(STEPS, NODES, FEATURES))
    nested = AttentiveRecurrence(RecurrentSpikingLayer(FEATURES, WIDTH, ALIF()), WIDTH, entry="neuron")
    with pytest.raises(ValueError, match="entry='neuron' of the cell's state is a ALIFState, not a tensor"):
        nested(torch.randn(STEPS, NODES, FEATURES))


def test_spikes_are_read_whatever_their_type():
    model = AttentiveRecurrence(RecurrentSpikingLayer(3, 4, LIF()), 4, entry="spikes")
    spikes = torch.rand(6, 5, 3) < 0.5
    for kind in (torch.bool, torch.int64):
        torch.testing.assert_close(model(spikes.to(kind))[0], model(spikes.float())[0])


def test_a_graph_or_a_state_that_does_not_fit_is_refused(ring):
    model, x = AttentiveRecurrence(nn.GRUCell(3, 4), 4), torch.rand(6, 5, 3)
    with pytest.raises(ValueError, match="GRUCell reads no graph: leave it out"):
        model(x, None, ring)
    with pytest.raises(ValueError, match=r"the state is of 8 nodes, but x has 5: use index_state\(state, nodes\)"):
        model(x, torch.rand(8, 4))


@pytest.mark.parametrize(
    ("cell", "entry", "told"),
    [
        (nn.LSTMCell(FEATURES, WIDTH), "h", "a plain tuple of 2 parts"),
        (nn.LSTMCell(FEATURES, WIDTH), 5, "a plain tuple of 2 parts"),
        (RecurrentSpikingLayer(FEATURES, WIDTH, LIF()), "membrane", "its parts are spikes, neuron"),
    ],
)
def test_an_entry_that_the_state_does_not_have_is_told(cell, entry, told):
    with pytest.raises(ValueError, match=f"entry={entry!r} is no part of the cell's state: .*{told}"):
        AttentiveRecurrence(cell, WIDTH, entry=entry)(torch.randn(3, 2, FEATURES))
