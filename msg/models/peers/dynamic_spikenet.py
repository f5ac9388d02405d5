"""SpikeNet on a graph that evolves: neighbours drawn from what is old and what is new at each step."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.utils import coalesce

from msg.calls import integral
from msg.graph import Graph, Memo, SparseMatrix, as_edges, neighbor_mean, pick_neighbors
from msg.models.peers.spikenet import SpikeNet, _Layer
from msg.neurons import NeuronLike, Sigmoid, Surrogate


class DynamicSpikeNet(SpikeNet):
    r"""SpikeNet in the form for dynamic graphs: one step a snapshot, for a batch of nodes.

    As :class:`SpikeNet`, with features :math:`X_t` and a sample :math:`S_t` of their own at each step: of the ``k``
    neighbours that a node draws, itself among the candidates, :math:`\max(\lfloor pk \rfloor, 1)` are of all edges up
    to step ``t``, the others of the edges that are new at ``t``. The trees of samples around the nodes, and neurons
    that belong to a place of a tree, are those of the released code: a batch holds no state of a node outside it.

    Source: `Li et al. 2023, Scaling Up Dynamic Graph Representation Learning via Spiking Neural Networks
    <https://arxiv.org/abs/2208.10364>`_ (AAAI). The released code takes ``dropout=0.7``, AdamW at a learning rate of
    0.005, and, for DBLP, ``hidden_channels=128``, :math:`p=0.5` and batches of 1024 nodes; for Tmall and Patent 512 and
    :math:`p=1` (0.5 for Patent with 80 % of the labels), Patent in batches of 2048. Its membrane remembers nothing
    (``tau=1``): what lasts from one snapshot to the next is the threshold.

    Difference from the released code: validation and test are sampled by the same draws each time.

    *Recommended* as the peer in comparisons on its data sets (:func:`msg.datasets.load_snapshots`). *Not recommended*
    where the answer is wanted at every snapshot: see :class:`~msg.models.RecurrentSpikingGNN`.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``.
        timesteps: number of snapshots ``T``.
        hidden_channels: width of all layers but the last.
        num_layers: number of convolutions.
        last_channels: width of the last layer of neurons.
        num_neighbors: how many neighbours are drawn at each hop, as in :class:`SpikeNet`; not -1.
        cumulative_share: ``p`` in ``[0, 1]``.
        dropout: probability of dropping a spike between layers, in training.
        threshold: of the neurons at first, where none are given.
        neuron: prototype, copied for each layer; ``None`` is ``DecayingThresholdLIF(threshold=threshold)``.
        surrogate: derivative that stands in for that of firing; resets and thresholds are differentiated.
        seed: of the draws, see :class:`~msg.layers.Draws`.

    Shapes:
        ``x``: ``[N, F]`` for all steps, ``[T, N, F]``, or a list of ``T`` such ``[N, F]``; ``edges``: a list of ``T``
        times ``[2, E_t]``, the new ones of each snapshot; ``nodes``: ``[B]``, ``None`` for all; returns ``[B, C]``.

    Raises:
        ValueError: for impossible sizes, a share out of bounds, or snapshots that do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        timesteps: int,
        hidden_channels: int = 128,
        num_layers: int = 2,
        last_channels: int = 10,
        num_neighbors: int | Sequence[int] | None = None,
        cumulative_share: float = 0.5,
        dropout: float = 0.0,
        threshold: float = 1.0,
        neuron: NeuronLike | None = None,
        surrogate: Surrogate = Sigmoid(1.0),  # noqa: B008 - a frozen value
        seed: int | None = None,
    ):
        if not 0 <= cumulative_share <= 1:
            raise ValueError(f"cumulative_share must be from 0 to 1, not {cumulative_share}")
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels,
            num_layers,
            last_channels,
            timesteps,
            num_neighbors,
            dropout,
            threshold,
            neuron=neuron,
            surrogate=surrogate,
            sample_in_evaluation=True,
            as_released=True,
            seed=seed,
        )
        self.cumulative_share = cumulative_share
        self._steps = Memo()

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] - a graph for each step
        self, x: Tensor | Sequence[Tensor], edges: Sequence[Tensor], nodes: Tensor | None = None
    ) -> Tensor:
        return self._logits(x, edges, nodes)

    def train_of(  # pyright: ignore[reportIncompatibleMethodOverride] - as above
        self, x: Tensor | Sequence[Tensor], edges: Sequence[Tensor], nodes: Tensor | None = None
    ) -> Tensor:
        """Spikes of the last layer, ``[T, B, last_channels]``; arguments are those of the model."""
        x, edges = [x] * self.timesteps if isinstance(x, Tensor) and x.dim() == 2 else list(x), list(edges)
        if len(x) != self.timesteps or len(edges) != self.timesteps:
            raise ValueError(
                f"the model has {self.timesteps} timesteps, but there are features of {len(x)} and edges of "
                f"{len(edges)} snapshots"
            )
        x = [self._checked(now, new, None) for now, new in zip(x, edges)]
        if any(now.layout != torch.strided for now in x):
            raise ValueError("features of snapshots are dense: use x.to_dense()")
        number = x[0].size(0)
        if any(now.size(0) != number for now in x):
            raise ValueError("all snapshots need features of the same nodes: give a node zeros until it appears")
        matrices = self._steps.recall(tuple(edges), (number, x[0].dtype), lambda: self._matrices(edges, x[0]))
        seeds = torch.arange(number, device=x[0].device) if nodes is None else torch.as_tensor(nodes)
        numbers = seeds.dim() == 1 and integral(seeds)
        if not numbers or (seeds.numel() and not 0 <= int(seeds.min()) <= int(seeds.max()) < number):
            raise ValueError(
                f"nodes must be a list of numbers from 0 to {number - 1}: of a mask, use mask.nonzero()[:, 0]"
            )
        seeds = seeds.long()  # of bytes torch makes a mask
        generator = self.draws.next(x[0].device)

        def pick(places: Tensor, drawn: int) -> Tensor:
            old = max(int(self.cumulative_share * drawn), 1)
            steps = []
            for (known, new), at in zip(matrices, places):
                picks = [pick_neighbors(known, at, old, generator, distinct=True)]
                if drawn > old:
                    picks.append(pick_neighbors(new, at, drawn - old, generator, distinct=True))
                steps.append(torch.cat(picks, dim=-1))
            return torch.stack(steps)

        hops = self._hops(seeds, pick)

        def begin(layer: _Layer) -> tuple[list[Tensor], list[Tensor]]:
            return self._heard(layer, [torch.stack([now[at] for now, at in zip(x, places)]) for places in hops])

        return self._up_the_trees([places.size(1) for places in hops], begin)

    def _matrices(self, edges: Sequence[Tensor], like: Tensor) -> list[tuple[SparseMatrix, SparseMatrix]]:
        """For each step the mean over all neighbours so far, and over the new ones."""
        pairs = []
        for given in edges:
            new, weight = as_edges(given, None, like.size(0))
            if weight is not None:
                raise ValueError("neighbours are drawn alike, whatever their weights: give adjacency matrices of ones")
            pairs.append(new)
        known, found = pairs[0][:, :0], []
        for new in pairs:
            known = coalesce(torch.cat([known, new], dim=1), num_nodes=like.size(0))
            both = [neighbor_mean(Graph(these, None, like.size(0)), like.dtype) for these in (known, coalesce(new))]
            found.append(tuple(both))
        return found
