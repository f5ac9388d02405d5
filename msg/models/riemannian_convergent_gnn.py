"""A graph network whose states settle on a Riemannian manifold."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import geoopt
import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from msg.calls import aside, full_precision
from msg.gradients import SettlingRule, SettlingSystem
from msg.gradients.settling import States
from msg.graph import Graph, SparseMatrix
from msg.kernels.tracing import keeping_saved, uncompiled
from msg.layers import Synapse, TangentHead, gcn_matrix
from msg.manifolds import bound_length, checks, exp0, move, resolve, squared_distance, squared_distances
from msg.models.convergent_gnn import ConvergentNetwork


@dataclass(frozen=True)
class RiemannianSystem(SettlingSystem):
    r"""The settling system of :class:`RiemannianConvergentGNN`; its state is one point a node.

    Args:
        tensors: the anchors :math:`p`, float64 ``[N, ambient_dim]``, and the weights of the edges,
            :math:`\lambda\hat A` without its diagonal, ``[E]``.
        manifold: of the points.
        dim: its intrinsic dimension.
        edge_index: source and target of each edge, ``[2, E]``.
        step_size: of a sweep, in units of the distance to a node's weighted mean.
    """

    manifold: geoopt.Manifold
    dim: int
    edge_index: Tensor
    step_size: float

    def start(self) -> States:
        """Every point at its anchor."""
        return (self.tensors[0],)

    @uncompiled  # a compiled gradient is not differentiated again
    def sweep(self, states: States, nudge: Tensor | None = None, backwards: bool = False) -> States:
        """One Riemannian gradient step of all points at once, so both directions are the same."""
        differentiated = torch.is_grad_enabled()
        with (
            checks(False),
            torch.inference_mode(False),
            torch.enable_grad(),
            keeping_saved(),
        ):  # all points come from moves
            # autograd is how the gradient is found, whether or not anybody differentiates this sweep
            plain = replace(self, tensors=tuple(map(_plain, self.tensors)), edge_index=_plain(self.edge_index))
            z = _plain(states[0])
            # in the frame that parallel transport brings from the origin, this is the Riemannian gradient at z
            v = z.new_zeros(z.size(0), self.dim).requires_grad_()
            moved = move(self.manifold, z, v)
            energy = plain.energy((moved,))
            if nudge is not None:
                energy = energy + (nudge * moved).sum()
            (gradient,) = torch.autograd.grad(energy, v, create_graph=differentiated)
        with checks(False):
            return (move(self.manifold, z, -self.step_size * gradient / self._stiffness),)

    def energy(self, states: States) -> Tensor:
        """Half the squared distances to the anchors and, weighted, along the edges."""
        (z,), (anchor, weight) = states, self.tensors
        to_anchor = squared_distance(self.manifold, z, anchor).sum()
        along_edges = (weight * squared_distances(self.manifold, z, self.edge_index)).sum()
        # every undirected edge is there twice
        return to_anchor / 2 + along_edges / 4

    @cached_property  # it is the same in each sweep
    def _stiffness(self) -> Tensor:
        """Second derivative of the energy in one node's point, in flat space: ``[N, 1]``."""
        anchor, weight = self.tensors
        total = anchor.new_ones(anchor.size(0))
        for end in self.edge_index:
            total = total.index_add(0, end, weight.detach() / 2)
        return total.unsqueeze(1)


def _plain(tensor: Tensor) -> Tensor:
    if not tensor.is_inference():
        return tensor
    with aside():  # no part of what settles
        return tensor.clone()


class RiemannianConvergentGNN(ConvergentNetwork):
    r"""Graph network whose nodes settle on a manifold, between their own input and their neighbours.

    With anchors :math:`p_i = \exp_o\bigl(b(\hat A x W + b)_i\bigr)`, the points :math:`z_i` settle at a minimum of

    .. math::
        E(z) = \frac12\sum_i d(z_i, p_i)^2 + \frac\lambda4\sum_{i \ne j} \hat A_{ij}\, d(z_i, z_j)^2 ,

    by Riemannian gradient steps :math:`z_i \leftarrow \exp_{z_i}(-\eta\,\operatorname{grad}_i E / k_i)` with
    :math:`k_i = 1 + \lambda\sum_{j \ne i}\hat A_{ij}`: each point moves towards the weighted mean of its anchor and its
    neighbours. Logits are linear in :math:`\log_o(z)`; without classes the points themselves are returned. Where the
    curvature is not positive, squared distances are convex, so there is one minimum; on a sphere this holds only for
    points within a quarter circle, and anchors stay within 1 of the origin.

    Equilibrium propagation needs no more than an energy, so it is the same as in flat space. Its nudge
    :math:`\langle g, z\rangle` is linear in the ambient coordinates, and the gradient step takes of it what is tangent.

    Source: equilibrium propagation for any energy, `Scellier & Bengio 2017 <https://arxiv.org/abs/1602.05179>`_,
    theorem 1; the step towards a weighted mean, `Karcher 1977 <https://doi.org/10.1002/cpa.3160300502>`_. That they are
    put together on a graph is ours.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``; ``None`` to return the points.
        manifold: signature such as ``"H32"`` or ``"H16xS16"``, or a geoopt manifold of fixed curvature.
        steps: at most so many sweeps of the free phase, ``T``.
        gradient: :class:`~msg.gradients.EquilibriumPropagation` (default) or :class:`~msg.gradients.SettlingBPTT`.
        coupling: :math:`\lambda`.
        step_size: :math:`\eta`; in flat space 1 puts a point on its weighted mean.
        tolerance: the free phase ends when no coordinate changes by more than this in a sweep.
        hidden_channels: intrinsic dimension, where ``manifold`` does not say it.

    Shapes:
        ``x``: ``[N, F]``, dense or ``torch.sparse``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``, positive;
        returns logits ``[N, C]`` in the dtype of ``x``, or points ``[N, ambient_dim]`` in float64.

    Raises:
        ValueError: for an unknown manifold, a learnable curvature (it would never learn), a coupling that is negative
            or a step size that is not positive, or a rule for spiking neurons.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        manifold: str | geoopt.Manifold = "H32",
        steps: int = 50,
        gradient: SettlingRule | None = None,
        coupling: float = 1.0,
        step_size: float = 0.5,
        tolerance: float = 0.0,
        hidden_channels: int | None = None,
    ):
        super().__init__(steps, gradient, tolerance)
        space, dim = resolve(manifold, hidden_channels)
        if any(p.requires_grad for p in space.parameters()):
            raise ValueError(f"the curvature of {space!r} is learnable, but would never learn here: fix it")
        if not 0 <= coupling < math.inf or not 0 < step_size < math.inf:
            raise ValueError(
                f"coupling must not be negative and step_size positive, both finite, not {coupling} and {step_size}"
            )
        self.in_channels, self.out_channels, self.hidden_channels = in_channels, out_channels, dim
        self.manifold, self.coupling, self.step_size = space, coupling, step_size
        self.conv = GCNConv(in_channels, dim)
        self.head = nn.Identity() if out_channels is None else TangentHead(space, dim, out_channels)

    def reset_parameters(self) -> None:
        """Reset all learnable parameters."""
        self.conv.reset_parameters()
        if isinstance(self.head, TangentHead):
            self.head.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        with full_precision(next(self.parameters())):
            return self.head(self.gradient.run(self.system(x, edge_index, edge_weight), self.steps, self.tolerance))

    def _system(self, features: Tensor | SparseMatrix, graph: Graph) -> RiemannianSystem:
        current = Synapse(self.conv)(features, graph)
        target, source, value = gcn_matrix(self.conv, graph, current.dtype).entries()
        between = target != source
        weight = self.coupling * value[between].double()
        ends = torch.stack([source[between], target[between]])
        anchor = exp0(self.manifold, bound_length(current))
        return RiemannianSystem((anchor, weight), self.manifold, self.hidden_channels, ends, self.step_size)

    def extra_repr(self) -> str:
        """What is not a submodule."""
        return f"coupling={self.coupling:g}, step_size={self.step_size:g}, {super().extra_repr()}"
