"""Link prediction that also looks at the edges around a pair."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import softsign

from msg.calls import altered
from msg.graph import Memo, Neighborhoods, as_edges
from msg.layers.maps import may_be_read
from msg.sizes import check_sizes

_FLOOR = 1e-3
"""Added to a resource allocation before its logarithm: that of a shared neighbour of a thousand others."""

_SEEN = 7
"""Numbers that say what the graph says of a pair."""


class GraphDecoder(nn.Module, ABC):
    """A decoder that reads the edges that pass messages, beside what a model returns; the edges are prepared once."""

    def __init__(self):
        super().__init__()
        self._graphs, self._measured = Memo(), Memo()

    def neighborhoods(self, edge_index: Tensor, num_nodes: int) -> Neighborhoods:
        """Neighbours of all nodes, remembered for the last graph."""
        edge_index, _ = as_edges(edge_index, None, num_nodes)
        return self._graphs.recall((edge_index,), (num_nodes,), lambda: Neighborhoods(edge_index, num_nodes))

    @abstractmethod
    def forward(self, z: Tensor, edge_label_index: Tensor, edge_index: Tensor) -> Tensor:
        """Logits of the pairs.

        Args:
            z: what a model returns, ``[N, ...]``.
            edge_label_index: pairs, ``[2, M]``.
            edge_index: edges that pass messages, ``[2, E]``.
        """


class StructuralDecoder(GraphDecoder):
    r"""A learned logit of the model's own score and of what two nodes have in common in the graph.

    .. math::
        \ell_{ij} = a\, \sigma(s_{ij}) + \mathrm{MLP}\bigl(\sigma(s_{ij}),\ \log(1 + \mathrm{CN}),\
        \log(1 + \mathrm{AA}),\ \log(1 + \mathrm{RA}),\ \log(\epsilon + \mathrm{RA}),\
        \log(\epsilon + \mathrm{L3}),\ \delta_i + \delta_j,\ |\delta_i - \delta_j|\bigr)

    where :math:`s` is the logit of the decoder inside (an inner product, or a squared distance on a manifold),
    :math:`\sigma(s) = s / (1 + |s|)`, CN, AA, RA and L3 are those of :class:`~msg.graph.Neighborhoods`, :math:`\delta
    = \log(1 + d)`, :math:`\epsilon = 0.001`, and the MLP has one hidden layer with ReLU. What the graph says is brought
    to mean 0 and variance 1 first, by batch normalisation without weights. In the beginning pairs have the order of the
    decoder inside: :math:`a` is 1 and the MLP 0.

    The score enters as :math:`\sigma` alone. The points of a training edge have seen the edge between them, and those
    of other pairs have not: without a bound a model comes to trust its score too much, and ranks held-out edges worse
    than the counts do.

    Neither counts nor degrees see the edge between the two nodes, so that training edges look as they would if they
    were held out; and all are counted on the edges that pass messages, which are training edges alone.

    Sources: counts beside embeddings as in `Neo-GNN, Yun et al. 2021 <https://arxiv.org/abs/2206.04216>`_ and `BUDDY,
    Chamberlain et al. 2023 <https://arxiv.org/abs/2209.15486>`_; that common neighbours are what embeddings of single
    nodes cannot see, `Zhang et al. 2021 <https://arxiv.org/abs/2010.16103>`_. The sketches of BUDDY and the embeddings
    of common neighbours (`NCN, Wang et al. 2024 <https://arxiv.org/abs/2302.00890>`_) are left out.

    Args:
        decoder: ``(z, edge_label_index) -> logits`` inside. It is not registered, since its manifold is the model's;
            one with parameters of its own has to be the model's too, as ``model.plain_link_decoder``.
        hidden_channels: width of the hidden layer.

    Shapes:
        ``z``: ``[N, ...]``; ``edge_label_index``: ``[2, M]``; ``edge_index``: ``[2, E]``; returns ``[M]`` in the dtype
        of the weights.
    """

    def __init__(self, decoder: Callable[[Tensor, Tensor], Tensor], hidden_channels: int = 32):
        super().__init__()
        check_sizes(hidden_channels=hidden_channels)
        self._inside = (decoder,)
        self.scale = nn.Parameter(torch.ones(()))
        self.norm = nn.BatchNorm1d(_SEEN, affine=False)
        self.mlp = nn.Sequential(nn.Linear(1 + _SEEN, hidden_channels), nn.ReLU(), nn.Linear(hidden_channels, 1))
        self.reset_parameters()

    @property
    def inside(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The decoder inside."""
        return self._inside[0]

    def reset_parameters(self) -> None:
        """Draw the hidden layer anew; pairs are ordered by the decoder inside again."""
        nn.init.ones_(self.scale)
        self.norm.reset_running_stats()
        hidden, _, last = self.mlp
        hidden.reset_parameters()  # pyright: ignore[reportCallIssue]
        nn.init.zeros_(last.weight)  # pyright: ignore[reportArgumentType]
        nn.init.zeros_(last.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, z: Tensor, edge_label_index: Tensor, edge_index: Tensor) -> Tensor:
        """Logits of the pairs."""
        score = self.inside(z, edge_label_index).to(self.scale.dtype)
        seen = self.norm(self._seen(edge_label_index, edge_index, z.size(0)).to(score))
        bounded = softsign(score)
        return self.scale * bounded + self._beside(bounded, seen)

    def _beside(self, bounded: Tensor, seen: Tensor) -> Tensor:
        """What the MLP makes of scores ``[M]`` and of what the graph says ``[M, 7]``, which needs no gradient."""
        hidden, activation, last = self.mlp
        if altered(self.mlp) or not may_be_read(hidden) or hidden.bias is None:
            return self.mlp(torch.cat([bounded[:, None], seen], dim=1))[:, 0]
        # Pairs are many and inputs few. Where weights lie by inputs, not by outputs, autograd multiplies for their
        # gradient in the order that BLAS is fast in, several times as fast.
        to_score, to_seen = hidden.weight.t().contiguous().split([1, _SEEN])  # pyright: ignore[reportCallIssue]
        rows = torch.addr(hidden.bias.expand(len(bounded), -1), bounded, to_score[0])  # pyright: ignore[reportCallIssue]
        return last(activation(torch.addmm(rows, seen, to_seen)))[:, 0]

    def _seen(self, edge_label_index: Tensor, edge_index: Tensor, num_nodes: int) -> Tensor:
        """:meth:`structure`, remembered of the last pairs that were not trained on: validation's are ever the same."""
        if self.training:
            return self.structure(edge_label_index, edge_index, num_nodes)
        given = edge_label_index, edge_index
        return self._measured.recall(given, (num_nodes,), lambda: self.structure(*given, num_nodes))

    def structure(self, edge_label_index: Tensor, edge_index: Tensor, num_nodes: int) -> Tensor:
        """What the graph says of each pair, ``[M, 7]``, on the CPU."""
        graph = self.neighborhoods(edge_index, num_nodes)
        counts, degrees = graph.counts_and_degrees(edge_label_index)
        one, other = degrees.log1p().split(1, dim=1)
        seen = [counts[:, :3].log1p(), (_FLOOR + counts[:, 2:]).log(), one + other, (one - other).abs()]
        return torch.cat(seen, dim=1)

    def extra_repr(self) -> str:
        """The decoder inside."""
        return f"decoder={getattr(self.inside, '__name__', self.inside)}"
