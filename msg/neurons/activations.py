r"""What stands in a neuron's place in a network that does not spike: its twins, to hold everything else fixed.

An integrate-and-fire neuron under a constant current tends to the rate :math:`\operatorname{clip}(c/\theta, 0, 1)`. A
network of :class:`ClippedReLU` is therefore the spiking network of infinitely many steps, and one of
:class:`QuantizedReLU` that of the same number of levels, each sent once as an integer.
"""

from typing import Any

import torch
from torch import Tensor

from msg.neurons.neuron import Fire, Neuron, Threshold
from msg.neurons.surrogates import ATan


class _Rounded(torch.autograd.Function):
    """Whole numbers, with the derivative of the identity in both modes."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        return values.round()

    @staticmethod
    def backward(ctx, *grads: Tensor) -> Tensor:
        return grads[0]

    @staticmethod
    def jvp(ctx, *tangents: Tensor) -> Tensor:
        return tangents[0].clone()


class Activation(Neuron):
    r"""Base of what answers a current at once, by a number in place of spikes. A subclass gives :meth:`value`.

    It has no state and no time: networks take it with ``timesteps=1`` alone. Its derivative is its own, so the
    surrogate is not used, and ``SurrogateBPTT`` is plain backpropagation.

    Args:
        threshold: scale ``θ`` of the current, or ``"auto"``, see :class:`Neuron`.

    Raises:
        ValueError: for a threshold that is not positive.
    """

    spiking = False

    def __init__(self, threshold: Threshold = 1.0):
        super().__init__(threshold)

    def value(self, current: Tensor) -> Tensor:
        """The answer, of the shape of the current."""
        raise NotImplementedError

    def forward(
        self,
        current: Tensor,
        state: Any = None,
        fire: Fire = ATan(),  # noqa: B008 - a frozen value
        detach_reset: bool = True,
    ) -> tuple[Tensor, Any]:
        """The answer, and no state; other arguments are not read."""
        return self.value(current), None

    def rate(self, current: Tensor, timesteps: int) -> Tensor:
        """The answer itself, without gradient."""
        with torch.no_grad():
            return self.value(current)

    def extra_repr(self) -> str:
        """Threshold."""
        return f"threshold={self.threshold:g}" if self.fitted else "threshold='auto'"


class ReLU(Activation):
    r""":math:`\max(c, 0)/\theta`: what an artificial network has."""

    def value(self, current: Tensor) -> Tensor:
        """See the class."""
        return current.relu() / self.threshold


class ClippedReLU(Activation):
    r""":math:`\operatorname{clip}(c/\theta, 0, 1)`: the rate that an integrate-and-fire neuron tends to."""

    def value(self, current: Tensor) -> Tensor:
        """See the class."""
        return (current / self.threshold).clamp(0, 1)


class QuantizedReLU(Activation):
    r"""A rate in ``b`` bits,

    .. math::
        q = \frac1L\operatorname{round}\bigl(L\operatorname{clip}(c/\theta, 0, 1)\bigr), \qquad L = 2^b - 1,

    with the derivative of the clipped line (straight-through): the ⌈log2(T + 1)⌉-bit network that critics of spikes
    ask for, since it sends as many levels as ``T`` steps in one message.

    Source: `Yan et al. 2024, Reconsidering the energy efficiency of spiking neural networks
    <https://arxiv.org/abs/2409.08290>`_; straight-through: `Bengio et al. 2013 <https://arxiv.org/abs/1308.3432>`_.

    Args:
        bits: ``b``, from 1 to 16.
        threshold: ``θ``, the current of the highest level.

    Raises:
        ValueError: for other numbers of bits, or a threshold that is not positive.
    """

    def __init__(self, bits: int = 4, threshold: Threshold = 1.0):
        super().__init__(threshold)
        if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 16:
            raise ValueError(f"bits must be a whole number from 1 to 16, not {bits!r}")
        self.bits = bits

    @property
    def levels(self) -> int:
        """Highest level ``L``; the lowest is zero."""
        return 2**self.bits - 1

    def value(self, current: Tensor) -> Tensor:
        """See the class."""
        # half precision has neither all levels nor the small gradients between the two factors
        wide = current.to(torch.promote_types(current.dtype, torch.float32))
        scaled = (wide * (self.levels / self.threshold)).clamp(0, self.levels)
        return (_Rounded.apply(scaled) / self.levels).to(current.dtype)  # pyright: ignore

    def extra_repr(self) -> str:
        """Bits and threshold."""
        return f"bits={self.bits}, {super().extra_repr()}"
