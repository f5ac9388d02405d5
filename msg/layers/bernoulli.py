"""Rate coding by chance: numbers between 0 and 1 as probabilities of a spike."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from msg.graph.sparse import taken
from msg.kernels import choice, reference_chances
from msg.kernels.first_order import first_order
from msg.kernels.threads import over_rows
from msg.layers.draws import Draws
from msg.neurons.timesteps import checked_timesteps


class BernoulliEncoder(nn.Module):
    r"""Spikes that are drawn at each step independently, :math:`p_t \sim \mathrm{Bernoulli}(\min(\max(x, 0), 1))`.

    Unlike a constant current into a neuron it encodes the smallest number: the mean over time has the expectation
    ``x``, with a standard deviation of :math:`\sqrt{x(1-x)/T}`. In training each pass draws anew, in evaluation each
    draws the same. No gradient reaches ``x``. On a CPU the steps between an input's spikes are drawn, which are
    geometric, or each step where it fires often; elsewhere each step is, by the device's own generator.

    Args:
        seed: see :class:`Draws`.

    Shapes:
        ``x``: any; returns ``[T, ...]``, 0 or 1 in the dtype of ``x``.

    Raises:
        ValueError: for fewer than one step.
    """

    def __init__(self, seed: int | None = None):
        super().__init__()
        self.draws = Draws(seed)

    def reset_parameters(self) -> None:
        """Begin the draws anew."""
        self.draws.reset_parameters()

    def forward(self, x: Tensor, timesteps: int) -> Tensor:
        timesteps = checked_timesteps(timesteps)
        if not choice.plain(x):
            return torch.stack([spikes.to(x.dtype) for spikes in _steps(x, timesteps, self.draws)])
        out = x.new_zeros(timesteps, x.numel(), 1)
        given, kernels, room = (_chances(x, 1), self.draws.key(), timesteps), _kernels(), out.numpy()
        over_rows(x.numel(), lambda first, last: kernels.draw(*given, first, last, room))
        return out.view(timesteps, *x.shape)


def _kernels() -> Any:
    return choice.compiled("chances") or reference_chances


def _chances(x: Tensor, inputs: int) -> Any:
    """In float32 whatever ``x`` is, so that both precisions draw the same spikes."""
    return x.detach().to(torch.float32).reshape(-1, inputs).contiguous().numpy()


def _steps(x: Tensor, timesteps: int, draws: Draws) -> Iterator[Tensor]:
    """The spikes of one step after another, as truth values, drawn by torch where ``x`` is."""
    generator = draws.next(x.device)
    chance = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    for _ in range(timesteps):
        yield torch.lt(chance.uniform_(generator=generator), x.detach())


class _Events(torch.autograd.Function):
    """Currents, spike by spike. The way back draws the same spikes once more, and nothing is kept for it."""

    @staticmethod
    def forward(ctx, weight: Tensor, x: Tensor, rows: Tensor | None, key: Any, timesteps: int) -> Tensor:
        ctx.save_for_backward(x, rows)
        ctx.key, ctx.timesteps = key, timesteps
        chances, numbers = _rows_of(x, rows)
        given, turned = (chances, numbers, key, timesteps), weight.detach().t().contiguous().numpy()
        out = weight.new_empty(timesteps, len(numbers), weight.size(0))
        kernels, room = _kernels(), out.numpy()
        over_rows(len(numbers), lambda first, last: kernels.currents(*given, turned, first, last, room))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's doing
        grad = grads[0].contiguous()
        given, kernels, sums = (*_rows_of(*ctx.saved_tensors), ctx.key, ctx.timesteps, grad.numpy()), _kernels(), {}
        # of most nodes no label is known: what they fired matters to nothing
        labelled = grad.abs().sum((0, 2)).nonzero()[:, 0].numpy()

        def add(first: int, last: int) -> None:
            sums[first] = grad.new_zeros(given[0].shape[1], grad.size(-1))
            kernels.currents_back(*given, labelled, first, last, sums[first].numpy())

        over_rows(len(labelled), add)
        # in the order of rows, so that the same threads give the same sums
        return torch.stack([sums[first] for first in sorted(sums)]).sum(0).t(), *[None] * 4


def _rows_of(x: Tensor, rows: Tensor | None) -> tuple[Any, Any]:
    """Probabilities of some rows of ``x [N, F]``, and their numbers."""
    numbers = np.arange(len(x)) if rows is None else rows.numpy()
    return _chances(taken(x, rows), x.size(-1)), numbers


class _Product(torch.autograd.Function):
    """The same by torch, step by step; a byte an input and step is kept for the weights' gradient."""

    @staticmethod
    def forward(
        ctx, weight: Tensor, x: Tensor, rows: Tensor | None, draws: Draws, timesteps: int, keep: bool
    ) -> Tensor:
        number, kept = x.new_empty(len(x if rows is None else rows), x.size(-1)), []
        out = weight.new_empty(timesteps, len(number), weight.size(0))
        for spikes, current in zip(_steps(x, timesteps, draws), out):
            asked = taken(spikes, rows)
            torch.mm(number.copy_(asked), weight.t(), out=current)
            if keep:
                kept.append(asked)
        ctx.kept = kept
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's doing
        (grad,) = grads
        # of most nodes no label is known: what they fired matters to nothing
        labelled = grad.abs().sum((0, 2)).nonzero()[:, 0]
        out = grad.new_zeros(grad.size(-1), ctx.kept[0].size(-1))
        for now, spikes in zip(grad, ctx.kept):
            out.addmm_(now.index_select(0, labelled).t(), spikes.index_select(0, labelled).to(grad.dtype))
        return out, *[None] * 5


class BernoulliLinear(nn.Module):
    r"""Currents :math:`I_t = W p_t` of a Bernoulli train :math:`p_t`, which is never kept.

    On a CPU each spike adds a row of weights as it is drawn, and for the gradient of ``W`` the same spikes are drawn
    once more. Elsewhere a step is drawn and multiplied at a time, and a byte is kept for each input and step where
    there is to be a gradient.

    Args:
        in_channels: number of inputs.
        out_channels: number of currents.
        seed: see :class:`Draws`.

    Shapes:
        ``x``: ``[..., in_channels]``, probabilities, constant; returns ``[T, ..., out_channels]``. With ``rows``,
        numbers ``[M]`` of rows of ``x [N, in_channels]``, only these are drawn, as among all: ``[T, M, out_channels]``.

    Raises:
        ValueError: for fewer than one step, or another number of inputs.
    """

    def __init__(self, in_channels: int, out_channels: int, seed: int | None = None):
        super().__init__()
        self.encoder = BernoulliEncoder(seed)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as :class:`torch.nn.Linear` does, and begin the draws of spikes anew."""
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.encoder.reset_parameters()

    def forward(self, x: Tensor, timesteps: int, rows: Tensor | None = None) -> Tensor:
        timesteps = checked_timesteps(timesteps)
        if x.size(-1) != self.weight.size(1):  # compiled code would read beyond
            raise ValueError(f"x has {x.size(-1)} inputs, the layer {self.weight.size(1)}: see in_channels")
        draws, flat = self.encoder.draws, x.reshape(-1, x.size(-1))
        if choice.plain(x, self.weight):
            out = _Events.apply(self.weight, flat, rows, draws.key(), timesteps)
        else:
            keep = torch.is_grad_enabled() and self.weight.requires_grad
            out = _Product.apply(self.weight, flat, rows, draws, timesteps, keep)
        assert isinstance(out, Tensor)
        out = first_order(out, type(self).__name__, "a BernoulliEncoder and torch.nn.Linear")
        return out if rows is not None else out.view(timesteps, *x.shape[:-1], self.weight.size(0))

    def extra_repr(self) -> str:
        return f"in_channels={self.weight.size(1)}, out_channels={self.weight.size(0)}"
