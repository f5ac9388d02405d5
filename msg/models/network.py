"""What all networks share: the checks of their input; and all spiking ones: their three rooms."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from inspect import signature
from numbers import Real
from typing import Any, ClassVar, NamedTuple, Self

import geoopt
import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch_geometric.loader import NodeLoader
from torch_geometric.nn.inits import reset

from msg.calls import given, widened
from msg.gradients import Activity, FeedForwardRule, layerwise
from msg.graph import (
    Graph,
    GraphMemo,
    Memo,
    PartitionedGraph,
    SampledGraph,
    SparseMatrix,
    as_edges,
    check_tensors,
    is_adjacency,
)
from msg.kernels.tracing import uncompiled
from msg.layers import Propagation, SpikingLayer, first_rows
from msg.manifolds import checks
from msg.models.stack import SpikingStack
from msg.models.walk import Walk
from msg.names import SURROGATES, build, spell
from msg.registry import Recorded
from msg.sizes import check_sizes


class GraphNetwork(Recorded, nn.Module):
    """A network that reads node features and a graph, both checked and prepared once for many forwards.

    Its arguments are kept as plain data: ``type(model).from_config(model.config)`` is a new one of the same kind, and
    ``{"config": model.config, "state_dict": model.state_dict()}`` a checkpoint that ``torch.load(weights_only=True)``
    reads. ``num_layers``, ``hidden_channels`` and ``dropout`` are attributes wherever they are arguments.

    Attributes:
        in_channels: number of features; subclasses set it.
        takes_nodes: whether ``model(x, edge_index, nodes=...)`` computes outputs of those nodes alone, a mask ``[N]``
            or numbers ``[M]``; tasks then ask for no others.
        instead_on_a_part: what to use on a part of a graph, by a network that needs all of it; empty: it does not.

    Raises:
        ValueError: for channels below 1, or none where there have to be some.
    """

    in_channels: int
    instead_on_a_part: ClassVar[str] = ""
    takes_nodes: bool = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        new = super().__new__(cls, *args, **kwargs)
        parameters = signature(cls.__init__).parameters
        for name in ("in_channels", "out_channels", "hidden_channels"):  # before any layer is made
            if name not in new._made:
                continue
            size, parameter = new._made[name], parameters.get(name)
            if size == -1:
                raise ValueError(f"{name} must be at least 1, not -1: it is not found out in the first forward")
            # some models do without one, or have one a layer
            if isinstance(size, Real | str) or (parameter is not None and parameter.annotation is int):
                check_sizes(**{name: size})
        return new

    def __init__(self):
        super().__init__()
        if not self._made and hasattr(self, "save_pretrained"):
            raise TypeError(
                f"class {type(self).__name__} must have PyTorchModelHubMixin as its last base, not its first"
            )
        self._graphs = GraphMemo()
        self._features = Memo()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A model with the arguments of another one's ``config``, freshly initialised."""
        surrogate = {"surrogate": build(config["surrogate"], SURROGATES)} if "surrogate" in config else {}
        return cls(**{**config, **surrogate})

    @property
    def config(self) -> dict[str, Any]:
        """See ``Recorded.config``; time steps are those that it has now."""
        made = super().config
        return {**made, "timesteps": self.timesteps} if "timesteps" in made else made

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in ("num_layers", "hidden_channels", "dropout") and name in self._made:
                return self._made[name]
            raise

    def __repr__(self) -> str:
        """One line, as PyG's models have; print a part of the model for its modules."""
        return f"{self._get_name()}({' '.join(self.extra_repr().split())})"

    def extra_repr(self) -> str:
        """Sizes."""
        names = ("in_channels", "out_channels", "hidden_channels", "num_layers", "num_hops", "dropout")
        return ", ".join(f"{name}={self._made[name]!r}" for name in names if self._made.get(name) is not None)

    @property
    def _train_length(self) -> int | None:
        """Number of steps of a train of features that the network also accepts; ``None``: constant features only."""
        return None

    def prepare(
        self, x: Tensor | SparseMatrix, edge_index: Tensor | Graph, edge_weight: Tensor | None = None
    ) -> tuple[Tensor | SparseMatrix, Graph]:
        """Features and graph as layers read them, checked.

        Args:
            x: node features ``[N, F]`` (dense, or ``torch.sparse`` or a matrix that is made already: it stays sparse),
                a constant current; or, where the network runs through time, a train ``[T, N, F]``. Three dimensions are
                never a static batch ``[B, N, F]``, which PyG's convolutions take: even where ``B`` equals ``T``.
            edge_index: ``[2, E]``, a tensor or PyG's ``EdgeIndex``; or ``adj_t``, the transposed adjacency matrix
                ``[N, N]`` as PyG's convolutions take it (``torch.sparse`` or ``SparseTensor``), whose values are the
                weights; or a graph that is made already, such as a :class:`~msg.graph.PartitionedGraph`.
            edge_weight: ``[E]``.

        Raises:
            ValueError: for a bipartite graph, shapes or dtypes that do not fit, or a part of a graph where all of it is
                needed, as by a normalisation over nodes in training.
        """
        if isinstance(x, SparseMatrix):
            csr = x.csr
            checked = self._checked(csr, edge_index, edge_weight)
            return x if checked is csr else _sparse(checked), self._graphs.graph(edge_index, edge_weight, x.size(0))
        x = self._checked(x, edge_index, edge_weight)
        graph = self._graphs.graph(edge_index, edge_weight, x.size(-2)).reading(x)
        return x if x.layout == torch.strided else self._features.recall((x,), (), lambda: _sparse(x)), graph

    def check_sample(self, hops: int) -> None:
        """Refuse samples of a graph that hold less than what the output of a seed reads, where that is known.

        Args:
            hops: how far neighbours are drawn.

        Raises:
            ValueError: naming what to use.
        """

    def _check_part(self, graph: PartitionedGraph) -> None:
        if self.instead_on_a_part:
            graph.whole_only(type(self).__name__, self.instead_on_a_part)
        if self.training and any(isinstance(module, nn.BatchNorm1d) for module in self.modules()):
            graph.whole_only("a normalisation over nodes", "norm='layer'")

    def _checked(self, x: Any, edge_index: Tensor | Graph, edge_weight: Tensor | None) -> Tensor:
        """Features ``x``, :func:`widened` to the weights."""
        if isinstance(x, tuple):
            raise ValueError(
                "a bipartite graph (x is a pair) is not supported: use one node set, or layers of SpikingConv"
            )
        if x is None:
            raise ValueError(
                "x is None, but models read features: make some, as torch_geometric.transforms.OneHotDegree or "
                "Constant does"
            )
        if isinstance(x, (dict, Proxy)):  # no union: up to torch 2.8 none is exported
            raise ValueError(
                f"{type(self).__name__} has one set of nodes, whose layers run side by side through time: torch.fx "
                "does not trace it, nor can it be made one of several; build a model of msg.nn.SpikingConv, which "
                "to_hetero and HeteroConv take"
            )
        if isinstance(edge_index, Graph):
            check_tensors(x=x)
            if isinstance(edge_index, PartitionedGraph):
                self._check_part(edge_index)
        elif is_adjacency(edge_index):
            check_tensors(x=x, edge_weight=edge_weight)
        else:
            check_tensors(x=x, edge_index=edge_index, edge_weight=edge_weight)
        steps = self._train_length
        train = "" if steps is None else f" or [{steps}, num_nodes, {self.in_channels}]"
        if x.dim() not in ((2, 3) if train else (2,)) or x.size(-1) != self.in_channels:
            raise ValueError(f"x has shape {list(x.shape)}, but the model needs [num_nodes, {self.in_channels}]{train}")
        weights = self._dtype()
        x = widened(x, weights)
        if x.dtype != weights:
            raise ValueError(
                f"x is {x.dtype}, but the weights are {weights}: convert one of them, as in x.float() or model.double()"
            )
        if x.layout != torch.strided and (x.dim() == 3 or x.requires_grad):
            raise ValueError("sparse x must be [num_nodes, channels] and constant: use x.to_dense() for anything else")
        return x

    def _dtype(self) -> torch.dtype:
        """Of the weights; a manifold's curvature has a dtype of its own."""
        modules = (module for module in self.modules() if not isinstance(module, geoopt.Manifold))
        own = (p for module in modules for p in module.parameters(recurse=False))
        return next(p.dtype for p in own if p.is_floating_point())


@uncompiled  # a compiler that gives up in the middle of it does not find its way back
def _sparse(x: Tensor) -> SparseMatrix:
    return SparseMatrix.from_tensor(x)


class LayeredNetwork(GraphNetwork, ABC):
    """A network of convolutions in a row, so that it can be run on samples of a graph, and layer by layer."""

    @property
    @abstractmethod
    def hops(self) -> int:
        """How far the output of a node looks along edges: over how many hops samples have to reach."""

    def check_sample(self, hops: int) -> None:
        """See :meth:`GraphNetwork.check_sample`."""
        if hops < self.hops:
            raise ValueError(
                f"neighbours are drawn {hops} hops far, but {type(self).__name__} looks {self.hops} hops far: give "
                "fan_out a number for each"
            )

    def prepare(
        self,
        x: Tensor | SparseMatrix,
        edge_index: Tensor | Graph,
        edge_weight: Tensor | None = None,
        batch_size: int | None = None,
        num_sampled_nodes_per_hop: Sequence[int] | None = None,
        num_sampled_edges_per_hop: Sequence[int] | None = None,
    ) -> tuple[Tensor | SparseMatrix, Graph]:
        """See :meth:`GraphNetwork.prepare`; a batch, told by one of the last three, is not remembered.

        Args:
            x: as there.
            edge_index: as there.
            edge_weight: as there.
            batch_size: only the first so many nodes are asked for.
            num_sampled_nodes_per_hop: how many nodes were met at each hop, seeds first, as loaders say; each
                convolution then works on the hops that are needed, as with ``torch_geometric.utils.trim_to_layer``.
            num_sampled_edges_per_hop: how many edges were drawn at each hop.

        Raises:
            ValueError: as there, and for numbers that are not those of a sample.
        """
        nodes, edges = num_sampled_nodes_per_hop, num_sampled_edges_per_hop
        if batch_size is None and nodes is None and edges is None:
            return super().prepare(x, edge_index, edge_weight)
        if isinstance(edge_index, Graph):
            raise ValueError("a graph that is made already is no batch: give edge_index with the numbers of a sample")
        if isinstance(x, SparseMatrix):
            x = x.csr
        x = self._checked(x, edge_index, edge_weight)
        edge_index, edge_weight = as_edges(edge_index, edge_weight, x.size(-2))
        if (nodes is None) != (edges is None):
            raise ValueError("give num_sampled_nodes_per_hop and num_sampled_edges_per_hop both, or neither")
        number = x.size(-2)
        if batch_size is not None and not 0 <= batch_size <= (number if nodes is None else nodes[0]):
            raise ValueError(f"batch_size={batch_size}, but there are {number if nodes is None else nodes[0]} seeds")
        if nodes is None or edges is None:
            assert batch_size is not None
            nodes, edges = [batch_size, number - batch_size], [edge_index.size(1)]
        elif sum(nodes) != number:
            raise ValueError(f"num_sampled_nodes_per_hop={list(nodes)} counts {sum(nodes)} nodes, but x has {number}")
        graph = SampledGraph(edge_index, edge_weight, nodes, edges)
        needed = graph.within(self.hops)
        if x.layout != torch.strided:
            return first_rows(_sparse(x), needed), graph
        return x.narrow(-2, 0, needed), graph

    @torch.no_grad()
    def inference(
        self, loader: NodeLoader, device: torch.device | str | None = None, progress_bar: bool = False
    ) -> Tensor:
        """What ``model(data.x, data.edge_index, data.edge_weight)`` returns, layer by layer over the whole graph.

        What is held for all nodes between two layers is what the next one reads (packed spikes, of a spiking network)
        and what the output needs in the end; all else is of one batch. Matrices are those of the whole graph, of which
        each batch takes its rows: nodes have the degrees that they have there.

        .. code-block:: python

            loader = NodeLoader(data, NeighborSampler(data, [-1]), batch_size=1024)
            out = model.eval().inference(loader)

        Args:
            loader: of batches with all neighbours of one hop, over all nodes.
            device: where batches are computed; ``None`` is where the weights are.
            progress_bar: whether to show one.

        Shapes:
            Returns ``[N, C]`` on the CPU.

        Raises:
            ValueError: in training mode, or for a loader of other batches.
        """
        if self.training:
            raise ValueError("inference needs a model in evaluation mode: call model.eval()")
        if not isinstance(loader, NodeLoader):
            raise ValueError(f"loader must be a NodeLoader of torch_geometric.loader, not {type(loader).__name__}")
        data: Any = loader.data
        x, edge_weight = data.x, data.get("edge_weight")
        edge_index = data.adj_t if data.get("edge_index") is None else data.edge_index
        features, graph = GraphNetwork.prepare(self, x, edge_index, edge_weight)
        self._check_walk(data)
        if isinstance(features, Tensor) and features.dim() == 3:
            raise ValueError("inference needs features [num_nodes, channels], not a train")
        home = next(self.parameters()).device
        with Walk(loader, graph, home if device is None else device, progress_bar) as walk:
            return self._walk(walk, features)

    def _check_walk(self, data: Any) -> None:
        """Refuse a graph of which :meth:`inference` would leave something unread that the network reads."""

    @abstractmethod
    def _walk(self, walk: Walk, features: Tensor | SparseMatrix) -> Tensor:
        """What the network returns for all nodes."""

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        batch_size: int | None = None,
        num_sampled_nodes_per_hop: Sequence[int] | None = None,
        num_sampled_edges_per_hop: Sequence[int] | None = None,
    ) -> Tensor:
        """What the network returns for all nodes, or for the seeds of a batch; see :meth:`LayeredNetwork.prepare`."""


class Embedding(NamedTuple):
    """What a spiking network knows of its nodes before the read-out.

    Attributes:
        point: what the path leads to: on a manifold in float64 ``[N, ambient_dim]``, else the last mean current.
        activity: mean currents and firing rates of the layers.
    """

    point: Tensor
    activity: Activity


class SpikingNetwork(LayeredNetwork):
    r"""A spiking graph network in three rooms: layers run through time, their mean currents lead to a point, and the
    point is read out.

    .. math::
        \text{features, graph} \xrightarrow{\text{stack}} \text{mean currents} \xrightarrow{\text{path}} z
        \xrightarrow{\text{head}} \text{logits}

    What counts, watches or explains a network puts forward hooks on these modules. A subclass gives them and nothing
    else.

    Args:
        stack: the dynamics.
        path: from the list of mean currents to a point.
        head: from the point to what the network returns.

    Shapes:
        ``x``: ``[N, F]`` or ``[T, N, F]``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; ``edge_attr``: ``[E]``
        or ``[E, D]`` and ``edge_type``: ``[E]``, for convolutions that read them (others refuse them); returns one row
        a node, or one for each seed of a batch.
    """

    def __init__(self, stack: SpikingStack, path: nn.Module, head: nn.Module):
        super().__init__()
        self.stack, self.path, self.head = stack, path, head

    @property
    def gradient(self) -> FeedForwardRule:
        """The gradient rule of the stack."""
        return self.stack.gradient

    @gradient.setter
    def gradient(self, rule: FeedForwardRule) -> None:
        self.stack.gradient = rule

    @property
    def timesteps(self) -> int:
        """Number of time steps of the stack."""
        return self.stack.timesteps

    @timesteps.setter
    def timesteps(self, timesteps: int) -> None:
        self.stack.timesteps = timesteps

    @property
    def _train_length(self) -> int:
        return self.stack.timesteps

    @property
    def hops(self) -> int:
        """Of all layers."""
        return sum(layer.hops for layer in self._layers)

    @property
    def _layers(self) -> list[SpikingLayer]:
        return list(self.stack.layers)  # pyright: ignore[reportReturnType]

    def reset_parameters(self) -> None:
        """Reset all learnable parameters but a manifold's curvature."""
        for room in (self.stack, self.path, self.head):
            reset(room)

    def prepare(
        self,
        x: Tensor | SparseMatrix,
        edge_index: Tensor | Graph,
        edge_weight: Tensor | None = None,
        *args: Any,
        edge_attr: Tensor | None = None,
        edge_type: Tensor | None = None,
        **batch: Any,
    ) -> tuple[Tensor | SparseMatrix, Graph]:
        """See :meth:`LayeredNetwork.prepare`; what else is known of edges goes to all convolutions.

        Raises:
            ValueError: as there, for a convolution that would not read it, and for an adjacency matrix or a graph that
                is made already, whose edges have an order of their own.
        """
        features, graph = super().prepare(x, edge_index, edge_weight, *args, **batch)
        known = given(edge_attr=edge_attr, edge_type=edge_type)
        if not known:
            return features, graph
        for layer in self._layers:
            layer.synapse.check_reads(known)
        if isinstance(edge_index, Graph) or is_adjacency(edge_index):
            raise ValueError(f"{' and '.join(known)} need edge_index [2, num_edges], whose order they have")
        return features, graph.carrying(**known)

    def _check_walk(self, data: Any) -> None:
        for name in ("edge_attr", "edge_type"):
            if data.get(name) is not None and any(layer.synapse.reads(name) for layer in self._layers):
                raise ValueError(f"inference reads no {name}: call the model, or delete data.{name}")

    def activity(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None, **batch: Any) -> Activity:
        """Mean currents and firing rates of the layers; see :meth:`LayeredNetwork.prepare` for arguments and errors.

        In a batch each layer's are those of the nodes that the layers above need, seeds first.
        """
        return self.stack(*self.prepare(x, edge_index, edge_weight, **batch))

    def embed(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None, **batch: Any) -> Embedding:
        """Points before the read-out, with the activity that moved them there; in a batch, points of the seeds."""
        activity = self.activity(x, edge_index, edge_weight, **batch)
        return Embedding(self.path(_of_seeds(activity.currents)), activity)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        batch_size: int | None = None,
        num_sampled_nodes_per_hop: Sequence[int] | None = None,
        num_sampled_edges_per_hop: Sequence[int] | None = None,
        edge_attr: Tensor | None = None,
        edge_type: Tensor | None = None,
    ) -> Tensor:
        batch = {
            "edge_attr": edge_attr,
            "edge_type": edge_type,
            "batch_size": batch_size,
            "num_sampled_nodes_per_hop": num_sampled_nodes_per_hop,
            "num_sampled_edges_per_hop": num_sampled_edges_per_hop,
        }
        features, graph = self.prepare(x, edge_index, edge_weight, **batch)
        currents = self.stack(features, graph).currents
        point = self.path(_of_seeds(currents) if isinstance(graph, SampledGraph) else currents)
        # the path's points need no check, which is a pass over them; compiled code has none
        with nullcontext() if torch.compiler.is_compiling() else checks(False):
            return self.head(point)

    def _walk(self, walk: Walk, features: Tensor | SparseMatrix) -> Tensor:
        sent, currents, layers = features, [], self._layers
        for number, layer in enumerate(layers):
            conv, hops = layer.synapse.conv, layer.hops
            if number == 0 and isinstance(conv, Propagation):
                sent, hops = walk.propagated(sent, hops), 0
            if hops > 1:
                raise ValueError(f"inference goes hop by hop, but {type(conv).__name__} looks {hops} hops far in one")
            if hops and layer.synapse.looks_beyond(layers[number - 1].out_channels if number else features.size(-1)):
                raise ValueError(
                    f"inference gives {type(conv).__name__} the edges of a batch's nodes, and it reads others, such as "
                    "those that degrees count: run the model on the whole graph, or use 'gcn', 'sage' or 'gin'"
                )
            *mean, sent = walk.over(partial(self._layer, number, currents), sent, hops)
            currents += mean
        assert isinstance(sent, Tensor)
        return sent

    def _layer(
        self, number: int, currents: list[Tensor], x: Tensor, graph: Graph, nodes: Tensor
    ) -> tuple[Tensor, Tensor] | tuple[Tensor]:
        """One layer of a walk: mean current and what is sent to the next, or, of the last, what the network returns.

        Args:
            number: of the layer.
            currents: mean currents of all nodes, of the layers below.
            x: features, or what the layer below sent.
            graph: as the layer reads it.
            nodes: those that are computed.
        """
        layers = self._layers
        layer, trains = layers[number], layerwise.reads_trains(layers[number + 1 :])
        if number == 0:
            conv = layer.synapse.conv
            mean = conv.channels(x) if isinstance(conv, Propagation) else layer.current(x, graph)
            sent = layerwise.fire(layer, mean, self.timesteps, trains)
        else:
            channels = layers[number - 1].out_channels
            mean, sent = layerwise.relay(layer, x, channels, graph, self.timesteps, trains)
        if number < len(layers) - 1:
            return mean, sent
        point = self.path([*(current[nodes].to(mean.device) for current in currents), mean])
        with checks(False):
            return (self.head(point),)

    def online(
        self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None, **batch: Any
    ) -> Iterator[Tensor]:
        """Run step by step, giving after each what the network would return so far, for an update at each step.

        .. code-block:: python

            for out in model.online(data.x, data.edge_index):
                loss = criterion(out) / model.timesteps
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        Each output has the graph of its own step alone, so the memory needed does not grow with ``T``.

        Raises:
            ValueError: if the gradient rule has no gradient before the end of the simulation, and as
                :meth:`LayeredNetwork.prepare`.
        """
        for activity in self.stack.online(*self.prepare(x, edge_index, edge_weight, **batch)):
            yield self.head(self.path(_of_seeds(activity.currents)))

    @property
    def config(self) -> dict[str, Any]:
        """See ``GraphNetwork.config``; the rule is the one that it has now."""
        made = super().config
        return {**made, "gradient": spell(self.gradient)} if "gradient" in made else made

    def extra_repr(self) -> str:
        """Sizes, steps, neurons and rule."""
        parts = super().extra_repr().split(", ")
        parts += [
            f"{name}={self._made[name]!r}" for name in ("manifold", "step_size", "max_step") if name in self._made
        ]
        parts += [f"timesteps={self.timesteps}", f"neuron={self._layers[0].neuron!r}"]
        return ", ".join([*filter(None, parts), f"gradient={self.gradient.describe(self.timesteps)}"])


def numbers_of(nodes: Tensor) -> Tensor:
    """Numbers of the nodes of a mask, or as they are."""
    return nodes.nonzero()[:, 0] if nodes.dtype == torch.bool else nodes


def _of_seeds(currents: Sequence[Tensor]) -> list[Tensor]:
    """What is known of the seeds of a batch, which come first; they are all nodes of a whole graph."""
    seeds = currents[-1].size(0)
    return [current[:seeds] if current.size(0) > seeds else current for current in currents]
