r"""Synapses: PyG's convolutions, turned from spikes to input current.

The linear ones (GCN, SAGE, GIN with a linear map) are taken apart into aggregation and weights,

.. math::
    x_t = \sum_k A_k s_t W_k + b,

so that all time steps share one sparse product, and so that the mean current needs only the firing rate. Every other
convolution is called as it is, once per time step.
"""

import inspect
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, GINConv, MessagePassing, SAGEConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from msg.nn.sparse import Graph, SparseMatrix, WeightedEdges

Term = tuple[Callable[[Tensor], Tensor] | None, Tensor]
"""An aggregation (``None``: none) and the weight ``[out, in]`` applied to it."""


def _weights(graph: Graph, dtype: torch.dtype) -> Tensor:
    if graph.edge_weight is None:
        return torch.ones(graph.edge_index.size(1), dtype=dtype, device=graph.edge_index.device)
    return graph.edge_weight.to(dtype)


def gcn_matrix(conv: GCNConv, graph: Graph, dtype: torch.dtype) -> SparseMatrix | WeightedEdges:
    """The normalised adjacency that a ``GCNConv`` multiplies by, built once for a graph."""

    def entries() -> tuple[Tensor, Tensor]:
        if not conv.normalize:
            return graph.edge_index, _weights(graph, dtype)
        # without weights gcn_norm weighs a self-loop that is there like one it adds: explicit ones would not
        given = None if graph.edge_weight is None else graph.edge_weight.to(dtype)
        return gcn_norm(  # pyright: ignore[reportReturnType]
            graph.edge_index, given, graph.num_nodes, conv.improved, conv.add_self_loops, conv.flow, dtype
        )

    return graph.matrix(("gcn", dtype, conv.normalize, conv.improved, conv.add_self_loops), entries)


def _gcn_terms(conv: GCNConv, graph: Graph, dtype: torch.dtype) -> list[Term]:
    return [(gcn_matrix(conv, graph, dtype).matmul, conv.lin.weight)]


def _sage_terms(conv: SAGEConv, graph: Graph, dtype: torch.dtype) -> list[Term]:
    def entries() -> tuple[Tensor, Tensor]:
        weight = _weights(graph, dtype)
        if conv.aggr == "mean":
            target = graph.edge_index[1]
            total = torch.zeros(graph.num_nodes, dtype=dtype, device=target.device).index_add(0, target, weight)
            # without weights the total is the degree; an isolated node receives nothing either way
            weight = weight / total.masked_fill(total == 0, 1.0)[target]
        return graph.edge_index, weight

    terms: list[Term] = [(graph.matrix(("sage", conv.aggr, dtype), entries).matmul, conv.lin_l.weight)]
    return terms + ([(None, conv.lin_r.weight)] if conv.root_weight else [])


def _gin_terms(conv: GINConv, graph: Graph, dtype: torch.dtype) -> list[Term]:
    matrix = graph.matrix(("sum", dtype), lambda: (graph.edge_index, _weights(graph, dtype)))
    weight: Tensor = conv.nn.weight  # pyright: ignore[reportFunctionMemberAccess]
    return [(lambda x: matrix.matmul(x) + (1 + conv.eps) * x, weight)]


def _linear_terms(layer: nn.Linear, graph: Graph, dtype: torch.dtype) -> list[Term]:
    return [(None, layer.weight)]


def _is_linear(conv: nn.Module) -> bool:
    """Whether the mean current is the current of the mean, with the aggregation known here."""
    if getattr(conv, "flow", "source_to_target") != "source_to_target":
        return False
    if type(conv) is SAGEConv:
        return conv.aggr in ("mean", "add", "sum") and not conv.project and not conv.normalize
    if type(conv) is GINConv:
        return type(conv.nn) is nn.Linear
    return type(conv) in (GCNConv, nn.Linear)


_TERMS: dict[type, Callable[..., list[Term]]] = {
    GCNConv: _gcn_terms,
    SAGEConv: _sage_terms,
    GINConv: _gin_terms,
    nn.Linear: _linear_terms,
}


def _bias(conv: nn.Module) -> Tensor | None:
    owner = {SAGEConv: "lin_l", GINConv: "nn"}.get(type(conv))
    return (getattr(conv, owner) if owner else conv).bias  # pyright: ignore[reportReturnType]


class Synapse(nn.Module):
    """A PyG convolution (or ``torch.nn.Linear``: no aggregation) from spikes to input current.

    ``GCNConv``, ``SAGEConv`` (mean or sum) and ``GINConv`` around a ``torch.nn.Linear`` are *linear*: they run on a
    cached CSR with time folded into columns. Any other convolution that maps ``(x, edge_index)`` to ``[N, out]`` runs
    on a documented slower path, one call a time step, and its mean current keeps one graph per step in training (sparse
    features are made dense for it). Under
    ``torch_geometric.explain`` every convolution runs its own ``propagate``, so that edge masks act.

    Args:
        conv: the convolution; its parameters are trained as they are.
    """

    def __init__(self, conv: nn.Module):
        super().__init__()
        self.conv = conv
        self.linear = _is_linear(conv)

    def reset_parameters(self) -> None:
        """Reset the convolution's parameters."""
        self.conv.reset_parameters()  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor | SparseMatrix, graph: Graph) -> Tensor:
        """Input current.

        Args:
            x: ``[N, F]``, ``[N, T, F]`` or a sparse feature matrix.
            graph: the graph.

        Shapes:
            Returns ``[N, out]`` or ``[N, T, out]``.
        """
        explained = isinstance(self.conv, MessagePassing) and bool(self.conv.explain)
        if not self.linear or explained:
            return self._propagate(x, graph)
        first, *others = _TERMS[type(self.conv)](self.conv, graph, x.dtype)
        out = self._term(x, *first, bias=_bias(self.conv))
        for term in others:
            out = out + self._term(x, *term)
        return out

    def _term(
        self, x: Tensor | SparseMatrix, aggregate: Callable | None, weight: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """Multiply in the order that aggregates the fewer columns."""
        if not isinstance(x, SparseMatrix) and (aggregate is None or weight.size(1) <= weight.size(0)):
            return F.linear(x if aggregate is None else aggregate(x), weight, bias)
        x = x.matmul(weight.t()) if isinstance(x, SparseMatrix) else F.linear(x, weight)
        x = x if aggregate is None else aggregate(x)
        return x if bias is None else x + bias

    def _propagate(self, x: Tensor | SparseMatrix, graph: Graph) -> Tensor:
        arguments = self._edge_arguments(graph)
        if isinstance(x, SparseMatrix):
            return self.conv(x.csr.to_dense(), graph.edge_index, **arguments)
        if x.dim() == 2:
            return self.conv(x, graph.edge_index, **arguments)
        return torch.stack([self.conv(now, graph.edge_index, **arguments) for now in x.unbind(1)], dim=1)

    def _edge_arguments(self, graph: Graph) -> dict[str, Tensor]:
        if graph.edge_weight is None:
            return {}
        accepted = inspect.signature(self.conv.forward).parameters
        if "edge_weight" in accepted:
            return {"edge_weight": graph.edge_weight}
        if "edge_attr" in accepted and getattr(self.conv, "edge_dim", None) == 1:
            return {"edge_attr": graph.edge_weight.view(-1, 1)}
        raise ValueError(
            f"{type(self.conv).__name__} cannot honour edge_weight here: use 'gcn', 'sage' or 'gin', a convolution "
            "that takes edge_weight, or one made with edge_dim=1; or pass none"
        )


def make_conv(
    conv: str | Callable[[int, int], nn.Module], in_channels: int, out_channels: int, bias: bool = True
) -> Synapse:
    """A synapse by name (``gcn``, ``sage``, ``gin``) or from any ``(in_channels, out_channels) -> convolution``.

    Args:
        conv: name or function.
        in_channels: width of its input.
        out_channels: width of its current.
        bias: whether a convolution given by name adds a constant current.

    Raises:
        ValueError: for an unknown name.
    """
    if callable(conv):
        return Synapse(conv(in_channels, out_channels))
    if conv == "gcn":
        return Synapse(GCNConv(in_channels, out_channels, bias=bias))
    if conv == "sage":
        return Synapse(SAGEConv(in_channels, out_channels, bias=bias))
    if conv == "gin":
        return Synapse(GINConv(nn.Linear(in_channels, out_channels, bias=bias)))
    raise ValueError(f"unknown conv {conv!r}: use 'gcn', 'sage', 'gin', or a function (in, out) -> convolution")
