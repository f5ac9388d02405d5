import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from msg.datasets import content_hash
from msg.datasets.canonical import to_data
from msg.datasets.npz import read_npz

EDGES = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 4, 4, 5], [1, 0, 2, 1, 3, 2, 4, 3, 5, 4]])


def test_canonical_graph(save_npz):
    data = to_data(read_npz(save_npz()), "dense")
    assert data.validate()
    assert torch.equal(data.edge_index, EDGES)  # both directions, sorted, no duplicate, no self-loop
    assert data.x.dtype == torch.float32
    assert data.x.tolist() == [[0, 2], [1, 0], [0, 0], [3, 1], [0, 1], [1, 1]]
    assert data.y.tolist() == [0, 1, 0, 1, 0, 1]
    assert data.num_classes == 2


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
    monkeypatch.setattr("msg.datasets.canonical._ROWS_PER_CHUNK", 3)
    assert content_hash(data) == whole


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_csc, torch.sparse_coo])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.uint32])
def test_content_hash_is_the_same_for_every_type_of_integers(layout, dtype):
    nodes = 256  # codes of pairs overflow 16 bits, and a last node of 255 is the largest of uint8
    edges = torch.tensor([[0, 3, 255], [255, 3, 0]])
    data = Data(x=torch.eye(nodes), edge_index=edges, y=torch.arange(nodes))
    other = Data(x=data.x.to_sparse(layout=layout), edge_index=edges.to(dtype), y=data.y.to(dtype))
    assert content_hash(other) == content_hash(data)


def test_content_hash_of_arrays_and_lists():
    data = Data(x=torch.eye(4), edge_index=torch.tensor([[0, 1], [1, 0]]), y=torch.arange(4))
    assert content_hash(Data(x=np.eye(4), edge_index=np.array([[0, 1], [1, 0]]), y=[0, 1, 2, 3])) == content_hash(data)


@pytest.mark.parametrize("edges", [[[0.0, 1.0], [1.0, 0.0]], [[True, False], [False, True]], [[0, 4], [4, 0]]])
def test_content_hash_refuses_what_are_no_edges(edges):
    with pytest.raises(ValueError, match="edges"):
        content_hash(Data(x=torch.eye(4), edge_index=torch.tensor(edges), y=torch.arange(4)))


def test_dense_features_are_bounded(save_npz):
    raw = read_npz(save_npz("wide.npz", attr_shape=np.array([6, 10**7])))
    assert to_data(raw).x.layout == torch.sparse_csr
    with pytest.raises(ValueError, match=r"need 240,000,000 bytes, more than 1,000: choose features='sparse'"):
        to_data(raw, "dense", max_bytes=1000)
