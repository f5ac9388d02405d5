"""A recurrent cell that scores what it remembers."""

from typing import Any

import torch
from torch import Tensor, nn

from msg.sizes import check_sizes


class AttentiveCell(nn.Module):
    r"""Any recurrent cell, with a perceptron that scores its memories :math:`m_i` in the present state,

    .. math::
        a_i = w^\top \tanh(W_1 \hat h_t + W_2 m_i + b).

    It takes one step at a time; what is done with the scores, and what is differentiated, is the rule's
    (:class:`msg.gradients.RecurrentRule`).

    ``torch.nn.LSTMCell``, ``GRUCell`` and ``RNNCell`` are called ``cell(x, state)`` and return the state. Any other
    cell is called ``cell(x, state)``, or ``cell(x, state, graph)`` where there is a graph, and returns
    ``output, state``, of which the state is read. A state is a tensor or a (named) tuple of tensors; one entry of it,
    ``[N, hidden_channels]``, is the hidden state :math:`h`: memories are made of it, and what is recalled is added to
    it. For spiking neurons name the membrane potential: a memory then acts as a current, and spikes stay binary.

    Args:
        cell: the recurrent cell.
        hidden_channels: width ``h`` of the hidden state.
        attention_channels: width of the perceptron's hidden layer; ``None`` is ``hidden_channels``.
        entry: index or name of the hidden state in the cell's state, where that is a tuple: 0 in an LSTM's ``(h, c)``.

    Raises:
        ValueError: if a width is not positive, or the hidden state has another width.
    """

    def __init__(
        self, cell: nn.Module, hidden_channels: int, attention_channels: int | None = None, entry: int | str = 0
    ):
        super().__init__()
        width = hidden_channels if attention_channels is None else attention_channels
        check_sizes(hidden_channels=hidden_channels, attention_channels=width)
        self.cell, self.entry = cell, entry
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

    def resolution(self) -> Tensor:
        r"""A difference between two scores that rounding alone can cause, for widths ``a`` and ``h``:
        :math:`2\epsilon\,(\sqrt a + \sqrt h)\,|w|_1`, as a score is a sum of ``a`` terms of at most :math:`|w_j|`.
        """
        weight = self.weight.weight.detach()
        terms = weight.numel() ** 0.5 + self.hidden_channels**0.5
        return 2 * torch.finfo(weight.dtype).eps * terms * weight.abs().sum()

    def step(self, x: Tensor, state: Any, graph: Any = None) -> Any:
        """The cell's state after one step on ``x`` ``[N, F]``, before anything is recalled."""
        if isinstance(self.cell, nn.RNNCellBase):
            if graph is not None:
                raise ValueError(f"{type(self.cell).__name__} reads no graph: leave it out, or take another cell")
            return self.cell(x, state)
        _, state = self.cell(x, state) if graph is None else self.cell(x, state, graph)
        return state

    def rest(self, num_nodes: int) -> Tensor:
        """The hidden state ``[N, h]`` before anything was read."""
        return self.weight.weight.new_zeros(num_nodes, self.hidden_channels)

    def hidden(self, state: Any) -> Tensor:
        """The hidden state ``[N, h]`` within the cell's state.

        Raises:
            ValueError: if it is no tensor, or has another width.
        """
        hidden = state if isinstance(state, Tensor) else state[self._position(state)]
        if not isinstance(hidden, Tensor):
            raise ValueError(f"entry={self.entry!r} of the cell's state is a {type(hidden).__name__}, not a tensor")
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
        names = getattr(state, "_fields", ())
        if isinstance(self.entry, str) and self.entry in names:
            return names.index(self.entry)
        if isinstance(self.entry, int) and -len(state) <= self.entry < len(state):
            return self.entry
        parts = f"its parts are {', '.join(names)}" if names else f"it is a plain tuple of {len(state)} parts"
        raise ValueError(f"entry={self.entry!r} is no part of the cell's state: {parts}")
