"""Backpropagation through time with a surrogate derivative: the baseline."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from msg.gradients import packed
from msg.gradients.rule import FeedForwardRule, RuleLike, resolve_rule
from msg.gradients.simulation import Dynamics, Firing
from msg.neurons import ATan, Surrogate
from msg.neurons.surrogates import check_surrogate


@dataclass(frozen=True)
class SurrogateRule(FeedForwardRule):
    """A rule that differentiates through spikes, by a surrogate of their derivative.

    Args:
        surrogate: the derivative that stands in for that of the step.
        detach_reset: cut the gradient through the neuron's reset. For a neuron that does not leak differentiate it:
            detached, the derivative of a rate grows with ``T``.

    Raises:
        ValueError: for a surrogate that is a class or a name.
    """

    surrogate: Surrogate = ATan()  # noqa: RUF009 - a frozen value
    detach_reset: bool = True

    def __post_init__(self):
        check_surrogate(self.surrogate)


@dataclass(frozen=True)
class SurrogateBPTT(SurrogateRule):
    r"""Autograd through all ``T`` steps, with :math:`\partial s/\partial u` replaced by a surrogate.

    Arguments are those of :class:`SurrogateRule`.

    Source: `Neftci et al. 2019, Surrogate Gradient Learning in Spiking Neural Networks
    <https://arxiv.org/abs/1901.09948>`_.

    *Recommended* as the reference that other rules approximate, and for short simulations. *Not recommended* for long
    ones: the time of the backward pass grows with ``T``, in plain torch its memory too.
    """

    twice: ClassVar[bool] = True
    across: ClassVar[bool] = True

    def simulate(self, dynamics: Dynamics, current: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """See :meth:`FeedForwardRule.simulate`."""
        firing = Firing(self.surrogate, self.detach_reset, through_spikes=True)
        found = packed.differentiate(dynamics, current, firing)
        if found is not None:
            return found.activity(dynamics)
        rates, seen, _ = dynamics.totals(current, firing)
        return dynamics.mean_currents(rates, seen), rates


def resolve_step_rule(rule: RuleLike, model: str) -> SurrogateBPTT:
    """The rule that is meant, for a model that runs its neurons step by step itself.

    Args:
        rule: as for :func:`~msg.gradients.resolve_rule`.
        model: its name, for the message.

    Raises:
        ValueError: if it is any other than :class:`SurrogateBPTT`, even a subclass, which does something else with the
            time axis that nothing there would honour.
    """
    given = resolve_rule(rule, FeedForwardRule, model)
    if type(given) is not SurrogateBPTT:
        raise ValueError(
            f"{type(given).__name__} cannot train a recurrent network such as {model}: it owns a loop over layers, and "
            "here the loop is over the spikes a layer sends itself. Use SurrogateBPTT"
        )
    return given
