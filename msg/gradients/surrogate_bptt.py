"""Backpropagation through time with a surrogate derivative: the baseline."""

from dataclasses import dataclass

from msg.gradients import simulation
from msg.gradients.rule import Activity, GradientRule
from msg.neurons.surrogates import ATan, Surrogate


@dataclass(frozen=True)
class SurrogateBPTT(GradientRule):
    r"""Autograd through all ``T`` steps, with :math:`\partial s/\partial u` replaced by a surrogate.

    Source: `Neftci et al. 2019, Surrogate Gradient Learning in Spiking Neural Networks
    <https://arxiv.org/abs/1901.09948>`_.

    *Recommended* as the reference that other rules approximate, and for short simulations. *Not recommended* for long
    ones: time and memory of the backward pass grow with ``T``.

    Args:
        surrogate: the derivative that stands in for that of the step.
        detach_reset: cut the gradient through the neuron's reset. For a neuron that does not leak differentiate it:
            detached, the derivative of a rate grows with ``T``.
    """

    surrogate: Surrogate = ATan()  # noqa: RUF009 - a frozen value
    detach_reset: bool = True

    def run(self, layers, x, graph, timesteps) -> Activity:
        """See :meth:`GradientRule.run`."""
        firing = simulation.Firing(self.surrogate, self.detach_reset, through_spikes=True)
        return Activity(*simulation.run(layers, x, graph, timesteps, firing))
