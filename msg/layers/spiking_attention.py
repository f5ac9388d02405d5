"""Attention among all nodes whose queries, keys and values are spikes, in time linear in the number of nodes."""

from collections.abc import Callable

from torch import Tensor, nn

from msg.layers.norm import TrainBatchNorm
from msg.layers.train import SpikeCount, SpikeLinear, SpikeProduct
from msg.sizes import check_sizes

Fires = Callable[[float], nn.Module]
"""Makes neurons that run along a current, from their threshold."""


class SpikingAttention(nn.Module):
    r"""Multi-head attention of spikes, :math:`O(N T d)`: what all nodes have in common masks the query of each.

    .. math::
        s = \mathrm{neuron}(x), \qquad q, k, v = \mathrm{neuron}(\mathrm{norm}(s W_{q,k,v} + b)), \qquad
        a = \mathrm{neuron}_{\theta_a}\Bigl(\sum_n k_n \odot v_n\Bigr), \qquad
        y = \mathrm{norm}\bigl((q \odot a) W_o + b\bigr),

    with the sum over *all nodes*, so that :math:`a` is one mask for each step and channel. Each head is as wide as the
    input. The norm is batch normalisation over nodes and time. The count behind the mask grows with the number of
    nodes, and its threshold does not: on a large graph the mask is open wherever some nodes agree.

    Source: `Sun et al. 2024, SpikeGraphormer: A High-Performance Graph Transformer with Spiking Graph Attention
    <https://arxiv.org/abs/2403.15480>`_.

    Args:
        channels: ``d``.
        heads: number of heads.
        fires: makes neurons from their threshold.
        threshold: of all neurons but those of the mask.
        attention_threshold: :math:`\theta_a`.
        over_heads: take the sum over the heads of each node in place of the sum over nodes. No node then sees another.

    Shapes:
        ``x``: current ``[N, T, d]``; returns a current of that shape.

    Raises:
        ValueError: for fewer than one head.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        fires: Fires,
        threshold: float = 1.0,
        attention_threshold: float = 0.5,
        over_heads: bool = False,
    ):
        super().__init__()
        check_sizes(heads=heads)
        self.channels, self.heads, self.over_heads = channels, heads, over_heads
        wide = channels * heads
        self.fire = fires(threshold)
        self.query, self.key, self.value = (
            nn.Sequential(SpikeLinear(channels, wide), TrainBatchNorm(wide), fires(threshold)) for _ in range(3)
        )
        self.both, self.masked = SpikeProduct(), SpikeProduct()
        self.count = SpikeCount(-2 if over_heads else 0)
        self.mask = fires(attention_threshold)
        self.out = nn.Sequential(SpikeLinear(wide, channels), TrainBatchNorm(channels))

    def reset_parameters(self) -> None:
        """Reset all projections, norms and neurons."""
        reset_all(self)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.fire(x)
        common = self.both(self.key(spikes), self.value(spikes))
        query = self.query(spikes)
        if not self.over_heads:
            return self.out(self.masked(query, self.mask(self.count(common))))
        nodes, steps = x.shape[:2]
        mask = self.mask(self.count(common.view(nodes, steps, self.heads, self.channels)).squeeze(2)).unsqueeze(2)
        return self.out(self.masked(query.view(nodes, steps, self.heads, self.channels), mask).flatten(2))

    def extra_repr(self) -> str:
        return f"{self.channels}, heads={self.heads}, over_heads={self.over_heads}"


class SpikingMLP(nn.Module):
    r"""Two linear maps of spikes with neurons before each, :math:`\mathrm{norm}(W_2 \mathrm{neuron}(\mathrm{norm}(W_1
    \mathrm{neuron}(x))))`, for each node by itself.

    Args:
        channels: ``d``.
        hidden_channels: between the two.
        fires: makes neurons from their threshold.
        threshold: of the neurons.

    Shapes:
        ``x``: current ``[N, T, d]``; returns a current of that shape.
    """

    def __init__(self, channels: int, hidden_channels: int, fires: Fires, threshold: float = 1.0):
        super().__init__()
        self.body = nn.Sequential(
            fires(threshold),
            SpikeLinear(channels, hidden_channels),
            TrainBatchNorm(hidden_channels),
            fires(threshold),
            SpikeLinear(hidden_channels, channels),
            TrainBatchNorm(channels),
        )

    def reset_parameters(self) -> None:
        """Reset both maps, their norms and neurons."""
        reset_all(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def reset_all(module: nn.Module) -> None:
    """Reset every module inside that has parameters of its own."""
    for inner in module.modules():
        if inner is not module and next(inner.parameters(recurse=False), None) is not None:
            inner.reset_parameters()  # pyright: ignore[reportCallIssue]
