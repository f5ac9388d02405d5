"""What all networks share: the checks of their input; and all spiking ones: their three rooms."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import NamedTuple

import geoopt
import torch
from torch import Tensor, nn

from msg.gradients import Activity, FeedForwardRule
from msg.graph import Graph, Memo, SparseMatrix, check_tensors
from msg.manifolds import checks
from msg.models.stack import SpikingStack


class GraphNetwork(nn.Module):
    """A network that reads node features and a graph, both checked and prepared once for many forwards.

    Attributes:
        in_channels: number of features; subclasses set it.
    """

    in_channels: int

    def __init__(self):
        super().__init__()
        self._graphs = Memo()
        self._features = Memo()

    @property
    def _train_length(self) -> int | None:
        """Number of steps of a train of features that the network also accepts; ``None``: constant features only."""
        return None

    def prepare(
        self, x: Tensor, edge_index: Tensor | Graph, edge_weight: Tensor | None = None
    ) -> tuple[Tensor | SparseMatrix, Graph]:
        """Features and graph as layers read them, checked.

        Args:
            x: node features ``[N, F]`` (dense, or ``torch.sparse``: it stays sparse), a constant current; or, where
                the network runs through time, a train ``[T, N, F]``.
            edge_index: ``[2, E]``, or a graph that is made already, such as a :class:`~msg.graph.PartitionedGraph`.
            edge_weight: ``[E]``.

        Raises:
            ValueError: for a bipartite graph, or shapes or dtypes that do not fit.
        """
        if isinstance(x, tuple):
            raise ValueError("a bipartite graph (x is a pair) is not supported: use one node set")
        if isinstance(edge_index, Graph):
            return self._read(x, edge_index, edge_weight)
        check_tensors(x=x, edge_index=edge_index, edge_weight=edge_weight)
        features = self._input(x)
        num_nodes = x.size(-2)
        graph = self._graphs.recall(
            (edge_index, edge_weight), (num_nodes,), lambda: Graph(edge_index, edge_weight, num_nodes)
        )
        return features, graph

    def _read(self, x: Tensor, graph: Graph, edge_weight: Tensor | None) -> tuple[Tensor | SparseMatrix, Graph]:
        """The same on a graph that is made already, such as a part of one."""
        check_tensors(x=x)
        if edge_weight is not None:
            raise ValueError("edge_weight contradicts a graph that is made already, which has its own: leave it out")
        if x.size(-2) != graph.num_nodes:
            raise ValueError(f"x has {x.size(-2)} nodes, but the graph has {graph.num_nodes}")
        graph = graph.reading(x)
        return self._input(x), graph

    def _input(self, x: Tensor) -> Tensor | SparseMatrix:
        steps = self._train_length
        train = "" if steps is None else f" or [{steps}, num_nodes, {self.in_channels}]"
        if x.dim() not in ((2, 3) if train else (2,)) or x.size(-1) != self.in_channels:
            raise ValueError(f"x has shape {list(x.shape)}, but the model needs [num_nodes, {self.in_channels}]{train}")
        weights = self._dtype()
        if x.dtype != weights:
            raise ValueError(
                f"x is {x.dtype}, but the weights are {weights}: convert one of them, as in x.float() or model.double()"
            )
        if x.layout == torch.strided:
            return x
        if x.dim() == 3 or x.requires_grad:
            raise ValueError("sparse x must be [num_nodes, channels] and constant: use x.to_dense() for anything else")
        return self._features.recall((x,), (), lambda: SparseMatrix.from_tensor(x))

    def _dtype(self) -> torch.dtype:
        """Of the weights; a manifold's curvature has a dtype of its own."""
        modules = (module for module in self.modules() if not isinstance(module, geoopt.Manifold))
        own = (p for module in modules for p in module.parameters(recurse=False))
        return next(p.dtype for p in own if p.is_floating_point())


class Embedding(NamedTuple):
    """What a spiking network knows of its nodes before the read-out.

    Attributes:
        point: what the path leads to: on a manifold in float64 ``[N, ambient_dim]``, else the last mean current.
        activity: mean currents and firing rates of the layers.
    """

    point: Tensor
    activity: Activity


class SpikingNetwork(GraphNetwork):
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
        ``x``: ``[N, F]`` or ``[T, N, F]``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``.
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

    def reset_parameters(self) -> None:
        """Reset all learnable parameters but a manifold's curvature."""
        for room in (self.stack, self.head):
            reset = getattr(room, "reset_parameters", None)
            if reset is not None:
                reset()

    def activity(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Activity:
        """Mean currents and firing rates of the layers; see :meth:`prepare` for the arguments and errors."""
        return self.stack(*self.prepare(x, edge_index, edge_weight))

    def embed(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Embedding:
        """Points before the read-out, with the activity that moved them there."""
        activity = self.activity(x, edge_index, edge_weight)
        return Embedding(self.path(activity.currents), activity)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        point = self.embed(x, edge_index, edge_weight).point
        # the path's points need no check, which is a pass over them; compiled code has none
        with nullcontext() if torch.compiler.is_compiling() else checks(False):
            return self.head(point)

    def online(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Iterator[Tensor]:
        """Run step by step, giving after each what the network would return so far, for an update at each step.

        .. code-block:: python

            for out in model.online(data.x, data.edge_index):
                loss = criterion(out) / model.timesteps
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        Each output has the graph of its own step alone, so the memory needed does not grow with ``T``.

        Raises:
            ValueError: if the gradient rule has no gradient before the end of the simulation, and as :meth:`prepare`.
        """
        for activity in self.stack.online(*self.prepare(x, edge_index, edge_weight)):
            yield self.head(self.path(activity.currents))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in ("in_channels", "out_channels", "num_layers"))
