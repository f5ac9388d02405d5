"""Neurons that run through a train of currents."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from msg.neurons import ATan, Neuron, Surrogate


class Unrolled(nn.Module):
    """Neurons run step by step through a train of currents, from rest, differentiated by plain autograd.

    Args:
        neuron: prototype, copied.
        surrogate: derivative that stands in for that of the step.
        detach_reset: cut the gradient through the reset.
        detach_state: cut the gradient through everything that a neuron carries from step to step: each step learns by
            itself.

    Shapes:
        ``currents``: ``[T, ...]``; returns spikes of that shape.
    """

    def __init__(
        self,
        neuron: Neuron,
        surrogate: Surrogate = ATan(),  # noqa: B008 - a frozen value
        detach_reset: bool = False,
        detach_state: bool = False,
    ):
        super().__init__()
        self.neuron = copy.deepcopy(neuron)
        self.surrogate, self.detach_reset, self.detach_state = surrogate, detach_reset, detach_state

    def reset_parameters(self) -> None:
        """Reset the neuron."""
        self.neuron.reset_parameters()

    def forward(self, currents: Tensor) -> Tensor:
        spikes, state = [], None
        for current in currents.unbind():
            now, state = self._step(current, state)
            spikes.append(now)
        return torch.stack(spikes)

    def _step(self, current: Tensor, state: Any) -> tuple[Tensor, Any]:
        if self.detach_state:
            state = tree_map_only(Tensor, Tensor.detach, state)
        return self.neuron(current, state, self.surrogate, self.detach_reset)

    def extra_repr(self) -> str:
        return f"surrogate={self.surrogate}, detach_reset={self.detach_reset}, detach_state={self.detach_state}"
