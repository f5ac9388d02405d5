"""Normalisation between a synapse and its neurons, of trains of currents ``[N, T, d]`` or constant ones ``[N, d]``.

A threshold means something only on the scale of the current that it is compared with.
"""

from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from msg.graph.sparse import wide
from msg.names import Norm

NORMS = get_args(Norm)
"""Names of normalisations."""


def check_norm(norm: str) -> None:
    """Refuse an unknown normalisation.

    Raises:
        ValueError: naming those that are known.
    """
    if norm not in NORMS:
        raise ValueError(f"unknown norm {norm!r}: use {', '.join(map(repr, NORMS))}")


def make_norm(norm: str, channels: int) -> nn.Module:
    """A normalisation by name: ``"none"``, ``"batch"`` or ``"layer"``.

    Args:
        norm: the name.
        channels: of what is normalised.

    Shapes:
        the module reads and returns ``[M, channels]``.

    Raises:
        ValueError: for an unknown name.
    """
    check_norm(norm)
    if norm == "none":
        return nn.Identity()
    return nn.BatchNorm1d(channels) if norm == "batch" else nn.LayerNorm(channels)


class StepwiseBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of a train with weights and running statistics that all steps share, each step by itself.

    In training a step is normalised by its own mean and variance over the nodes, and the running statistics are updated
    ``T`` times, as if the module were called once a step. A single node has no variance, and is normalised by the
    running ones.

    Args:
        num_features: channels ``d``.

    Shapes:
        ``input``: ``[N, T, d]``; returns the same.
    """

    def __init__(self, num_features: int):
        super().__init__(num_features)

    def forward(self, input: Tensor) -> Tensor:
        nodes, steps, channels = input.shape
        flat = input.reshape(nodes, steps * channels)
        assert self.running_mean is not None
        assert self.running_var is not None
        if not self.training or nodes < 2:
            scale = self.weight / torch.sqrt(self.running_var + self.eps)
            return input * scale + (self.bias - self.running_mean * scale)
        # momentum 1 leaves this batch's own statistics in place of the running ones
        mean, variance = flat.new_zeros(2, flat.size(1)).unbind()
        out = F.batch_norm(
            flat, mean, variance, self.weight.repeat(steps), self.bias.repeat(steps), True, 1.0, self.eps
        )
        with torch.no_grad():
            share = self.momentum
            assert share is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += steps
            for old, new in ((self.running_mean, mean), (self.running_var, variance)):
                # what T updates one after the other come to
                left = (1 - share) ** torch.arange(steps - 1, -1, -1, dtype=new.dtype, device=new.device)
                old.mul_((1 - share) ** steps).add_(share * (left @ new.view(steps, channels)))
        return out.view(nodes, steps, channels)


class TrainBatchNorm(nn.Module):
    r"""Batch normalisation over nodes and time together: one mean and one variance a channel.

    Source: `Ioffe & Szegedy 2015, Batch Normalization <https://arxiv.org/abs/1502.03167>`_.

    Args:
        channels: ``d``.

    Shapes:
        ``current``: ``[N, T, d]`` or ``[N, d]``; returns the same.

    Raises:
        ValueError: in training, for a single row, which has no variance.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def reset_parameters(self) -> None:
        """Reset scale, shift and running statistics."""
        self.norm.reset_parameters()

    def forward(self, current: Tensor) -> Tensor:
        return self.norm(current.flatten(0, -2)).view(current.shape)


class STFNorm(nn.Module):
    r"""Spatial-temporal feature normalisation: over a node's channels and the time so far,

    .. math::
        y_t = \rho\,\theta\,\frac{a_t - \mu_t}{\sqrt{\sigma_t^2 + \epsilon}} \odot w + b,

    with mean :math:`\mu_t` and variance :math:`\sigma^2_t` of all :math:`a_{t'k}` of the node with :math:`t' \le t`.
    A current then has the scale of the threshold :math:`\theta`, and no step needs one that is yet to come. The
    statistics of a constant current do not change in time, so it is normalised once.

    Source: `Xu et al. 2021, Exploiting Spiking Dynamics with Spatial-temporal Feature Normalization in Graph Learning
    <https://arxiv.org/abs/2107.06865>`_. The reimplementation in `SGNNBench <https://github.com/Zhhuizhe/SGNNBench>`_
    evaluates with running statistics, one for each node and channel, which fit no other graph than the one that they
    were made on. Here the statistics are always those of the current itself: a node's own, whatever the graph, the same
    in training and in evaluation.

    Args:
        channels: ``d``.
        threshold: ``θ``, of the neurons that read the current.
        rho: ``ρ``.
        eps: ``ε``.
        detach: no gradient through mean and variance, as in that reimplementation.

    Shapes:
        ``current``: ``[N, T, d]`` or ``[N, d]`` (constant); returns the same.

    Raises:
        ValueError: for a threshold, ``rho`` or ``eps`` that is not positive.
    """

    def __init__(
        self, channels: int, threshold: float = 1.0, rho: float = 1.0, eps: float = 1e-5, detach: bool = False
    ):
        super().__init__()
        for name, value in (("threshold", threshold), ("rho", rho), ("eps", eps)):
            if not value > 0:
                raise ValueError(f"{name} must be positive, not {value}")
        self.threshold, self.rho, self.eps, self.detach = threshold, rho, eps, detach
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def reset_parameters(self) -> None:
        """Scale one, shift zero."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, current: Tensor) -> Tensor:
        scale = self.rho * self.threshold * self.weight
        if not self.detach and (current.dim() == 2 or current.size(1) == 1):
            # one step, or a constant: a node's own channels are all there is
            return torch.nn.functional.layer_norm(current, current.shape[-1:], scale, self.bias, self.eps)
        x = current.to(wide(current.dtype))  # squares and their slopes overflow half precision
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.detach):
            mean, inverse = self._statistics(x)
        return torch.addcmul(self.bias, ((x - mean) * inverse).to(current.dtype), scale)

    def _statistics(self, current: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and inverse deviation over channels and the steps so far, ``[N, T, 1]`` or ``[N, 1]``."""
        mean = current.mean(-1, keepdim=True)
        variance = (current - mean).square().mean(-1, keepdim=True)
        if current.dim() == 3:
            steps = torch.arange(1, current.size(1) + 1, dtype=current.dtype, device=current.device)[:, None]
            # from the first step's mean on, so that squares of large numbers do not cancel
            first = mean[:, :1]
            moved = mean - first
            along = moved.cumsum(1) / steps
            variance = ((variance + moved.square()).cumsum(1) / steps - along.square()).clamp(min=0)
            mean = first + along
        return mean, (variance + self.eps).rsqrt()

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, threshold={self.threshold:g}, rho={self.rho:g}, eps={self.eps:g}"


def make_train_norm(norm: str, channels: int, threshold: float = 1.0) -> nn.Module:
    """A normalisation by name, for currents ``[N, T, d]`` and ``[N, d]``.

    Args:
        norm: ``"none"``, ``"batch"`` (over nodes and time), ``"layer"`` (over channels, each step by itself) or
            ``"stfn"`` (over channels and the time so far).
        channels: ``d``.
        threshold: of the neurons that read the current; ``"stfn"`` brings it to that scale.

    Raises:
        ValueError: for an unknown name.
    """
    if norm == "batch":
        return TrainBatchNorm(channels)
    if norm == "stfn":
        return STFNorm(channels, threshold)
    if norm in NORMS:
        return make_norm(norm, channels)
    raise ValueError(f"unknown norm {norm!r}: use 'none', 'batch', 'layer' or 'stfn'")
