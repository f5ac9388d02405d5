r"""Spiking neurons with explicit state, ``spikes, state = neuron(current, state)``, as in :class:`torch.nn.RNN`.

One step of size one reads

.. math::
    u_t = \lambda v_{t-1} + c_t, \qquad s_t = H(u_t - \theta), \qquad
    v_t = u_t - \theta s_t \ \text{(subtract)} \quad\text{or}\quad v_t = u_t (1 - s_t) \ \text{(zero)},

with input current ``c``, threshold ``θ`` and decay ``λ``; the state is the membrane potential ``v`` after the reset,
which starts at zero. Nothing is stored in the module, so there is nothing to reset between batches.
"""

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from msg.calls import watched
from msg.kernels.choice import compiled
from msg.kernels.operators import constant_rates
from msg.kernels.tracing import exporting, traced, transformed
from msg.names import Reset
from msg.neurons.surrogates import ATan, Surrogate, heaviside
from msg.neurons.timesteps import checked_timesteps
from msg.registry import Recorded

Fire = Callable[[Tensor, float], Tensor]
"""From membrane potential and threshold to spikes."""
Threshold = float | Literal["auto"]


class Neuron(Recorded, nn.Module):
    r"""Base of the neurons that have one state variable, the membrane potential.

    Args:
        threshold: firing threshold ``θ > 0``, in units of current times steps; ``"auto"``: see :meth:`fit_threshold`.
        reset: ``"subtract"`` lowers the potential by ``θ``, ``"zero"`` sets it to zero.

    Raises:
        ValueError: for a threshold that is not positive, or an unknown reset.
    """

    fitted_threshold: Tensor
    spiking: ClassVar[bool] = True
    """Whether it sends zeros and ones. An :class:`~msg.neurons.Activation` sends numbers, once."""
    _silent: bool = False
    """Whether the threshold stands in for one that no current has said anything of."""

    def __init__(self, threshold: Threshold = 1.0, reset: Reset = "subtract"):
        super().__init__()
        if isinstance(threshold, str) and threshold != "auto":
            raise ValueError(f"threshold must be a positive number or 'auto', not {threshold!r}")
        if reset not in get_args(Reset):
            raise ValueError(f"unknown reset {reset!r}: use 'subtract' or 'zero'")
        self._automatic = isinstance(threshold, str)
        self._threshold: float | None = None
        self._followed: tuple[Tensor, int] | None = None
        if isinstance(threshold, str):
            self._keep(math.nan)
        else:
            self._threshold = _number(threshold)
        self.reset = reset

    @property
    def threshold(self) -> float:
        """Firing threshold ``θ``. Setting it changes it, and keeps it in the ``state_dict`` from then on.

        Raises:
            ValueError: before an automatic one is fitted, or for one that is not a positive number.
        """
        self._follow()
        if self._threshold is None:
            raise ValueError("threshold='auto' is not fitted yet: run the network once, or call fit_threshold(current)")
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        number = _number(value)
        self._keep(number)  # first: where the tensor cannot be written, nothing has changed
        self._threshold, self._silent = number, False
        if not self._automatic:
            self._made["threshold"] = self._threshold

    def _keep(self, value: float) -> None:
        """Put a threshold into a tensor, so that it is kept with the weights."""
        if "fitted_threshold" in self._buffers:
            self.fitted_threshold.fill_(value)
        else:
            self.register_buffer("fitted_threshold", torch.tensor(value, dtype=torch.float64))
        self._followed = self._written()

    def _written(self) -> tuple[Tensor, int] | None:
        tensor = self._buffers.get("fitted_threshold")
        return None if tensor is None else (tensor, -1 if tensor.is_inference() else tensor._version)

    def _follow(self) -> None:
        """Take over what others have put into the tensor: a broadcast, an average, ``torch.func.functional_call``."""
        if "fitted_threshold" not in self._buffers or torch.compiler.is_compiling():
            return
        now, before = self._written(), self._followed
        assert now is not None
        if before is not None and now[0] is before[0] and now[1] == before[1]:
            return
        kept, self._followed = float(now[0]), now
        known = None if self._silent else self._threshold
        if known is None or kept != float(now[0].new_tensor(known)):  # more than a cast
            self._threshold, self._silent = kept if kept > 0 else None, False

    @property
    def fitted(self) -> bool:
        """Whether the threshold is known, and not what stands in until a current says something."""
        self._follow()
        return self._threshold is not None and not self._silent

    @torch.no_grad()
    def fit_threshold(self, current: Tensor, total: Callable[[Tensor], Tensor] | None = None) -> None:
        r"""Fit an automatic threshold to the scale of a current, :math:`\theta = 2\sqrt{\operatorname{mean} c^2}`.

        A current twice as large as is usual then fires at every step, and one of the usual size at every second one.
        Features of other units, or another number of them, need no other threshold. A network does so with the first
        input that it sees, layer by layer, and keeps what it found among its weights.

        Args:
            current: of any shape, the mean over time where it varies. Where all of it is zero, or some of it not
                finite, the threshold is 1 for now, and stays to be fitted.
            total: adds up what several processes have, where each has a part of the current.

        Raises:
            ValueError: in code that is exported or transformed by ``torch.func``, where nothing can be kept.
        """
        if transformed() or (hasattr(torch.compiler, "is_exporting") and exporting()):
            raise ValueError(
                "threshold='auto' is fitted to the first current, and what is fitted cannot be kept within torch.func "
                "or a program that is exported: run the network once before, or give a number"
            )
        squares = current.double().square().sum()
        sums = torch.stack([squares, torch.full_like(squares, current.numel())])
        square, count = (sums if total is None else total(sums)).tolist()
        scale = 2 * math.sqrt(square / max(count, 1))
        if 0 < scale < math.inf:
            self.threshold = scale
        else:
            self._threshold, self._silent = 1.0, True

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        name = f"{prefix}fitted_threshold"
        if not self._automatic:  # one that was set is in the weights of the neuron that it was set in alone
            if name in state_dict and "fitted_threshold" not in self._buffers:
                self._keep(self.threshold)
            elif "fitted_threshold" in self._buffers:
                state_dict.setdefault(name, self.fitted_threshold)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._follow()  # now: code that is compiled or exported cannot

    def reset_parameters(self) -> None:
        """Forget an automatic threshold."""
        if self._automatic:
            self._threshold, self._silent = None, False
            self._keep(math.nan)

    def decay(self, state: Tensor) -> Tensor:
        r""":math:`\lambda v`: what is left of the potential one step later.

        A neuron of your own may override it by any factor, learned or not. What is not linear in the potential belongs
        into a :meth:`forward` of its own: derivatives decay like the potential here.
        """
        return state

    def drive(self, current: Tensor) -> Tensor:
        """What the current adds to the potential: itself, or in a neuron of your own any factor of it."""
        return current

    def level(self, potential: Tensor) -> float:
        """The neuron fires where its potential is strictly above this number: the threshold."""
        return self.threshold

    @property
    def drop(self) -> float:
        """By how much a spike lowers the potential where the reset subtracts: the threshold."""
        return self.threshold

    def forward(
        self,
        current: Tensor,
        state: Tensor | None = None,
        fire: Fire = ATan(),  # noqa: B008 - a frozen value
        detach_reset: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """One time step.

        Args:
            current: input current ``c_t``, any shape.
            state: membrane potential after the previous step, same shape; ``None`` is the resting state (zero).
            fire: the step function, with the derivative of your choice: a :class:`~msg.neurons.Surrogate` or
                :func:`~msg.neurons.heaviside`.
            detach_reset: cut the gradient through the reset.

        Returns:
            Spikes (0 or 1, in the dtype of ``current``) and the new state.
        """
        u = self.drive(current) if state is None else self.decay(state) + self.drive(current)
        spikes = fire(u, self.level(u))
        reset = spikes.detach() if detach_reset else spikes
        if self.reset == "subtract":
            return spikes, torch.sub(u, reset, alpha=self.drop)
        return spikes, u - u * reset

    def linearise(
        self, current: Tensor, state: Tensor | None, tangent: Tensor | None, surrogate: Surrogate, detach_reset: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        r"""One time step with its derivative in a constant increment of the current, without gradient.

        .. math::
            \rho_t = \lambda\,\dot v_{t-1} + g, \qquad \dot s_t = \sigma'(u_t - \theta)\,\rho_t, \qquad
            \dot v_t = \rho_t - \theta\dot s_t \ \text{(subtract)} \quad\text{or}\quad
            \dot v_t = \rho_t(1 - s_t) - u_t\dot s_t \ \text{(zero)},

        with the factor :math:`g` of :meth:`drive`, mostly 1, and the last terms only where the reset is differentiated.
        The same as forward-mode differentiation of
        :meth:`forward`, in a third of the time.

        Args:
            current: input current ``c_t``, any shape.
            state: membrane potential after the previous step.
            tangent: its derivative; overwritten.
            surrogate: the derivative that stands in for that of the step.
            detach_reset: whether the derivative of the reset is left out.

        Returns:
            Spikes, new state, and the derivatives of the state and of the spikes.
        """
        u = self.drive(current) if state is None else self.decay(state) + self.drive(current)
        spikes = heaviside(u, self.level(u))
        gain = self.drive(u.new_ones(()))
        rho = torch.ones_like(u).mul_(gain) if tangent is None else self.decay(tangent).add_(gain)
        change = surrogate.derivative(u - self.level(u)).mul_(rho)
        if self.reset == "subtract":
            return (
                spikes,
                torch.sub(u, spikes, alpha=self.drop),
                _less(rho, change, self.drop, detach_reset),
                change,
            )
        rho.addcmul_(rho, spikes, value=-1)
        return spikes, u - u * spikes, _less(rho, change, u, detach_reset), change

    def rate(self, current: Tensor, timesteps: int) -> Tensor:
        r"""Firing rate :math:`\frac1T\sum_t s_t` under a constant current, without gradient.

        Args:
            current: any shape.
            timesteps: ``T``.

        Raises:
            ValueError: for fewer than one step.
        """
        checked_timesteps(timesteps)
        with torch.no_grad():
            # half precision counts no further than 256 or 2048
            count, state = torch.zeros_like(current, dtype=torch.promote_types(current.dtype, torch.float32)), None
            for _ in range(timesteps):
                spikes, state = self(current, state, heaviside)
                count += spikes
            return (count / timesteps).to(current.dtype)

    def constants(self) -> tuple[float, float, bool] | None:
        """Decay, threshold, and whether the reset subtracts: all that a compiled loop has to know of a neuron.

        ``None`` for what may do something else: a subclass of yours runs its own :meth:`forward`, and a neuron with
        hooks, or with a step of its own, is called.
        """
        if not self._known(IF, LIF, ParametricLIF):
            return None
        with torch.no_grad():
            # of a number, not of a tensor: its value would break what torch compiles in two
            decay: Any = self.decay(1.0)  # pyright: ignore[reportArgumentType]
        return float(decay), self.threshold, self.reset == "subtract"

    def _known(self, *kinds: type["Neuron"]) -> bool:
        """Whether it is of one of the classes, does what they do, and nobody waits for its steps."""
        return type(self) in kinds and not any(name in self.__dict__ for name in _STEP) and not watched(self)

    def extra_repr(self) -> str:
        """Threshold and reset."""
        threshold = f"{self.threshold:g}" if self.fitted else "'auto'"
        return f"threshold={threshold}, reset={self.reset!r}"


_STEP = frozenset({"decay", "drive", "level"})
"""Methods that make a step, which a neuron may have of its own."""


def _number(threshold: Any) -> float:
    if isinstance(threshold, Tensor) and threshold.requires_grad:
        raise ValueError("threshold is a number, and is not learned: scale what drives the neuron instead")
    if not threshold > 0:
        raise ValueError(f"threshold must be positive, not {threshold}")
    return float(threshold)


NeuronLike = Neuron | type[Neuron] | str | Mapping[str, Any]
"""A neuron, or what :func:`msg.neurons.resolve_neuron` makes one of."""


def _less(rho: Tensor, change: Tensor, factor: Tensor | float, detached: bool) -> Tensor:
    """What the reset takes away from a tangent, where it is differentiated."""
    if detached:
        return rho
    return rho.addcmul_(factor, change, value=-1) if isinstance(factor, Tensor) else rho.sub_(change, alpha=factor)


class IF(Neuron):
    r"""Integrate-and-fire: :math:`\lambda = 1`.

    Under a constant current ``x`` with subtractive reset the rate after ``T`` steps has a closed form,
    :math:`\operatorname{clip}(\lceil T x/\theta\rceil - 1, 0, T)/T`, which :meth:`rate` uses.
    """

    def rate(self, current: Tensor, timesteps: int) -> Tensor:
        """Firing rate under a constant current, exactly that of the simulated loop, without gradient.

        The closed form decides wherever rounding cannot; the few entries within rounding of an integer number of
        spikes are simulated, so that the result never depends on which way was taken.
        """
        checked_timesteps(timesteps)
        if not self._known(IF):
            return super().rate(current, timesteps)
        # half precision has so few digits that nearly all entries lie within rounding
        if self.reset == "zero" or traced() or current.dtype.itemsize < 4:
            return super().rate(current, timesteps)
        if current.dim() == 2 and current.device.type == "cpu" and compiled("trains") is not None:
            return constant_rates(current.detach(), timesteps, self.threshold)[0]
        with torch.no_grad():
            spikes = current * (timesteps / self.threshold)
            # each of T additions and subtractions of numbers below 2θ errs by at most eps * θ
            margin = 8 * timesteps * torch.finfo(current.dtype).eps
            tied = ~((spikes - spikes.round()).abs() > margin)  # NaN too: it never fires
            # beyond these the clamp decides, and most currents of bags of words are zero
            tied &= ~((current <= 0) | (spikes > timesteps + 0.5))
            rate = ((spikes.ceil() - 1).clamp(0, timesteps)) / timesteps
            rate[tied] = super().rate(current[tied], timesteps)
            return rate


class LIF(Neuron):
    r"""Leaky integrate-and-fire: :math:`\lambda = 1 - 1/\tau`, the current is not scaled.

    Args:
        tau: membrane time constant in steps, ``> 1``.
        threshold: firing threshold ``θ``.
        reset: ``"subtract"`` or ``"zero"``.

    Raises:
        ValueError: if ``tau`` is not above one.
    """

    def __init__(self, tau: float = 2.0, threshold: Threshold = 1.0, reset: Reset = "subtract"):
        super().__init__(threshold, reset)
        if not (isinstance(tau, Real | Tensor) and tau > 1):
            raise ValueError(f"tau must be above 1 step, not {tau!r}")
        self._tau = float(tau)

    @property
    def tau(self) -> float:
        """Time constant in steps."""
        return self._tau

    def decay(self, state: Tensor) -> Tensor:
        r""":math:`(1 - 1/\tau) v`."""
        return state * (1 - 1 / self._tau)

    def extra_repr(self) -> str:
        """Tau, threshold and reset."""
        return f"tau={self.tau:g}, {super().extra_repr()}"


class ParametricLIF(LIF):
    r"""Leaky integrate-and-fire with one learnable time constant a layer: :math:`\lambda = 1 - \mathrm{sig}(w)`.

    Source: `Fang et al. 2021, Incorporating Learnable Membrane Time Constant
    <https://arxiv.org/abs/2007.05785>`_, eq. 7, with the current not scaled. Its parameter learns only under a gradient
    rule that differentiates through spikes.

    Args:
        tau: initial time constant in steps, ``> 1``.
        threshold: firing threshold ``θ``.
        reset: ``"subtract"`` or ``"zero"``.

    Raises:
        ValueError: if ``tau`` is not above one.
    """

    def __init__(self, tau: float = 2.0, threshold: Threshold = 1.0, reset: Reset = "subtract"):
        super().__init__(tau, threshold, reset)
        self.weight = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Back to the initial time constant."""
        super().reset_parameters()
        with torch.no_grad():
            self.weight.fill_(-math.log(self._tau - 1))

    @property
    def tau(self) -> float:
        """Present time constant in steps."""
        return float(1 / torch.sigmoid(self.weight.detach()))

    def decay(self, state: Tensor) -> Tensor:
        r""":math:`(1 - \mathrm{sig}(w)) v`."""
        return state * torch.sigmoid(-self.weight)
