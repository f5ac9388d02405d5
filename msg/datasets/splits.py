"""Splits: which nodes, or graphs of a set, train, validate and test."""

import copy
import itertools
import re
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold, train_test_split
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import index_to_mask

from msg.datasets.arguments import MASKS, as_int64, boolean_masks, seeded

_NUM_VAL, _NUM_TEST = 500, 1000
_NUMBER = r"\d+(?:\.\d+)?"


def apply_split(data: Data, split: str, seed: int = 0) -> Data:
    """Return a shallow copy of a graph, or a set of graphs, with ``train_mask``, ``val_mask`` and ``test_mask`` set.

    What has a label is divided: the nodes of a graph, the graphs of a set. What has none (-1) is in no part, but where
    the masks are given.

    ================================ ===================================================================================
    ``split``                        the three parts
    ================================ ===================================================================================
    ``public``                       the masks given with the graph, where there is one set of them
    ``fixed:K``                      the K-th of the given sets of masks, counted from 0
    ``random:TRAIN/VAL/TEST``        uniformly random shares in percent, as in ``random:10/10/80``; they may leave
                                     nodes out, but not exceed 100
    ``per-class:M``                  M random nodes of each class train; of the rest, in random order, 500 validate and
                                     1,000 test, or a third and two thirds of the rest where it has fewer than 1,500
                                     (Shchur et al., "Pitfalls of Graph Neural Network Evaluation", 2018)
    ``folds:K``                      cross-validation in K parts, each with the classes in their shares: seed ``s``
                                     tests on part ``s % K`` of shuffle ``s // K``; of the others a tenth validates,
                                     drawn with the classes in their shares too (Errica et al., "A Fair Comparison of
                                     Graph Neural Networks for Graph Classification", 2020)
    ================================ ===================================================================================

    Args:
        data: A graph with labels ``y [N]`` of any integer type, -1 where there is none; for ``public`` and ``fixed:K``
            with the given masks, ``[N]`` or ``[N, K]``, of booleans or of 0 and 1. Tensors, arrays and lists will do.
            Splitting replaces the given masks in the copy only: ask for another given split by
            ``load_graph(name, split=...)`` or from the data as it was.
        split: The split's name.
        seed: The seed of the random splits, from 0 to 4,294,967,295. The global random state is neither read nor
            changed.

    Raises:
        ValueError: If the split is unknown or impossible for this graph, a part would have no node, the seed is out of
            range, labels are no integers or several each, or given masks are no masks or share a node.
    """
    rule, _, argument = split.partition(":")
    seeded(seed)
    labels = as_int64(data["y"], "labels")
    if labels.dim() != 1:
        raise ValueError(f"labels must be one class each, [N], not {list(labels.shape)}: leave one column")
    if split == "public":
        parts = _given_masks(data, split, None)
    elif rule == "fixed" and argument.isdecimal():
        parts = _given_masks(data, split, int(argument))
    else:
        known = (labels >= 0).nonzero()[:, 0].cpu()
        drawn = _drawn_masks(data, labels.cpu()[known], split, seed)
        parts = [index_to_mask(known[mask], len(labels)) for mask in drawn]
    for name, mask in zip(MASKS, parts):
        if not mask.any():
            what = "graph" if "ptr" in data else "node"
            raise ValueError(f"split {split!r} leaves no {what} for the {name.removesuffix('_mask')} part")
    result = copy.copy(data)
    for name, mask in zip(MASKS, parts):
        result[name] = mask.to(labels.device)
    result.split = split
    return result


def parse_percentages(split: str, rule: str) -> list[float]:
    """Return the three percentages of ``RULE:TRAIN/VAL/TEST``.

    Raises:
        ValueError: If the text has another form or the percentages exceed 100.
    """
    if not re.fullmatch(rf"{rule}:{_NUMBER}/{_NUMBER}/{_NUMBER}", split):
        raise ValueError(f"split {split!r} is not of the form {rule}:TRAIN/VAL/TEST in percent, as in {rule}:10/10/80")
    percentages = [float(text) for text in split.partition(":")[2].split("/")]
    if sum(percentages) > 100 + 1e-9:
        raise ValueError(f"split {split!r} asks for more than 100 percent")
    return percentages


def part_sizes(total: int, percentages: Sequence[float]) -> list[int]:
    """Round shares of ``total`` so that parts which sum to 100 percent use every one of ``total``."""
    bounds = [0] + [round(total * sum(percentages[: end + 1]) / 100) for end in range(len(percentages))]
    return [high - low for low, high in itertools.pairwise(bounds)]


def _given_masks(data: Data, split: str, index: int | None) -> list[Tensor]:
    # those of another split have taken the place of the given ones
    number = _number_of_masks(data) if data.get("split", split) == split else 0
    if index is None and number == 1 and np.ndim(data[MASKS[0]]) == 2:
        index = 0  # one set of masks, in a column
    if number == 0 or (index is None) != (np.ndim(data[MASKS[0]]) == 1) or (index is not None and index >= number):
        raise ValueError(f"split {split!r} is not given with this graph: {_possible(data)}")
    masks = boolean_masks({name: data[name] for name in MASKS}, len(data["y"])).values()
    return list(masks) if index is None else [mask[:, index].clone() for mask in masks]


def _number_of_masks(data: Data) -> int:
    masks = [data.get(name) for name in MASKS]
    shapes = {np.shape(mask) for mask in masks}
    if any(mask is None for mask in masks) or len(shapes) > 1:
        return 0
    return 1 if np.ndim(masks[0]) == 1 else np.shape(masks[0])[1]


def _possible(data: Data) -> str:
    choices = ["random:TRAIN/VAL/TEST in percent", "per-class:NUMBER", "folds:K"]
    number = _number_of_masks(data)
    if number and "split" not in data and np.ndim(data[MASKS[0]]) == 1:
        choices.insert(0, "public")
    elif number and "split" not in data:
        choices.insert(0, f"fixed:K with K from 0 to {number - 1}" if number > 1 else "public")
    return "possible are " + ", ".join(choices)


def _drawn_masks(data: Data, classes: Tensor, split: str, seed: int) -> list[Tensor]:
    """The three parts of what has a class."""
    rule, _, argument = split.partition(":")
    if rule == "random":
        return _random_masks(len(classes), parse_percentages(split, rule), seeded(seed))
    if rule == "folds" and argument.isdecimal() and int(argument) > 1:
        return _fold_masks(classes, split, int(argument), seed)
    if rule == "per-class" and argument.isdecimal() and int(argument) > 0:
        return _per_class_masks(classes, split, int(argument), seeded(seed))
    edges = "; link_split divides edges" if rule == "link" else ""
    raise ValueError(f"unknown split {split!r}: {_possible(data)}{edges}")


def _random_masks(num_nodes: int, percentages: Sequence[float], generator: torch.Generator) -> list[Tensor]:
    order = torch.randperm(num_nodes, generator=generator)
    parts = order[: sum(part_sizes(num_nodes, percentages))].split(part_sizes(num_nodes, percentages))
    return [index_to_mask(part, num_nodes) for part in parts]


def _per_class_masks(y: Tensor, split: str, per_class: int, generator: torch.Generator) -> list[Tensor]:
    order = torch.randperm(y.numel(), generator=generator)
    train = []
    for label in y.unique():
        members = order[y[order] == label]
        if members.numel() <= per_class:
            raise ValueError(f"split {split!r}: class {int(label)} has only {members.numel()} nodes, choose fewer")
        train.append(members[:per_class])
    train_mask = index_to_mask(torch.cat(train), y.numel())
    rest = order[~train_mask[order]]
    num_val, num_test = _NUM_VAL, _NUM_TEST
    if rest.numel() < num_val + num_test:
        num_val = rest.numel() // 3
        num_test = rest.numel() - num_val
    val, test = rest[:num_val], rest[num_val : num_val + num_test]
    return [train_mask, index_to_mask(val, y.numel()), index_to_mask(test, y.numel())]


def _fold_masks(y: Tensor, split: str, folds: int, seed: int) -> list[Tensor]:
    shuffle, fold = divmod(seed, folds)
    counts = y.bincount()
    rarest = int(torch.where(counts > 0, counts, y.numel() + 1).argmin())
    if int(counts[rarest]) < folds:
        raise ValueError(f"split {split!r}: class {rarest} has only {int(counts[rarest])} members, choose fewer folds")
    outer = StratifiedKFold(folds, shuffle=True, random_state=shuffle)
    rest, test = list(outer.split(np.zeros(len(y)), y))[fold]
    try:
        train, val = train_test_split(rest, test_size=0.1, stratify=y[rest], random_state=seed)
    except ValueError as error:
        raise ValueError(f"split {split!r} leaves too few to validate on ({error})") from error
    return [index_to_mask(torch.from_numpy(np.sort(part)), y.numel()) for part in (train, val, test)]
