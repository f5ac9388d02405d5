r"""What is meant by a neuron: one of ours by name, or one of spikingjelly, snntorch or norse, translated.

A neuron of another library is never called: its constants are read once, when it is given. Its hidden state, its
surrogate and what it detaches stay behind, since here state is explicit and derivatives are the gradient rule's.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from msg.names import NEURONS, Reset, build
from msg.neurons.contract import fitted, spikes
from msg.neurons.neuron import IF, LIF, Neuron
from msg.neurons.scaled import ScaledLIF, below


class Adapted(Neuron):
    r"""A neuron of another library whose step is none of our own,

    .. math::
        u_t = \lambda v_{t-1} + g c_t, \qquad s_t = H(u_t - \theta), \qquad
        v_t = u_t - \delta s_t \ \text{(subtract)} \quad\text{or}\quad v_t = u_t (1 - s_t) \ \text{(zero)}.

    Made by :func:`adapt`. A reset by subtraction that comes one step late and is not leaked, :math:`u_t = \lambda
    u_{t-1} + c_t - \theta s_{t-1}`, is that of :math:`\delta = \theta/\lambda`.

    Args:
        decay: :math:`\lambda`, in ``[0, 1]``.
        gain: ``g``, positive.
        threshold: ``θ``.
        reset: ``"subtract"`` or ``"zero"``.
        drop: :math:`\delta`; ``None`` is the threshold. Where the threshold is set anew, it changes in proportion.
        at_threshold: fire at :math:`u = \theta` too; else only above.
        weight: ``w``, if the time constant is learned: then :math:`\lambda = 1 - \mathrm{sig}(w)` in place of
            ``decay``, and a ``gain`` below one is :math:`g = \mathrm{sig}(w)`.

    Raises:
        ValueError: for constants out of these bounds.
    """

    def __init__(
        self,
        decay: float,
        gain: float = 1.0,
        threshold: float = 1.0,
        reset: Reset = "subtract",
        drop: float | None = None,
        at_threshold: bool = False,
        weight: Tensor | None = None,
    ):
        super().__init__(threshold, reset)
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must be from 0 to 1, not {decay}")
        if not 0 < gain < math.inf:
            raise ValueError(f"gain must be a positive number, not {gain}")
        self.gain, self.at_threshold = float(gain), at_threshold
        self._decay = float(decay)
        self._drop = None if drop is None else drop / self.threshold  # which may be set anew
        self._first = None if weight is None else float(weight.detach())
        self.weight = None if weight is None else nn.Parameter(weight.detach().clone())

    @property
    def config(self) -> dict[str, Any]:
        """The arguments it was made with, as plain data; ``threshold`` and ``drop`` as they are now."""
        made = super().config
        return made if self._drop is None else {**made, "drop": self.drop}

    def reset_parameters(self) -> None:
        """Back to the time constant that was given."""
        super().reset_parameters()
        if self.weight is not None:
            with torch.no_grad():
                self.weight.fill_(self._first)  # pyright: ignore

    @property
    def drop(self) -> float:
        """By how much a spike lowers the potential."""
        return self.threshold if self._drop is None else self._drop * self.threshold

    def decay(self, state: Tensor) -> Tensor:
        r""":math:`\lambda v`."""
        if self.weight is not None:
            return state * torch.sigmoid(-self.weight)
        return state if self._decay == 1 else state * self._decay

    def drive(self, current: Tensor) -> Tensor:
        r""":math:`g c`."""
        if self.gain == 1:
            return current
        return current * (self.gain if self.weight is None else torch.sigmoid(self.weight))

    def level(self, potential: Tensor) -> float:
        """The threshold, or the next number below it."""
        return below(self.threshold, potential.dtype) if self.at_threshold else self.threshold

    def extra_repr(self) -> str:
        """All constants."""
        with torch.no_grad():
            decay, gain = (float(part(torch.ones(()))) for part in (self.decay, self.drive))
        drop = "" if self._drop is None else f", drop={self.drop:g}"
        chosen = (", at_threshold=True" if self.at_threshold else "") + (", learned" if self.weight is not None else "")
        return f"decay={decay:g}, gain={gain:g}, {super().extra_repr()}{drop}{chosen}"


class _Refused(Exception):
    """Why a neuron has no equal here."""


def _number(value: Any, name: str) -> float:
    value = torch.as_tensor(value).detach()
    if value.numel() != 1:
        raise _Refused(f"{name} differs between neurons, and here a layer has one: make it a number")
    return float(value)


def _resting(name: str, value: Any) -> None:
    if _number(value, name):
        raise _Refused(
            f"{name}={_number(value, name):g}, and here potentials rest at zero: shift potentials and threshold"
        )


def _leaky(decay: float, threshold: float, reset: Reset) -> Neuron:
    r"""Ours for :math:`u = \lambda v + c`, fired above the threshold."""
    if decay == 1:
        return IF(threshold, reset)
    return LIF(1 / (1 - decay), threshold, reset) if decay > 0 else Adapted(decay, 1.0, threshold, reset)


def _reset_to(v_reset: Any) -> Reset:
    if v_reset is None:
        return "subtract"
    _resting("v_reset", v_reset)
    return "zero"


def _spikingjelly_if(node: Any) -> Neuron:
    return Adapted(1.0, 1.0, _number(node.v_threshold, "v_threshold"), _reset_to(node.v_reset), at_threshold=True)


def _spikingjelly_lif(node: Any) -> Neuron:
    tau, threshold = _number(node.tau, "tau"), _number(node.v_threshold, "v_threshold")
    if node.decay_input:
        return ScaledLIF(tau, threshold, _reset_to(node.v_reset), at_threshold=True)
    return Adapted(1 - 1 / tau, 1.0, threshold, _reset_to(node.v_reset), at_threshold=True)


def _spikingjelly_plif(node: Any) -> Neuron:
    threshold, reset = _number(node.v_threshold, "v_threshold"), _reset_to(node.v_reset)
    share = float(torch.sigmoid(node.w.detach()))
    gain = share if node.decay_input else 1.0
    return Adapted(1 - share, gain, threshold, reset, at_threshold=True, weight=node.w)


def _snntorch_leaky(node: Any) -> Neuron:
    for name in ("inhibition", "state_quant"):
        if getattr(node, name):
            raise _Refused(
                f"{name} is set, and here neurons of a layer fire each by itself in full precision: unset it"
            )
    for name in ("beta", "threshold", "graded_spikes_factor"):
        if isinstance(getattr(node, name), nn.Parameter):
            mend = "use ParametricLIF, which learns its decay" if name == "beta" else "fix it"
            raise _Refused(f"learn_{name}=True, and here it is no parameter: {mend}")
    if _number(node.graded_spikes_factor, "graded_spikes_factor") != 1:
        raise _Refused("graded_spikes_factor is not 1, and here a spike is 1: scale the weights above instead")
    beta = min(max(_number(node.beta, "beta"), 0.0), 1.0)
    threshold = _number(node.threshold, "threshold")
    if node.reset_mechanism == "zero":  # late or not, nothing is left of the potential
        return _leaky(beta, threshold, "zero")
    if node.reset_mechanism != "subtract":
        raise _Refused("it is never reset, and ours are: use reset_mechanism='zero' or 'subtract'")
    if not node.reset_delay:
        raise _Refused(
            "reset_delay=False with reset_mechanism='subtract' takes the threshold off a potential above twice the "
            "threshold before it fires again, which ours do not: use LIF(reset='subtract'), or reset_mechanism='zero'"
        )
    if beta == 0:
        raise _Refused("beta=0 subtracts from a potential that is forgotten: use reset_mechanism='zero'")
    if beta == 1:
        return IF(threshold)
    return Adapted(beta, 1.0, threshold, drop=threshold / beta)


def _norse_box(cell: Any) -> Neuron:
    p = cell.p
    _resting("v_leak", p.v_leak)
    _resting("v_reset", p.v_reset)
    resets = {"reset_value": "zero", "reset_subtract": "subtract"}
    reset: Any = resets.get(getattr(p.reset_method, "__name__", ""))
    if reset is None:
        raise _Refused("its reset_method is unknown here: use reset_value or reset_subtract")
    share = cell.dt * _number(p.tau_mem_inv, "tau_mem_inv")
    if not 0 < share <= 1:
        raise _Refused(
            f"dt * tau_mem_inv is {share:g}, and here a step keeps a share of the potential: give a smaller dt"
        )
    return ScaledLIF(1 / share, _number(p.v_th, "v_th"), reset)


def _norse_iaf(cell: Any) -> Neuron:
    _resting("v_reset", cell.p.v_reset)
    return IF(_number(cell.p.v_th, "v_th"), "zero")


_KNOWN: dict[str, dict[str, Callable[[Any], Neuron]]] = {
    "spikingjelly": {
        "IFNode": _spikingjelly_if,
        "LIFNode": _spikingjelly_lif,
        "ParametricLIFNode": _spikingjelly_plif,
    },
    "snntorch": {"Leaky": _snntorch_leaky},
    "norse": {"LIFBoxCell": _norse_box, "IAFCell": _norse_iaf},
}


def _library(module: Any) -> str:
    return type(module).__module__.partition(".")[0]


def adapt(module: nn.Module) -> Neuron:
    r"""A neuron of spikingjelly, snntorch or norse as one of ours that fires the same train.

    ====================================================  =============================================================
    given                                                 returned
    ====================================================  =============================================================
    spikingjelly ``LIFNode``                              :class:`ScaledLIF` that fires at its threshold too
    spikingjelly ``LIFNode(decay_input=False)``,          :class:`Adapted`, which fires at its threshold too
    ``IFNode``, ``ParametricLIFNode``
    snntorch ``Leaky(reset_mechanism="zero")``            :class:`LIF`, or :class:`IF` for ``beta=1``
    snntorch ``Leaky``                                    :class:`Adapted`, whose reset is not leaked; :class:`IF` for
                                                          ``beta=1``
    norse ``LIFBoxCell``                                  :class:`ScaledLIF`
    norse ``IAFCell``                                     :class:`IF` with ``reset="zero"``
    ====================================================  =============================================================

    Trains agree but for rounding. The surrogate of the neuron is not taken along: give the rule one, for spikingjelly's
    default ``SurrogateBPTT(Sigmoid(4.0))``. Models call this for every neuron that they are given.

    Args:
        module: the neuron; it is read, not changed. One of ours is returned as it is.

    Raises:
        ValueError: if it has no equal here, saying why.
        TypeError: if it is a neuron of none of these libraries.
    """
    if isinstance(module, Neuron):
        return module
    known, name = _KNOWN.get(_library(module)), type(module).__name__
    if known is None:
        raise TypeError(f"{name} is a neuron of none of {', '.join(_KNOWN)}: write a subclass of msg.neurons.Neuron")
    library = _library(module)
    if name not in known:
        raise ValueError(
            f"{library}'s {name} has no equal here: use one of {', '.join(known)}, or write a subclass of "
            "msg.neurons.Neuron"
        )
    try:
        return known[name](module)
    except _Refused as reason:
        raise ValueError(f"{library}'s {name} has no equal here: {reason}") from None


def resolve_neuron(neuron: Any) -> Neuron:
    """The neuron that is meant by a module, a class, a name of :data:`msg.names.NEURONS`, or a dictionary as in
    ``{"name": "lif", "tau": 3.0}``; ``None`` is :class:`IF`.

    Modules of other libraries are adapted, see :func:`adapt`.

    Raises:
        ValueError: if it is none of these.
    """
    given = IF if neuron is None else build(neuron, NEURONS)
    given = given() if isinstance(given, type) else given
    if isinstance(given, nn.Module) and _library(given) in _KNOWN:
        return adapt(given)
    if not isinstance(given, nn.Module) or type(given).__module__.startswith("torch.nn."):  # torch's ReLU, say
        raise ValueError(f"neuron must be a neuron of msg.neurons such as IF(), LIF(tau=2.0) or ReLU(), not {neuron!r}")
    try:
        inspect.signature(given.forward).bind(None, None, None, None)
    except TypeError:
        raise ValueError(
            f"{type(given).__name__}.forward must take (current, state=None, fire=..., detach_reset=True), as "
            "Neuron.forward does: rules say what fires, and whether the reset has a gradient"
        ) from None
    return given  # pyright: ignore[reportReturnType] - any module of the explicit-state contract


def stepwise_neuron(neuron: Any) -> Neuron:
    """The neuron that is meant, for a network that is given its input piece by piece; see :func:`resolve_neuron`.

    Raises:
        ValueError: if it is no neuron, carries nothing from one step to the next, or has a threshold that is to be
            fitted to all of the input.
    """
    given = resolve_neuron(neuron)
    if not spikes(given):
        raise ValueError(f"{type(given).__name__} has no state to carry: use a neuron that spikes, such as LIF()")
    if not fitted(given):
        raise ValueError("threshold='auto' is fitted to one input, and here inputs differ: give a number")
    return given
