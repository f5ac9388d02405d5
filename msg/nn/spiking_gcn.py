"""SpikingGCN: features are propagated first, then fired, then classified."""

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from msg.gradients import Activity, GradientRule, SurrogateBPTT
from msg.neurons import IF, Neuron
from msg.nn.layer import SpikingLayer
from msg.nn.network import SpikingNetwork, readout_layer
from msg.nn.sparse import Memo, SparseMatrix
from msg.nn.synapse import Synapse

SPARSE_BELOW = 0.1
"""Share of neurons that fire below which their rates are multiplied as a sparse matrix."""


class Propagation(nn.Module):
    r"""``K`` hops of the normalised adjacency without weights: :math:`\hat A^K X` with
    :math:`\hat A = D^{-1/2}(A + I)D^{-1/2}`.

    Args:
        num_hops: ``K``.

    Shapes:
        ``x``: ``[N, F]``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; returns ``[N, F]``.
    """

    def __init__(self, num_hops: int):
        super().__init__()
        self.num_hops = num_hops
        self._adjacency = Memo()

    def hops(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Iterator[Tensor]:
        """``x``, then what it is after each hop, one at a time."""
        nodes = x.size(0)

        def build() -> SparseMatrix:
            (source, target), weight = gcn_norm(  # pyright: ignore[reportGeneralTypeIssues]
                edge_index, edge_weight, nodes, dtype=x.dtype
            )
            assert weight is not None
            return SparseMatrix(target, source, weight, (nodes, nodes))

        adjacency = self._adjacency.recall((edge_index, edge_weight), (nodes, x.dtype), build)
        yield x
        for _ in range(self.num_hops):
            x = adjacency.matmul(x)
            yield x

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """See the class."""
        return deque(self.hops(x, edge_index, edge_weight), maxlen=1).pop()

    def extra_repr(self) -> str:
        """Number of hops."""
        return f"num_hops={self.num_hops}"


class SpikingGCN(SpikingNetwork):
    r"""Spiking graph network that propagates features once, and whose only weights are those of its read-out.

    .. math::
        h = \hat A^K X, \qquad s_t = \text{neuron}(h), \qquad y = r W + b, \qquad r = \frac1T\sum_t s_t .

    Source: `Zhu et al. 2022, Spiking Graph Convolutional Networks <https://www.ijcai.org/proceedings/2022/338>`_
    (IJCAI). It differs in two things. The paper draws the spikes of each feature at random, with probability ``h``
    (Bernoulli encoding); here ``h`` is a *constant current* into a neuron a feature, which fires at the same rate for
    ``0 <= h <= 1`` up to ``1/T``, is deterministic, and also encodes what is not in ``[0, 1]``. The paper reads the
    firing rates of one more layer of neurons, one a class; here the read-out integrates its current and does not fire.

    Nothing before the read-out is learned, so the rates of a constant ``x`` are computed once for each graph and kept.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``.
        num_hops: ``K``.
        timesteps: ``T``.
        neuron: prototype, copied.
        gradient: how to train through time, where there is something to train before the read-out.
        dropout: probability of dropping a firing rate before the read-out, in training.

    Shapes:
        ``x``: ``[N, F]`` or ``[T, N, F]``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; returns ``[N, C]``.

    Raises:
        ValueError: for impossible sizes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_hops: int = 2,
        timesteps: int = 15,
        neuron: Neuron | None = None,
        gradient: GradientRule | None = None,
        dropout: float = 0.0,
    ):
        if num_hops < 1:
            raise ValueError(f"num_hops must be at least 1, not {num_hops}")
        encoder = SpikingLayer(Synapse(Propagation(num_hops)), neuron or IF(), in_channels)
        readout = readout_layer(in_channels, out_channels, dropout)
        super().__init__([encoder, readout], timesteps, gradient or SurrogateBPTT())
        self.in_channels, self.out_channels, self.num_hops = in_channels, out_channels, num_hops
        self._encoded = Memo()

    def activity(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Activity:
        """See :meth:`SpikingNetwork.activity`."""
        encoder, readout = self.layers
        neuron = encoder.neuron
        learned = any(p.requires_grad for p in neuron.parameters())  # pyright: ignore
        constant = x.dim() == 2 and not x.requires_grad and not learned
        if not constant:
            return super().activity(x, edge_index, edge_weight)
        features, graph = self._prepare(x, edge_index, edge_weight)

        def encode() -> tuple[Tensor, Tensor, Tensor | SparseMatrix]:
            with torch.no_grad():
                current = encoder.current(features, graph)  # pyright: ignore
                rate: Tensor = neuron.rate(current, self.timesteps)  # pyright: ignore
                few = int(rate.count_nonzero()) < SPARSE_BELOW * rate.numel()
                return current, rate, SparseMatrix.from_tensor(rate) if few else rate

        settings = (self.timesteps, repr(neuron))
        current, rate, read = self._encoded.recall((x, edge_index, edge_weight), settings, encode)
        return Activity([current, readout.current(read, graph)], [rate])  # pyright: ignore

    def read(self, activity: Activity) -> Tensor:
        """Logits: the last mean current."""
        return activity.drives[-1]

    def extra_repr(self) -> str:
        """What is not a submodule."""
        rule = self.gradient.describe(self.timesteps)
        return f"{self.in_channels}, {self.out_channels}, timesteps={self.timesteps}, gradient={rule}"
