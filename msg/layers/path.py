"""From mean currents to a point: the geometry of a spiking network, apart from its dynamics."""

from collections.abc import Sequence

import geoopt
from torch import Tensor, nn

from msg.manifolds import bound_length, path


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
    ):
        super().__init__()
        if not 0 < step_size < float("inf"):
            raise ValueError(f"step_size must be a positive number, not {step_size}")
        if max_step is not None and not max_step > 0:
            raise ValueError(f"max_step must be positive, or None for no bound, not {max_step}")
        self.manifold, self.hidden_channels = manifold, hidden_channels
        self.step_size: float = step_size
        self.max_step: float | None = max_step
        self.dropout = nn.Dropout(dropout)

    def step(self, current: Tensor) -> Tensor:
        """The tangent vector at the origin, ``[N, d]``, that a mean current moves the point along."""
        v = self.step_size * current
        return v if self.max_step is None else bound_length(v, self.max_step)

    def forward(self, currents: Sequence[Tensor]) -> Tensor:
        vectors = [self.dropout(current) for current in currents]
        return path(self.manifold, vectors, self.step_size, self.max_step)

    def extra_repr(self) -> str:
        return f"{self.hidden_channels}, step_size={self.step_size:g}, max_step={self.max_step}"


class LastCurrent(nn.Module):
    """The path of a network without a manifold: its point is the mean current of the last layer.

    Shapes:
        ``currents``: ``[N, d]`` each; returns ``[N, d]``.
    """

    def forward(self, currents: Sequence[Tensor]) -> Tensor:
        return currents[-1]
