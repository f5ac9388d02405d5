"""A recurrent cell that recalls what it saw long ago."""

from typing import Any

import torch
from torch import Tensor, nn

from msg.calls import full_precision, widened
from msg.gradients import Recall, RecurrentRule, SparseAttentiveBacktracking, resolve_rule
from msg.layers import AttentiveCell, check_state


class AttentiveRecurrence(AttentiveCell):
    r"""Any recurrent cell with sparse attention over its own past, trained by sparse attentive backtracking.

    Each node recalls its own memories. They are scored as :class:`~msg.layers.AttentiveCell` says, and what is
    recalled, :math:`s_t`, is added to the hidden state; see :class:`msg.gradients.SparseAttentiveBacktracking`.

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
        ValueError: if a width is not positive, for ``x`` of another shape, a hidden state of another width, the state
            of other nodes, a graph that the cell does not read, or a rule that is not for recurrent cells.
    """

    def __init__(
        self,
        cell: nn.Module,
        hidden_channels: int,
        rule: RecurrentRule | None = None,
        attention_channels: int | None = None,
        entry: int | str = 0,
    ):
        super().__init__(cell, hidden_channels, attention_channels, entry)
        given = SparseAttentiveBacktracking() if rule is None else rule
        self.rule = resolve_rule(given, RecurrentRule, "AttentiveRecurrence")

    def recall(self, x: Tensor, state: Any = None, graph: Any = None) -> Recall:
        """Everything of a forward: hidden states, what was recalled, and with which weights."""
        if x.dim() != 3 or not len(x):
            raise ValueError(f"x has shape {list(x.shape)}, but must be [timesteps, num_nodes, channels]")
        weight = self.weight.weight
        x = widened(x, weight.dtype)
        if state is not None:
            check_state(state, x.size(1), weight.dtype)
        with full_precision(weight):  # under autocast the next input would have another precision than the state
            return self.rule.unroll(self, x, state, graph)

    def forward(self, x: Tensor, state: Any = None, graph: Any = None) -> tuple[Tensor, Any]:
        found = self.recall(x, state, graph)
        return torch.cat([found.hidden, found.summary], dim=-1), found.state

    def extra_repr(self) -> str:
        return f"{self.hidden_channels}, rule={self.rule!r}"
