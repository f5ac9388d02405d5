import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.io import read_npz as pyg_read_npz
from torch_geometric.io import read_planetoid_data

from msg.datasets import DatasetError, content_hash
from msg.datasets.formats import read_npz, read_planetoid, to_data

EDGES = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 4, 4, 5], [1, 0, 2, 1, 3, 2, 4, 3, 5, 4]])


def test_canonical_graph(save_npz):
    data = to_data(read_npz(save_npz()), "dense")
    assert data.validate()
    assert torch.equal(data.edge_index, EDGES)  # both directions, sorted, no duplicate, no self-loop
    assert data.x.dtype == torch.float32
    assert data.x.tolist() == [[0, 2], [1, 0], [0, 0], [3, 1], [0, 1], [1, 1]]
    assert data.y.tolist() == [0, 1, 0, 1, 0, 1]
    assert data.num_classes == 2


def test_binary_features(save_npz):
    data = to_data(read_npz(save_npz(), binary_features=True), "dense")
    assert data.x.tolist() == [[0, 1], [1, 0], [0, 0], [1, 1], [0, 1], [1, 1]]


def test_dense_attributes_give_the_same_graph(save_npz):
    matrix = np.array([[0, 2], [1, 0], [0, 0], [3, 1], [0, 1], [1, 1]])
    dense = save_npz("dense.npz", attr_matrix=matrix, attr_data=None, attr_indices=None)
    assert to_data(read_npz(dense)).content_hash == to_data(read_npz(save_npz())).content_hash


def test_layout_of_features(save_npz):
    raw = read_npz(save_npz())
    sparse = to_data(raw, "sparse")
    assert sparse.x.layout == torch.sparse_csr
    assert (sparse.num_nodes, sparse.num_features) == (6, 2)
    assert sparse.validate()
    assert torch.equal(sparse.x.to_dense(), to_data(raw, "dense").x)
    assert to_data(raw).x.layout == torch.strided  # 7 of 12 are non-zero
    wide = save_npz("wide.npz", attr_shape=np.array([6, 100]))
    assert to_data(read_npz(wide)).x.layout == torch.sparse_csr
    with pytest.raises(ValueError, match="'auto', 'dense' or 'sparse', not 'csr'"):
        to_data(raw, "csr")


def test_heterophilous_keys(tmp_path):
    path = tmp_path / "graph.npz"
    masks = {f"{part}_masks": np.eye(3, 4, k) > 0 for k, part in enumerate(("train", "val", "test"))}
    edges = np.array([[0, 1], [1, 0], [2, 2], [3, 2]])
    np.savez(path, node_features=np.ones((4, 2)), node_labels=np.arange(4), edges=edges, **masks)
    data = to_data(read_npz(path))
    assert data.edge_index.tolist() == [[0, 1, 2, 3], [1, 0, 3, 2]]
    assert data.train_mask.shape == (4, 3)
    assert data.val_mask[1, 0]


@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_content_hash_knows_content_only(save_npz, layout):
    data = to_data(read_npz(save_npz()), layout)
    assert data.content_hash == content_hash(data) == to_data(read_npz(save_npz()), "dense").content_hash
    shuffled = data.clone()
    shuffled.edge_index = data.edge_index[:, torch.randperm(10)]
    shuffled.train_mask = torch.ones(6, dtype=torch.bool)
    assert content_hash(shuffled) == data.content_hash


def test_content_hash_sees_every_part():
    data = Data(x=torch.eye(4), edge_index=torch.tensor([[0, 1], [1, 0]]), y=torch.arange(4))
    hashes = {content_hash(data)}
    for name, value in {
        "x": torch.eye(4)[[1, 0, 2, 3]],
        "edge_index": torch.tensor([[0, 2], [2, 0]]),
        "y": torch.tensor([0, 1, 3, 2]),
    }.items():
        changed = data.clone()
        changed[name] = value
        hashes.add(content_hash(changed))
    wider = data.clone()
    wider.x = torch.eye(4, 5)
    assert len(hashes | {content_hash(wider)}) == 5


def test_content_hash_in_chunks(monkeypatch):
    data = Data(x=torch.rand(10, 3).round(), edge_index=torch.tensor([[0, 1], [1, 0]]), y=torch.arange(10))
    whole = content_hash(data)
    monkeypatch.setattr("msg.datasets.formats._ROWS_PER_CHUNK", 3)
    assert content_hash(data) == whole


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
        ({"labels": np.array([0, 1, 0, 1, 0, -1])}, "not class indices"),
        ({"labels": np.linspace(0, 1, 6)}, "not class indices"),
        ({"labels": np.array([{}] * 6)}, "allow_pickle=False"),
        ({"node_features": np.ones((6, 2)), "edges": np.ones((3, 2))}, r"integers \[E, 2\]"),
        ({"node_features": np.ones((6, 2)), "edges": np.array([[0, 6]]), "node_labels": np.arange(6)}, "outside 0..5"),
        (
            {"node_features": np.ones((6, 2)), "edges": np.array([[0, 1]]), "train_masks": np.ones((1, 6))},
            "only train_mask",
        ),
    ],
)
def test_bad_file_is_named(save_npz, changes, problem):
    with pytest.raises(DatasetError, match=rf"bad\.npz.*{problem}"):
        read_npz(save_npz("bad.npz", **changes))


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


def test_same_planetoid_graph_as_pytorch_geometric(shared_data):
    folder = shared_data / "CiteSeer" / "raw"
    ours, theirs = to_data(read_planetoid(folder, "CiteSeer")), read_planetoid_data(str(folder), "CiteSeer")
    assert torch.equal(ours.x.to_dense(), theirs.x)
    assert torch.equal(ours.test_mask, theirs.test_mask)
    assert torch.equal(ours.edge_index.sort(dim=1).values, theirs.edge_index.sort(dim=1).values)
