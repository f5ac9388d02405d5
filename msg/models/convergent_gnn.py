"""A graph network that settles: a GCN whose layers also listen to the layer above."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from msg.calls import full_precision
from msg.gradients import Equilibrium, EquilibriumPropagation, SettlingRule, SettlingSystem, resolve_rule, settle
from msg.gradients.settling import States
from msg.graph import Graph, SparseMatrix, WeightedEdges
from msg.layers import Synapse, gcn_matrix
from msg.layers.maps import may_be_read
from msg.models.network import GraphNetwork
from msg.sizes import check_sizes


class _Activation(NamedTuple):
    r"""A monotone activation and the potential :math:`G` with :math:`G' = \sigma^{-1}`, elementwise."""

    function: Callable[[Tensor], Tensor]
    potential: Callable[[Tensor], Tensor]


def _entropy(s: Tensor) -> Tensor:
    # -s log s, finite where an activation saturates
    return torch.special.entr(s)


ACTIVATIONS = {
    "identity": _Activation(lambda u: u, lambda s: s.square() / 2),
    "sigmoid": _Activation(torch.sigmoid, lambda s: -_entropy(s) - _entropy(1 - s)),
    "tanh": _Activation(torch.tanh, lambda s: -(_entropy(1 + s) + _entropy(1 - s)) / 2),
}


@dataclass(frozen=True)
class LayeredSystem(SettlingSystem):
    r"""The settling system of :class:`ConvergentGNN`.

    Args:
        tensors: the current into the first layer :math:`\hat A x W^1 + b^1`, then :math:`W^2, b^2, W^3, \dots`, then
            the entries of :math:`\hat A` if they are learned.
        adjacency: :math:`\hat A`.
        activations: one a layer.
    """

    adjacency: SparseMatrix | WeightedEdges
    activations: tuple[_Activation, ...]

    def start(self) -> States:
        """All states zero."""
        current = self.tensors[0]
        widths = [current.size(1), *(weight.size(0) for weight, _ in self._couplings())]
        return tuple(current.new_zeros(current.size(0), width) for width in widths)

    def sweep(self, states: States, nudge: Tensor | None = None, backwards: bool = False) -> States:
        """Layer after layer, each to the minimum of the energy given its neighbours."""
        now, last = list(states), len(states) - 1
        couplings, adjacency = self._couplings(), self._adjacency()
        for l in reversed(range(last + 1)) if backwards else range(last + 1):
            u = (
                self.tensors[0]
                if l == 0
                else adjacency.matmul(now[l - 1] @ couplings[l - 1][0].t()) + couplings[l - 1][1]
            )
            if l < last:
                u = u + adjacency.T.matmul(now[l + 1]) @ couplings[l][0]
            elif nudge is not None:
                u = u - nudge
            now[l] = self.activations[l].function(u)
        return tuple(now)

    def energy(self, states: States) -> Tensor:
        r""":math:`\sum_l G_l(s^l) - \langle s^l, \hat A s^{l-1} W^l + b^l\rangle`."""
        total = -(states[0] * self.tensors[0]).sum()
        for activation, state in zip(self.activations, states):
            total = total + activation.potential(state).sum()
        adjacency = self._adjacency()
        for (weight, bias), (below, above) in zip(self._couplings(), pairwise(states)):
            total = total - (above * (adjacency.matmul(F.linear(below, weight)) + bias)).sum()
        return total

    def _couplings(self) -> list[tuple[Tensor, Tensor]]:
        end = 2 * len(self.activations) - 1
        return list(zip(self.tensors[1:end:2], self.tensors[2:end:2]))

    def _adjacency(self) -> SparseMatrix | WeightedEdges:
        known = self.adjacency
        if isinstance(known, SparseMatrix):
            return known
        return WeightedEdges(known.row, known.col, self.tensors[-1], known.shape)


class ConvergentNetwork(GraphNetwork, ABC):
    """What networks that settle share; a subclass says what its system is, and how its output is read.

    Args:
        steps: at most so many sweeps of the free phase.
        gradient: how to train.
        tolerance: the free phase ends when no state changes by more than this in a sweep.

    Raises:
        ValueError: for fewer than one step or no whole number of them, a tolerance that is negative or not finite, or a
            rule for spiking neurons.
    """

    instead_on_a_part = "MSG"

    def __init__(self, steps: int, gradient: SettlingRule | None, tolerance: float):
        super().__init__()
        check_sizes(steps=steps)
        if not 0 <= tolerance < math.inf:
            raise ValueError(f"a free phase needs a finite tolerance >= 0, not {tolerance}")
        rule = resolve_rule(gradient or EquilibriumPropagation(), SettlingRule, type(self).__name__)
        self.steps, self.gradient, self.tolerance = steps, rule, tolerance

    def check_sample(self, hops: int) -> None:
        """See :meth:`GraphNetwork.check_sample`."""
        raise ValueError(
            f"{type(self).__name__} sends messages until it settles, so no sample holds what a node reads: train it "
            "without batches, or use MSG"
        )

    def system(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> SettlingSystem:
        """The energy and its tensors for one input, attached to autograd."""
        return self._system(*self.prepare(x, edge_index, edge_weight))

    @abstractmethod
    def _system(self, features: Tensor | SparseMatrix, graph: Graph) -> SettlingSystem: ...

    def settle(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Equilibrium:
        """Where the free phase ends, without gradient: look at its ``residual`` to see whether it converges."""
        with torch.no_grad(), full_precision(next(self.parameters())):
            return settle(self.system(x, edge_index, edge_weight), self.steps, self.tolerance)

    def extra_repr(self) -> str:
        """What is not a submodule."""
        return f"steps={self.steps}, gradient={self.gradient!r}, tolerance={self.tolerance:g}"


class ConvergentGNN(ConvergentNetwork):
    r"""Convergent graph network: a GCN whose layers also listen to the layer above, until nothing changes any more.

    The states :math:`s^1, \dots, s^L` settle at a minimum of

    .. math::
        E(s) = \sum_{l=1}^{L} \sum_{i,k} G_l(s^l_{ik}) - \langle s^l, \hat A s^{l-1} W^l + b^l\rangle,
        \qquad s^0 = x, \quad G_l' = \sigma_l^{-1},

    with :math:`\hat A = D^{-1/2}(A + I)D^{-1/2}`. Messages pass both ways, because they are the gradient of one energy:
    a sweep sets, from the first layer to the last,

    .. math::
        s^l \leftarrow \sigma_l\bigl(\hat A s^{l-1} W^l + b^l + \hat A^\top s^{l+1} W^{l+1\top}\bigr),

    which is the minimum of :math:`E` in :math:`s^l` with all else fixed (no layer couples to itself). So the energy
    falls in every sweep, without a step size, and the first sweep from zero is the forward pass of a GCN. The last
    layer's state is the output; by default it is linear, for logits. Couplings between states start orthogonal with
    gain 1/2: as :math:`|\hat A| \le 1` on an undirected graph and :math:`\sigma' \le 1`, a network of any depth then
    starts with one equilibrium, to which sweeps contract. Training may leave that region; the energy still falls.

    Source: energy and both phases as in `Scellier & Bengio 2017 <https://arxiv.org/abs/1602.05179>`_, with the
    activation's potential in the energy as in `Hopfield 1984 <https://doi.org/10.1073/pnas.81.10.3088>`_, so that
    equilibria are exact minima for any activation.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``.
        hidden_channels: width of the hidden layers.
        num_layers: number of convolutions, at least 2, so ``num_layers - 1`` hidden layers.
        steps: at most so many sweeps of the free phase, ``T``.
        gradient: :class:`~msg.gradients.EquilibriumPropagation` (default) or :class:`~msg.gradients.SettlingBPTT`.
        activation: of the hidden layers, ``"tanh"``, ``"sigmoid"`` or ``"identity"``.
        out_activation: of the output, one of the same.
        tolerance: the free phase ends when no state changes by more than this in a sweep.

    Shapes:
        ``x``: ``[N, F]``, dense or ``torch.sparse``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``, positive;
        returns ``[N, C]``.

    Raises:
        ValueError: for impossible sizes, an unknown activation, or a rule for spiking neurons.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        num_layers: int = 2,
        steps: int = 50,
        gradient: SettlingRule | None = None,
        activation: str = "tanh",
        out_activation: str = "identity",
        tolerance: float = 0.0,
    ):
        super().__init__(steps, gradient, tolerance)
        check_sizes(2, num_layers=num_layers)
        for name in (activation, out_activation):
            if name not in ACTIVATIONS:
                raise ValueError(f"unknown activation {name!r}: use one of {', '.join(ACTIVATIONS)}")
        self.in_channels, self.out_channels, self.hidden_channels = in_channels, out_channels, hidden_channels
        self.num_layers = num_layers
        self.activations = (*[activation] * (num_layers - 1), out_activation)
        sizes = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        self.convs = nn.ModuleList(GCNConv(i, o) for i, o in pairwise(sizes))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reset all learnable parameters."""
        for conv in self.convs:
            conv.reset_parameters()  # pyright: ignore[reportCallIssue]
        for conv in self.convs[1:]:
            nn.init.orthogonal_(conv.lin.weight, gain=0.5)  # pyright: ignore

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        # under autocast states would be of two dtypes, and differences of energies lost in the lower one
        with full_precision(next(self.parameters())):
            return self.gradient.run(self.system(x, edge_index, edge_weight), self.steps, self.tolerance)

    def _system(self, features: Tensor | SparseMatrix, graph: Graph) -> LayeredSystem:
        first, *others = self.convs
        current = Synapse(first)(features, graph)
        tensors = [current, *(p for conv in others for p in (_weight(conv), conv.bias))]  # pyright: ignore
        adjacency = gcn_matrix(first, graph, current.dtype)  # pyright: ignore[reportArgumentType]
        if isinstance(adjacency, WeightedEdges):
            tensors.append(adjacency.value)
        return LayeredSystem(tuple(tensors), adjacency, tuple(ACTIVATIONS[name] for name in self.activations))

    def extra_repr(self) -> str:
        """What is not a submodule."""
        return f"activation={self.activations[0]!r}, {super().extra_repr()}"


def _weight(conv: Any) -> Tensor:
    """The weight of a convolution; where its map does more, or someone waits for its call, as the call has it."""
    if may_be_read(conv.lin, biased=False):
        return conv.lin.weight
    like = next(conv.lin.parameters())
    return conv.lin(torch.eye(conv.in_channels, dtype=like.dtype, device=like.device)).t()
