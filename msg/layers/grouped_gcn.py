"""A graph convolution of features that come group by group."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn.inits import glorot

from msg.graph import Graph, SparseMatrix
from msg.sizes import check_sizes


class GroupedGCN(nn.Module):
    r"""A graph convolution with weights of its own for each group of features, all groups at once:
    :math:`\hat A\,\mathrm{BN}(X_t)\,W_t + b_t` for the ``t``-th ``size`` columns :math:`X_t` of the features.

    Batch normalisation of a feature is :math:`a x + c`, so dense features go through the adjacency first, without any
    weight: no gradient has to come back through it.

    Args:
        in_channels: number of features.
        out_channels: width ``d`` for each group.
        size: features of a group; the last one may have fewer.
        normalised: whether features are normalised over the nodes.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; returns ``[N, count, d]``.

    Raises:
        ValueError: for a group without features.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, normalised: bool):
        super().__init__()
        check_sizes(size=size)
        self.size, self.count = size, -(-in_channels // size)
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels))
        self.bias = nn.Parameter(torch.empty(self.count * out_channels))
        self.norm = nn.BatchNorm1d(in_channels) if normalised else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights of each group anew, and forget the running statistics."""
        with torch.no_grad():
            for rows in self.weight.split(self.size):
                glorot(rows)
        nn.init.zeros_(self.bias)
        if self.norm is not None:
            self.norm.reset_parameters()

    def _scale_and_shift(self, x: Tensor | SparseMatrix) -> tuple[Tensor, Tensor]:
        """``a`` and ``c`` of each feature."""
        norm = self.norm
        assert norm is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.momentum is not None
        mean, variance = norm.running_mean, norm.running_var
        nodes = x.size(0)
        if norm.training and nodes > 1:
            mean, variance = _moments(x)
            with torch.no_grad():
                norm.running_mean.lerp_(mean, norm.momentum)
                norm.running_var.lerp_(variance * (nodes / (nodes - 1)), norm.momentum)
        scale = norm.weight / torch.sqrt(variance + norm.eps)
        return scale, norm.bias - mean * scale

    def forward(self, x: Tensor | SparseMatrix, graph: Graph, received: Tensor | None = None) -> Tensor:
        """What each group's convolution gives.

        Args:
            x: features.
            graph: the graph.
            received: what dense features send along its edges, where that is known already.
        """
        adjacency, weight, constant = graph.normalized(x.dtype), self.weight, None
        bias = self.bias.view(self.count, -1)
        if self.norm is not None:
            scale, shift = self._scale_and_shift(x)
            constant = torch.stack([part.sum(0) for part in (shift[:, None] * weight).split(self.size)])
            weight = scale[:, None] * weight
        if isinstance(x, SparseMatrix):
            sent = _apart(x, self.size, self.count).matmul(weight).view(-1, self.count, weight.size(1))
            return adjacency.matmul(sent if constant is None else sent + constant) + bias
        received = adjacency.matmul(x) if received is None else received
        if constant is None:
            return self._product(received, weight, bias[:, None])
        # what a constant 1 becomes, a column that is the same for all groups
        ones = adjacency.matmul(torch.ones_like(x[:, :1]))
        return self._product(received, weight, torch.stack([bias, constant], 1), ones)

    def _product(self, x: Tensor, weight: Tensor, further: Tensor, *columns: Tensor) -> Tensor:
        """Of each group with its weights, in one product with what is added: ``further`` weights of a constant 1, and
        of ``columns`` that are the same for all groups.
        """
        missing = self.size * self.count - weight.size(0)
        if missing:
            x, weight = F.pad(x, (0, missing)), F.pad(weight, (0, 0, 0, missing))
        every = [column[:, None].expand(-1, self.count, -1) for column in (torch.ones_like(x[:, :1]), *columns)]
        x = torch.cat([x.unflatten(1, (self.count, self.size)), *every], dim=2)
        return torch.einsum("ntg,tgd->ntd", x, torch.cat([weight.unflatten(0, (-1, self.size)), further], 1))


def _moments(x: Tensor | SparseMatrix) -> tuple[Tensor, Tensor]:
    """Mean and variance of each feature over the nodes."""
    if isinstance(x, Tensor):
        if x.requires_grad:
            variance, mean = torch.var_mean(x, 0, correction=0)
            return mean, variance
        # momentum 1 leaves the batch's own statistics, several times as fast as var_mean over rows
        mean, variance = x.new_zeros(2, x.size(1)).unbind()
        F.batch_norm(x, mean, variance, training=True, momentum=1.0)
        return mean, variance * ((x.size(0) - 1) / x.size(0))
    _, column, value = x.entries()
    sums = value.new_zeros(2, x.size(1)).index_add(1, column, torch.stack([value, value.square()])) / x.size(0)
    return sums[0], (sums[1] - sums[0].square()).clamp(min=0)


def _apart(x: SparseMatrix, size: int, count: int) -> SparseMatrix:
    """Sparse features with a row for each node and group, ``[N * count, F]``."""
    row, column, value = x.entries()
    return SparseMatrix(row * count + column // size, column, value, (x.size(0) * count, x.size(1)))
