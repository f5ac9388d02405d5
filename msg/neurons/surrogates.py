r"""The firing nonlinearity :math:`s = H(u)`, ``u`` = membrane potential minus threshold, and derivatives to stand in.

A surrogate is a value: call it to fire. The forward is always the same Heaviside step (strict: no spike at ``u = 0``),
so that changing the surrogate never changes the dynamics.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch  # pyright: ignore[reportMissingImports,reportAttributeAccessIssue]

from msg.kernels.signatures import looked_up
from msg.kernels.tracing import exporting, tracing


def _step(potential: Tensor, threshold: float) -> Tensor:
    if not torch.compiler.is_compiling() and (_functorch.is_functorch_wrapped_tensor(potential) or tracing()):
        # neither torch.vmap nor the older exporter to ONNX has a rule for what follows
        return (potential > threshold).to(potential.dtype)
    # compared straight into the result: a boolean in between would cost six times as much
    return torch.gt(potential, threshold, out=torch.empty_like(potential))


class _Spike(torch.autograd.Function):
    @staticmethod
    @looked_up
    def forward(potential: Tensor, threshold: float, surrogate: "Surrogate") -> Tensor:
        return _step(potential, threshold)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        potential, ctx.threshold, ctx.surrogate = inputs
        ctx.save_for_backward(potential)
        ctx.save_for_forward(potential)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None, None]:
        (potential,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate.derivative(potential - ctx.threshold), None, None

    @staticmethod
    def jvp(ctx, *tangents: Tensor) -> Tensor:
        (potential,) = ctx.saved_tensors
        return tangents[0] * ctx.surrogate.derivative(potential - ctx.threshold)

    @staticmethod
    def vmap(info, in_dims: tuple, *args: Any):
        """Neurons fire one by one, however many there are."""
        return _Spike.apply(*args), in_dims[0]


@dataclass(frozen=True)
class Surrogate(ABC):
    r"""Heaviside step forward, :math:`\sigma'` backward; subclasses give ``derivative``."""

    @abstractmethod
    def derivative(self, u: Tensor) -> Tensor:
        r""":math:`\sigma'(u)`, elementwise."""

    def __call__(self, potential: Tensor, threshold: float = 0.0) -> Tensor:
        """Fire: 1 where ``potential > threshold``, else 0, in the dtype and shape of ``potential``."""
        if torch.compiler.is_compiling() or tracing():
            return self._traced(potential, threshold)
        return _Spike.apply(potential, threshold, self)  # pyright: ignore[reportReturnType]

    def constants(self) -> tuple[int, float, float] | None:
        """Number among ``msg.kernels.operators.KINDS``, scale and height: all that a compiled loop has to know.

        ``None`` for a class that may do something else.
        """
        if type(self) is ATan:
            return 0, math.pi / 2 * self.alpha, self.alpha / 2
        if type(self) is Sigmoid:
            return 1, self.alpha, self.alpha
        return (2, 1.0, self.gamma) if type(self) is Triangle else None

    def _traced(self, potential: Tensor, threshold: float) -> Tensor:
        """The same of plain operations: compilers do not see through a function with a forward derivative."""
        spikes = _step(potential.detach(), threshold)
        if exporting() or not (torch.is_grad_enabled() and potential.requires_grad):
            return spikes
        slope = self.derivative(potential.detach() - threshold)
        return spikes + slope * (potential - potential.detach())


def check_surrogate(surrogate: Any) -> None:
    """Raise ``ValueError`` for what is no value that fires: a class of surrogates, or the name of one."""
    if not isinstance(surrogate, Surrogate):
        raise ValueError(f"surrogate must be a value such as Sigmoid(4.0), not {surrogate!r}")


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} of a surrogate must be a positive number, not {value}")


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    r""":math:`\sigma'(u) = \alpha\,\mathrm{sig}(\alpha u)(1 - \mathrm{sig}(\alpha u))`.

    Source: `Neftci et al. 2019, Surrogate Gradient Learning in Spiking Neural Networks
    <https://arxiv.org/abs/1901.09948>`_.

    Args:
        alpha: sharpness; the derivative at threshold is ``alpha / 4``.

    Raises:
        ValueError: for a setting that is not a positive number.
    """

    alpha: float = 4.0

    def __post_init__(self):
        _check_positive("alpha", self.alpha)

    def derivative(self, u: Tensor) -> Tensor:
        s = torch.sigmoid(self.alpha * u)
        return self.alpha * s * (1 - s)


@dataclass(frozen=True)
class ATan(Surrogate):
    r""":math:`\sigma'(u) = \frac{\alpha/2}{1 + (\pi\alpha u/2)^2}`.

    Source: `Fang et al. 2021, Incorporating Learnable Membrane Time Constant
    <https://arxiv.org/abs/2007.05785>`_.

    Args:
        alpha: sharpness; the derivative at threshold is ``alpha / 2``.

    Raises:
        ValueError: for a setting that is not a positive number.
    """

    alpha: float = 2.0

    def __post_init__(self):
        _check_positive("alpha", self.alpha)

    def derivative(self, u: Tensor) -> Tensor:
        if torch.is_grad_enabled() and u.requires_grad:  # a second derivative is wanted
            return self.alpha / 2 / (1 + (math.pi / 2 * self.alpha * u).square())
        # in place after the first, since fresh buffers cost more than arithmetic; and divided out, to an operation less
        return u.square().mul_(math.pi**2 / 2 * self.alpha).add_(2 / self.alpha).reciprocal_()


@dataclass(frozen=True)
class Triangle(Surrogate):
    r""":math:`\sigma'(u) = \gamma\max(0, 1 - |u|)`.

    Source: `Bellec et al. 2018, Long short-term memory and learning-to-learn in networks of spiking neurons
    <https://arxiv.org/abs/1803.09574>`_.

    Args:
        gamma: height at threshold.

    Raises:
        ValueError: for a setting that is not a positive number.
    """

    gamma: float = 1.0

    def __post_init__(self):
        _check_positive("gamma", self.gamma)

    def derivative(self, u: Tensor) -> Tensor:
        return self.gamma * (1 - u.abs()).clamp(min=0)


@dataclass(frozen=True)
class SuperSpike(Surrogate):
    r""":math:`\sigma'(u) = \frac{1}{(1 + \alpha|u|)^2}`.

    Source: `Zenke & Ganguli 2018, SuperSpike: Supervised Learning in Multilayer Spiking Neural Networks
    <https://arxiv.org/abs/1705.11146>`_, eq. 4, whose :math:`\beta` is ``alpha``.

    Args:
        alpha: sharpness; the derivative at threshold is 1 for any.

    Raises:
        ValueError: for a setting that is not a positive number.
    """

    alpha: float = 1.0

    def __post_init__(self):
        _check_positive("alpha", self.alpha)

    def derivative(self, u: Tensor) -> Tensor:
        return (1 + self.alpha * u.abs()).square().reciprocal()


@dataclass(frozen=True)
class ArcTan(Surrogate):
    r""":math:`\sigma'(u) = \frac{1}{1 + \alpha u^2}`: the shape of :class:`ATan` with a height of 1 for any sharpness.

    Source: the form in which spiking graph networks use it, as `Li et al. 2023, Scaling Up Dynamic Graph Representation
    Learning via Spiking Neural Networks <https://arxiv.org/abs/2208.10364>`_.

    Args:
        alpha: sharpness; the derivative at threshold is 1 for any.

    Raises:
        ValueError: for a setting that is not a positive number.
    """

    alpha: float = 1.0

    def __post_init__(self):
        _check_positive("alpha", self.alpha)

    def derivative(self, u: Tensor) -> Tensor:
        return (1 + self.alpha * u.square()).reciprocal()


@dataclass(frozen=True)
class MultiGaussian(Surrogate):
    r""":math:`\sigma'(u) = (1 + h)\,N(u; 0, \sigma) - h\,N(u; \sigma, s\sigma) - h\,N(u; -\sigma, s\sigma)`, with
    the normal density :math:`N(u; \mu, \sigma)`: negative far from the threshold.

    Source: `Yin et al. 2021, Accurate and efficient time-domain classification with adaptive spiking recurrent neural
    networks <https://arxiv.org/abs/2103.12593>`_.

    Args:
        sigma: width of the peak ``σ``.
        height: share of the negative lobes ``h``.
        spread: how many times as wide they are, ``s``.

    Raises:
        ValueError: for a setting that is not a positive number.
    """

    sigma: float = 0.5
    height: float = 0.15
    spread: float = 6.0

    def __post_init__(self):
        for name in ("sigma", "height", "spread"):
            _check_positive(name, getattr(self, name))

    def derivative(self, u: Tensor) -> Tensor:
        wide = self.spread * self.sigma
        lobes = _normal(u - self.sigma, wide) + _normal(u + self.sigma, wide)
        return (1 + self.height) * _normal(u, self.sigma) - self.height * lobes


def _normal(u: Tensor, sigma: float) -> Tensor:
    return torch.exp(-0.5 * (u / sigma).square()) / (sigma * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class Box(Surrogate):
    r""":math:`\sigma'(u) = \frac{1}{2a}` for :math:`|u| < a`, else 0.

    Source: `Wu et al. 2018, Spatio-Temporal Backpropagation for Training High-Performance Spiking Neural Networks
    <https://arxiv.org/abs/1706.02609>`_, :math:`h_1` of eq. 24, whose width is :math:`2a`.

    Args:
        half_width: ``a``.

    Raises:
        ValueError: for a setting that is not a positive number.
    """

    half_width: float = 0.5

    def __post_init__(self):
        _check_positive("half_width", self.half_width)

    def derivative(self, u: Tensor) -> Tensor:
        return (u.abs() < self.half_width).to(u.dtype) / (2 * self.half_width)


def heaviside(potential: Tensor, threshold: float = 0.0) -> Tensor:
    """Fire without a derivative: 1 where ``potential > threshold``, else 0, in the dtype and shape of ``potential``."""
    return _step(potential.detach(), threshold)
