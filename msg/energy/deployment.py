"""Inference without manifold operations: what is lost when the steps are summed at the origin."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from msg.energy import geometry
from msg.layers import JumpingPath, ManifoldPath, TangentHead
from msg.models import MSG


def tangent_readout(model: MSG, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
    r"""Logits :math:`\bigl(\sum_l b(\varepsilon v^l)\bigr) W + b`: the steps summed in the tangent space at the origin.

    The trained model reads :math:`\log_o(z^L)`, and ``model(x, edge_index)`` is its exact read-out. The sum is the same
    on flat space, and where a node takes a single step; elsewhere steps do not commute, so use it only beside its
    measured :func:`disagreement`.

    Args:
        model: with classes.
        x: ``[N, F]`` or ``[T, N, F]``.
        edge_index: ``[2, E]``.
        edge_weight: ``[E]``.

    Shapes:
        Returns ``[N, C]`` in the dtype of ``x``.

    Raises:
        ValueError: for a model without classes, or another than MSG.
    """
    path, head = _rooms(model)
    currents = model.activity(x, edge_index, edge_weight).currents
    steps = [path.step(current, number).double() for number, current in enumerate(currents)]
    return head.lin(torch.stack(steps).sum(0).to(head.lin.weight.dtype))


def has_tangent_readout(model: MSG) -> bool:
    """Whether :func:`tangent_readout` knows the model."""
    return model.out_channels is not None and not isinstance(model.path, JumpingPath)


def _rooms(model: MSG) -> tuple[ManifoldPath, TangentHead]:
    if not isinstance(getattr(model, "path", None), ManifoldPath | JumpingPath):
        raise ValueError(f"{type(model).__name__} has no path on a manifold: only MSG is read out at the origin")
    if not isinstance(model.head, TangentHead):
        raise ValueError("a model without classes has no read-out at the origin: its points are its output")
    if isinstance(model.path, JumpingPath):
        raise ValueError("a model that reads all points (jumping='cat') has no single step that stands for them")
    return model.path, model.head  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class Disagreement:
    """The tangent shortcut against the exact read-out.

    Attributes:
        share: of nodes whose predicted class differs.
        nodes: how many were compared.
        exact: operations of steps and logarithm on the manifold, by kind.
        shortcut: operations of the same steps summed at the origin.
    """

    share: float
    nodes: int
    exact: dict[str, int]
    shortcut: dict[str, int]

    def __str__(self) -> str:
        return (
            f"tangent shortcut: another class than the exact read-out for {100 * self.share:.2f} % of "
            f"{self.nodes:,} nodes; "
            f"{sum(self.shortcut.values()):,} operations instead of {sum(self.exact.values()):,}"
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields, as JSON would have them."""
        return asdict(self)


def disagreement(
    model: MSG, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None, mask: Tensor | None = None
) -> Disagreement:
    """How often the tangent shortcut predicts another class than the trained model.

    Args:
        model: trained, with classes; compared in evaluation mode.
        x: ``[N, F]`` or ``[T, N, F]``.
        edge_index: ``[2, E]``.
        edge_weight: ``[E]``.
        mask: nodes to compare, boolean ``[N]``; all unless given.

    Raises:
        ValueError: for a model without classes.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            cheap = tangent_readout(model, x, edge_index, edge_weight).argmax(-1)
            differs = cheap != model(x, edge_index, edge_weight).argmax(-1)
    finally:
        model.train(training)
    differs = differs if mask is None else differs[mask]
    path, _ = _rooms(model)
    nodes, moves, width = x.size(-2), model.num_layers, model.hidden_channels
    step = geometry.step(width, path.max_step is not None)
    exact = geometry.times(step, nodes * moves) + geometry.moves(model.manifold, width, 1, moves - 1, nodes).nonzero
    exact += geometry.times(geometry.log0(model.manifold, width), nodes)
    shortcut = geometry.times(step, nodes * moves) + Counter({"accumulate": nodes * (moves - 1) * width})
    return Disagreement(float(differs.double().mean()), differs.numel(), dict(exact), dict(shortcut))
