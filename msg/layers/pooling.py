"""From the points of many graphs' nodes to one point a graph."""

from typing import get_args

import geoopt
import torch
from torch import Tensor, nn

from msg.calls import integral
from msg.graph import check_tensors
from msg.kernels.tracing import tracing
from msg.layers.origin import OnManifold
from msg.manifolds import Groups, centroid, frechet_mean, log0
from msg.names import Pooling

_MEANS = ("mean", "frechet")
POOLINGS = get_args(Pooling)
"""How the points of a graph can be pooled; the sum is of their logarithms at the origin."""


def _graphs(z: Tensor, batch: Tensor | None, size: int | None) -> tuple[Tensor, int]:
    """Graph of each node, and how many graphs there are."""
    single = batch is None
    batch = torch.zeros(z.size(0), dtype=torch.long, device=z.device) if single else batch
    check_tensors(batch=batch)
    if not integral(batch):
        raise ValueError(f"batch must be the number of each point's graph, not {batch.dtype}: use batch.long()")
    if batch.shape != z.shape[:1]:
        raise ValueError(f"batch has shape {list(batch.shape)}, but there are {len(z)} points")
    if size is None:
        if tracing() and not single:
            raise ValueError("a traced program does not count graphs: give batch_size, the number that it is to have")
        size = int(batch.max()) + 1 if len(batch) and not single else 1
    return batch.long(), size


class ManifoldPooling(OnManifold):
    r"""The mean of each graph's points, on their manifold, whose isometries it commutes with.

    ``"mean"`` is a closed form, the weights :math:`w_i` of a graph scaled to a sum of one:

    ====================== =============================================================================================
    flat space             :math:`s = \sum_i w_i z_i`
    hyperboloid            :math:`\sqrt k\, s / \sqrt{-\langle s, s\rangle}`, the Lorentz centroid
    ball, κ-stereographic  :math:`\tfrac12 \otimes_\kappa \sum_i w_i \lambda_i z_i / \sum_i w_i (\lambda_i - 1)`, the
                           gyromidpoint; in the ball the same point as the Lorentz centroid
    sphere                 :math:`s / |s|`; the origin where the points cancel out
    product                each factor's own
    any other family       the Fréchet mean
    ====================== =============================================================================================

    Source: `Law et al. 2019 <https://proceedings.mlr.press/v97/law19a.html>`_ for the Lorentz centroid, `Bachmann et
    al. 2020 <https://arxiv.org/abs/1911.05076>`_ for the gyromidpoint.

    ``"frechet"`` is the Fréchet mean :math:`\arg\min_m \sum_i w_i d(m, z_i)^2` on all of them, found by a solver and
    differentiated by the implicit function theorem (:func:`~msg.manifolds.frechet_mean`). Both agree in flat space, for
    two points of equal weight, and nearly so for points that are close together.

    Points have no sum. Sum what can be summed: vectors, such as logarithms at the origin.

    Args:
        manifold: of the points. It stays the model's: its curvature is not among the parameters here.
        mode: ``"mean"`` or ``"frechet"``.

    Shapes:
        ``z``: ``[N, ambient_dim]``; ``batch``: graph of each node, ``[N]`` in any order; ``weight``: ``[N]``, not
        negative; returns ``[size, ambient_dim]`` in the dtype of ``z``.

    Raises:
        ValueError: for another mode; when called, for shapes that do not fit, negative weights, or a graph without
            nodes or weight, which has no mean (:class:`~msg.manifolds.checks` switch that off).
    """

    def __init__(self, manifold: geoopt.Manifold, mode: str = "mean"):
        super().__init__(manifold)
        if mode not in _MEANS:
            raise ValueError(
                f"points on a manifold cannot be pooled by {mode!r}: use 'mean' or 'frechet', or pool tangent vectors, "
                "as GraphReadout(manifold, 'sum') does, or global_add_pool(log0(manifold, z), batch)"
            )
        self.mode = mode

    def forward(
        self, z: Tensor, batch: Tensor | None = None, size: int | None = None, weight: Tensor | None = None
    ) -> Tensor:
        """One point a graph.

        Args:
            z: points of all nodes.
            batch: graph of each node, as PyG's loaders give it; ``None``: all are of one graph.
            size: number of graphs; ``None``: as many as ``batch`` names.
            weight: of the nodes; ``None``: all alike.
        """
        batch, size = _graphs(z, batch, size)
        if self.mode == "mean":
            try:
                return centroid(self.manifold, z, Groups(batch, size, weight)).to(z.dtype)
            except TypeError:  # no closed form; geoopt's own maps hardly know vectors shorter than this
                return frechet_mean(self.manifold, z, weight, batch, size, rtol=1e-5)
        return frechet_mean(self.manifold, z, weight, batch, size)

    def extra_repr(self) -> str:
        """The mode."""
        return repr(self.mode)


class GraphReadout(nn.Module):
    r"""A vector for each graph, from the points of its nodes: the logarithm of their mean, or the sum of their
    logarithms,

    .. math::
        \log_o\operatorname{mean}_{i \in g} z_i \qquad\text{or}\qquad \sum_{i \in g} \log_o z_i .

    The sum knows how many nodes a graph has, the mean does not; but it belongs to the origin, and translations change
    it in another way than the points. Without a manifold points are vectors and their own logarithms.

    Args:
        manifold: of the points, which stays the model's; ``None``: a vector space.
        pooling: ``"mean"`` or ``"frechet"``, see :class:`ManifoldPooling`, or ``"sum"``.

    Shapes:
        ``z``: ``[N, ambient_dim]``; ``batch``: ``[N]``; returns ``[size, d]`` in the dtype of ``z``.

    Raises:
        ValueError: for another pooling; when called, as :class:`ManifoldPooling`.
    """

    def __init__(self, manifold: geoopt.Manifold | None, pooling: str = "mean"):
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"unknown pooling {pooling!r}: use {', '.join(map(repr, POOLINGS))}")
        self._manifold, self.pooling = (manifold,), None
        if pooling in _MEANS:
            self.pooling = ManifoldPooling(geoopt.Euclidean(1) if manifold is None else manifold, pooling)

    @property
    def manifold(self) -> geoopt.Manifold | None:
        """Of the points."""
        return self._manifold[0]

    def _log(self, z: Tensor) -> Tensor:
        return z if self.manifold is None else log0(self.manifold, z)

    def forward(self, z: Tensor, batch: Tensor | None = None, size: int | None = None) -> Tensor:
        """One vector a graph; the arguments are those of :class:`ManifoldPooling` but for ``weight``."""
        if self.pooling is not None:
            return self._log(self.pooling(z, batch, size))
        batch, size = _graphs(z, batch, size)
        vectors = self._log(z)
        return vectors.new_zeros(size, vectors.size(-1)).index_add(0, batch, vectors)
