"""From mean currents to a point: the geometry of a spiking network, apart from its dynamics."""

from collections.abc import Sequence
from typing import Any

import geoopt
import torch
from torch import Tensor, nn

from msg.layers.dropout import Dropout
from msg.manifolds import PowerManifold, ambient_dim, bound_length, path


class ManifoldPath(nn.Module):
    r"""The path of each node on a manifold: one step a layer, from the origin,

    .. math::
        z^l = \exp_{z^{l-1}}\bigl(PT_{o \to z^{l-1}}\, b(\varepsilon v^l)\bigr), \qquad z^{-1} = o,

    with :math:`v^l` the mean current of layer ``l`` as a tangent vector at the origin, and
    :math:`b(v) = m\tanh(|v|/m)\,v/|v|` bounding the length of a step.

    Source: `Sun et al. 2024, Spiking Graph Neural Network on Riemannian Manifolds
    <https://arxiv.org/abs/2410.17941>`_, section 4.1, with parallel transport and bounded steps.

    Args:
        manifold: a geoopt manifold that :mod:`msg.manifolds` knows.
        hidden_channels: its intrinsic dimension ``d``, the width of the currents.
        step_size: ``ε``.
        max_step: ``m``, bound on a step's length; ``None`` for none.
        dropout: probability of dropping a coordinate of a mean current, in training.
        learned_steps: how many steps there are, if each is to learn its size :math:`\varepsilon_l`, positive and at
            first ``ε``; 0: none does.

    Shapes:
        ``currents``: ``[N, d]`` each; returns points ``[N, ambient_dim]`` in float64.

    Raises:
        ValueError: for a step size that is not a positive number, or a bound that is not positive.
    """

    def __init__(
        self,
        manifold: geoopt.Manifold,
        hidden_channels: int,
        step_size: float = 0.1,
        max_step: float | None = 1.0,
        dropout: float = 0.0,
        learned_steps: int = 0,
    ):
        super().__init__()
        if not 0 < step_size < float("inf"):
            raise ValueError(f"step_size must be a positive number, not {step_size}")
        if max_step is not None and not max_step > 0:
            raise ValueError(f"max_step must be positive, or None for no bound, not {max_step}")
        self.manifold, self.hidden_channels = manifold, hidden_channels
        self.step_size: float = step_size
        self.max_step: float | None = max_step
        self.dropout = Dropout(dropout)
        # logarithms of factors, so that a step keeps its direction
        self.growth = nn.Parameter(torch.zeros(learned_steps)) if learned_steps else None

    @property
    def factor(self) -> geoopt.Manifold:
        """Where the steps are made: the manifold of a single point."""
        return self.manifold

    @property
    def out_channels(self) -> int:
        """Dimension of the manifold that the path's points are on."""
        return self.hidden_channels

    def reset_parameters(self) -> None:
        """Back to the first step sizes."""
        if self.growth is not None:
            nn.init.zeros_(self.growth)

    def _scaled(self, current: Tensor, number: int) -> Tensor:
        return current if self.growth is None else current * self.growth[number].exp().to(current.dtype)

    def step(self, current: Tensor, number: int = 0) -> Tensor:
        """The tangent vector at the origin, ``[N, d]``, that the mean current of a layer moves the point along."""
        v = self.step_size * self._scaled(current, number)
        return v if self.max_step is None else bound_length(v, self.max_step)

    def _vectors(self, currents: Sequence[Tensor]) -> list[Tensor]:
        return [self._scaled(self.dropout(current), number) for number, current in enumerate(currents)]

    def forward(self, currents: Sequence[Tensor]) -> Tensor:
        return path(self.manifold, self._vectors(currents), self.step_size, self.max_step)

    def extra_repr(self) -> str:
        learned = "" if self.growth is None else ", learned"
        return f"{self.hidden_channels}, step_size={self.step_size:g}{learned}, max_step={self.max_step}"


class JumpingPath(ManifoldPath):
    r"""A path all of whose points are kept: jumping knowledge, on a manifold,

    .. math::
        (z^0, z^1, \dots, z^L) \in M \times M \times \dots \times M,

    one point of the product, whose logarithm at the origin is that of all of them side by side.

    Source: `Xu et al. 2018, Representation Learning on Graphs with Jumping Knowledge Networks
    <https://arxiv.org/abs/1806.03536>`_, concatenation.

    Args:
        manifold: as in :class:`ManifoldPath`; the attribute of this name is the product.
        hidden_channels: intrinsic dimension ``d`` of one point.
        num_points: how many there are, ``L + 1``.
        options: other arguments of :class:`ManifoldPath`.

    Shapes:
        ``currents``: ``[N, d]`` each; returns points ``[N, (L + 1) * ambient_dim]`` in float64.
    """

    def __init__(self, manifold: geoopt.Manifold, hidden_channels: int, num_points: int, **options: Any):
        super().__init__(manifold, hidden_channels, **options)
        self.num_points = num_points
        self.manifold = PowerManifold(manifold, ambient_dim(manifold, hidden_channels), num_points)

    @property
    def factor(self) -> geoopt.Manifold:
        """Of a single point, see :class:`ManifoldPath`."""
        return self.manifold.factor  # pyright: ignore[reportReturnType]

    @property
    def out_channels(self) -> int:
        """Of the product."""
        return self.num_points * self.hidden_channels

    def forward(self, currents: Sequence[Tensor]) -> Tensor:
        vectors = self._vectors(currents)
        ends = range(1, len(vectors) + 1)
        return torch.cat([path(self.factor, vectors[:end], self.step_size, self.max_step) for end in ends], dim=-1)


class LastCurrent(nn.Module):
    """The path of a network without a manifold: its point is the mean current of the last layer.

    Shapes:
        ``currents``: ``[N, d]`` each; returns ``[N, d]``.
    """

    def forward(self, currents: Sequence[Tensor]) -> Tensor:
        return currents[-1]
