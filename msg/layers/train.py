r"""Trains of spikes ``[N, T, d]`` with time folded into the rows of every product: what networks are made of whose
normalisation, attention or shortcuts stand between a synapse and its neurons.

A :class:`~msg.models.SpikingStack` simulates layers of synapse and neuron under any gradient rule, since its mean
currents need only rates. Where something that is not linear stands between the two, every step's current is needed, and
the network is differentiated through time by surrogates alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from msg.kernels import choice, higher, operators
from msg.kernels.tracing import traced
from msg.layers.state import detach_state
from msg.layers.synapse import Synapse
from msg.neurons import ALIF, ATan, Neuron, Surrogate
from msg.neurons.contract import fitted


class SpikeTrain(nn.Module):
    r"""Neurons run along the time axis of a current, differentiated through time by a surrogate.

    With ``decay_input`` a current is scaled as in networks whose membrane relaxes towards it,

    .. math::
        u_t = v_{t-1} + \tfrac1\tau (c_t - v_{t-1}) = \lambda v_{t-1} + (1 - \lambda)\,c_t, \qquad
        \lambda = 1 - \tfrac1\tau,

    for any neuron whose potential decays by a factor :math:`\lambda`, learned or not. That is the leaky neuron of
    spikingjelly, but for one thing: here a neuron fires above its threshold, there at it too.

    Args:
        neuron: prototype, taken as it is.
        surrogate: the derivative that stands in for that of the step.
        decay_input: whether the current is scaled by :math:`1 - \lambda`.
        detach_reset: cut the gradient through the reset.
        detach_state: cut the gradient through all that a neuron carries from step to step: each step learns by itself.
        dim: the axis of time.

    Shapes:
        ``current``: ``[N, T, d]`` (with ``dim=0`` ``[T, ...]``), or ``[N, d]`` with a number of ``timesteps``:
        constant; returns the spikes of a train.

    Raises:
        ValueError: for ``decay_input`` with a neuron that does not leak or scales its current itself, or a threshold
            that waits to be fitted; when called, for ``timesteps`` below 1, or other than those of a train.
    """

    def __init__(
        self,
        neuron: Neuron,
        surrogate: Surrogate = ATan(),  # noqa: B008 - a frozen value
        decay_input: bool = False,
        detach_reset: bool = True,
        detach_state: bool = False,
        dim: int = 1,
    ):
        super().__init__()
        if decay_input and not bool(neuron.decay(torch.ones(())) < 1):
            raise ValueError(f"decay_input=True needs a neuron that leaks, and {type(neuron).__name__} does not")
        if decay_input and (isinstance(neuron, ALIF) or bool(neuron.drive(torch.ones(())) != 1)):
            raise ValueError(f"{type(neuron).__name__} scales its current itself: leave decay_input out")
        if not fitted(neuron):
            raise ValueError(
                "threshold='auto' is fitted by networks such as MSG and SpikingGNN, not here: give a number"
            )
        self.neuron = neuron
        self.surrogate, self.decay_input, self.detach_reset = surrogate, decay_input, detach_reset
        self.detach_state, self.dim = detach_state, dim

    def reset_parameters(self) -> None:
        """Reset the neuron."""
        self.neuron.reset_parameters()

    def forward(self, current: Tensor, timesteps: int | None = None) -> Tensor:
        if timesteps is not None:
            steps = timesteps if self.dim == 1 and current.dim() == 2 else current.size(self.dim)
            if timesteps < 1 or timesteps != steps:
                raise ValueError(f"timesteps={timesteps} is not the number of steps of a current, {steps} here")
        constants = self._constants(current)
        if constants is not None:
            return _Train.apply(current, self._simulate, timesteps or 1, constants)  # pyright: ignore
        return self._simulate(current, timesteps)

    def _simulate(self, current: Tensor, timesteps: int | None) -> Tensor:
        """The train step by step, of operations that torch differentiates."""
        if self.decay_input:
            current = current * (1 - self.neuron.decay(current.new_ones(())))
        constant = self.dim == 1 and current.dim() == 2
        steps = [current] * (timesteps or 1) if constant else current.unbind(self.dim)
        train, state = [], None
        for now in steps:
            if self.detach_state:
                state = detach_state(state)
            spikes, state = self.neuron(now, state, self.surrogate, self.detach_reset)
            train.append(spikes)
        return torch.stack(train, dim=self.dim)

    def _constants(self, current: Tensor) -> tuple | None:
        """All that the kernels have to know to do the same: neuron, surrogate, reset; ``None`` where they do not."""
        neuron, surrogate = self.neuron, self.surrogate
        plain = self.dim == 1 and current.dim() in (2, 3) and not self.detach_state and isinstance(surrogate, Surrogate)
        if not plain or not choice.takes(current):
            return None
        dynamics, slope = neuron.constants(), surrogate.constants()
        if dynamics is None or slope is None or neuron.decay(current.new_ones(())).requires_grad:
            return None  # what learns is learned step by step
        decay, threshold, subtract = dynamics
        kind, scale, height = slope
        # potentials of a current that is not scaled are as many times higher, and so are the levels they are held to
        gain = 1 - decay if self.decay_input else 1.0
        return decay, threshold / gain, subtract, kind, scale * gain, height * gain, self.detach_reset

    def extra_repr(self) -> str:
        return f"surrogate={self.surrogate}, decay_input={self.decay_input}, detach_reset={self.detach_reset}"


class _Train(torch.autograd.Function):
    """The same in two passes of compiled loops, whose derivatives need the current alone."""

    @staticmethod
    def forward(
        ctx, current: Tensor, simulate: Callable[[Tensor, int], Tensor], timesteps: int, constants: tuple
    ) -> Tensor:
        ctx.save_for_backward(current)
        ctx.simulate, ctx.timesteps = simulate, timesteps if current.dim() == 2 else current.size(1)
        ctx.constants = constants
        words, *_ = operators.encode(current, ctx.timesteps, *constants[:3], -1, 0.0, 0.0, True)
        return operators.unpack(words, current.size(-1), current.dtype)

    @staticmethod
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's doing
        (current,) = ctx.saved_tensors
        if torch.is_grad_enabled() or traced():
            (found,) = higher.derivatives(lambda x: [ctx.simulate(x, ctx.timesteps)], [current], grads)
        else:
            nothing = current.new_zeros(current.size(0), current.size(-1))
            found, _ = operators.encode_back(current, grads[0].transpose(0, 1), nothing, *ctx.constants)
        return found, None, None, None


class SpikeLinear(nn.Linear):
    """``torch.nn.Linear`` that reads spikes: the same product, of which :func:`msg.energy.count` counts a row of
    weights added for each spike.
    """


class SpikeSynapse(Synapse):
    """A :class:`~msg.layers.Synapse` that reads trains of spikes: energy counts what each spike does."""


class SpikeProduct(nn.Module):
    r"""Element-wise product of two trains of spikes, :math:`a \odot b`: where both fire. No multiplication is needed.

    Shapes:
        ``a``, ``b``: any that broadcast; returns the common shape.
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b


class SpikeCount(nn.Module):
    r"""How many of some neurons fire, :math:`\sum_n s_n`, along one axis, which is kept: an addition for each spike.

    Args:
        dim: the axis.

    Shapes:
        ``spikes``: any; returns the same with one entry along ``dim``.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def forward(self, spikes: Tensor) -> Tensor:
        return spikes.sum(self.dim, keepdim=True)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class MembraneShortcut(nn.Module):
    r"""A residual connection between currents, :math:`x + f(x)`: what is added are real numbers, before neurons fire.

    Source: `Hu et al. 2021, Advancing Spiking Neural Networks towards Deep Residual Learning
    <https://arxiv.org/abs/2112.08954>`_, where what is added stays out of the spikes.

    Args:
        body: ``f``, which begins with neurons.

    Shapes:
        ``x``: what the body reads and returns.
    """

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def reset_parameters(self) -> None:
        """Reset the body."""
        self.body.reset_parameters()  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
