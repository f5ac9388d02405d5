"""What can be seen of any model's inside, by plain forward hooks on its stacks and its paths."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import geoopt
import torch
from torch import Tensor, nn
from torch_geometric.loader import NodeLoader

from msg.gradients import Activity
from msg.layers import GraphReadout, ManifoldPath
from msg.manifolds import log0
from msg.models.network import LayeredNetwork
from msg.models.stack import SpikingStack


@dataclass
class Seen:
    """What the stacks and paths of a model did while they were watched, in the order they ran.

    Attributes:
        activities: each stack with its activity.
        points: each path with the point it led to.
        graphs: each read-out of graphs with the vectors it gave.
    """

    activities: list[tuple[SpikingStack, Activity]] = field(default_factory=list)
    points: list[tuple[ManifoldPath, Tensor]] = field(default_factory=list)
    graphs: list[tuple[GraphReadout, Tensor]] = field(default_factory=list)


@contextmanager
def watching(model: nn.Module) -> Iterator[Seen]:
    """Watch every :class:`~msg.models.SpikingStack`, :class:`~msg.layers.ManifoldPath` and
    :class:`~msg.layers.GraphReadout` of a model that runs.
    """
    seen = Seen()
    kinds: dict[type, list] = {SpikingStack: seen.activities, ManifoldPath: seen.points, GraphReadout: seen.graphs}
    with ExitStack() as hooks:
        for module in model.modules():
            for kind, found in kinds.items():
                if isinstance(module, kind):
                    hook = module.register_forward_hook(lambda one, _, out, found=found: found.append((one, out)))
                    hooks.callback(hook.remove)
        yield seen


def manifold_of(model: nn.Module) -> geoopt.Manifold | None:
    """The manifold of a model's points, or ``None``."""
    return next((module.manifold for module in model.modules() if isinstance(module, ManifoldPath)), None)


class Observation(NamedTuple):
    """What a model did in one forward.

    Attributes:
        output: what ``model(x, edge_index)`` returns.
        tangent: the nodes in a vector space, ``[N, d]``: on a manifold the tangent read-out, of any other spiking
            network the last firing rates, of any other model its output; of a classifier of graphs the graphs,
            ``[G, d]``.
        rates: mean firing rate of every layer whose spikes are read; empty without spikes.
        radius: largest distance of a node from the origin; ``None`` without a manifold.
    """

    output: Tensor
    tangent: Tensor
    rates: tuple[float, ...]
    radius: float | None


def observe(model: nn.Module, x: Tensor, edge_index: Tensor, **graphs: Any) -> Observation:
    """Run a model once in evaluation mode, without gradient.

    Args:
        model: any model with ``model(x, edge_index)``.
        x: ``[N, F]``.
        edge_index: ``[2, E]``.
        graphs: ``batch`` and ``batch_size``, of a classifier of graphs; ``edge_weight``; ``nodes``, of a model that
            takes them.
    """
    model.eval()
    with torch.no_grad(), watching(model) as seen:
        output = model(x, edge_index, **graphs).detach()
    rates = [rate for _, activity in seen.activities for rate in activity.rates]
    tangent, radius = rates[-1] if rates else output, None
    if seen.points:
        tangent = _tangent(*seen.points[-1])
        radius = float(torch.linalg.vector_norm(tangent, dim=-1).max()) if len(tangent) else 0.0
    if seen.graphs:
        tangent = seen.graphs[-1][1]
    return Observation(output, tangent, tuple(float(rate.mean()) for rate in rates), radius)


def observe_by_layers(model: LayeredNetwork, loader: NodeLoader) -> Observation:
    """The same by :meth:`~msg.models.LayeredNetwork.inference`, on the CPU and without firing rates.

    Args:
        model: a network of convolutions in a row.
        loader: of batches with all neighbours of one hop, over all nodes in their order.
    """
    model.eval()
    with watching(model) as seen:
        output = model.inference(loader)
    if not seen.points:
        return Observation(output, output, (), None)
    tangent = torch.cat([_tangent(*batch).cpu() for batch in seen.points])
    return Observation(output, tangent, (), float(torch.linalg.vector_norm(tangent, dim=-1).max()))


def _tangent(path: ManifoldPath, point: Tensor) -> Tensor:
    with torch.no_grad():
        return log0(path.manifold, point)
