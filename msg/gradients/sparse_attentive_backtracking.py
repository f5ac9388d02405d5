"""Truncated backpropagation with sparse skips to remembered states, for recurrent cells."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from msg.gradients.rule import GradientRule

if TYPE_CHECKING:
    from msg.nn.attentive_recurrence import AttentiveRecurrence

# Scores that tie leave nothing to normalise: below this sum weights fall to zero instead of jumping between memories
# (the published code adds it to every sum).
_TIE = 1e-7


class Recall(NamedTuple):
    """What a recurrence with memories did in one forward; ``T`` steps, ``N`` nodes, ``h`` channels.

    Attributes:
        hidden: :math:`h_t`, ``[T, N, h]``.
        summary: :math:`s_t`, what was recalled, ``[T, N, h]``.
        weights: :math:`w_{ti}` of the memories, ``[T, N, M]``, without gradient; memory 0 is the state at the start,
            memory ``m`` the hidden state after ``m * interval`` steps.
        state: of the cell after the last step.
    """

    hidden: Tensor
    summary: Tensor
    weights: Tensor
    state: Any


class _Gather(torch.autograd.Function):
    """Rows of many tensors; in backward a tensor that no row was taken from gets no gradient at all."""

    @staticmethod
    def forward(ctx, store: Tensor, index: Tensor, *memories: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.count, ctx.shape = len(memories), memories[0].shape
        return store[index, torch.arange(index.size(1), device=index.device)]

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        (index,) = ctx.saved_tensors
        given: list[Tensor | None] = [None] * ctx.count
        for i in index.unique().tolist():
            rank, node = (index == i).nonzero(as_tuple=True)
            given[i] = grads[0].new_zeros(ctx.shape).index_put((node,), grads[0][rank, node])
        return None, None, *given


class _Memories:
    """Hidden states kept so far: attached to their own steps' graphs, and a copy of them and their keys to search."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.attached: list[Tensor] = []
        self.store = self.keys = torch.empty(0)

    def __len__(self) -> int:
        return len(self.attached)

    @torch.no_grad()
    def keep(self, hidden: Tensor, key: Tensor) -> None:
        if not self.attached:
            self.store = hidden.new_empty(self.capacity, *hidden.shape)
            self.keys = key.new_empty(self.capacity, *key.shape)
        self.store[len(self)], self.keys[len(self)] = hidden, key
        self.attached.append(hidden)

    def gather(self, index: Tensor) -> Tensor:
        """Memories ``[K, N, h]`` for ``index`` ``[K, N]``."""
        return _Gather.apply(self.store, index, *self.attached)  # pyright: ignore[reportReturnType]


def _detach(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.detach()
    parts = [None if part is None else _detach(part) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


@dataclass(frozen=True)
class SparseAttentiveBacktracking(GradientRule):
    r"""Sparse attentive backtracking: truncated backpropagation, and skips to the few past states that are recalled.

    A cell gives :math:`\hat h_t` from a state that is detached every :math:`k_{trunc}` steps. Every :math:`k_{att}`
    steps the hidden state becomes a memory :math:`m_i`. Scores :math:`a_i` of all memories are made sparse and
    recalled,

    .. math::
        w_i = \frac{[a_i - a_{(k_{top}+1)}]_+}{\sum_j [a_j - a_{(k_{top}+1)}]_+}, \qquad
        s_t = \sum_i w_i m_i, \qquad h_t = \hat h_t + s_t,

    where :math:`a_{(k)}` is the k-th largest, or the smallest while there are no more than :math:`k_{top}` memories.
    The gradient of :math:`s_t` flows into the recalled memories, through the at most :math:`k_{trunc}` steps that lead
    to each, and through what these steps recalled in turn. A memory that is not among the :math:`k_{top}` gets exactly
    none: the threshold :math:`a_{(k_{top}+1)}` is differentiated with respect to the present state and the attention's
    parameters, but not to the memory that sets it. With ``truncation=None`` and ``top`` at least the number of memories
    this is backpropagation through time; with ``top=0``, truncated backpropagation and nothing else.

    Source: `Ke et al. 2018, Sparse Attentive Backtracking <https://arxiv.org/abs/1809.03702>`_, section 3.

    *Recommended* where something seen once must be recalled long after, and memory or plausibility forbid
    backpropagation through all steps between. *Not recommended* for feed-forward layers, which have no state to recall
    (refused), or where all that matters lies within the truncation.

    Args:
        top: :math:`k_{top}`, the most memories recalled in a step; 0 for none.
        truncation: :math:`k_{trunc}` in steps; ``None`` for no truncation.
        interval: :math:`k_{att}`, steps from one memory to the next. Where it divides ``truncation``, the last step
            before each cut is a memory, so every step can be reached by a gradient from later.

    Raises:
        ValueError: if ``top`` is negative, or ``truncation`` or ``interval`` not positive.
    """

    top: int = 5
    truncation: int | None = 5
    interval: int = 1

    def __post_init__(self) -> None:
        """Check the sizes."""
        if self.top < 0:
            raise ValueError(f"top must be at least 0, not {self.top}")
        if self.truncation is not None and self.truncation < 1:
            raise ValueError(f"truncation must be at least 1 step, or None for none, not {self.truncation}")
        if self.interval < 1:
            raise ValueError(f"interval must be at least 1 step, not {self.interval}")

    def check(self, layers) -> None:
        """Refuse feed-forward layers, whatever they are."""
        self._refuse()

    def run(self, layers, x, graph, timesteps) -> NoReturn:
        """Refuse feed-forward layers; a recurrence is run by :meth:`unroll`.

        Raises:
            ValueError: always.
        """
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ValueError(
            "SparseAttentiveBacktracking needs a recurrent cell, whose hidden states it recalls, and these layers are "
            "feed-forward: use msg.nn.AttentiveRecurrence(cell, hidden_channels, rule), or SurrogateBPTT here"
        )

    def unroll(self, recurrence: "AttentiveRecurrence", x: Tensor, state: Any, graph: Any = None) -> Recall:
        """Run a recurrence through time.

        Args:
            recurrence: the cell, and the attention that scores its memories.
            x: input ``[T, N, F]``.
            state: of the cell before the first step; ``None`` is zero.
            graph: handed on to the cell.
        """
        memories = _Memories(1 + x.size(0) // self.interval)
        start = x.new_zeros(x.size(1), recurrence.hidden_channels) if state is None else recurrence.hidden(state)
        self._keep(memories, recurrence, start)
        steps: list[tuple[Tensor, Tensor, Tensor]] = []
        for t, now in enumerate(x):
            if self.truncation is not None and t > 0 and t % self.truncation == 0:
                state = _detach(state)
            state = recurrence.step(now, state, graph)
            hidden = recurrence.hidden(state)
            if self.top:
                summary, weights = self._recall(memories, recurrence.score, recurrence.key, hidden)
                state = recurrence.inject(state, summary)
                hidden = recurrence.hidden(state)
            else:
                summary, weights = torch.zeros_like(hidden), hidden.new_zeros(len(hidden), memories.capacity)
            steps.append((hidden, summary, weights))
            if (t + 1) % self.interval == 0:
                self._keep(memories, recurrence, hidden)
        hiddens, summaries, weights = (torch.stack(parts) for parts in zip(*steps))
        return Recall(hiddens, summaries, weights, state)

    def _keep(self, memories: _Memories, recurrence: "AttentiveRecurrence", hidden: Tensor) -> None:
        if self.top:
            with torch.no_grad():
                key = recurrence.key(hidden)
            memories.keep(hidden, key)

    def _recall(self, memories: _Memories, score: Callable, key: Callable, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Summary ``[N, h]`` and weights ``[N, M]`` of the memories for a provisional hidden state."""
        count = len(memories)
        with torch.no_grad():
            index = score(hidden, memories.keys[:count]).topk(min(self.top + 1, count), dim=0).indices
        # only what was found is scored again with gradient, so the graph never sees the other memories
        index, beyond = index[: self.top], index[self.top :]
        found = memories.gather(index)
        scores = score(hidden, key(found))
        if len(beyond):
            nodes = torch.arange(index.size(1), device=index.device)
            threshold = score(hidden, key(memories.store[beyond, nodes]))
        else:
            threshold = scores[-1:]
        scores = scores - threshold
        positive = scores.relu()
        weights = positive / positive.sum(dim=0).clamp(min=_TIE)
        dense = weights.new_zeros(memories.capacity, weights.size(1)).scatter(0, index, weights.detach())
        return (weights.unsqueeze(-1) * found).sum(dim=0), dense.t()
