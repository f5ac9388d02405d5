"""What two looks at one graph, each under its own randomness, should agree on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Consistency:
    r"""Several views of a graph in each update, which are to predict the same of every node, labelled or not.

    A view is one forward in training: dropout and the :class:`Augmentation` are drawn anew. With probabilities
    :math:`p^s` of view ``s`` and their mean :math:`\bar p`, sharpened by a temperature, the loss is the mean of the
    views' losses and

    .. math::
        \lambda \frac{1}{SN} \sum_s \sum_i \|\bar q_i - p^s_i\|_2^2, \qquad
        \bar q_{ic} = \bar p_{ic}^{1/T} \Big/ \sum_{c'} \bar p_{ic'}^{1/T},

    where :math:`\bar q` carries no gradient and :math:`p^s` is a softmax of a model's outputs, whatever it minimises.
    An update takes as many times as long as there are views, and as much memory; running statistics move once a view.
    It needs some randomness in training: where views are equal, what is left is that predictions become sharper.

    Source: `Feng et al. 2020, Graph Random Neural Networks for Semi-Supervised Learning on Graphs
    <https://arxiv.org/abs/2005.11079>`_, section 3.2 (about their random propagation; here about any training), with
    the mean over nodes of their released code in place of the sum. Weight and temperature are those of that code for
    Cora.

    Attributes:
        weight: ``λ``; 0 for one view, and nothing to agree on.
        views: ``S``.
        temperature: ``T``; at 1 nothing is sharpened.

    Raises:
        ValueError: for numbers that cannot be.
    """

    weight: float = 0.0
    views: int = 2
    temperature: float = 0.5

    def __post_init__(self):
        if not (0 <= self.weight < math.inf and self.views in range(2, 1000) and 0 < self.temperature <= 1):
            raise ValueError(f"consistency needs weight >= 0, views >= 2 and temperature in (0, 1], not {self}")

    @property
    def num_views(self) -> int:
        """Forwards in each update."""
        return self.views if self.weight else 1

    def loss(self, logits: Sequence[Tensor]) -> Tensor:
        """The weighted term of views' outputs, each ``[N, C]``; a scalar."""
        probabilities = torch.stack([view.softmax(-1) for view in logits])
        with torch.no_grad():
            # as logarithms, since powers of 1/T of many small probabilities may all be 0
            mean = torch.stack([view.log_softmax(-1) for view in logits]).logsumexp(0)
            sharpened = (mean / self.temperature).softmax(-1)
        return self.weight * (sharpened - probabilities).square().sum(-1).mean()
