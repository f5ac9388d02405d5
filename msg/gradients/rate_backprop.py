"""Rate-based backpropagation."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.utils._pytree import tree_map_only

from msg.calls import watched
from msg.gradients import packed
from msg.gradients.simulation import SILENT, Dynamics, Stage, mean
from msg.gradients.surrogate_bptt import SurrogateRule
from msg.neurons import Neuron, Surrogate


@dataclass(frozen=True)
class RateBackprop(SurrogateRule):
    r"""Backpropagation through firing rates: one backward pass at the mean values, without a time axis.

    While the network runs, each neuron keeps the mean of its spikes, :math:`r = \frac1T\sum_t s_t`, and of what a
    constant increment of its current does to them,

    .. math::
        \rho_t = 1 + \kappa_t\,\rho_{t-1}, \qquad \kappa_t = \frac{\partial u_t}{\partial u_{t-1}}, \qquad
        g = \frac1T\sum_t \sigma'(u_t - \theta)\,\rho_t \approx \frac{\partial r}{\partial c},

    where :math:`\kappa` follows from the neuron's own step: :math:`\lambda` for a subtractive reset that is detached,
    :math:`\lambda(1 - \theta\sigma')` where it is not, :math:`\lambda(1 - s)` for a detached reset to zero. (Here that
    recursion is carried by a forward-mode derivative, so any neuron of the explicit-state contract has its own, if it
    works on each channel by itself, with parameters that are one number or one a channel; other rules train others.)
    Backward, layer by layer, :math:`\nabla_c = g \odot \nabla_r` at the mean current
    :math:`\bar c = \hat A r_\text{in} W + b`. Memory and time of the backward pass do not grow with ``T``.

    It is the gradient of the network of *mean* activities. That is exact for a layer under a constant current (so for
    one hidden layer on constant features) and for ``T = 1``; above, it leaves out how spikes and derivatives vary
    together in time.

    In :class:`~msg.models.MSG` it is the gradient of :class:`DvM`, which reaches a layer through the point on the
    manifold, *plus* the one through its firing rate and the layers above, which DvM cuts. A synapse that is not linear
    contributes its derivative at the mean spikes; one that draws at random, as attention with a dropout of its own
    does, draws anew for it, so that there nothing is exact.

    Source: `Yu et al. 2024, Advancing Training Efficiency of Deep Spiking Neural Networks through Rate-based
    Backpropagation <https://arxiv.org/abs/2410.11488>`_, eq. 8-12.

    *Recommended* for everything deeper than one layer that is simulated for more than a few steps: in accuracy it is
    on a par with :class:`SurrogateBPTT`, in memory with DvM, at little more than its time. *Not recommended* where
    timing carries the information: what varies in time is seen by its mean alone.

    Arguments are those of :class:`SurrogateRule`.
    """

    across: ClassVar[bool] = True

    def simulate(self, dynamics: Dynamics, current: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """See :meth:`FeedForwardRule.simulate`."""
        watching = torch.is_grad_enabled()
        found = packed.simulate(dynamics, current, self.surrogate, self.detach_reset) if watching else None
        if found is not None:
            return self._at_the_mean(dynamics, current, found)
        stages = [
            Stage.of(layer, neuron=_Watched(layer.neuron, self.surrogate, self.detach_reset))  # pyright: ignore[reportArgumentType]
            if watching and layer.neuron is not None
            else layer
            for layer in dynamics.layers
        ]
        with torch.no_grad():
            means, seen, states = Dynamics(stages, dynamics.graph, dynamics.timesteps).totals(current, SILENT)
        below, currents, rates = mean(current), [], []
        above = zip(dynamics.targets, dynamics.graphs[1:], means, seen, states)
        for layer, graph, rate, exact, state in above:
            rates.append(_attach(rate, below, state.slopes, dynamics.timesteps) if watching else rate)
            at_mean = layer.current(rates[-1], graph.sending(dynamics.timesteps))
            # a synapse that is not linear has the value of the simulation and the derivative at the mean spikes
            below = at_mean if exact is None else at_mean + (exact - at_mean).detach()
            currents.append(below)
        return currents, rates

    def _at_the_mean(
        self, dynamics: Dynamics, current: Tensor, found: packed.Packed
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The same from the packed simulation, whose synapses are linear."""
        below, currents, rates = mean(current), [], []
        for layer, graph, rate, received, slope in zip(dynamics.targets, dynamics.graphs[1:], *found):
            rates.append(_moved(rate, below, slope) if slope.numel() else rate)
            below = layer.current(rates[-1], graph.sending(dynamics.timesteps), received)
            currents.append(below)
        return currents, rates


class _Slope(NamedTuple):
    """Summed derivative of the spikes in one direction, and the parameter (``None``: the current) it belongs to."""

    parameter: Tensor | None
    total: Tensor | float
    tangents: Any  # of the state


class _State(NamedTuple):
    inner: Any
    slopes: list[_Slope]


def _has_tangent(parameter: Tensor) -> bool:
    """Whether it is differentiated in forward mode."""
    return not torch.compiler.is_compiling() and forward_ad.unpack_dual(parameter).tangent is not None


class _Watched:
    """A neuron whose state also carries the derivatives of its spikes."""

    def __init__(self, neuron: Neuron, surrogate: Surrogate, detach_reset: bool):
        self.neuron, self.surrogate, self.detach_reset = neuron, surrogate, detach_reset
        learnable = [(name, p) for name, p in neuron.named_parameters() if p.requires_grad or _has_tangent(p)]
        for name, p in learnable:
            if p.dim() > 1:
                raise ValueError(
                    f"RateBackprop reads parameters of a neuron as one of all channels or one a channel, and {name} of "
                    f"{type(neuron).__name__} has shape {list(p.shape)}: use SurrogateBPTT or CheckpointedBPTT"
                )
        self.directions: list[tuple[str | None, Tensor | None]] = [(None, None), *learnable]

    def __call__(self, current: Tensor, state: _State | None, *_) -> tuple[Tensor, _State]:
        state = state or _State(None, [_Slope(parameter, 0.0, None) for _, parameter in self.directions])
        spikes, after, slopes = None, None, []
        for (name, _), slope in zip(self.directions, state.slopes):
            if name is None and type(self.neuron).forward is Neuron.forward and not watched(self.neuron):
                own = (slope.tangents, self.surrogate, self.detach_reset)
                spikes, after, tangents, change = self.neuron.linearise(current, state.inner, *own)
            else:
                step: Any = self._step
                spikes, after, change, tangents = step(name, current, state.inner, slope.tangents)
            total = slope.total.add_(change) if isinstance(slope.total, Tensor) else change
            slopes.append(_Slope(slope.parameter, total, tangents))
        assert spikes is not None
        return spikes, _State(after, slopes)

    @torch.compiler.disable
    def _step(self, name: str | None, current: Tensor, state: Any, tangents: Any):
        """One step with its derivative in one direction: spikes, new state, and the tangents of both. Compilers lose
        dual numbers.
        """
        with forward_ad.dual_level():
            given = {key: forward_ad.make_dual(p, torch.ones_like(p)) if key == name else p
                     for key, p in self.neuron.named_parameters()}  # fmt: skip
            now = forward_ad.make_dual(current, torch.ones_like(current)) if name is None else current
            arguments = (now, _join(state, tangents), self.surrogate, self.detach_reset)
            spikes, after = functional_call(self.neuron, given, arguments) if given else self.neuron(*arguments)
            spikes, change = forward_ad.unpack_dual(spikes)
            tangents = tree_map_only(Tensor, lambda t: forward_ad.unpack_dual(t).tangent, after)
            after = tree_map_only(Tensor, lambda t: forward_ad.unpack_dual(t).primal, after)
        return spikes, after, 0.0 if change is None else change, tangents


def _join(state: Any, tangents: Any) -> Any:
    """Dual numbers from values and tangents, either of which may be a tensor, a tuple of such, or absent."""
    if tangents is None or state is None:
        return state
    if isinstance(state, Tensor):
        return forward_ad.make_dual(state, tangents)
    parts = [_join(value, tangent) for value, tangent in zip(state, tangents)]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def _attach(rate: Tensor, current: Tensor, slopes: list[_Slope], timesteps: int) -> Tensor:
    """The rate, with its derivatives in the mean current and the neuron's parameters."""
    for parameter, total, _ in slopes:
        source = current if parameter is None else parameter
        if isinstance(total, Tensor):
            rate = _moved(rate, source, total / timesteps)
    return rate


def _moved(rate: Tensor, source: Tensor, slope: Tensor) -> Tensor:
    """The rate, with a derivative in its source; a source that is infinite or NaN has a known train all the same."""
    moved = (source - source.detach()) * slope
    return rate + torch.where(moved.isfinite(), moved, 0.0)
