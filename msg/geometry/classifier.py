"""Logistic regression with hyperplanes of a curved space."""

from typing import Any, NamedTuple

import geoopt
import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor

from msg.geometry.clustering import _points
from msg.manifolds import curvature, exp0, family, gyroplane_logits, log0
from msg.manifolds.family import wide
from msg.manifolds.scaled import rescaled
from msg.manifolds.switch import unbounded
from msg.manifolds.trigonometry import squared_norm

_FIRST = 0.01
"""Standard deviation of normals to begin with: of none a hyperplane has no direction."""


class Hyperplanes(NamedTuple):
    r"""One hyperplane a class, on one factor.

    Attributes:
        normal: :math:`n_c`, tangent vectors at the origin, ``[K, d]``.
        bias: :math:`b_c`, ``[K]``.
    """

    normal: Tensor
    bias: Tensor

    def logits(self, space: geoopt.Stereographic, z: Tensor) -> Tensor:
        """Of points of a κ-stereographic model, ``[N, K]``."""
        foot = exp0(space, -self.bias[:, None] * self.normal / squared_norm(self.normal).clamp(min=1e-30))
        # the same length in the chart of the foot
        normal = self.normal * (1 + space.k * squared_norm(foot)) / 2
        return gyroplane_logits(space, z, foot, normal)


class GyroplaneClassifier(ClassifierMixin, BaseEstimator):
    r"""Multinomial logistic regression with logits :func:`~msg.manifolds.gyroplane_logits`, as
    :class:`~msg.layers.GyroplaneHead` has them.

    The hyperplane of a class is the one through :math:`p_c = \exp_0(-b_c n_c/|n_c|^2)`, its point next to the origin,
    with a normal along :math:`n_c` and as long, which in flat space gives :math:`\langle n_c, x\rangle + b_c`. Points
    of a space of constant curvature are carried to its κ-stereographic model by the isometry
    :math:`\exp_0 \circ \log_o`; on a product each factor has hyperplanes of its own, and their logits are added up.
    Minimised by L-BFGS is

    .. math:: C \sum_i \mathrm{CE}(\ell(x_i), y_i) + \tfrac12 \sum_c |n_c|^2,

    in flat space what scikit-learn's ``LogisticRegression(C=C)`` minimises.

    Sources: `Ganea, Bécigneul, Hofmann 2018, Hyperbolic Neural Networks <https://arxiv.org/abs/1805.09112>`_,
    section 3.1; a hyperplane by its point next to the origin as in `Shimizu et al. 2021, Hyperbolic Neural Networks++
    <https://arxiv.org/abs/2006.08210>`_.

    Args:
        manifold: of the points: of constant curvature, or a product of such.
        C: inverse strength of the penalty.
        max_iter: steps of L-BFGS.
        random_state: seed of the normals to begin with.

    Attributes:
        classes_: labels, ``[K]``.
        hyperplanes_: one ``Hyperplanes`` for each factor.
    """

    def __init__(self, manifold: geoopt.Manifold, C: float = 1.0, max_iter: int = 200, random_state: int = 0):
        self.manifold, self.C, self.max_iter, self.random_state = manifold, C, max_iter, random_state

    def fit(self, X: Any, y: Any) -> "GyroplaneClassifier":
        """Find hyperplanes.

        Args:
            X: points, ``[N, ambient_dim]``, a tensor or an array.
            y: labels, ``[N]``.

        Raises:
            ValueError: for fewer classes than two, sizes that do not fit, or a penalty that is not positive.
        """
        if not self.C > 0:
            raise ValueError(f"C must be positive, not {self.C}: a large one for hardly any penalty")
        self.classes_, numbers = np.unique(np.asarray(y), return_inverse=True)
        charts = self._charts(_points(X))
        if len(self.classes_) < 2:
            raise ValueError("a classifier needs two classes, and all labels are the same: give points of others")
        if numbers.shape != (len(charts[0][1]),):
            raise ValueError(f"y must have one label for each of the {len(charts[0][1])} points")
        target, classes = torch.from_numpy(numbers), len(self.classes_)
        random = torch.Generator().manual_seed(self.random_state)
        planes = [
            Hyperplanes(
                (_FIRST * torch.randn(classes, z.size(1), generator=random, dtype=torch.float64)).requires_grad_(),
                torch.zeros(classes, dtype=torch.float64, requires_grad=True),
            )
            for _, z in charts
        ]
        optimizer = torch.optim.LBFGS(
            [tensor for plane in planes for tensor in plane],
            max_iter=self.max_iter,
            tolerance_grad=1e-7,
            tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )

        def objective() -> Tensor:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(_logits(planes, charts), target, reduction="sum")
            penalty = torch.stack([plane.normal.square().sum() for plane in planes]).sum() / 2
            # a mean, so that tolerances do not depend on the number of points
            total = (loss + penalty / self.C) / len(target)
            total.backward()
            return total

        optimizer.step(objective)  # pyright: ignore[reportArgumentType]
        self.hyperplanes_ = [Hyperplanes(plane.normal.detach(), plane.bias.detach()) for plane in planes]
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Logits, ``[N, K]``."""
        with torch.no_grad():
            return _logits(self.hyperplanes_, self._charts(_points(X))).numpy()

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, ``[N, K]``."""
        return torch.from_numpy(self.decision_function(X)).softmax(1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each point, ``[N]``."""
        return self.classes_[self.decision_function(X).argmax(1)]

    def _charts(self, points: Tensor) -> list[tuple[geoopt.Stereographic, Tensor]]:
        return [_chart(factor, part) for factor, part in factors(self.manifold, points)]


def _logits(planes: list[Hyperplanes], charts: list[tuple[geoopt.Stereographic, Tensor]]) -> Tensor:
    return torch.stack([plane.logits(space, z) for plane, (space, z) in zip(planes, charts)]).sum(0)


def factors(manifold: geoopt.Manifold, z: Tensor) -> list[tuple[geoopt.Manifold, Tensor]]:
    """The factors of a product with their coordinates of ``z``, those of products among them too; of a scaled manifold
    its base's, each as far scaled.
    """
    if isinstance(manifold, geoopt.Scaled):
        return [(rescaled(factor, manifold.scale), part) for factor, part in factors(manifold.base, z)]  # pyright: ignore[reportArgumentType]
    parts = family(manifold).split(manifold, z)
    if len(parts) == 1 and parts[0][0] is manifold:
        return parts
    return [one for factor, part in parts for one in factors(factor, part)]


def _chart(manifold: geoopt.Manifold, z: Tensor) -> tuple[geoopt.Stereographic, Tensor]:
    space = geoopt.Stereographic(k=wide(curvature(manifold)))
    with torch.no_grad(), unbounded():  # a point further out would be another one
        return space, exp0(space, log0(manifold, z))
