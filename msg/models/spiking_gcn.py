"""SpikingGCN: features are propagated first, then fired, then classified."""

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from msg.calls import watched
from msg.gradients import Activity, RuleLike, SurrogateBPTT
from msg.graph import Graph, Memo, SampledGraph, SparseMatrix
from msg.graph.memo import settings_of
from msg.graph.sparse import to_dense, to_tensor
from msg.kernels import choice
from msg.kernels.tracing import traced
from msg.layers import LastCurrent, Propagation, SpikingLayer, Synapse, readout_layer
from msg.models.network import SpikingNetwork
from msg.models.spec import ModelSpec
from msg.models.stack import SpikingStack
from msg.neurons import NeuronLike, resolve_neuron
from msg.sizes import check_sizes

SPARSE_BELOW = 0.1
"""Share of neurons that fire below which their rates are multiplied as a sparse matrix."""


class _Deferred(Sequence[Tensor]):
    """Tensors, some of which are made when they are first read: dense ones of an encoding that is sparse."""

    def __init__(self, *tensors: Tensor | Callable[[], Tensor]):
        self._tensors = list(tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        found = self._tensors[index]
        if not isinstance(found, Tensor):
            found = self._tensors[index] = found()
        return found


class _Encoded(SpikingStack):
    """An encoder and a read-out; the encoder's rates are kept while nothing that decides them changes."""

    def __init__(self, layers: list[SpikingLayer], timesteps: int, gradient: RuleLike):
        super().__init__(layers, timesteps, gradient, "SpikingGCN")
        self._rates = Memo()

    def forward(self, features: Tensor | SparseMatrix, graph: Graph) -> Activity:
        self.fit_thresholds(features, graph)
        encoder, readout = self._layers
        neuron = encoder.neuron
        assert neuron is not None
        decides = (to_tensor(features), graph.edge_index, graph.edge_weight, *neuron.parameters(), *neuron.buffers())
        varies = isinstance(features, Tensor) and features.dim() == 3
        # a batch does not come again, and nothing is kept by code that is compiled or exported
        if (
            varies
            or watched(neuron)
            or encoder.synapse.seen()
            or traced()
            or isinstance(graph, SampledGraph)
            or any(t is not None and t.requires_grad for t in decides)
        ):
            return super().forward(features, graph)

        @torch.no_grad()
        def current() -> Tensor:
            return encoder.current(features, graph)

        @torch.no_grad()
        def encode() -> tuple[Tensor | None, _Deferred, Tensor | SparseMatrix]:
            found = self._sparse_rates(features, graph)
            if found is None:
                received = current()
                rate = neuron.rate(received, self.timesteps)
                few = int(rate.count_nonzero()) < SPARSE_BELOW * rate.numel()
                return received, _Deferred(rate), SparseMatrix.from_tensor(rate) if few else rate
            if len(found.columns) < SPARSE_BELOW * found.size(0) * found.size(1):
                return None, _Deferred(lambda: to_dense(found)), found
            rate = to_dense(found)
            return None, _Deferred(rate), rate

        settings = self.timesteps, settings_of(neuron), settings_of(encoder.synapse.conv)
        received, rates, read = self._rates.recall(decides, settings, encode)
        first = current if received is None else received
        return Activity(_Deferred(first, readout.current(read, graph)), rates)

    def _sparse_rates(self, features: Tensor | SparseMatrix, graph: Graph) -> SparseMatrix | None:
        """Rates of features that stay sparse on their way; ``None`` where they would not, or what receives nothing
        might fire.
        """
        encoder = self._layers[0]
        neuron, conv = encoder.neuron, encoder.synapse.conv
        assert neuron is not None
        assert isinstance(conv, Propagation)
        constants = neuron.constants()
        if not isinstance(features, SparseMatrix) or type(graph) is not Graph or constants is None or constants[1] <= 0:
            return None
        adjacency = graph.normalized(features.dtype)
        if not isinstance(adjacency, SparseMatrix) or not choice.plain(features.values, adjacency.values):
            return None
        sent, matrix = _of_scipy(features), _of_scipy(adjacency)
        nodes, channels = features.shape
        for _ in range(conv.num_hops):
            products = int(np.diff(sent.indptr)[matrix.indices].sum(dtype=np.int64))
            if products > nodes * channels:  # as many as a dense product has sums
                return None
            sent = matrix @ sent
        entries = sent.tocoo()
        row, column, value = (torch.from_numpy(part) for part in (entries.row, entries.col, entries.data))
        found = []
        for sign in (1, -1)[: 1 + conv.signed]:
            rate = neuron.rate(sign * value[None], self.timesteps)[0]
            fires = rate.nonzero()[:, 0]
            found.append((row[fires].long(), column[fires].long() + (channels if sign < 0 else 0), rate[fires]))
        row, column, value = (torch.cat(part) for part in zip(*found))
        return SparseMatrix(row, column, value, (nodes, encoder.out_channels))


def _of_scipy(matrix: SparseMatrix) -> Any:
    parts = (matrix.values, matrix.columns, matrix.pointers)
    return sp.csr_matrix(tuple(part.numpy() for part in parts), shape=tuple(matrix.shape))


class SpikingGCN(SpikingNetwork):
    r"""Spiking graph network that propagates features once, and whose only weights are those of its read-out.

    .. math::
        h = \hat A^K X, \qquad s_t = \text{neuron}(h), \qquad y = r W + b, \qquad r = \frac1T\sum_t s_t .

    Source: `Zhu et al. 2022, Spiking Graph Convolutional Networks <https://www.ijcai.org/proceedings/2022/338>`_
    (IJCAI). It differs in two things. The paper draws the spikes of each feature at random, with probability ``h``
    (Bernoulli encoding); here ``h`` is a *constant current* into a neuron a feature, which fires at the same rate for
    ``0 <= h <= 1`` up to ``1/T``, is deterministic, and also encodes what is not in ``[0, 1]``. The paper reads the
    firing rates of one more layer of neurons, one a class; here the read-out integrates its current and does not fire.

    A neuron whose current is at most ``threshold / T`` never fires, and what does not fire is not read: with rows of
    bag-of-words features normalised to sum 1, ``T = 15`` and a threshold of 1, 85 % of Cora's nodes have no spike at
    all. Choose a threshold that fits the features.

    Nothing before the read-out is learned, so where features, edge weights and neuron are constant, the rates are
    computed once for each graph and kept. Where one of them has a gradient, the network is simulated under its rule.
    Sparse features are propagated and fired as they are sparse, where that takes fewer products than a dense matrix
    has numbers.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``.
        num_hops: ``K``.
        timesteps: ``T``.
        neuron: prototype, or a name such as ``"lif"``, alone or in ``{"name": "lif", "tau": 3.0}``; copied.
        gradient: rule or name of one (``"bptt"``), how to differentiate through time,
            where something before the read-out has a gradient.
        dropout: probability of dropping a firing rate before the read-out, in training.
        signed: two neurons a feature, of which one is driven by ``h`` and the other by ``-h`` (on and off channels).
            Without it nothing is said of what is negative, as it is among dense features, such as embeddings.

    Shapes:
        ``x``: ``[N, F]`` or ``[T, N, F]``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; returns ``[N, C]``.

    Raises:
        ValueError: for impossible sizes, or a part of a graph.
    """

    instead_on_a_part = "SpikingGNN"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_hops: int = 2,
        timesteps: int = 15,
        neuron: NeuronLike | None = None,
        gradient: RuleLike | None = None,
        dropout: float = 0.0,
        signed: bool = False,
    ):
        check_sizes(num_hops=num_hops)
        channels = in_channels * (2 if signed else 1)
        encoder = SpikingLayer(Synapse(Propagation(num_hops, signed)), resolve_neuron(neuron), channels)
        readout = readout_layer(channels, out_channels, dropout)
        stack = _Encoded([encoder, readout], timesteps, gradient or SurrogateBPTT())
        super().__init__(stack, LastCurrent(), nn.Identity())
        self.in_channels, self.out_channels, self.num_hops = in_channels, out_channels, num_hops

    def activity(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None, **batch: Any) -> Activity:
        """As of any spiking network: copies, since what is kept may not be changed by who looks at it."""
        found = super().activity(x, edge_index, edge_weight, **batch)
        return Activity([current.clone() for current in found.currents], [rate.clone() for rate in found.rates])


SPEC = ModelSpec(
    build=SpikingGCN,
    reads=frozenset({"num_hops", "timesteps", "neuron", "dropout", "signed"}),
    about="features propagated, fired and read out; only the read-out is learned",
    batches=True,
)
