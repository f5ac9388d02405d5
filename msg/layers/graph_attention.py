"""Graph attention with time folded in: PyG's ``GATConv`` for trains, whose messages are never laid out edge by edge."""

import torch
from torch import Tensor, nn
from torch_geometric.nn.inits import glorot, zeros

from msg.graph import Graph, SparseMatrix
from msg.graph.sparse import wide
from msg.layers.dropout import dropout
from msg.layers.maps import through
from msg.layers.neighbours import Neighbours


def attend(
    projected: Tensor,
    graph: Graph,
    att_src: Tensor,
    att_dst: Tensor,
    self_loops: bool,
    negative_slope: float,
    mean: bool = False,
    p: float = 0.0,
) -> Tensor:
    """The sum over neighbours that attention weighs, of each head and step by itself, see :class:`GraphAttention`.

    Args:
        projected: what is compared and summed, all heads beside each other, ``[N, H C]`` or ``[N, T, H C]``.
        graph: who sees whom.
        att_src: ``a``, ``[1, H, C]``.
        att_dst: ``a'``, the same.
        self_loops: see :meth:`Neighbours.of`.
        negative_slope: of the leaky ReLU.
        mean: divide by the number of neighbours besides.
        p: probability that an edge is left out of a sum, the others weighing more instead.

    Shapes:
        returns ``[N, H, C]`` or ``[N, T, H, C]``.
    """
    edges = Neighbours.of(graph, projected.dtype, self_loops)
    # half precision has no sparse product, and overflows before sums of many neighbours are divided
    given = torch.promote_types(projected.dtype, att_src.dtype)
    heads = projected.to(wide(given)).unflatten(-1, att_src.shape[1:])
    # a head of a step is a column of its own
    source, target = ((heads * a).sum(-1).flatten(1) for a in (att_src, att_dst))
    weight = edges.scores(source, target, negative_slope).exp()
    total = torch.zeros_like(target).index_add(0, edges.target, weight)
    # a node without neighbours receives nothing either way
    total = total.masked_fill(total == 0, 1.0)
    if mean:
        degree = torch.zeros_like(target[:, 0]).index_add(0, edges.target, torch.ones_like(weight[:, 0]))
        total = total * degree.clamp(min=1)[:, None]
    summed = edges.weigh(dropout(weight, p), heads.reshape(heads.size(0), weight.size(1), heads.size(-1)))
    return (summed / total[..., None]).reshape(heads.shape).to(given)


class GraphAttention(nn.Module):
    r"""Attention of each node among its neighbours, with several heads, of a train or of constant features,

    .. math::
        h = x W, \qquad
        e_{ij} = \mathrm{LeakyReLU}(\langle a, h_j\rangle + \langle a', h_i\rangle), \qquad
        \alpha_{ij} = \frac{\exp e_{ij}}{\sum_{j'} \exp e_{ij'}}, \qquad
        y_i = \sum_j \alpha_{ij} h_j + b,

    for each head and step by itself; heads are concatenated. The function of PyG's ``GATConv`` with its names of
    parameters. Scores are kept for each edge, messages are not: a head of a step is one sparse product.

    Source: `Veličković et al. 2018, Graph Attention Networks <https://arxiv.org/abs/1710.10903>`_.

    Args:
        in_channels: width of the input.
        out_channels: width of the output, all heads together.
        heads: number of heads, which divides it.
        negative_slope: of the leaky ReLU.
        add_self_loops: whether a node is its own neighbour; a self-loop that is there counts once.
        mean: divide a node's sum by the number of its neighbours, as if attention did not add up to one.
        bias: whether there is a ``b``.

    Shapes:
        ``x``: ``[N, F]``, ``[N, T, F]`` or a sparse feature matrix; returns ``[N, out]`` or ``[N, T, out]``.

    Raises:
        ValueError: for heads that do not divide the width; when called, for a graph with edge weights, or for part of
            a graph.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int = 1,
        negative_slope: float = 0.2,
        add_self_loops: bool = True,
        mean: bool = False,
        bias: bool = True,
    ):
        super().__init__()
        if heads < 1 or out_channels % heads:
            raise ValueError(f"heads must divide the width {out_channels}, but heads={heads}")
        self.in_channels, self.out_channels, self.heads = in_channels, out_channels, heads
        self.negative_slope, self.add_self_loops, self.mean = negative_slope, add_self_loops, mean
        width = out_channels // heads
        self.lin = nn.Linear(in_channels, out_channels, bias=False)
        self.att_src = nn.Parameter(torch.empty(1, heads, width))
        self.att_dst = nn.Parameter(torch.empty(1, heads, width))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reset projection, attention and bias."""
        for weight in (self.lin.weight, self.att_src, self.att_dst):
            glorot(weight)
        zeros(self.bias)

    def forward(self, x: Tensor | SparseMatrix, graph: Graph) -> Tensor:
        graph.whole_only(type(self).__name__, "a linear convolution such as 'gcn' or 'sage'")
        if graph.edge_weight is not None:
            raise ValueError(f"{type(self).__name__} cannot honour edge_weight: pass none")
        projected = through(self.lin, x)
        attention = self.att_src, self.att_dst, self.add_self_loops, self.negative_slope, self.mean
        out = attend(projected, graph, *attention).flatten(-2)
        return out if self.bias is None else out + self.bias

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, heads={self.heads}"
