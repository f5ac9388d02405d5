"""Linear maps whose weight is read in place of a call, which sparse features and constants are multiplied by."""

from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import Linear

from msg.calls import altered
from msg.graph import SparseMatrix
from msg.graph.sparse import linear, to_dense


def is_map(module: Any, biased: bool = True) -> bool:
    """Whether a module multiplies by its weight, adds at most a bias and does nothing else, as one put in place of
    PyG's may (an adapter, say). Whether someone waits for its call is another question.
    """
    plain = getattr(type(module), "forward", None) in (Linear.forward, nn.Linear.forward)
    return plain and (biased or module.bias is None)


def may_be_read(module: Any, biased: bool = True) -> bool:
    """Whether the weight of a module may be read in place of a call: it does nothing else, see :func:`is_map`, and
    nobody waits for the call who may change what it returns.
    """
    return is_map(module, biased) and not altered(module)


def through(module: nn.Module, x: Tensor | SparseMatrix) -> Tensor:
    """What a map makes of dense or sparse features. It is called, with dense ones where its weight may not be read."""
    if isinstance(x, SparseMatrix) and may_be_read(module):
        return linear(x, module.weight, module.bias)  # pyright: ignore[reportArgumentType]
    return module(to_dense(x))
