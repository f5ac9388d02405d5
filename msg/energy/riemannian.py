"""Rules of the maps at the origin of a manifold, which layers between points are made of, and of the means that graphs
are pooled by; all else in such layers is counted operator by operator.

So is the solver of a Fréchet mean. Its slopes are autograd's, and stand with what is done besides the inference.
"""

from collections import Counter

from torch import Tensor

from msg.energy import geometry
from msg.energy.counts import Count
from msg.energy.modules import parameters, rule
from msg.layers import (
    GraphReadout,
    GyroplaneHead,
    LocalMean,
    ManifoldPooling,
    OnManifold,
    OriginExp,
    OriginLog,
    Translation,
)
from msg.manifolds import family


def _maps(
    module: OnManifold,
    nodes: int,
    dim: int,
    size: int,
    exps: int,
    moves: int,
    logs: int,
    extra: Counter[str] | None = None,
) -> Count:
    """So many exponential maps at the origin, others, and logarithms a node; coordinates of another frame are folded
    into constants.
    """
    here = geometry.moves(module.manifold, dim, exps, moves, nodes)
    there = geometry.times(geometry.log0(module.manifold, dim), nodes * logs) + (extra or Counter())
    there["activations"] += nodes * size
    return here + Count.of(there, {"activations": nodes * size, "weights": parameters(module)})


@rule(OriginExp)
def _exp(module: OriginExp, args: tuple, kwargs: dict, output: Tensor) -> Count:
    nodes, dim = args[0].shape
    return _maps(module, nodes, dim, dim + output.size(-1), 1, 0, 0)


@rule(OriginLog)
def _log(module: OriginLog, args: tuple, kwargs: dict, output: Tensor) -> Count:
    nodes, dim = output.shape
    return _maps(module, nodes, dim, dim + args[0].size(-1), 0, 0, 1)


@rule(Translation)
def _translation(module: Translation, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """To the manifold, along the bias, and back."""
    nodes, dim = output.shape
    return _maps(module, nodes, dim, 2 * dim, 1, 1, 1, Counter({"weights": nodes * dim}))


@rule(LocalMean)
def _local(module: LocalMean, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Each edge a step and a logarithm, and a weighted sum; each node two points, a step and a logarithm."""
    (nodes, dim), edges = output.shape, args[1].numel()
    sent = {"multiply_accumulate": edges * dim, "synaptic_mac": edges * dim, "message": edges * dim}
    sent |= {"indices": 2 * edges, "weights": edges}
    along = _maps(module, edges, dim, 3 * dim, 0, 1, 1, Counter(sent))
    return along + _maps(module, nodes, dim, 2 * dim, 2, 1, 1)


@rule(GyroplaneHead)
def _gyroplanes(module: GyroplaneHead, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Of each node ``|x|^2``, two sums with it and the inverse of one; of each class two dot products with the node, a
    sum, a product with a constant that is subtracted, one with the inverse, an inverse sine, and its factor. All other
    constants are folded into the two weights.
    """
    (nodes, classes), dim = output.shape, args[0].size(-1)
    logits, touched = nodes * classes, args[0].numel() + output.numel()
    counts = {
        "multiply_accumulate": nodes * (dim + 2) + logits * (2 * dim + 1),
        "accumulate": logits,
        "multiply": 2 * logits,
        "transcendental": nodes + logits,
        "weights": logits * (2 * dim + 2),
        "activations": touched,
    }
    return Count.of(counts, {"activations": touched, "weights": parameters(module)})


@rule(ManifoldPooling)
def _pooling(module: ManifoldPooling, args: tuple, kwargs: dict, output: Tensor) -> Count | None:
    """A mean in closed form; each point is read once, with the graph it is of."""
    nodes, (graphs, size) = args[0].size(0), output.shape
    dim = family(module.manifold).intrinsic_dim(module.manifold, size)
    try:
        counts = geometry.mean(module.manifold, dim, nodes, graphs)
    except TypeError:
        return None
    counts += Counter({"activations": (nodes + graphs) * size, "indices": nodes})
    return Count.of(counts, {"activations": (nodes + graphs) * size, "indices": nodes})


@rule(GraphReadout, leave_children=True)
def _readout(module: GraphReadout, args: tuple, kwargs: dict, output: Tensor) -> Count:
    """Logarithms: of the means, or of all points, which are then summed."""
    z, (graphs, dim) = args[0], output.shape
    points = z.size(0) if module.pooling is None else graphs
    counts = Counter() if module.manifold is None else geometry.times(geometry.log0(module.manifold, dim), points)
    if module.pooling is None:
        counts += Counter({"accumulate": z.size(0) * dim, "indices": z.size(0)})
    touched = points * z.size(-1) + graphs * dim
    return Count.of(counts + Counter({"activations": touched}), {"activations": touched})
