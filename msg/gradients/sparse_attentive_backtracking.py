"""Truncated backpropagation with sparse skips to remembered states, for recurrent cells."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from msg.gradients.rule import Recall, RecurrentRule
from msg.layers import AttentiveCell
from msg.layers.state import detach_state
from msg.sizes import check_sizes


class _Visits:
    """Which memories were recalled, step by step: the host is told once for all steps, in the backward pass.

    It holds numbers of memories and no memory, so that no graph holds itself through it.
    """

    def __init__(self):
        self.indices: list[Tensor] = []
        self._known: list[list[int]] = []

    def __getitem__(self, step: int) -> list[int]:
        """Memories that any node recalled in a step, in order."""
        if step >= len(self._known):
            new = self.indices[len(self._known) :]
            told = torch.cat([index.flatten() for index in new]).cpu()
            self._known += [part.unique().tolist() for part in told.split([index.numel() for index in new])]
        return self._known[step]


class _Gather(torch.autograd.Function):
    """Rows of many tensors; in backward a tensor that no row was taken from gets no gradient at all."""

    @staticmethod
    def forward(ctx, visits: _Visits, store: Tensor, index: Tensor, *memories: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.visits, ctx.step = visits, len(visits.indices)
        ctx.shape = len(memories), *memories[0].shape
        visits.indices.append(index)
        return store[index, torch.arange(index.size(1), device=index.device)]

    @staticmethod
    def backward(ctx, *grads: Tensor):
        (index,) = ctx.saved_tensors
        visited, (count, *shape) = ctx.visits[ctx.step], ctx.shape
        # the place of each memory among those visited
        place = index.new_zeros(count).index_fill_(0, index.flatten(), 1).cumsum(0) - 1
        # a node recalls no memory twice
        rows = grads[0].new_zeros(len(visited), *shape)
        rows[place[index], torch.arange(index.size(1), device=index.device)] = grads[0]
        given: list[Tensor | None] = [None] * count
        for memory, row in zip(visited, rows):
            given[memory] = row
        return None, None, None, *given


class _Memories:
    """Hidden states kept so far: attached to their own steps' graphs, and a copy of them and their keys to search."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.attached: list[Tensor] = []
        self.visits = _Visits()
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
        return _Gather.apply(self.visits, self.store, index, *self.attached)  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class SparseAttentiveBacktracking(RecurrentRule):
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
    parameters, but not to the memory that sets it. (While there are no more than :math:`k_{top}` memories, the smallest
    score is that of a recalled memory, of weight 0, which gets the gradient of the threshold.) With ``k_trunc=None``
    and ``k_top`` at least the number of memories this is backpropagation through time; with ``k_top=0``, truncated
    backpropagation and nothing else.

    Source: `Ke et al. 2018, Sparse Attentive Backtracking <https://arxiv.org/abs/1809.03702>`_, section 3.

    *Recommended* where something seen once must be recalled long after, and memory or plausibility forbid
    backpropagation through all steps between. *Not recommended* for feed-forward layers, which have no state to recall
    (refused), or where all that matters lies within the truncation.

    Args:
        k_top: the most memories recalled in a step; 0 for none.
        k_trunc: steps from one cut of the gradient to the next; ``None`` for no truncation.
        k_att: steps from one memory to the next. Where it divides ``k_trunc``, the last step
            before each cut is a memory, so every step can be reached by a gradient from later.

    Raises:
        ValueError: if ``k_top`` is negative, or ``k_trunc`` or ``k_att`` not positive.
    """

    k_top: int = 5
    k_trunc: int | None = 5
    k_att: int = 1

    def __post_init__(self) -> None:
        """Check the sizes."""
        check_sizes(0, k_top=self.k_top)
        check_sizes(k_att=self.k_att)
        if self.k_trunc is not None:
            check_sizes(k_trunc=self.k_trunc)

    def unroll(self, cell: AttentiveCell, x: Tensor, state: Any, graph: Any = None) -> Recall:
        """See :meth:`RecurrentRule.unroll`."""
        memories = _Memories(1 + x.size(0) // self.k_att)
        start = cell.hidden(state) if state is not None else cell.rest(x.size(1))
        self._keep(memories, cell, start)
        steps: list[tuple[Tensor, Tensor, Tensor]] = []
        for t, now in enumerate(x):
            if self.k_trunc is not None and t > 0 and t % self.k_trunc == 0:
                state = detach_state(state)
            state = cell.step(now, state, graph)
            hidden = cell.hidden(state)
            if self.k_top:
                summary, weights = self._recall(memories, cell, hidden)
                state = cell.inject(state, summary)
                hidden = cell.hidden(state)
            else:
                summary, weights = torch.zeros_like(hidden), hidden.new_zeros(len(hidden), memories.capacity)
            steps.append((hidden, summary, weights))
            if (t + 1) % self.k_att == 0:
                self._keep(memories, cell, hidden)
        hiddens, summaries, weights = (torch.stack(parts) for parts in zip(*steps))
        return Recall(hiddens, summaries, weights, state)

    def _keep(self, memories: _Memories, cell: AttentiveCell, hidden: Tensor) -> None:
        if self.k_top:
            with torch.no_grad():
                key = cell.key(hidden)
            memories.keep(hidden, key)

    def _recall(self, memories: _Memories, cell: AttentiveCell, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Summary ``[N, h]`` and weights ``[N, M]`` of the memories for a provisional hidden state."""
        count = len(memories)
        with torch.no_grad():
            scores, index = cell.score(hidden, memories.keys[:count]).topk(min(self.k_top + 1, count), dim=0)
        index, beyond = index[: self.k_top], index[self.k_top :]
        found = memories.gather(index)
        if torch.is_grad_enabled():
            # only what was found is scored again with gradient, so the graph never sees the other memories. The
            # threshold comes from the same product as the scores: another one would round otherwise, and equal memories
            # would differ
            nodes = torch.arange(index.size(1), device=index.device)
            scores = cell.score(hidden, cell.key(torch.cat([found, memories.store[beyond, nodes]])))
        above = scores[: len(index)] - scores[-1:]
        # scores that tie leave nothing to normalise: what only rounding tells apart recalls nothing, where it would
        # otherwise jump between memories (the published code adds a constant to every sum)
        tie = cell.resolution()
        positive = torch.where(above > tie, above, 0.0)
        weights = positive / positive.sum(dim=0).clamp(min=tie)
        dense = weights.new_zeros(memories.capacity, weights.size(1)).scatter(0, index, weights.detach())
        return (weights.unsqueeze(-1) * found).sum(dim=0), dense.t()
