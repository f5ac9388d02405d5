"""What all networks share: the checks of their input; and all spiking ones: layers and a gradient rule."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from msg.gradients import Activity, GradientRule
from msg.neurons.neuron import Neuron
from msg.nn.layer import SpikingLayer
from msg.nn.sparse import Graph, Memo, SparseMatrix
from msg.nn.synapse import Synapse, make_conv

Conv = str | Callable[[int, int], nn.Module]


class GraphNetwork(nn.Module):
    """A network that reads node features and a graph, both checked and prepared once for many forwards.

    Args:
        timesteps: length of a train of features that it also accepts; ``None`` for constant features only.
    """

    def __init__(self, timesteps: int | None = None):
        super().__init__()
        self.timesteps = timesteps
        self._graphs = Memo()
        self._features = Memo()

    def _prepare(
        self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None
    ) -> tuple[Tensor | SparseMatrix, Graph]:
        if isinstance(x, tuple):
            raise ValueError("a bipartite graph (x is a pair) is not supported: use one node set")
        features = self._input(x)
        num_nodes = x.size(-2)
        graph = self._graphs.recall(
            (edge_index, edge_weight), (num_nodes,), lambda: Graph(edge_index, edge_weight, num_nodes)
        )
        return features, graph

    def _input(self, x: Tensor) -> Tensor | SparseMatrix:
        expected = getattr(self, "in_channels", x.size(-1))
        train = "" if self.timesteps is None else f" or [{self.timesteps}, num_nodes, {expected}]"
        if x.dim() not in ((2, 3) if train else (2,)) or x.size(-1) != expected:
            raise ValueError(f"x has shape {list(x.shape)}, but the model needs [num_nodes, {expected}]{train}")
        # a manifold's curvature has a dtype of its own
        named = (p for name, p in self.named_parameters() if not name.startswith("manifold."))
        weights = next(p.dtype for p in named if p.is_floating_point())
        if x.dtype != weights:
            raise ValueError(
                f"x is {x.dtype}, but the weights are {weights}: convert one of them, as in x.float() or model.double()"
            )
        if x.layout == torch.strided:
            return x
        if x.dim() == 3 or x.requires_grad:
            raise ValueError("sparse x must be [num_nodes, channels] and constant: use x.to_dense() for anything else")
        return self._features.recall((x,), (), lambda: SparseMatrix.from_tensor(x))


class SpikingNetwork(GraphNetwork, ABC):
    """Layers that run through time under a gradient rule; subclasses read them out.

    Args:
        layers: encoder first.
        timesteps: number of time steps ``T``.
        gradient: the gradient rule.

    Raises:
        ValueError: if ``timesteps`` is not positive or the rule cannot train these layers.
    """

    timesteps: int

    def __init__(self, layers: Sequence[SpikingLayer], timesteps: int, gradient: GradientRule):
        super().__init__(timesteps)
        if timesteps < 1:
            raise ValueError(f"timesteps must be at least 1, not {timesteps}")
        self.layers = nn.ModuleList(layers)
        self.gradient = gradient
        gradient.check(layers)

    def reset_parameters(self) -> None:
        """Reset all learnable parameters."""
        for layer in self.layers:
            layer.reset_parameters()  # pyright: ignore[reportCallIssue]

    def activity(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Activity:
        """Mean currents and firing rates of the layers.

        Args:
            x: node features ``[N, F]`` (dense, or ``torch.sparse``: it stays sparse), a constant current; or a train
                ``[T, N, F]``.
            edge_index: ``[2, E]``.
            edge_weight: ``[E]``.

        Raises:
            ValueError: for a bipartite graph, or shapes that do not fit.
        """
        features, graph = self._prepare(x, edge_index, edge_weight)
        return self.gradient.run(list(self.layers), features, graph, self.timesteps)  # pyright: ignore

    @abstractmethod
    def read(self, activity: Activity) -> Tensor:
        """What the network returns for what its layers did."""

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """See the class."""
        return self.read(self.activity(x, edge_index, edge_weight))

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
            ValueError: if the gradient rule has no gradient before the end of the simulation, and as :meth:`activity`.
        """
        features, graph = self._prepare(x, edge_index, edge_weight)
        for activity in self.gradient.online(list(self.layers), features, graph, self.timesteps):  # pyright: ignore
            yield self.read(activity)


def spiking_layers(conv: Conv, sizes: Sequence[int], neuron: Neuron, bias: bool = True) -> list[SpikingLayer]:
    """One layer for each consecutive pair of ``sizes``, each with its own copy of ``neuron``."""
    return [SpikingLayer(make_conv(conv, i, o, bias), copy.deepcopy(neuron), o) for i, o in pairwise(sizes)]


def current_layer(conv: Conv, in_channels: int, out_channels: int, bias: bool = True) -> SpikingLayer:
    """A last layer: its current moves the point, and nobody reads its spikes."""
    return SpikingLayer(make_conv(conv, in_channels, out_channels, bias), None, out_channels)


def readout_layer(in_channels: int, out_channels: int, dropout: float) -> SpikingLayer:
    """A linear read-out of firing rates, some of them dropped in training."""
    return SpikingLayer(Synapse(nn.Linear(in_channels, out_channels)), None, out_channels, dropout)
