"""The last linear map, from features to classes: learned, or with directions that are given."""

from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msg.names import Classifier
from msg.sizes import check_sizes


class FixedLinear(nn.Linear):
    r"""A linear map to classes whose directions are drawn once and not learned,

    .. math::
        y_c = s\,\langle q_c, h\rangle + b_c, \qquad \langle q_c, q_{c'}\rangle = \delta_{cc'},

    so that what is below has to bring each class to its own direction. Learned are the scale ``s`` and the bias. Above
    a map that is linear itself, as the last convolution of :class:`~msg.models.MSG` is, a second one adds nothing that
    could not be said with the first, and learns worse; this one turns and scales.

    Source: `Hoffer et al. 2018, Fix your classifier <https://arxiv.org/abs/1801.04540>`_, eq. 5, with orthonormal
    directions; as prototypes of classes, `Mettes et al. 2019 <https://arxiv.org/abs/1901.10514>`_.

    Args:
        in_features: width ``d``.
        out_features: number of classes ``C``. Where it exceeds ``d``, directions are random ones of length 1.
        scale: ``s`` at first; it stays positive, and weight decay draws it here.

    Shapes:
        ``h``: ``[..., d]``; returns ``[..., C]``. ``weight``: ``[C, d]``, the scaled directions.

    Raises:
        ValueError: for sizes below 1, or a scale that is not positive.
    """

    directions: Tensor

    def __init__(self, in_features: int, out_features: int, scale: float = 10.0):
        nn.Module.__init__(self)
        check_sizes(in_features=in_features, out_features=out_features)
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale must be positive and finite, not {scale}")
        self.in_features, self.out_features, self.scale = in_features, out_features, scale
        self.register_buffer("directions", torch.empty(out_features, in_features))
        self.growth = nn.Parameter(torch.empty(()))  # of the scale, as a logarithm
        self.bias = nn.Parameter(torch.empty(out_features))
        self.reset_parameters()

    @property
    def weight(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The scaled directions, ``[C, d]``."""
        return self.scale * self.growth.exp() * self.directions

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw other directions; back to the first scale and no bias."""
        full = self.directions.float()  # half precisions have no such factorisation
        if self.out_features <= self.in_features:
            nn.init.orthogonal_(full)
        else:
            full = F.normalize(torch.randn_like(full), dim=-1)
        self.directions.copy_(full)
        nn.init.zeros_(self.growth)
        nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        """Sizes and first scale."""
        return f"{self.in_features}, {self.out_features}, scale={self.scale:g}"


def check_classifier(kind: str) -> None:
    """Refuse an unknown name.

    Raises:
        ValueError: naming those there are.
    """
    if kind not in get_args(Classifier):
        raise ValueError(f"unknown classifier {kind!r}: use {' or '.join(map(repr, get_args(Classifier)))}")


def make_classifier(kind: str, in_features: int, out_features: int) -> nn.Linear:
    """What reads classes out, by name.

    Raises:
        ValueError: for an unknown name.
    """
    check_classifier(kind)
    return FixedLinear(in_features, out_features) if kind == "fixed" else nn.Linear(in_features, out_features)
