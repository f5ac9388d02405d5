import numpy as np
import pytest
import torch
from torch_geometric.io import read_npz as pyg_read_npz

from msg.datasets import DatasetError, load_graph
from msg.datasets.canonical import to_data
from msg.datasets.npz import read_npz


def test_binary_features(save_npz):
    data = to_data(read_npz(save_npz(), binary_features=True), "dense")
    assert data.x.tolist() == [[0, 1], [1, 0], [0, 0], [1, 1], [0, 1], [1, 1]]


def test_dense_attributes_give_the_same_graph(save_npz):
    matrix = np.array([[0, 2], [1, 0], [0, 0], [3, 1], [0, 1], [1, 1]])
    dense = save_npz("dense.npz", attr_matrix=matrix, attr_data=None, attr_indices=None)
    assert to_data(read_npz(dense)).content_hash == to_data(read_npz(save_npz())).content_hash


def test_heterophilous_keys(tmp_path):
    path = tmp_path / "graph.npz"
    masks = {f"{part}_masks": np.eye(3, 4, k) > 0 for k, part in enumerate(("train", "val", "test"))}
    edges = np.array([[0, 1], [1, 0], [2, 2], [3, 2]])
    np.savez(path, node_features=np.ones((4, 2)), node_labels=np.arange(4), edges=edges, **masks)
    data = to_data(read_npz(path))
    assert data.edge_index.tolist() == [[0, 1, 2, 3], [1, 0, 3, 2]]
    assert data.train_mask.shape == (4, 3)
    assert data.val_mask[1, 0]


@pytest.mark.parametrize("plural", ["s", ""])
def test_splits_of_either_kind_are_read(save_npz, tmp_path, plural):
    masks = {f"{part}_mask{plural}": np.arange(6) % 3 == k for k, part in enumerate(("train", "val", "test"))}
    given = {"node_features": np.ones((6, 2)), "node_labels": np.arange(6), "edges": np.array([[0, 1]])}
    np.savez(tmp_path / "other.npz", **given, **masks)
    for path in (save_npz("own.npz", **masks), tmp_path / "other.npz"):
        data = load_graph(path, simplify=True)
        assert data.split == "fixed:0"
        assert data.train_mask.tolist() == [True, False, False, True, False, False]
    with pytest.raises(DatasetError, match="only train_mask"):
        read_npz(save_npz("bad.npz", train_mask=np.ones(6, bool)))
    np.savez(tmp_path / "lost.npz", **given, edge_attr=np.ones((1, 4)))
    with pytest.raises(DatasetError, match=r"features of edges \(edge_attr\), which would be lost"):
        load_graph(tmp_path / "lost.npz")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"labels": None}, "labels"),
        ({"adj_data": None}, "adj_data"),
        ({"adj_indices": np.array([1, 0, 2, 3, 4, 5, 6])}, "cannot be read"),
        ({"adj_shape": np.array([6, 7])}, "not square"),
        ({"attr_shape": np.array([7, 2])}, "cannot be read"),
        ({"attr_data": np.full(7, np.nan)}, "not finite"),
        ({"attr_matrix": np.full((6, 2), "a")}, "not numbers"),
        ({"attr_matrix": np.float32(1)}, "cannot be read"),
        ({"labels": np.arange(5)}, "labels of shape"),
        ({"labels": np.eye(6, dtype=int)}, "argmax of one-hot rows"),
        ({"labels": np.array([0, 1, 0, 1, 0, -2])}, "not class indices.*, and -1 for nodes without a class"),
        ({"labels": np.linspace(0, 1, 6)}, "not class indices"),
        ({"labels": np.array([{}] * 6)}, "allow_pickle=False"),
        ({"node_features": np.ones((6, 2)), "edges": np.ones((3, 2))}, r"integers \[E, 2\]"),
        ({"node_features": np.ones((6, 2)), "edges": np.array([[0, 6]]), "node_labels": np.arange(6)}, "outside 0..5"),
        (
            {"node_features": np.ones((6, 2)), "edges": np.array([[0, 1]]), "train_masks": np.ones((1, 6))},
            "only train_mask",
        ),
        ({"attr_data": np.full(7, 1e39)}, "beyond the range of float32.*scale them"),
        ({"attr_matrix": np.full((6, 2), -1e39)}, "beyond the range of float32"),
        ({"attr_data": np.ones(7, complex)}, "not a list of numbers"),
        ({"attr_shape": np.array([6, 10**13])}, "10,000,000,000,000 features, more than 16,777,216"),
        ({"labels": np.array([0, 1, 0, 1, 0, 10**9])}, "label 1,000,000,000, but only 6 nodes"),
        ({"labels": np.array([0, 1, 0, 1, 0, 2**64 - 1], np.uint64)}, "label 18,446,744,073,709,551,615"),
        ({"labels": np.zeros(0, int), "adj_shape": np.zeros(2, int)}, "cannot be read"),
    ],
)
def test_bad_file_is_named(save_npz, changes, problem):
    with pytest.raises(DatasetError, match=rf"bad\.npz.*{problem}"):
        read_npz(save_npz("bad.npz", **changes))


def test_nodes_may_have_no_class(save_npz):
    path = save_npz("some.npz", labels=np.array([0, -1, 1, 1, 0, -1], np.int8))
    data = load_graph(path, split="random:50/25/25", simplify=True)
    assert data.y.tolist() == [0, -1, 1, 1, 0, -1]
    assert data.num_classes == 2
    assert (data.train_mask | data.val_mask | data.test_mask).tolist() == [True, False, True, True, True, False]
    masks = {f"{part}_masks": np.eye(6, dtype=bool)[k] for k, part in enumerate(("train", "val", "test"))}
    save_npz("some.npz", labels=np.array([0, -1, 1, 1, 0, -1]), **masks)
    with pytest.raises(DatasetError, match=r"nodes without a class \(-1\) in val_mask: take them out of it"):
        load_graph(path, simplify=True)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 truncated"])
def test_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"bad\.npz"):
        read_npz(path)


def test_truncated_file_is_named(save_npz):
    path = save_npz("bad.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=r"bad\.npz"):
        read_npz(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere\.npz: no such file"):
        read_npz(tmp_path / "nowhere.npz")


def test_same_graph_as_pytorch_geometric(shared_data):
    path = shared_data / "Photo" / "raw" / "amazon_electronics_photo.npz"
    ours, theirs = to_data(read_npz(path, binary_features=True)), pyg_read_npz(str(path))
    assert torch.equal(ours.edge_index, theirs.edge_index)
    assert torch.equal(ours.x.to_dense(), theirs.x)
    assert torch.equal(ours.y, theirs.y)


MASKS = {f"{part}_masks": np.eye(4, dtype=bool)[k] for k, part in enumerate(("train", "val", "test"))}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"val_masks": MASKS["train_masks"]}, "1 nodes of val_mask also in train_mask: take them out"),
        ({"test_masks": np.ones(4)}, "2 nodes of test_mask also in train_mask or val_mask"),
        ({"val_masks": np.array([0, np.nan, 0, 0])}, "val_mask with other values than booleans or 0 and 1"),
        ({"val_masks": np.array([0, 0.5, 0, 0])}, "val_mask with other values"),
        ({"val_masks": np.array([0, -1, 0, 0])}, "val_mask with other values"),
        ({"val_masks": np.array(["0", "1", "0", "0"])}, "val_mask of type <U1, not booleans"),
        ({"val_masks": np.array([1, 2, 3, 0])}, r"from a list of nodes make mask = np\.zeros\(N, bool\)"),
        ({"val_masks": np.array([1])}, r"shape \(1, 1\), not \[N\] or \[N, K\] for 4 nodes: from a list of nodes"),
        ({"val_masks": np.zeros((2, 4), bool)}, r"val_mask of shape \(4, 2\) beside train_mask of \(4, 1\)"),
        ({"val_masks": np.zeros((1, 4, 1), bool)}, "val_mask of shape"),
    ],
)
def test_what_is_no_mask_is_named(tmp_path, changes, problem):
    edges = np.array([[0, 1], [1, 2]])
    arrays = {"node_features": np.ones((4, 2)), "node_labels": np.arange(4), "edges": edges} | MASKS
    np.savez(tmp_path / "sound.npz", **arrays)
    assert read_npz(tmp_path / "sound.npz").masks["val_mask"].tolist() == [[False], [True], [False], [False]]
    np.savez(tmp_path / "bad.npz", **(arrays | changes))
    with pytest.raises(DatasetError, match=rf"bad\.npz has .*{problem}"):
        read_npz(tmp_path / "bad.npz")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint32, np.int64, ">i4"])
def test_every_type_of_integers_gives_the_same_graph(save_npz, dtype):
    expected = to_data(read_npz(save_npz())).content_hash
    arrays = np.load(save_npz())
    integers = {name: arrays[name].astype(dtype) for name in arrays if not name.endswith("_data")}
    assert to_data(read_npz(save_npz("other.npz", **integers))).content_hash == expected


def test_small_integers_do_not_wrap_where_duplicates_are_summed(save_npz):
    path = save_npz(attr_data=np.full(7, 200, np.uint8), attr_indices=np.zeros(7, np.int32))
    assert read_npz(path).features.toarray()[:, 0].tolist() == [200, 200, 0, 400, 200, 400]


def test_what_a_small_file_may_unpack_to_is_bounded(save_npz):
    path = save_npz(attr_matrix=np.zeros((6, 10**6), np.float32))
    with pytest.raises(
        DatasetError, match=r"tiny\.npz unpacks to 24,\d+,\d+ bytes, more than [\d,]+ bytes: fetch a sound"
    ):
        read_npz(path, max_bytes=1000)
    assert read_npz(path).features.shape == (6, 10**6)


def test_a_folder_or_device_is_no_file(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    for name in ("folder.npz", "zero.npz"):
        with pytest.raises(DatasetError, match=r"no such file \(it is a folder or device\)"):
            read_npz(tmp_path / name)
