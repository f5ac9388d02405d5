"""What is differentiated: everything in the limit, nothing through memories that are not recalled."""

import pytest
import torch
from torch import nn

from msg.gradients import SparseAttentiveBacktracking
from msg.gradients.sparse_attentive_backtracking import _Memories
from msg.nn import AttentiveRecurrence

pytestmark = pytest.mark.covering

STEPS, NODES, FEATURES, WIDTH = 16, 3, 4, 6


@pytest.fixture(autouse=True)
def _scores_apart():
    """One draw for every run: which memory is recalled hangs on which of two scores is larger, and a weight is a ratio
    of their differences. In this draw scores lie apart, so rounding decides nothing and is amplified little, and some
    memories are never recalled (the tests see to both).
    """
    torch.manual_seed(0)


def _model(rule, cell=nn.LSTMCell):
    model = AttentiveRecurrence(cell(FEATURES, WIDTH), WIDTH, rule).double()
    with torch.no_grad():
        model.past.weight.normal_()
        model.present.weight.normal_()
    return model


def _input():
    return (2 * torch.randn(STEPS, NODES, FEATURES, dtype=torch.float64)).requires_grad_()


def _scores(model, hidden, past):
    mixed = hidden @ model.present.weight.t() + model.present.bias + past @ model.past.weight.t()
    return torch.tanh(mixed) @ model.weight.weight[0]


def _reach(value, x):
    """Whether the gradient of ``value`` reaches each step and node of the input, ``[T, N]``."""
    (grad,) = torch.autograd.grad(value.sum(), x, retain_graph=True)
    return grad.abs().sum(-1) > 0


# -------------------------------------------------------------------------------- the limit


def _dense(model, x, lstm):
    """The network without truncation, every memory weighed: plain autograd through all of it."""
    state = None
    memories, outputs = [torch.zeros(NODES, WIDTH, dtype=x.dtype)], []
    for now in x:
        state = model.cell(now, state)
        hidden = state[0] if lstm else state
        past = torch.stack(memories)
        scores = _scores(model, hidden, past)
        scores = scores - scores.amin(0)
        assert len(memories) == 1 or scores.sum(0).min() > 0.01
        weights = scores / scores.sum(0) if len(memories) > 1 else scores
        summary = torch.einsum("mn,mnh->nh", weights, past)
        hidden = hidden + summary
        state = (hidden, state[1]) if lstm else hidden
        memories.append(hidden)
        outputs.append(torch.cat([hidden, summary], dim=-1))
    return torch.stack(outputs)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell])
@pytest.mark.parametrize("truncation", [STEPS, STEPS + 5, None])
def test_all_memories_and_no_truncation_is_backpropagation_through_time(cell, truncation):
    model, x = _model(SparseAttentiveBacktracking(k_top=STEPS + 1, k_trunc=truncation), cell), _input()
    got, want = model(x)[0], _dense(model, x, cell is nn.LSTMCell)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
    loss = torch.linspace(-1, 1, got.numel(), dtype=got.dtype).view_as(got)
    grads = [torch.autograd.grad((out * loss).sum(), [x, *model.parameters()]) for out in (got, want)]
    for a, b in zip(*grads):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell])
@pytest.mark.parametrize("truncation", [1, 3, 5])
def test_no_memories_is_truncated_backpropagation(cell, truncation):
    model, x = _model(SparseAttentiveBacktracking(k_top=0, k_trunc=truncation), cell), _input()
    got, _ = model(x)
    state, outputs = None, []
    for t, now in enumerate(x):
        if t and t % truncation == 0:
            state = (state[0].detach(), state[1].detach()) if cell is nn.LSTMCell else state.detach()
        state = model.cell(now, state)
        outputs.append(state[0] if cell is nn.LSTMCell else state)
    want = torch.stack(outputs)
    assert torch.equal(got[..., :WIDTH], want)
    assert not got[..., WIDTH:].any()
    loss = torch.linspace(-1, 1, want.numel(), dtype=want.dtype).view_as(want)
    grads = [
        torch.autograd.grad((out * loss).sum(), [x, *model.cell.parameters()], retain_graph=True)
        for out in (got[..., :WIDTH], want)
    ]
    for a, b in zip(*grads):
        assert torch.equal(a, b)
    for t in range(STEPS):
        reach = _reach(want[t], x)
        assert bool(reach[t - t % truncation : t + 1].all())
        assert not reach[: t - t % truncation].any()


# -------------------------------------------------------------------------------- what is cut


@pytest.mark.parametrize("top", [1, 2, 3])
@pytest.mark.parametrize(("truncation", "interval"), [(4, 1), (4, 2), (4, 4), (1, 1)])
def test_gradient_reaches_the_recalled_memories_and_exactly_nothing_else(top, truncation, interval):
    model, x = _model(SparseAttentiveBacktracking(top, truncation, interval)), _input()
    recall = model.recall(x)
    assert recall.weights[recall.weights > 0].min() > 1e-4
    chosen = [[row.nonzero()[:, 0].tolist() for row in step] for step in recall.weights]
    for t in range(STEPS):
        count = 1 + t // interval
        if 2 < count <= top:  # the last of them has no weight, but its score is the threshold
            chosen[t] = [list(range(count)) for _ in range(NODES)]
    skipped = 0
    for t in range(STEPS):
        # what a step can reach: its own window, and that of every memory a step within reach has recalled
        allowed = torch.zeros(STEPS, NODES, dtype=torch.bool)
        for node in range(NODES):
            todo, seen = [t], set()
            while todo:
                at = todo.pop()
                window = set(range(at - at % truncation, at + 1)) - seen
                seen |= window
                todo += [m * interval - 1 for step in window for m in chosen[step][node] if m > 0]
            allowed[list(seen), node] = True
        reach = _reach(recall.hidden[t], x)
        assert torch.equal(reach, allowed)
        skipped += int((~allowed[: t + 1]).sum())
    assert skipped > 0


class _Held:
    """Fixed tensors as memories, and one step's recall of them."""

    def __init__(self, rule, count):
        self.model = _model(rule)
        self.tensors = [torch.randn(NODES, WIDTH, dtype=torch.float64, requires_grad=True) for _ in range(count)]
        self.hidden = torch.randn(NODES, WIDTH, dtype=torch.float64, requires_grad=True)
        memories = _Memories(count)
        for tensor in self.tensors:
            memories.keep(tensor, self.model.key(tensor))
        self.summary, self.weights = rule._recall(memories, self.model, self.hidden)


def test_gradient_of_a_memory_not_recalled_is_exactly_zero():
    held = _Held(SparseAttentiveBacktracking(k_top=2), 9)
    grads = torch.autograd.grad(held.summary.square().sum(), held.tensors, allow_unused=True)
    for i, grad in enumerate(grads):
        recalled = held.weights[:, i] > 0
        if grad is None:
            assert not recalled.any()
        else:
            assert torch.equal(grad.any(-1), recalled)
    # a tensor that no node recalls is not even visited
    assert sum(grad is None for grad in grads) == 9 - int((held.weights > 0).any(0).sum()) > 0


def test_the_threshold_is_differentiated_but_for_the_memory_that_sets_it():
    held = _Held(SparseAttentiveBacktracking(k_top=3), 9)
    attention = [held.model.present, held.model.past, held.model.weight]
    inputs = [held.hidden, *(parameter for part in attention for parameter in part.parameters())]
    # autograd of the formula, with the threshold in it
    past = torch.stack(held.tensors)
    scores = _scores(held.model, held.hidden, past)
    positive = (scores - scores.topk(4, dim=0).values[-1]).clamp(min=0)
    summary = torch.einsum("mn,mnh->nh", positive / positive.sum(0), past)
    torch.testing.assert_close(held.summary, summary)
    got = torch.autograd.grad(held.summary.square().sum(), inputs)
    want = torch.autograd.grad(summary.square().sum(), inputs)
    for a, b in zip(got, want):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_memories_that_tie_recall_nothing():
    rule = SparseAttentiveBacktracking(k_top=2)
    model, memories = _model(rule), _Memories(5)
    tensor = torch.randn(NODES, WIDTH, dtype=torch.float64, requires_grad=True)
    for _ in range(5):
        memories.keep(tensor, model.key(tensor))
    summary, weights = rule._recall(memories, model, torch.zeros_like(tensor))
    assert not summary.any()
    assert not weights.any()
    (grad,) = torch.autograd.grad(summary.sum(), tensor)
    assert not grad.any()


@pytest.mark.parametrize("width", [4, 128])
def test_memories_that_tie_recall_nothing_in_any_precision(width, dtype):
    # scores of equal memories differ by rounding, the more the wider they are
    for seed in range(20):
        torch.manual_seed(seed)
        model = AttentiveRecurrence(torch.nn.GRUCell(2, width), width, SparseAttentiveBacktracking(k_top=2)).to(dtype)
        memories, tensor = _Memories(5), torch.randn(NODES, width, dtype=dtype)
        for _ in range(5):
            memories.keep(tensor, model.key(tensor))
        summary, weights = model.rule._recall(memories, model, torch.randn(NODES, width, dtype=dtype))
        assert not summary.any()
        assert not weights.any()


# -------------------------------------------------------------------------------- the value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k_top": -1}, "k_top must be a whole number of at least 0, not -1"),
        ({"k_trunc": 0}, "k_trunc must be a whole number of at least 1, not 0"),
        ({"k_att": 0}, "k_att must be a whole number of at least 1, not 0"),
        ({"k_trunc": 2.5}, "k_trunc must be a whole number of at least 1, not 2.5"),
        ({"k_att": None}, "k_att must be a whole number of at least 1, not None"),
        ({"k_top": 2.0}, "k_top must be a whole number of at least 0, not 2.0"),
    ],
)
def test_impossible_sizes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SparseAttentiveBacktracking(**arguments)


def test_the_limit_has_all_second_derivatives():
    model = _model(SparseAttentiveBacktracking(k_top=5, k_trunc=None))
    x = torch.randn(5, NODES, FEATURES, dtype=torch.float64, requires_grad=True)
    along = torch.randn_like(x)

    def slope(x):
        return (torch.autograd.grad(model(x)[0].square().sum(), x, create_graph=True)[0] * along).sum()

    (found,) = torch.autograd.grad(slope(x), x)
    step = 1e-5 * along
    difference = (slope(x + step) - slope(x - step)) / 2e-5
    torch.testing.assert_close((found * along).sum(), difference.detach(), rtol=1e-5, atol=1e-7)
