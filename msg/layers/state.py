"""What is done with the state of a recurrent network, whatever it is made of: tensors ``[N, ...]`` in tuples.

All neurons and filters rest at zero, so a row of zeros is a node that nothing has happened to yet. Numbers without
nodes (a count of steps, say) belong to the network and stay what they are.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten as _flatten
from torch.utils._pytree import tree_leaves, tree_map_only, tree_unflatten

from msg.calls import integral

State = TypeVar("State")


def detach_state(state: State) -> State:
    """The same state without its past: what truncated backpropagation through time goes on from.

    Args:
        state: of :class:`~msg.models.RecurrentSpikingGNN`, :class:`~msg.models.LSNN`, a neuron, or any tensors in
            tuples, lists and dictionaries.
    """
    return tree_map_only(Tensor, Tensor.detach, state)


def index_state(state: State, nodes: Tensor) -> State:
    """The state of some nodes, in the order given: of those that stay, or of one graph of a batch.

    Args:
        state: see :func:`detach_state`.
        nodes: ``[M]``, rows of the state; -1 is a node at rest.

    Raises:
        ValueError: if ``nodes`` are no rows of the state.
    """
    nodes = torch.as_tensor(nodes)
    if nodes.dim() != 1 or not integral(nodes):
        raise ValueError(f"nodes must be a list of rows, not {nodes.dtype} of shape {list(nodes.shape)}")
    number = state_nodes(state)
    if number is not None and nodes.numel() and not -1 <= int(nodes.min()) <= int(nodes.max()) < number:
        raise ValueError(f"nodes must be rows from 0 to {number - 1} of the state, or -1 for one at rest")

    def rows(tensor: Tensor) -> Tensor:
        if not tensor.dim():
            return tensor
        at = nodes.to(tensor.device, torch.long)
        if not tensor.size(0):
            return tensor.new_zeros(at.numel(), *tensor.shape[1:])
        resting = (at < 0).view(-1, *[1] * (tensor.dim() - 1))
        return tensor[at.clamp(min=0)].masked_fill(resting, 0)

    return tree_map_only(Tensor, rows, state)


def grow_state(state: State, num_nodes: int) -> State:
    """The state of a graph to which nodes were added, after those that it had, at rest.

    Args:
        state: see :func:`detach_state`.
        num_nodes: how many there are now.

    Raises:
        ValueError: if there were more.
    """
    number = state_nodes(state) or 0
    if num_nodes < number:
        raise ValueError(f"the state has {number} nodes, more than {num_nodes}: use index_state to keep some of them")
    leaves = tree_leaves(state)
    device = next((leaf.device for leaf in leaves if isinstance(leaf, Tensor)), None)
    now = torch.arange(num_nodes, device=device)
    return index_state(state, torch.where(now < number, now, -1))


def cat_states(states: Sequence[State]) -> State:
    """The state of several graphs as one, as ``torch_geometric.data.Batch`` puts their nodes one after another.

    Args:
        states: of the same network.

    Raises:
        ValueError: if there are none, or they are not of the same kind, or differ in a number that all nodes share.
    """
    if not states:
        raise ValueError("cat_states needs at least one state")
    flat = [_flatten(state) for state in states]
    if any(spec != flat[0][1] for _, spec in flat):
        raise ValueError("states of different networks have no common one: give states of one network")
    return tree_unflatten([_cat(parts) for parts in zip(*(leaves for leaves, _ in flat))], flat[0][1])


def _cat(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Tensor) and first.dim():
        return torch.cat(list(parts))
    if any(bool(other != first) for other in parts):
        raise ValueError(f"states differ in a number that all nodes share, {[float(part) for part in parts]}")
    return first


def state_nodes(state: Any) -> int | None:
    """For how many nodes a state is; ``None`` if it holds nothing of any.

    Raises:
        ValueError: if its tensors are of different numbers of nodes.
    """
    numbers = [leaf.size(0) for leaf in _tensors(state)]  # no set: an exporter's numbers have no hash
    if any(number != numbers[0] for number in numbers):
        raise ValueError(f"the state holds tensors of {sorted(set(numbers))} nodes: it must be one of a single graph")
    return numbers[0] if numbers else None


def check_state(state: Any, num_nodes: int, dtype: torch.dtype, like: Any = None) -> None:
    """Raise ``ValueError``, naming the mend, for a state of other nodes, another dtype or another network.

    Args:
        state: that was given.
        num_nodes: that there are.
        dtype: of what is read.
        like: a state of the network, of any nodes; ``None``: the network is not compared.
    """
    leaves, parts = _flatten(state)
    if like is not None:
        others, whole = _flatten(like)
        if parts != whole or list(map(_width, leaves)) != list(map(_width, others)):
            raise ValueError("the state has other parts or widths than this network's: it is another model's")
    number = state_nodes(leaves)
    if number not in (None, num_nodes):
        mend = (
            f"use grow_state(state, {num_nodes}) if the last {num_nodes - number} are new"  # pyright: ignore
            if number < num_nodes  # pyright: ignore
            else "use index_state(state, nodes) with the nodes that are left"
        )
        raise ValueError(f"the state is of {number} nodes, but x has {num_nodes}: {mend}")
    kinds = {leaf.dtype for leaf in _tensors(leaves)} - {dtype}
    if kinds:
        raise ValueError(f"the state is {kinds.pop()}, but x is {dtype}: begin anew with state=None")


def _width(leaf: Any) -> Any:
    """What a part has in common with those of other nodes."""
    return leaf.shape[1:] if isinstance(leaf, Tensor) and leaf.dim() else None


def _tensors(state: Any) -> Iterable[Tensor]:
    return (leaf for leaf in tree_leaves(state) if isinstance(leaf, Tensor) and leaf.dim())
