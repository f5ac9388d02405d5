"""Predictions that are propagated along edges: predict, then propagate."""

from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import APPNP, MessagePassing

from msg.calls import given
from msg.graph import GraphMemo
from msg.models.network import GraphNetwork
from msg.sizes import check_sizes


class Propagated(nn.Module):
    r"""Any model of nodes, whose output is propagated by personalised PageRank, in training too:

    .. math::
        z^0 = h = f(X, A), \qquad z^{k+1} = (1 - \alpha)\,\hat A z^k + \alpha h, \qquad
        \hat A = D^{-1/2}(A + I)D^{-1/2} .

    Source: `Gasteiger et al. 2019, Predict then Propagate <https://arxiv.org/abs/1810.05997>`_, eq. 4, about any
    model in place of a perceptron.

    Args:
        model: ``(x, edge_index) -> [N, C]``.
        num_hops: number of steps ``K``.
        teleport: ``α``, the share of a node's own prediction.

    Shapes:
        ``x``: as the model reads it; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; ``edge_attr`` and
        ``edge_type``: for the model, which hops do not read; returns ``[N, C]``.

    Raises:
        ValueError: for no step, or a share that is none; under ``torch_geometric.explain`` for a model that looks along
            edges without PyG's messages.
    """

    def __init__(self, model: nn.Module, num_hops: int = 10, teleport: float = 0.1):
        super().__init__()
        check_sizes(num_hops=num_hops)
        if not 0 < teleport <= 1:
            raise ValueError(f"teleport must lie in (0, 1], not be {teleport}")
        self.model, self.num_hops, self.teleport = model, num_hops, teleport
        self.propagation = APPNP(num_hops, teleport)  # the same; called under an explanation, whose masks it takes
        self._graphs = GraphMemo()

    @property
    def criterion(self) -> Any:
        """The model's own, of what has been propagated; only where it has one."""
        return self.model.criterion

    @property
    def unsupervised_loss(self) -> Any:
        """The model's own, before its predictions are propagated; only where it has one."""
        return self.model.unsupervised_loss

    def reset_parameters(self) -> None:
        """Reset the model."""
        self.model.reset_parameters()  # pyright: ignore[reportCallIssue]

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_type: Tensor | None = None,
    ) -> Tensor:
        known = given(edge_weight=edge_weight, edge_attr=edge_attr, edge_type=edge_type)
        h = z = self.model(x, edge_index, **known)
        if bool(self.propagation.explain):
            self._check_masks()
            return self.propagation(h, edge_index, edge_weight)
        nodes = h.size(0)
        graph = self._graphs.graph(edge_index, edge_weight, nodes)
        matrix = graph.normalized(h.dtype)
        for _ in range(self.num_hops):
            z = (1 - self.teleport) * matrix.matmul(z) + self.teleport * h
        return z

    def _check_masks(self) -> None:
        """An explanation of the hops alone would say that it is one of the whole."""
        inner = self.model
        looks = isinstance(inner, GraphNetwork) and getattr(inner, "hops", 1) > 0
        if looks and not any(isinstance(part, MessagePassing) for part in inner.modules()):
            raise ValueError(
                f"{type(inner).__name__} looks along edges by itself, without messages of PyG's that a mask could act "
                "on, so its edges cannot be explained: explain another model, of 'gcn' convolutions for one"
            )

    def extra_repr(self) -> str:
        """Steps and share."""
        return f"num_hops={self.num_hops}, teleport={self.teleport:g}"
