import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from msg.datasets import apply_split
from msg.datasets.splits import MASKS, part_sizes


def graph(num_nodes: int = 1000, num_classes: int = 4, **masks) -> Data:
    return Data(x=torch.zeros(num_nodes, 1), y=torch.arange(num_nodes) % num_classes, **masks)


def sizes(data: Data) -> list[int]:
    masks = [data[name] for name in MASKS]
    assert all(mask.dtype == torch.bool and mask.shape == data.y.shape for mask in masks)
    assert int(sum(mask.int() for mask in masks).max()) == 1, "a node in two parts"
    return [int(mask.sum()) for mask in masks]


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("random:10/10/80", [100, 100, 800]),
        ("random:60/20/20", [600, 200, 200]),
        ("random:5/5/10", [50, 50, 100]),
        ("random:2.5/2.5/95", [25, 25, 950]),
        ("per-class:20", [80, 306, 614]),
    ],
)
def test_sizes(split, expected):
    data = apply_split(graph(), split)
    assert sizes(data) == expected
    assert data.split == split


def test_per_class_split_is_balanced_and_bounded():
    data = apply_split(graph(4000), "per-class:20")
    assert sizes(data) == [80, 500, 1000]
    assert data.y[data.train_mask].bincount().tolist() == [20] * 4


def test_seed_decides_and_global_state_is_left_alone():
    state = torch.random.get_rng_state()
    first, again, other = (apply_split(graph(), "random:10/10/80", seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.train_mask, again.train_mask)
    assert not torch.equal(first.train_mask, other.train_mask)


def test_original_is_left_alone():
    data = graph()
    apply_split(data, "random:10/10/80")
    assert "train_mask" not in data


def test_given_masks():
    masks = {name: torch.eye(1000, 3).roll(k, 0).bool() for k, name in enumerate(MASKS)}
    data = graph(**masks)
    assert torch.equal(apply_split(data, "fixed:2").val_mask, masks["val_mask"][:, 2])
    one = graph(**{name: mask[:, 0] for name, mask in masks.items()})
    assert torch.equal(apply_split(one, "public").test_mask, masks["test_mask"][:, 0])
    for bad in ("fixed:3", "public"):
        with pytest.raises(ValueError, match="fixed:K with K from 0 to 2"):
            apply_split(data, bad)
    with pytest.raises(ValueError, match="possible are public"):
        apply_split(one, "fixed:0")
    column = graph(**{name: mask[:, :1] for name, mask in masks.items()})
    for split in ("public", "fixed:0"):
        assert torch.equal(apply_split(column, split).test_mask, masks["test_mask"][:, 0])
    with pytest.raises(ValueError, match="possible are public"):
        apply_split(column, "fixed:1")


def test_given_split_cannot_be_asked_of_a_graph_already_split():
    data = apply_split(graph(), "random:10/10/80")
    for split in ("fixed:0", "public"):
        with pytest.raises(ValueError, match=r"possible are random:TRAIN/VAL/TEST in percent, per-class"):
            apply_split(data, split)


@pytest.mark.parametrize(
    "split", ["", "randomly", "random:10/90", "random:a/b/c", "per-class:0", "per-class:x", "fixed:-1"]
)
def test_unknown_split(split):
    with pytest.raises(ValueError, match=r"random:"):
        apply_split(graph(), split)


def test_impossible_splits():
    with pytest.raises(ValueError, match="more than 100 percent"):
        apply_split(graph(), "random:50/50/1")
    with pytest.raises(ValueError, match="no node for the val part"):
        apply_split(graph(), "random:50/0/50")
    with pytest.raises(ValueError, match="no node for the test part"):
        apply_split(graph(), "random:50/50/0")
    with pytest.raises(ValueError, match="class 0 has only 250 nodes"):
        apply_split(graph(), "per-class:250")


def test_part_sizes_use_every_node():
    for total in range(1, 200):
        assert sum(part_sizes(total, [33.3, 33.3, 33.4])) == total


@pytest.mark.parametrize("convert", [torch.Tensor.int, torch.Tensor.byte, torch.Tensor.float, torch.Tensor.tolist])
def test_given_masks_and_labels_of_other_types(convert):
    masks = {name: torch.eye(1000)[k].bool() for k, name in enumerate(MASKS)}
    expected = apply_split(graph(**masks), "public")
    data = apply_split(graph(**{name: convert(mask) for name, mask in masks.items()}), "public")
    for name in MASKS:
        assert torch.equal(data[name], expected[name])
    for labels in (graph().y.int(), graph().y.byte(), graph().y.numpy(), graph().y.tolist()):
        for split in ("random:10/10/80", "per-class:20"):
            data = apply_split(Data(x=torch.zeros(1000, 1), y=labels), split)
            assert torch.equal(data.val_mask, apply_split(graph(), split).val_mask)


@pytest.mark.parametrize(
    ("mask", "problem"),
    [
        (torch.eye(1000)[0], "1 nodes of val_mask also in train_mask"),
        (torch.full((1000,), float("nan")), "val_mask with other values"),
        (torch.full((1000,), 0.5), "val_mask with other values"),
        (-torch.eye(1000)[1], "val_mask with other values"),
        (torch.arange(1000), "from a list of nodes make mask"),
        (np.full(1000, "x"), "val_mask of type <U1"),
    ],
)
def test_what_is_no_mask_is_refused(mask, problem):
    masks = {name: torch.eye(1000)[k].bool() for k, name in enumerate(MASKS)}
    with pytest.raises(ValueError, match=problem):
        apply_split(graph(**(masks | {"val_mask": mask})), "public")


def test_what_are_no_labels_is_refused():
    for labels in (torch.rand(1000), torch.ones(1000).bool()):
        with pytest.raises(ValueError, match=r"labels of type .*, not integers"):
            apply_split(Data(x=torch.zeros(1000, 1), y=labels), "per-class:20")


@pytest.mark.parametrize("split", ["random:10/10/80", "per-class:20", "folds:5"])
def test_what_has_no_label_is_in_no_part(split):
    data, without = graph(), torch.arange(1000) % 5 == 2
    labelled = Data(x=data.x[~without], y=data.y[~without])
    data.y[without] = -1
    divided, alone = apply_split(data, split, seed=1), apply_split(labelled, split, seed=1)
    for name in MASKS:
        assert not divided[name][without].any()
        assert torch.equal(divided[name][~without], alone[name])


def test_several_labels_each_are_refused():
    data = graph()
    data.y = torch.zeros(1000, 5, dtype=torch.long)
    with pytest.raises(ValueError, match=r"one class each, \[N\], not \[1000, 5\]: leave one column"):
        apply_split(data, "random:10/10/80")
