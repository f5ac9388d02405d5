"""A recurrent cell that recalls what it saw long ago."""

from typing import Any

import torch
from torch import Tensor, nn

from msg.gradients import GradientRule, Recall, SparseAttentiveBacktracking


class AttentiveRecurrence(nn.Module):
    r"""Any recurrent cell with sparse attention over its own past, trained by sparse attentive backtracking.

    Each node recalls its own memories. They are scored by a perceptron with one hidden layer,

    .. math::
        a_i = w^\top \tanh(W_1 \hat h_t + W_2 m_i + b),

    and what is recalled, :math:`s_t`, is added to the hidden state; see
    :class:`msg.gradients.SparseAttentiveBacktracking`.

    ``torch.nn.LSTMCell``, ``GRUCell`` and ``RNNCell`` are called ``cell(x, state)`` and return the state. Any other
    cell is called ``cell(x, state)``, or ``cell(x, state, graph)`` where there is a graph, and returns
    ``output, state``, of which the state is read. A state is a tensor or a (named) tuple of tensors; one entry of it,
    ``[N, hidden_channels]``, is the hidden state :math:`h`: memories are made of it, and :math:`s_t` is added to it.
    For spiking neurons name the membrane potential: a memory then acts as a current, and spikes stay binary.

    Source: `Ke et al. 2018, Sparse Attentive Backtracking <https://arxiv.org/abs/1809.03702>`_, section 3. The score of
    the published code, :math:`w^\top \tanh([\hat h_t; m_i])`, is the special case :math:`W_1 = [I; 0], W_2 = [0; I]`.
    There the present state adds the same to every score and so cancels in the weights; here it takes part.

    Args:
        cell: the recurrent cell.
        hidden_channels: width ``h`` of the hidden state.
        rule: how many memories, and how far gradients go.
        attention_channels: width of the perceptron's hidden layer; ``None`` is ``hidden_channels``.
        entry: index or name of the hidden state in the cell's state, where that is a tuple: 0 in an LSTM's ``(h, c)``.

    Shapes:
        ``x``: ``[T, N, F]``; returns outputs :math:`[h_t; s_t]`, ``[T, N, 2h]``, and the cell's last state.

    Raises:
        ValueError: if a width is not positive, for ``x`` of another shape, or a hidden state of another
            width.
        TypeError: if ``rule`` is not :class:`~msg.gradients.SparseAttentiveBacktracking`.
    """

    def __init__(
        self,
        cell: nn.Module,
        hidden_channels: int,
        rule: GradientRule | None = None,
        attention_channels: int | None = None,
        entry: int | str = 0,
    ):
        super().__init__()
        rule = SparseAttentiveBacktracking() if rule is None else rule
        width = hidden_channels if attention_channels is None else attention_channels
        if hidden_channels < 1 or width < 1:
            raise ValueError(
                f"hidden_channels and attention_channels must be at least 1, not {hidden_channels} and {width}"
            )
        if not isinstance(rule, SparseAttentiveBacktracking):
            raise TypeError(f"AttentiveRecurrence is trained by SparseAttentiveBacktracking, not {type(rule).__name__}")
        self.cell, self.rule, self.entry = cell, rule, entry
        self.hidden_channels = hidden_channels
        self.present = nn.Linear(hidden_channels, width)
        self.past = nn.Linear(hidden_channels, width, bias=False)
        self.weight = nn.Linear(width, 1, bias=False)

    def reset_parameters(self) -> None:
        """Reset the cell and the attention."""
        for module in (self.cell, self.present, self.past, self.weight):
            module.reset_parameters()  # pyright: ignore[reportCallIssue]

    def key(self, memory: Tensor) -> Tensor:
        """:math:`W_2 m`, ``[..., a]`` for memories ``[..., h]``: their part of the scores, computed once."""
        return self.past(memory)

    def score(self, hidden: Tensor, key: Tensor) -> Tensor:
        """Scores ``[M, N]`` of memories with keys ``[M, N, a]``, for the provisional hidden state ``[N, h]``."""
        return self.weight(torch.tanh(self.present(hidden) + key)).squeeze(-1)

    def step(self, x: Tensor, state: Any, graph: Any = None) -> Any:
        """The cell's state after one step on ``x`` ``[N, F]``, before anything is recalled."""
        if isinstance(self.cell, nn.RNNCellBase):
            return self.cell(x, state)
        _, state = self.cell(x, state) if graph is None else self.cell(x, state, graph)
        return state

    def hidden(self, state: Any) -> Tensor:
        """The hidden state ``[N, h]`` within the cell's state.

        Raises:
            ValueError: if it has another width.
        """
        hidden = state if isinstance(state, Tensor) else state[self._position(state)]
        if hidden.dim() != 2 or hidden.size(-1) != self.hidden_channels:
            raise ValueError(
                f"the hidden state has shape {list(hidden.shape)}, but hidden_channels={self.hidden_channels}: "
                "it must be [num_nodes, hidden_channels]; entry says which part of the cell's state it is"
            )
        return hidden

    def inject(self, state: Any, summary: Tensor) -> Any:
        """The state with ``summary`` ``[N, h]`` added to its hidden part."""
        if isinstance(state, Tensor):
            return state + summary
        parts = list(state)
        parts[self._position(state)] = parts[self._position(state)] + summary
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)

    def _position(self, state: Any) -> int:
        return state._fields.index(self.entry) if isinstance(self.entry, str) else self.entry

    def recall(self, x: Tensor, state: Any = None, graph: Any = None) -> Recall:
        """Everything of a forward: hidden states, what was recalled, and with which weights."""
        if x.dim() != 3 or not len(x):
            raise ValueError(f"x has shape {list(x.shape)}, but must be [timesteps, num_nodes, channels]")
        return self.rule.unroll(self, x, state, graph)

    def forward(self, x: Tensor, state: Any = None, graph: Any = None) -> tuple[Tensor, Any]:
        """See the class."""
        found = self.recall(x, state, graph)
        return torch.cat([found.hidden, found.summary], dim=-1), found.state

    def extra_repr(self) -> str:
        """Width and rule."""
        return f"{self.hidden_channels}, rule={self.rule!r}"
