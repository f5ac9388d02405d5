"""Networks that settle: a system with an energy, the way down it, and what a rule for such networks is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from msg.gradients.rule import GradientRule
from msg.kernels.tracing import transformed
from msg.names import SETTLING_RULES
from msg.registry import Registry

States = tuple[Tensor, ...]
"""What settles, one tensor a layer; the last is the network's output."""

_LOOK_ELSEWHERE = 16  # sweeps from one look at the residual to the next


@dataclass(frozen=True)
class SettlingSystem(ABC):
    r"""States that settle at a minimum of an energy :math:`E(s, \theta)`, for one input.

    Args:
        tensors: :math:`\theta`, all that the energy depends on besides the states: weights, and what the input became
            before it reached the states.
    """

    tensors: tuple[Tensor, ...]

    def with_tensors(self, tensors: Sequence[Tensor]) -> Self:
        r"""The same system with another :math:`\theta`."""
        return replace(self, tensors=tuple(tensors))

    @abstractmethod
    def start(self) -> States:
        """Where the free phase begins."""

    @abstractmethod
    def sweep(self, states: States, nudge: Tensor | None = None, backwards: bool = False) -> States:
        r"""Update all layers once, down :math:`E(s, \theta) + \langle\mathrm{nudge}, s^L\rangle`.

        Args:
            states: of all layers.
            nudge: a constant force on the output, of its shape.
            backwards: from the output to the input instead of from the input to the output.
        """

    @abstractmethod
    def energy(self, states: States) -> Tensor:
        """The energy, a scalar, differentiable in states and tensors."""


class Equilibrium(NamedTuple):
    """Where a system settled.

    Attributes:
        states: of all layers; the last is the output.
        residual: largest change of any state in the last sweep, 0 at an exact equilibrium.
        steps: sweeps taken.
    """

    states: States
    residual: float
    steps: int


def settle(
    system: SettlingSystem,
    steps: int,
    tolerance: float = 0.0,
    states: States | None = None,
    nudge: Tensor | None = None,
    backwards: bool = False,
) -> Equilibrium:
    """Sweep until the residual is at most ``tolerance``, but at most ``steps`` times.

    On a CPU the residual is looked at after every sweep. Elsewhere each look makes the host wait for the device, so it
    is every 16th, and up to 15 sweeps more are taken.

    Args:
        system: what settles.
        steps: at most so many sweeps, at least 1.
        tolerance: a residual that is small enough; 0 stops only where nothing changes any more.
        states: where to begin; by default where the system starts.
        nudge: see :meth:`SettlingSystem.sweep`.
        backwards: see :meth:`SettlingSystem.sweep`.
    """
    now = system.start() if states is None else states
    every = 1 if now[0].device.type == "cpu" else _LOOK_ELSEWHERE
    residual, step = float("inf"), 0
    while step < steps and not residual <= tolerance:
        last, now = now, system.sweep(now, nudge, backwards)
        step += 1
        if step % every == 0 or step == steps:
            residual = _residual(now, last)
    return Equilibrium(now, residual, step)


@torch.no_grad()
def _residual(now: States, last: States) -> float:
    changes = [torch.linalg.vector_norm(a - b, torch.inf) for a, b in zip(now, last) if a.numel()]
    return float(torch.stack(changes).amax()) if changes else 0.0


@dataclass(frozen=True)
class SettlingRule(GradientRule):
    """A rule for a network that settles at a minimum of an energy. A subclass supplies :meth:`output`."""

    trains: ClassVar[str] = "a network that settles, with an energy (ConvergentGNN)"
    examples: ClassVar[str] = "EquilibriumPropagation or SettlingBPTT"
    registry: ClassVar[Registry] = SETTLING_RULES

    def run(self, system: SettlingSystem, steps: int, tolerance: float) -> Tensor:
        """What :meth:`output` gives, where the residual can be looked at. Arguments are as there.

        Raises:
            ValueError: under a transform of ``torch.func``.
        """
        if transformed():
            raise ValueError(
                "a network that settles looks at how far it has come, which torch.func cannot follow: call the model "
                "and loss.backward()"
            )
        return self.output(system, steps, tolerance)

    @abstractmethod
    def output(self, system: SettlingSystem, steps: int, tolerance: float) -> Tensor:
        """Output of the settled system, attached to autograd as the rule sees fit.

        Args:
            system: what settles.
            steps: at most so many sweeps of the free phase.
            tolerance: residual at which the free phase ends.
        """
