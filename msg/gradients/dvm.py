"""Differentiation via the manifold."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from msg.gradients import packed
from msg.gradients.rule import FeedForwardRule
from msg.gradients.simulation import SILENT, Dynamics


@dataclass(frozen=True)
class DvM(FeedForwardRule):
    r"""Differentiation via the manifold: gradients reach a layer through the point on the manifold, not its spikes.

    The loss depends on the weights :math:`W^l` of layer ``l`` through its mean current
    :math:`v^l = \hat A r^{l-1} W^l`, which moves the point, and through its spikes, which drive the layers above. DvM
    differentiates the first path and cuts the second,

    .. math::
        \nabla_{W^l}\mathcal L \approx (\hat A r^{l-1})^\top \frac{\partial\mathcal L}{\partial v^l},

    so it is a *partial* gradient: the effect of :math:`W^l` on :math:`r^l, r^{l+1}, \dots` is left out. In exchange the
    backward pass has no time axis, does no message passing (the encoder's own excepted), and its memory does not grow
    with ``T``. The rates are the neuron's own, no surrogate is involved.

    Source: `Sun et al. 2024, Spiking Graph Neural Network on Riemannian Manifolds
    <https://arxiv.org/abs/2410.17941>`_, section 4.2.

    *Recommended* for manifold models, above all for long simulations. *Not recommended* for
    :class:`~msg.models.SpikingGNN`, whose logits depend on hidden layers only through spikes (refused), or to learn a
    neuron's parameters (refused).
    """

    through_spikes: ClassVar[bool] = False
    across: ClassVar[bool] = True

    def check(self, layers) -> None:
        """Refuse neurons whose parameters would silently never learn."""
        for layer in layers[:-1]:
            neuron = layer.neuron
            names = [] if neuron is None else [name for name, p in neuron.named_parameters() if p.requires_grad]
            if names:
                raise ValueError(
                    f"DvM cuts the gradient through spikes, so {', '.join(names)} of {type(neuron).__name__} "
                    "would never learn: use SurrogateBPTT, or a neuron without parameters such as LIF"
                )

    def simulate(self, dynamics: Dynamics, current: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """See :meth:`FeedForwardRule.simulate`."""
        found = packed.simulate(dynamics, current)
        if found is not None:
            return found.activity(dynamics)
        rates, seen, _ = dynamics.totals(current, SILENT)
        return dynamics.mean_currents(rates, seen), rates
