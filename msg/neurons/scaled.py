"""Leaky integrate-and-fire neurons that scale their current, ``v <- v + (I - v) / τ``, with a threshold that stays or
decays.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from msg.names import Reset
from msg.neurons.neuron import Fire, Neuron
from msg.neurons.surrogates import ATan


@lru_cache
def below(value: float, dtype: torch.dtype) -> float:
    """The largest number of a type below ``value``, which is rounded to the type first; below zero a normal one, since
    a processor may flush others to zero, though not those of float16.
    """
    found = float(torch.nextafter(torch.tensor(value, dtype=dtype), torch.tensor(-math.inf, dtype=dtype)))
    tiny = torch.finfo(dtype).tiny
    return -tiny if -tiny < found <= 0 and dtype != torch.float16 else found


class ScaledLIF(Neuron):
    r"""Leaky integrate-and-fire that moves towards its current,

    .. math::
        u_t = v_{t-1} + \frac{I_t - v_{t-1}}{\tau},

    so that a constant current is what the potential tends to, whatever :math:`\tau`. With ``tau=1`` the membrane
    remembers nothing. :class:`LIF` is the same with the current not scaled: ``LIF(tau, threshold)`` on :math:`I/\tau`.

    Source: the form of spikingjelly (`Fang et al. 2023 <https://arxiv.org/abs/2310.16620>`_) and of spiking graph
    networks such as `Li et al. 2023 <https://arxiv.org/abs/2208.10364>`_.

    Args:
        tau: time constant in steps, at least 1.
        threshold: firing threshold ``θ``.
        reset: ``"zero"`` or ``"subtract"``.
        learn_tau: learn one time constant a layer, without any bound: the update then divides by a number that may come
            near zero or change its sign. :class:`ParametricLIF` cannot.
        at_threshold: fire at :math:`u = \theta` too, as spikingjelly does; else only above.

    Raises:
        ValueError: if ``tau`` is below one.
    """

    def __init__(
        self,
        tau: float = 2.0,
        threshold: float = 1.0,
        reset: Reset = "zero",
        learn_tau: bool = False,
        at_threshold: bool = False,
    ):
        super().__init__(threshold, reset)
        if not 1 <= tau < math.inf:
            raise ValueError(f"tau must be at least 1 step, not {tau}")
        self._tau = float(tau)
        self.at_threshold = at_threshold
        self.time_constant = nn.Parameter(torch.tensor(self._tau)) if learn_tau else None

    def reset_parameters(self) -> None:
        """Back to the initial time constant."""
        super().reset_parameters()
        if self.time_constant is not None:
            with torch.no_grad():
                self.time_constant.fill_(self._tau)

    @property
    def tau(self) -> float:
        """Present time constant in steps."""
        return self._tau if self.time_constant is None else float(self.time_constant.detach())

    def decay(self, state: Tensor) -> Tensor:
        r""":math:`(1 - 1/\tau) v`."""
        return state * (1 - 1 / (self._tau if self.time_constant is None else self.time_constant))

    def drive(self, current: Tensor) -> Tensor:
        r""":math:`I/\tau`."""
        if self.time_constant is None:
            return current if self._tau == 1 else current / self._tau
        return current / self.time_constant

    def level(self, potential: Tensor) -> float:
        """The threshold, or the next number below it."""
        return below(self.threshold, potential.dtype) if self.at_threshold else self.threshold

    def extra_repr(self) -> str:
        """Tau, threshold, reset, and what was chosen besides."""
        chosen = "".join(f", {name}=True" for name in ("learn_tau", "at_threshold") if self._has(name))
        return f"tau={self.tau:g}, {super().extra_repr()}{chosen}"

    def _has(self, name: str) -> bool:
        return self.time_constant is not None if name == "learn_tau" else self.at_threshold


class DecayingThresholdState(NamedTuple):
    """What a :class:`DecayingThresholdLIF` carries from step to step.

    Attributes:
        potential: membrane potential after the reset, in the shape of the current.
        kicks: what spikes have added to the threshold and is left of it, in the shape of the current.
        steps: how many steps have passed, a scalar.
    """

    potential: Tensor
    kicks: Tensor
    steps: Tensor


class DecayingThresholdLIF(ScaledLIF):
    r"""A :class:`ScaledLIF` whose threshold decays to zero, and is kicked up by every spike,

    .. math::
        \theta_{t+1} = \kappa\theta_t + \gamma s_t, \qquad \theta_1 = \theta,

    so that every neuron with a positive current fires in the end, the later the weaker its current. Unlike the
    threshold of :class:`ALIF`, it has no rest to return to. The gradient passes through the threshold; ``detach_reset``
    cuts that of the reset alone.

    Source: `Li et al. 2023, Scaling Up Dynamic Graph Representation Learning via Spiking Neural Networks
    <https://arxiv.org/abs/2208.10364>`_, with the constants of its released code.

    Args:
        tau: time constant in steps, at least 1.
        threshold: at first, ``θ``.
        reset: ``"zero"`` or ``"subtract"``, which subtracts the threshold of the step.
        learn_tau: learn the time constant, see :class:`ScaledLIF`.
        at_threshold: fire at the threshold too.
        threshold_decay: ``κ``, in ``(0, 1]``.
        kick: ``γ``, not negative.

    Raises:
        ValueError: for settings out of these bounds.
    """

    def __init__(
        self,
        tau: float = 1.0,
        threshold: float = 1.0,
        reset: Reset = "zero",
        learn_tau: bool = False,
        at_threshold: bool = False,
        threshold_decay: float = 0.7,
        kick: float = 0.2,
    ):
        super().__init__(tau, threshold, reset, learn_tau, at_threshold)
        if not 0 < threshold_decay <= 1:
            raise ValueError(f"threshold_decay must be above 0 and at most 1, not {threshold_decay}")
        if not 0 <= kick < math.inf:
            raise ValueError(f"kick must be a number that is not negative, not {kick}")
        self.threshold_decay, self.kick = float(threshold_decay), float(kick)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] - a richer state
        self,
        current: Tensor,
        state: DecayingThresholdState | None = None,
        fire: Fire = ATan(),  # noqa: B008 - a frozen value
        detach_reset: bool = True,
    ) -> tuple[Tensor, DecayingThresholdState]:
        """One time step.

        Args:
            current: input current ``I_t``, any shape.
            state: after the previous step; ``None`` is the resting state (zero).
            fire: the step function, with the derivative of your choice.
            detach_reset: cut the gradient through the reset.

        Returns:
            Spikes (0 or 1, in the dtype of ``current``) and the new state.
        """
        u, threshold, steps = self.drive(current), self.threshold, current.new_zeros(())
        if state is not None:
            if self.time_constant is not None or self._tau != 1:
                u = self.decay(state.potential) + u
            # the initial threshold apart from the kicks: a state of zeros is rest, and nothing cancels
            threshold = state.kicks + self.threshold * torch.pow(self.threshold_decay, state.steps)
            steps = state.steps
        spikes = fire(u - threshold, below(0.0, u.dtype) if self.at_threshold else 0.0)
        reset = spikes.detach() if detach_reset else spikes
        potential = u - reset * (threshold if self.reset == "subtract" else u)
        kicks = self.kick * spikes
        if state is not None:
            kicks = torch.add(kicks, state.kicks, alpha=self.threshold_decay)
        return spikes, DecayingThresholdState(potential, kicks, steps + 1)

    def extra_repr(self) -> str:
        """All settings."""
        return f"{super().extra_repr()}, threshold_decay={self.threshold_decay:g}, kick={self.kick:g}"
