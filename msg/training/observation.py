"""One forward of any model, with what can be seen of its inside."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from msg.gradients import Activity
from msg.manifolds import log0
from msg.nn import MSG, SpikingGNN


class Observation(NamedTuple):
    """What a model did in one forward.

    Attributes:
        output: what ``model(x, edge_index)`` returns.
        tangent: the nodes in a vector space, ``[N, d]``: the tangent read-out of an :class:`~msg.nn.MSG`, the last
            firing rates of a :class:`~msg.nn.SpikingGNN`, the output of any other model.
        rates: mean firing rate of every layer whose spikes are read; empty without spikes.
        radius: largest distance of a node from the origin; ``None`` without a manifold.
    """

    output: Tensor
    tangent: Tensor
    rates: tuple[float, ...]
    radius: float | None


def observe(model: nn.Module, x: Tensor, edge_index: Tensor) -> Observation:
    """Run a model once in evaluation mode, without gradient.

    Args:
        model: any model with ``model(x, edge_index)``.
        x: ``[N, F]``.
        edge_index: ``[2, E]``.
    """
    model.eval()
    with torch.no_grad():
        if isinstance(model, MSG):
            point, activity = model.embed(x, edge_index)
            tangent = log0(model.manifold, point)
            radius = float(torch.linalg.vector_norm(tangent, dim=-1).max())
            return Observation(model.readout(point), tangent, _means(activity), radius)
        if isinstance(model, SpikingGNN):
            activity = model.activity(x, edge_index)
            return Observation(activity.drives[-1], activity.rates[-1], _means(activity), None)
        output = model(x, edge_index).detach()
        return Observation(output, output, (), None)


def _means(activity: Activity) -> tuple[float, ...]:
    return tuple(float(rate.mean()) for rate in activity.rates)
