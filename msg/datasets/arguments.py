"""Arguments made sure of before they are computed with: indices of any integer type, seeds, masks."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msg.calls import integral

MASKS = ("train_mask", "val_mask", "test_mask")

_MASK_MEND = "from a list of nodes make mask = np.zeros(N, bool); mask[nodes] = True"
_MOST_NODES = 3_037_000_499  # the largest N whose codes i N + j fit into 63 bits


def seeded(seed: int) -> torch.Generator:
    """Return a random generator on the CPU that begins with a seed.

    Raises:
        ValueError: If the seed is no integer from 0 to 4,294,967,295. PyTorch's generator on the CPU reads 32 bits of
            it, so a larger or negative one would silently mean the same as another.
    """
    try:
        number = None if isinstance(seed, bool) else operator.index(seed)
    except TypeError:
        number = None
    if number is None or not 0 <= number < 2**32:
        raise ValueError(f"seed must be an integer from 0 to {2**32 - 1}, not {seed!r}")
    return torch.Generator().manual_seed(number)


def as_int64(values: Any, what: str) -> Tensor:
    """Return integers of any type, in a tensor, an array or nested lists, as an int64 tensor.

    Args:
        values: The integers; empty ones may have any type.
        what: What they are, for the message.

    Raises:
        ValueError: If they are not integers.
    """
    try:
        tensor = values if isinstance(values, Tensor) else torch.from_numpy(np.require(values, requirements=["C", "W"]))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{what} that are no tensor of integers ({error})") from error
    if tensor.numel() and not integral(tensor):
        raise ValueError(f"{what} of type {tensor.dtype}, not integers: give indices as int64")
    return tensor.to(torch.int64)


def as_edge_index(edge_index: Any, num_nodes: int) -> Tensor:
    """Return edges as an int64 tensor ``[2, E]``, whatever integer type they have.

    Args:
        edge_index: ``[2, E]``, as a tensor, an array or nested lists.
        num_nodes: The number of nodes N.

    Raises:
        ValueError: If they are not integers in ``0..N-1`` of that shape.
    """
    edges = as_int64(edge_index, "edges")
    if edges.dim() != 2 or edges.size(0) != 2:
        raise ValueError(f"edges of shape {tuple(edges.shape)}, not [2, E]: transpose a list of pairs")
    if num_nodes > _MOST_NODES:
        raise ValueError(f"{num_nodes:,} nodes: pairs of more than {_MOST_NODES:,} have no code of 64 bits")
    if edges.numel() and not (0 <= int(edges.min()) <= int(edges.max()) < num_nodes):
        raise ValueError(f"edges to nodes outside 0..{num_nodes - 1}")
    return edges


def boolean_masks(given: Mapping[str, Any], num_nodes: int) -> dict[str, Tensor]:
    """Return masks as boolean tensors, none of which shares a node with another.

    Args:
        given: Masks by name, each ``[N]`` or ``[N, K]`` of booleans or of zeros and ones, as a tensor, an array or
            nested lists.
        num_nodes: The number of nodes N.

    Raises:
        ValueError: If a mask holds anything else, or two of them have different shapes or share a node.
    """
    masks = {name: _boolean(name, mask, num_nodes) for name, mask in given.items()}
    used, users = None, []
    for name, mask in masks.items():
        if used is not None and used.shape != mask.shape:
            raise ValueError(f"{name} of shape {tuple(mask.shape)} beside {users[0]} of {tuple(used.shape)}")
        if used is not None and (used & mask).any():
            raise ValueError(f"{int((used & mask).sum())} nodes of {name} also in {' or '.join(users)}: take them out")
        used, users = (mask if used is None else used | mask), [*users, name]
    return {name: torch.from_numpy(np.ascontiguousarray(mask)) for name, mask in masks.items()}


def _boolean(name: str, mask: Any, num_nodes: int) -> np.ndarray:
    array = mask.cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if array.dtype.kind not in "buif":
        raise ValueError(f"{name} of type {array.dtype}, not booleans: {_MASK_MEND}")
    if array.ndim not in (1, 2) or array.shape[0] != num_nodes:
        raise ValueError(f"{name} of shape {array.shape}, not [N] or [N, K] for {num_nodes} nodes: {_MASK_MEND}")
    if not ((array == 0) | (array == 1)).all():
        raise ValueError(f"{name} with other values than booleans or 0 and 1: {_MASK_MEND}")
    return array != 0
