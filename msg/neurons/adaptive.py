"""A leaky integrate-and-fire neuron whose threshold rises with every spike and decays slowly: the memory of an LSNN."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from msg.neurons.neuron import Fire, Neuron
from msg.neurons.surrogates import Triangle


class ALIFState(NamedTuple):
    """What an :class:`ALIF` neuron carries from step to step; all tensors have the shape of the current.

    Attributes:
        potential: membrane potential ``V``, before the reset of the spike it may have caused.
        adaptation: ``b``, the low-pass filtered spikes that raise the threshold.
        spikes: ``z`` of this step.
        refractory: number of steps to come in which the neuron cannot fire.
    """

    potential: Tensor
    adaptation: Tensor
    spikes: Tensor
    refractory: Tensor


class ALIF(Neuron):
    r"""Adaptive leaky integrate-and-fire: the threshold grows with each spike and decays with its own time constant.

    .. math::
        b_t &= \rho b_{t-1} + (1-\rho) z_{t-1}, \qquad B_t = b^0 + \beta b_t, \\
        V_t &= \alpha V_{t-1} + (1-\alpha) i_t - z_{t-1} B_t, \qquad z_t = H\!\left(\frac{V_t - B_t}{B_t}\right),

    with :math:`\alpha = e^{-\Delta t/\tau}`, :math:`\rho = e^{-\Delta t/\tau_a}`, and no spike for ``refractory`` steps
    after one. The surrogate sees the *normalised* potential :math:`(V_t - B_t)/B_t`. With ``beta=0`` it is a leaky
    integrate-and-fire neuron of the same form. ``detach_reset`` cuts the gradient of :math:`z_{t-1}` in the reset, not
    in the adaptation, through which an LSNN learns to remember.

    Source: `Bellec et al. 2018, Long short-term memory and learning-to-learn in networks of spiking neurons
    <https://arxiv.org/abs/1803.09574>`_, section 2. The authors' code fires on the potential *before* the update,
    :math:`V_{t-1}`, against the threshold after it, so there a spike follows its cause one step later.

    *Recommended* to hold information for about ``tau_adaptation``. *Not recommended* in float16: with a long
    ``tau_adaptation`` one step changes ``b`` by less than its precision.

    Args:
        tau: membrane time constant ``τ``, in the unit of ``dt`` (ms in the paper).
        tau_adaptation: time constant of the threshold ``τ_a``, in the unit of ``dt``.
        beta: how much a spike raises the threshold; a number, or a tensor or list ``[d]`` with one for each neuron.
        threshold: ``b⁰``, the threshold at rest, in units of the current.
        refractory: number of steps after a spike in which the neuron cannot fire.
        dt: duration of a step.

    Shapes:
        ``current``: ``[..., d]``; returns spikes of that shape and an :class:`ALIFState`.

    Raises:
        ValueError: if a time constant, ``dt`` or ``threshold`` is not positive, ``beta`` is negative, or ``refractory``
            is.
    """

    beta: float | Tensor

    def __init__(
        self,
        tau: float = 20.0,
        tau_adaptation: float = 1200.0,
        beta: float | Tensor | Sequence[float] = 1.7,
        threshold: float = 0.01,
        refractory: int = 0,
        dt: float = 1.0,
    ):
        super().__init__(threshold)
        for name, value in (("tau", tau), ("tau_adaptation", tau_adaptation), ("dt", dt)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, not {value}")
        beta = torch.tensor(beta) if isinstance(beta, Sequence) else beta
        if not bool(torch.as_tensor(beta >= 0).all()):
            raise ValueError(f"beta must not be negative: a spike would lower the threshold, it is {beta}")
        if refractory < 0 or refractory != int(refractory):
            raise ValueError(f"refractory must be a whole number of steps, not negative, it is {refractory}")
        self.tau, self.tau_adaptation, self.dt = float(tau), float(tau_adaptation), float(dt)
        self.refractory = int(refractory)
        if isinstance(beta, Tensor):
            # a setting, not something learned: it follows the module's device and is not in its state_dict
            self.register_buffer("beta", beta.detach().clone(), persistent=False)
        else:
            self.beta = float(beta)

    @property
    def _alpha(self) -> float:
        return math.exp(-self.dt / self.tau)

    @property
    def _rho(self) -> float:
        return math.exp(-self.dt / self.tau_adaptation)

    def decay(self, state: Tensor) -> Tensor:
        r""":math:`\alpha V`."""
        return state * self._alpha

    def resting_state(self, current: Tensor) -> ALIFState:
        """Zeros in the shape of ``current``."""
        zeros = torch.zeros_like(current)
        return ALIFState(zeros, zeros, zeros, zeros)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] - a richer state
        self,
        current: Tensor,
        state: ALIFState | None = None,
        fire: Fire = Triangle(0.3),  # noqa: B008 - a frozen value
        detach_reset: bool = True,
    ) -> tuple[Tensor, ALIFState]:
        """One time step.

        Args:
            current: input current ``i_t``, ``[..., d]``.
            state: after the previous step; ``None`` is the resting state (zero).
            fire: the step function of the normalised potential, with the derivative of your choice.
            detach_reset: cut the gradient through the reset.

        Returns:
            Spikes (0 or 1, in the dtype of ``current``) and the new state.
        """
        potential, adaptation, spikes, refractory = self.resting_state(current) if state is None else state
        adaptation = torch.lerp(spikes, adaptation, self._rho)
        beta = self.beta.to(current.dtype) if isinstance(self.beta, Tensor) else self.beta
        threshold = beta * adaptation + self.threshold
        reset = spikes.detach() if detach_reset else spikes
        potential = torch.addcmul(torch.lerp(current, potential, self._alpha), reset, threshold, value=-1)
        spikes = fire((potential - threshold) / threshold, 0.0)
        if self.refractory:
            spikes = spikes * (refractory == 0)
            refractory = torch.add((refractory - 1).clamp(min=0), spikes.detach(), alpha=self.refractory)
        return spikes, ALIFState(potential, adaptation, spikes, refractory)

    def extra_repr(self) -> str:
        """All settings; a ``beta`` for each neuron is shown by its range."""
        beta = self.beta
        shown = f"{float(beta.min()):g}..{float(beta.max()):g}" if isinstance(beta, Tensor) else f"{beta:g}"
        return (
            f"tau={self.tau:g}, tau_adaptation={self.tau_adaptation:g}, beta={shown}, threshold={self.threshold:g}, "
            f"refractory={self.refractory}, dt={self.dt:g}"
        )
