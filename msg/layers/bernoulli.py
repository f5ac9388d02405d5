"""Rate coding by chance: numbers between 0 and 1 as probabilities of a spike."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from msg.layers.draws import Draws


class BernoulliEncoder(nn.Module):
    r"""Spikes that are drawn at each step independently, :math:`p_t \sim \mathrm{Bernoulli}(\min(\max(x, 0), 1))`.

    Unlike a constant current into a neuron it encodes the smallest number: the mean over time has the expectation
    ``x``, with a standard deviation of :math:`\sqrt{x(1-x)/T}`. In training each pass draws anew, in evaluation each
    draws the same. No gradient reaches ``x``.

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

    def steps(self, x: Tensor, timesteps: int) -> Iterator[Tensor]:
        """The spikes of one step after another, as truth values.

        Args:
            x: probabilities.
            timesteps: ``T``.

        Raises:
            ValueError: for fewer than one step.
        """
        if timesteps < 1:
            raise ValueError(f"timesteps must be at least 1, not {timesteps}")
        generator = self.draws.next(x.device)
        # in float32 whatever x is, so that both precisions draw the same spikes
        chance = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        for _ in range(timesteps):
            yield torch.lt(chance.uniform_(generator=generator), x.detach())

    def forward(self, x: Tensor, timesteps: int) -> Tensor:
        return torch.stack([spikes.to(x.dtype) for spikes in self.steps(x, timesteps)])


class _Product(torch.autograd.Function):
    """Currents of a train that is drawn as it is multiplied; a byte a spike is kept for the weights' gradient."""

    @staticmethod
    def forward(ctx, weight: Tensor, x: Tensor, encoder: BernoulliEncoder, timesteps: int, keep: bool) -> Tensor:
        out = weight.new_empty(timesteps, *x.shape[:-1], weight.size(0))
        number, kept = torch.empty_like(x), []
        for spikes, current in zip(encoder.steps(x, timesteps), out):
            torch.matmul(number.copy_(spikes), weight.t(), out=current)
            if keep:
                kept.append(spikes)
        ctx.kept = kept
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's doing
        (grad,) = grads
        channels = ctx.kept[0].size(-1)
        flat = grad.flatten(1, -2)
        # of most nodes no label is known: what they fired matters to nothing
        rows = flat.abs().sum((0, 2)).nonzero()[:, 0]
        out = grad.new_zeros(grad.size(-1), channels)
        for now, spikes in zip(flat, ctx.kept):
            fired = spikes.reshape(-1, channels).index_select(0, rows)
            out.addmm_(now.index_select(0, rows).t(), fired.to(grad.dtype))
        return out, None, None, None, None


class BernoulliLinear(nn.Module):
    r"""Currents :math:`I_t = W p_t` of a Bernoulli train :math:`p_t`, which is made one step at a time.

    For the gradient of ``W`` a byte is kept for each input and step; without gradient nothing is.

    Args:
        in_channels: number of inputs.
        out_channels: number of currents.
        seed: see :class:`Draws`.

    Shapes:
        ``x``: ``[..., in_channels]``, probabilities, constant; returns ``[T, ..., out_channels]``.

    Raises:
        ValueError: for fewer than one step.
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

    def forward(self, x: Tensor, timesteps: int) -> Tensor:
        keep = torch.is_grad_enabled() and self.weight.requires_grad
        out = _Product.apply(self.weight, x, self.encoder, timesteps, keep)
        assert isinstance(out, Tensor)
        return out

    def extra_repr(self) -> str:
        return f"in_channels={self.weight.size(1)}, out_channels={self.weight.size(0)}"
