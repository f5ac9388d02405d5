"""Backpropagation through the settling of a convergent network: the baseline."""

from dataclasses import dataclass

from torch import Tensor

from msg.gradients.settling import SettlingRule, SettlingSystem, settle


@dataclass(frozen=True)
class SettlingBPTT(SettlingRule):
    """Autograd through all sweeps of the free phase.

    Source: `Ernoult et al. 2019, Updates of Equilibrium Prop Match Gradients of Backprop Through Time in an RNN with
    Static Input <https://arxiv.org/abs/1905.13633>`_, section 2.2.

    *Recommended* as the reference that :class:`EquilibriumPropagation` approximates, and where the free phase is short.
    *Not recommended* for long ones: memory grows with the number of sweeps.
    """

    def output(self, system: SettlingSystem, steps: int, tolerance: float) -> Tensor:
        """See :meth:`SettlingRule.output`."""
        return settle(system, steps, tolerance).states[-1]
