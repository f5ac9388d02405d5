"""k-means on a manifold."""

import math
from typing import Any, Literal

import geoopt
import numpy as np
import torch
from sklearn.base import BaseEstimator, ClusterMixin
from torch import Tensor

from msg.geometry.neighbors import pairwise_distances
from msg.manifolds import centroid, frechet_mean
from msg.sizes import check_sizes


class KMeans(ClusterMixin, BaseEstimator):
    r"""Lloyd's algorithm with geodesic distances: points go to the nearest centre, centres to the mean of their points.

    With Fréchet means it minimises :math:`\sum_i \min_c d(x_i, m_c)^2`, and in flat space it is scikit-learn's KMeans.
    Centres begin at points drawn with probability proportional to the squared distance from those that are drawn
    already (k-means++); of several beginnings the best is kept. A centre that loses all its points goes to the point
    that is farthest from its own.

    Source: `Arthur & Vassilvitskii 2007, k-means++ <https://dl.acm.org/doi/10.5555/1283383.1283494>`_.

    Args:
        manifold: of the points.
        n_clusters: ``k``.
        mean: ``"frechet"`` is the mean itself (:func:`~msg.manifolds.frechet_mean`), ``"centroid"`` the closed form
            that stands for it (:func:`~msg.manifolds.centroid`), which is faster; the sum may not fall in every step.
        n_init: beginnings.
        max_iter: steps of each.
        random_state: seed of the beginnings.

    Attributes:
        cluster_centers_: ``[k, ambient_dim]``, float64.
        labels_: of the points, ``[N]``.
        inertia_: the sum of squared distances.
        n_iter_: steps of the best beginning.
    """

    def __init__(
        self,
        manifold: geoopt.Manifold,
        n_clusters: int = 8,
        mean: Literal["frechet", "centroid"] = "frechet",
        n_init: int = 4,
        max_iter: int = 100,
        random_state: int = 0,
    ):
        self.manifold, self.n_clusters, self.mean = manifold, n_clusters, mean
        self.n_init, self.max_iter, self.random_state = n_init, max_iter, random_state

    @torch.no_grad()  # the curvature that a model learned is not learned here
    def fit(self, X: Any, y: Any = None) -> "KMeans":
        """Find centres.

        Args:
            X: points, ``[N, ambient_dim]``, a tensor or an array.
            y: ignored.

        Raises:
            ValueError: for fewer points than centres, an unknown mean, or points that do not lie on the manifold.
        """
        points = _points(X)
        if self.mean not in ("frechet", "centroid"):
            raise ValueError(f"unknown mean {self.mean!r}: use 'frechet' or 'centroid'")
        if not 1 <= self.n_clusters <= len(points):
            raise ValueError(f"n_clusters must be from 1 to the number of points, {len(points)}, not {self.n_clusters}")
        check_sizes(n_init=self.n_init)
        random = np.random.default_rng(self.random_state)
        found = min((self._run(points, random) for _ in range(self.n_init)), key=lambda run: run[2])
        self.cluster_centers_, self.labels_ = found[0].numpy(), found[1].numpy()
        self.inertia_, self.n_iter_ = found[2], found[3]
        return self

    @torch.no_grad()
    def predict(self, X: Any) -> np.ndarray:
        """The nearest centre of each point, ``[N]``."""
        centres = torch.from_numpy(self.cluster_centers_)
        return pairwise_distances(self.manifold, _points(X), centres).argmin(1).numpy()

    def _run(self, points: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor, float, int]:
        centres, labels, steps, before = self._begin(points, random), None, 0, math.inf
        while True:
            nearest, chosen = (pairwise_distances(self.manifold, points, centres) ** 2).min(1)
            inertia, used = float(nearest.sum()), self._all_used(chosen, nearest)
            # of points that coincide all are nearest to one centre, and another moved to one of them gains nothing
            in_vain = inertia >= before and not torch.equal(used, chosen)
            if steps == self.max_iter or in_vain or (labels is not None and torch.equal(used, labels)):
                return centres, chosen, inertia, steps
            labels, steps, before = used, steps + 1, inertia
            centres = self._means(points, labels)

    def _begin(self, points: Tensor, random: np.random.Generator) -> Tensor:
        drawn = [int(random.integers(len(points)))]
        nearest = torch.full((len(points),), torch.inf, dtype=torch.float64)
        while len(drawn) < self.n_clusters:
            apart = pairwise_distances(self.manifold, points, points[drawn[-1:]])[:, 0]
            nearest = torch.minimum(nearest, apart**2)
            total = float(nearest.sum())
            # points that coincide with those drawn are as good as any
            chances = nearest.numpy() / total if total else None
            drawn.append(int(random.choice(len(points), p=chances)))
        return points[drawn]

    def _all_used(self, labels: Tensor, nearest: Tensor) -> Tensor:
        labels, left = labels.clone(), nearest.clone()
        for empty in np.setdiff1d(np.arange(self.n_clusters), labels.numpy()):
            sizes = labels.bincount(minlength=self.n_clusters)
            farthest = torch.where(sizes[labels] > 1, left, -1.0).argmax()
            labels[farthest], left[farthest] = int(empty), -1.0
        return labels

    def _means(self, points: Tensor, labels: Tensor) -> Tensor:
        if self.mean == "frechet":
            return frechet_mean(self.manifold, points, index=labels, num_means=self.n_clusters)
        members = torch.nn.functional.one_hot(labels, self.n_clusters).t().double()
        return centroid(self.manifold, points, members)


def _points(given: Any) -> Tensor:
    """Points in float64 on the CPU.

    Raises:
        ValueError: for what is no number.
    """
    points = torch.as_tensor(given).detach().cpu().double()
    if bool(points.isnan().any()):
        raise ValueError("points have coordinates that are NaN: leave these points out")
    return points
