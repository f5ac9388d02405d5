r"""Synapses: PyG's convolutions, turned from spikes to input current.

The linear ones (GCN, SAGE, GIN with a linear map) are taken apart into aggregation and weights,

.. math::
    x_t = \sum_k A_k s_t W_k + b,

so that all time steps share one sparse product, and so that the mean current needs only the firing rate. Attention
(GAT) is not linear, but taken apart too: its edges are walked once for all heads and steps, or, without compiled
kernels, each head is one sparse product in each step. Every other convolution is called as it is, once per time step.
"""

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import (
    ARMAConv,
    ChebConv,
    GATConv,
    GCNConv,
    GINConv,
    MessagePassing,
    MixHopConv,
    SAGEConv,
)

from msg.calls import watched
from msg.graph import Graph, GraphPart, SparseMatrix, WeightedEdges
from msg.graph.sparse import linear, to_dense, wide
from msg.kernels.tracing import traced
from msg.layers.classifier import FixedLinear
from msg.layers.graph_attention import attend
from msg.layers.maps import is_map
from msg.layers.propagation import Propagation
from msg.names import CONVS

Conv = str | Callable[[int, int], nn.Module]
"""A convolution by name, or a function ``(in_channels, out_channels) -> convolution``."""


class Term(NamedTuple):
    """One term of a linear convolution: what a node receives, times weights.

    Attributes:
        matrix: what is received along edges; ``None``: nothing is.
        own: factor of the node's own input, added to what is received.
        weight: ``[out, in]``.
    """

    matrix: SparseMatrix | WeightedEdges | None
    own: Tensor | float
    weight: Tensor

    def receive(self, x: Tensor, received: Tensor | None = None) -> Tensor:
        """What is multiplied by the weights; ``received`` is what came along edges, where that is known."""
        if self.matrix is None:
            return x if isinstance(self.own, float) and self.own == 1.0 else self.own * x
        along = self.matrix.matmul(x) if received is None else self.matrix.matmul(x, received)
        if isinstance(self.own, float) and self.own == 0.0:
            return along
        return along + self.own * x[: along.size(0)]  # those that receive come first


def first_rows(x: Any, number: int) -> Any:
    """The first rows of a matrix, dense or sparse, or of a train ``[N, T, d]``."""
    if x.size(0) == number:
        return x
    return x.first(number, x.size(1)) if isinstance(x, SparseMatrix) else x[:number]


def gcn_matrix(conv: GCNConv, graph: Graph, dtype: torch.dtype) -> SparseMatrix | WeightedEdges:
    """The matrix that a ``GCNConv`` multiplies by, built once for a graph; under ``torch_geometric.explain`` with each
    entry as its message is masked.
    """
    if bool(conv.explain):
        return _explained(conv, graph, dtype)
    if conv.normalize:
        return graph.normalized(dtype, conv.improved, conv.add_self_loops)
    return _sum_matrix(graph, dtype)


def _explained(conv: GCNConv, graph: Graph, dtype: torch.dtype) -> WeightedEdges:
    # anew each time, in the order of gcn_norm: that of the edges, which masks have
    edge_index, value = graph.edge_index, graph.edge_weight
    if conv.normalize:
        edge_index, value = graph.normalized_entries(dtype, conv.improved, conv.add_self_loops)
    if value is None:
        value = torch.ones(edge_index.size(1), dtype=dtype, device=edge_index.device)
    masked = conv.explain_message(value.unsqueeze(-1), graph.num_nodes).squeeze(-1)
    return WeightedEdges(edge_index[1], edge_index[0], masked, (graph.num_nodes, graph.num_nodes))


def _sum_matrix(graph: Graph, dtype: torch.dtype) -> SparseMatrix | WeightedEdges:
    return graph.matrix(("sum", dtype), lambda whole: (whole.edge_index, whole.weights(dtype)))


def _gcn_terms(conv: GCNConv, graph: Graph, dtype: torch.dtype) -> list[Term]:
    return [Term(gcn_matrix(conv, graph, dtype), 0.0, conv.lin.weight)]


def _sage_terms(conv: SAGEConv, graph: Graph, dtype: torch.dtype) -> list[Term]:
    def mean(whole: Graph) -> tuple[Any, ...]:
        weight, target = whole.weights(dtype), whole.edge_index[1]
        if isinstance(weight, torch.dtype) and traced():  # a program for others: not all of them count
            weight = torch.ones(target.shape, dtype=dtype, device=target.device)
        if isinstance(weight, torch.dtype):
            degree = torch.bincount(target, minlength=whole.num_nodes)
            return whole.edge_index, weight, 1 / degree.clamp(min=1).to(dtype)
        return whole.edge_index, _shares(weight, target, whole.num_nodes)

    matrix = graph.matrix(("mean", dtype), mean) if conv.aggr == "mean" else _sum_matrix(graph, dtype)
    terms = [Term(matrix, 0.0, conv.lin_l.weight)]
    return terms + ([Term(None, 1.0, conv.lin_r.weight)] if conv.root_weight else [])


def _shares(weight: Tensor, target: Tensor, num_nodes: int) -> Tensor:
    """Weights of edges as parts of the sum that their target receives."""
    total = torch.zeros(num_nodes, dtype=weight.dtype, device=weight.device).index_add(0, target, weight)
    # an isolated node receives nothing either way
    return weight / total.masked_fill(total == 0, 1.0)[target]


def _gin_terms(conv: GINConv, graph: Graph, dtype: torch.dtype) -> list[Term]:
    matrix = _sum_matrix(graph, dtype)
    weight: Tensor = conv.nn.weight  # pyright: ignore[reportFunctionMemberAccess]
    return [Term(matrix, 1 + conv.eps, weight)]


def _linear_terms(layer: nn.Linear, graph: Graph, dtype: torch.dtype) -> list[Term]:
    return [Term(None, 1.0, layer.weight)]


class _Linear(NamedTuple):
    """What is known of a convolution whose mean current is the current of the mean.

    Attributes:
        terms: ``(conv, graph, dtype) -> [Term, ...]``.
        bias_of: the module that owns the bias.
        applies: whether it is linear as it is set.
    """

    terms: Callable[..., list[Term]]
    bias_of: Callable[[nn.Module], nn.Module] = lambda conv: conv
    applies: Callable[..., bool] = lambda conv: True


_SUMS = ("add", "sum")
"""PyG's names of the sum over neighbours."""

_LINEAR: dict[type, _Linear] = {
    GCNConv: _Linear(_gcn_terms, applies=lambda conv: conv.aggr in _SUMS and is_map(conv.lin, biased=False)),
    SAGEConv: _Linear(
        _sage_terms,
        lambda conv: conv.lin_l,  # pyright: ignore[reportArgumentType]
        lambda conv: (
            (conv.aggr in ("mean", *_SUMS) and not conv.project and not conv.normalize)
            and is_map(conv.lin_l)
            and (not conv.root_weight or is_map(conv.lin_r, biased=False))
        ),
    ),
    GINConv: _Linear(
        _gin_terms,
        lambda conv: conv.nn,  # pyright: ignore[reportArgumentType]
        lambda conv: conv.aggr in _SUMS and type(conv.nn) is nn.Linear,
    ),
    nn.Linear: _Linear(_linear_terms),
    FixedLinear: _Linear(_linear_terms),
}


def _linear_form(conv: nn.Module) -> _Linear | None:
    """How to take a convolution apart; ``None`` if it is not linear, or its aggregation is not known here."""
    # of a subclass nothing is known: it may compute something else
    form = _LINEAR.get(type(conv))
    flows = getattr(conv, "flow", "source_to_target") == "source_to_target"
    return form if form is not None and flows and form.applies(conv) else None


def _attends(conv: nn.Module, graph: Graph) -> bool:
    """Whether a convolution is attention as it is computed here, over a whole graph of which no more is known."""
    plain = (
        type(conv) is GATConv
        and is_map(getattr(conv, "lin", None), biased=False)  # one for both ends of an edge
        and conv.edge_dim is None
        and getattr(conv, "res", None) is None
        and (conv.flow, conv.aggr, conv.node_dim) == ("source_to_target", "add", 0)
    )
    return plain and not isinstance(graph, GraphPart) and graph.edge_weight is None and not graph.edge_values


def _attention(conv: GATConv, x: Tensor | SparseMatrix, graph: Graph) -> Tensor:
    """``conv`` in every step of ``x``."""
    weight: Tensor = conv.lin.weight  # pyright: ignore[reportAssignmentType, reportOptionalMemberAccess]
    projected = linear(x, weight)
    attention = conv.att_src, conv.att_dst, conv.add_self_loops, conv.negative_slope
    out = attend(projected, graph, *attention, p=conv.dropout if conv.training else 0.0)
    out = out.flatten(-2) if conv.concat else out.mean(-2)
    return out if conv.bias is None else out + conv.bias


@contextmanager
def _normalized_already(conv: Any) -> Iterator[None]:
    """Within, a ``GCNConv`` takes weights as they are given."""
    conv.normalize = False
    try:
        yield
    finally:
        conv.normalize = True


def _can_be_weighed(conv: Any) -> bool:
    """Whether weights of edges, which PyG's convolution does not read, can multiply its messages; in compiled code,
    which has no hooks, they cannot.
    """
    if type(conv) not in (SAGEConv, GINConv) or traced():
        return False
    return conv.aggr in ("mean", *_SUMS) and conv.flow == "source_to_target"


@contextmanager
def _weighing(conv: Any, weight: Tensor, target: Tensor, num_nodes: int) -> Iterator[None]:
    """Within, messages of a ``SAGEConv`` or ``GINConv`` are multiplied by weights; their mean is the weighted one."""
    if conv.aggr == "mean":  # it divides by how many there are
        weight = _shares(weight, target, num_nodes) * torch.bincount(target, minlength=num_nodes)[target]
    hook = conv.register_message_forward_hook(lambda conv, given, message: message * weight.unsqueeze(-1))
    try:
        yield
    finally:
        hook.remove()


class Synapse(nn.Module):
    """A PyG convolution (or ``torch.nn.Linear``: no aggregation) from spikes to input current.

    ``GCNConv``, ``SAGEConv`` (mean or sum) and ``GINConv`` around a ``torch.nn.Linear`` are *linear*: they run on a
    cached CSR with time folded into columns. ``GATConv`` is not, its mean current needs all its steps; but of whole
    graphs without edge features it runs there too. Any other convolution that maps ``(x, edge_index)`` to ``[N, out]``
    runs on a documented slower path, one call a time step, and its mean current keeps one graph per step in training
    (sparse features are made dense for it); it gets ``edge_attr`` and ``edge_type`` where it has arguments of these
    names.
    Weights of edges multiply the messages of every ``SAGEConv`` and ``GINConv`` that takes a mean or sum of them. Under
    ``torch_geometric.explain`` every convolution runs its own ``propagate``, so that edge masks act; and where it, or a
    module in it, has a hook, it is called, so that the hook is, and computes the same.

    Args:
        conv: the convolution; its parameters are trained as they are.
    """

    def __init__(self, conv: nn.Module):
        super().__init__()
        self.conv = conv

    @property
    def linear(self) -> bool:
        """Whether the mean current is the current of the mean, with the aggregation known here."""
        return _linear_form(self.conv) is not None

    @property
    def hops(self) -> int:
        """How far it looks along edges: none for a linear map, as many hops as the convolution says, else one."""
        if isinstance(self.conv, nn.Linear):
            return 0
        if isinstance(self.conv, MixHopConv):
            return max(self.conv.powers)
        if isinstance(self.conv, ChebConv):
            return len(self.conv.lins) - 1
        if isinstance(self.conv, ARMAConv):
            return self.conv.num_layers
        return int(getattr(self.conv, "num_hops", getattr(self.conv, "K", 1)))

    @torch.no_grad()
    def looks_beyond(self, channels: int) -> bool:
        """Whether what a node gets depends on other edges than its own, such as those that its neighbours' degrees
        count.

        Known of what is taken apart here; another convolution is tried, on one edge with others beyond it and without.
        One that cannot be tried so is taken at its word.

        Args:
            channels: of what it reads.
        """
        if self.linear or isinstance(self.conv, nn.Linear | GATConv):
            return False
        like = next(self.parameters(), torch.empty(0))
        drawn = torch.randn(3, channels, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        x, edges = drawn.to(like), torch.tensor([[1, 0, 1, 2], [0, 1, 2, 1]], device=like.device)
        try:
            with_others, alone = (copy.deepcopy(self.conv).eval()(x, some)[0] for some in (edges, edges[:, :1]))
        except Exception:  # a user's own convolution may need anything
            return False
        return not torch.allclose(with_others, alone, rtol=1e-3, atol=1e-5)

    def reset_parameters(self) -> None:
        """Reset the convolution's parameters."""
        self.conv.reset_parameters()  # pyright: ignore[reportCallIssue]

    def taken_apart(self, graph: Graph, dtype: torch.dtype) -> tuple[list[Term], Tensor | None] | None:
        """Terms and bias of a linear convolution; ``None`` where it runs by itself, as under an explanation."""
        form = _linear_form(self.conv)
        if form is None or self.seen():
            return None
        bias: Tensor | None = form.bias_of(self.conv).bias  # pyright: ignore[reportAssignmentType]
        return form.terms(self.conv, graph, wide(dtype)), bias

    def seen(self) -> bool:
        """Whether someone looks into the convolution: an explanation at its messages, a hook at a call."""
        if isinstance(self.conv, MessagePassing) and bool(self.conv.explain):
            return True
        return any(watched(module) for module in self.conv.modules())

    def forward(self, x: Tensor | SparseMatrix, graph: Graph, received: Tensor | None = None) -> Tensor:
        """Input current.

        Args:
            x: ``[N, F]``, ``[N, T, F]`` or a sparse feature matrix.
            graph: the graph.
            received: what comes along the edges of a linear convolution, where that is known already.

        Shapes:
            Returns ``[N, out]`` or ``[N, T, out]``, of the graph's targets.
        """
        parts = self.taken_apart(graph, x.dtype)
        if parts is None:
            graph.whole_only(*self._refused_on_parts())
            if _attends(self.conv, graph) and not self.seen():
                return _attention(self.conv, x, graph)  # pyright: ignore[reportArgumentType]
            return self._propagate(x, graph)
        (first, *others), bias = parts
        received = graph.received(first.matrix, x) if received is None else received
        out = self._term(x, first, graph, received, bias)
        for term in others:
            out = out + self._term(x, term, graph, received)
        return out

    def _term(
        self,
        x: Tensor | SparseMatrix,
        term: Term,
        graph: Graph,
        received: Tensor | None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Multiply in the order that aggregates the fewer columns."""
        weight = term.weight
        if term.matrix is None:
            x = first_rows(x, graph.num_targets)
        known = received is not None or term.matrix is None
        if not isinstance(x, SparseMatrix) and (known or weight.size(1) <= weight.size(0)):
            return F.linear(term.receive(x, received), weight, bias)
        x = linear(x, weight)
        x = term.receive(x)
        return x if bias is None else x + bias

    def _propagate(self, x: Tensor | SparseMatrix, graph: Graph) -> Tensor:
        if isinstance(self.conv, nn.Linear):  # watched
            x = first_rows(x, graph.num_targets)
            return self.conv(to_dense(x))
        if isinstance(graph, GraphPart):
            return self._propagate_part(to_dense(x), graph)
        if graph.edge_weight is not None and _can_be_weighed(self.conv):
            edges, count = graph.edge_index, graph.num_nodes
            with _weighing(self.conv, graph.edge_weight.to(x.dtype), edges[1], count):
                return self._propagate(x, Graph(edges, None, count).carrying(**graph.edge_values))
        arguments = self._edge_arguments(graph)
        if isinstance(x, SparseMatrix) or x.dim() == 2:
            return self.conv(to_dense(x), graph.edge_index, **arguments)
        return torch.stack([self.conv(now, graph.edge_index, **arguments) for now in x.unbind(1)], dim=1)

    def _propagate_part(self, x: Tensor, graph: GraphPart) -> Tensor:
        """All nodes of a part, of which the targets are kept."""
        if isinstance(self.conv, Propagation):
            return self.conv.along(x, graph)
        if type(self.conv) is GCNConv and self.linear and self.conv.normalize and not self.conv.explain:
            row, col, value = gcn_matrix(self.conv, graph, wide(x.dtype)).entries()  # of more degrees than the part's
            with _normalized_already(self.conv):
                out = self._propagate(x, Graph(torch.stack([col, row]), value.to(x.dtype), graph.num_nodes))
        else:
            local = Graph(graph.edge_index, graph.edge_weight, graph.num_nodes).carrying(**graph.edge_values)
            out = self._propagate(x, local)
        return out[: graph.num_targets]

    def _refused_on_parts(self) -> tuple[str, str]:
        """What of it is refused on a part of a graph in another process, and what to use instead."""
        name = type(self.conv).__name__
        if self.linear:
            return f"{name} with a hook", "it without one"
        return name, "a linear one, such as 'gcn' or 'sage'"

    def reads(self, name: str) -> bool:
        """Whether the convolution reads ``"edge_attr"`` or ``"edge_type"``; without its ``edge_dim`` it does not."""
        return _reads(self.conv, name)

    def check_reads(self, names: Iterable[str]) -> None:
        """Refuse what is known of edges where the convolution would not read it.

        Raises:
            ValueError: naming both.
        """
        for name in names:
            if not self.reads(name):
                raise ValueError(
                    f"{type(self.conv).__name__} does not read {name}: use one of PyG's that does, such as NNConv, "
                    "GINEConv, RGCNConv (edge_type) or GATv2Conv with edge_dim, or pass none"
                )

    def _edge_arguments(self, graph: Graph) -> dict[str, Tensor]:
        return edge_arguments(self.conv, graph.edge_weight, graph.edge_values, "'gcn', 'sage' or 'gin', ")


def _reads(conv: nn.Module, name: str) -> bool:
    accepted = name in inspect.signature(conv.forward).parameters
    return accepted and not (name == "edge_attr" and getattr(conv, "edge_dim", 0) is None)


def edge_arguments(
    conv: nn.Module, edge_weight: Tensor | None, edge_values: Mapping[str, Tensor], instead: str = ""
) -> dict[str, Tensor]:
    """What a convolution is given of edges, by the names under which it reads it.

    Args:
        conv: any of PyG's.
        edge_weight: ``[E]`` or ``None``; as ``edge_attr`` where ``edge_dim`` is one.
        edge_values: what else is known.
        instead: what else may stand in for the convolution, for the message.

    Raises:
        ValueError: if it would not read the weights.
    """
    if edge_weight is None:
        return {**edge_values}
    if "edge_weight" in inspect.signature(conv.forward).parameters:
        return {**edge_values, "edge_weight": edge_weight}
    if _reads(conv, "edge_attr") and getattr(conv, "edge_dim", None) == 1 and "edge_attr" not in edge_values:
        return {**edge_values, "edge_attr": edge_weight.view(-1, 1)}
    raise ValueError(
        f"{type(conv).__name__} cannot honour edge_weight here: use {instead}a convolution that takes edge_weight, or "
        "one made with edge_dim=1; or pass none"
    )


def gcn_conv(in_channels: int, out_channels: int, bias: bool = True) -> GCNConv:
    """PyG's ``GCNConv``."""
    return GCNConv(in_channels, out_channels, bias=bias)


def gat_conv(in_channels: int, out_channels: int, bias: bool = True) -> GATConv:
    """PyG's ``GATConv`` of one head: not linear, so each step has coefficients of its own."""
    return GATConv(in_channels, out_channels, bias=bias)


def sage_conv(in_channels: int, out_channels: int, bias: bool = True) -> SAGEConv:
    """PyG's ``SAGEConv`` with the mean of the neighbours."""
    return SAGEConv(in_channels, out_channels, bias=bias)


def gin_conv(in_channels: int, out_channels: int, bias: bool = True) -> GINConv:
    """PyG's ``GINConv`` around a linear map."""
    return GINConv(nn.Linear(in_channels, out_channels, bias=bias))


def linear_conv(in_channels: int, out_channels: int, bias: bool = True) -> nn.Linear:
    """No aggregation: each node hears itself alone. Under propagated predictions (:class:`~msg.models.Propagated`) a
    network of these predicts, then propagates (`Gasteiger et al. 2019 <https://arxiv.org/abs/1810.05997>`_).
    """
    return nn.Linear(in_channels, out_channels, bias=bias)


def make_synapse(conv: Conv, in_channels: int, out_channels: int, bias: bool = True) -> Synapse:
    """A synapse by name, or from any ``(in_channels, out_channels) -> convolution``.

    Args:
        conv: a name of :data:`msg.names.CONVS` (``"gcn"``, ``"sage"``, ``"gin"``, ``"linear"``), or a function.
        in_channels: width of its input.
        out_channels: width of its current.
        bias: whether a convolution given by name adds a constant current.

    Raises:
        ValueError: for an unknown name, a convolution that is made already, or a ``bias`` that is no truth value.
    """
    if not isinstance(bias, bool):
        raise ValueError(f"bias must be True or False, not {bias!r}")
    if isinstance(conv, nn.Module):  # callable too
        name = type(conv).__name__
        raise ValueError(
            f"conv must be a name or a function that makes one of (in_channels, out_channels), not a {name} that is "
            f"made already: use conv={name}, or a lambda with its options"
        )
    if callable(conv):
        return Synapse(conv(in_channels, out_channels))
    return Synapse(CONVS[conv](in_channels, out_channels, bias))
