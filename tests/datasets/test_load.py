import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader, NodeLoader, RandomNodeLoader
from torch_geometric.transforms import NormalizeFeatures

from msg.datasets import DatasetError, available, load_graph
from msg.datasets.splits import MASKS
from msg.graph import NeighborSampler


def test_digits_is_embedded(no_network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = load_graph("Digits")
    assert (data.name, data.metric, data.split) == ("digits", "accuracy", "random:10/10/80")
    assert (data.num_nodes, data.num_features, data.num_classes) == (1797, 64, 10)
    assert [int(data[name].sum()) for name in MASKS] == [180, 179, 1438]
    assert list(tmp_path.iterdir()) == []


def test_split_seed_and_layout_are_passed_on():
    data = load_graph("digits", split="per-class:5", seed=3, features="sparse")
    assert data.split == "per-class:5"
    assert data.x.layout == torch.sparse_csr
    assert data.content_hash == load_graph("digits").content_hash
    assert not torch.equal(data.train_mask, load_graph("digits", split="per-class:5", seed=4).train_mask)


def test_bad_arguments():
    with pytest.raises(ValueError, match="unknown graph"):
        load_graph("no-such-graph")
    with pytest.raises(ValueError, match="features must be"):
        load_graph("ogbn-products", features="csr")
    with pytest.raises(ValueError, match="unknown split"):
        load_graph("karate", split="half")
    with pytest.raises(ValueError, match=r"unknown split 'link:85/5/10'.*link_split"):
        load_graph("karate", split="link:85/5/10")


def test_changed_generator_is_noticed(monkeypatch):
    from msg.datasets.generators import digits
    from msg.datasets.registration import GENERATORS

    monkeypatch.setitem(GENERATORS._entries, "digits", lambda: digits(neighbors=9))
    with pytest.raises(DatasetError, match=r"digits has .* edges, Handwritten digits.* has 12,339"):
        load_graph("digits")


def test_own_file(save_npz):
    path = save_npz("mine.npz")
    for name in (path, str(path)):
        data = load_graph(name, simplify=True)
        assert (data.name, data.split, data.metric) == ("mine", "random:60/20/20", "accuracy")
        assert data.train_mask.sum() == 4
    with pytest.raises(DatasetError, match=r"other\.npz: no such file"):
        load_graph("other.npz")


def symmetric(weights=(1.0, 1.0)):
    """An adjacency matrix of a path of three nodes among six, as gnn-benchmark keeps it."""
    rows, cols = np.array([0, 1, 1, 2]), np.array([1, 0, 2, 1])
    data = np.repeat(np.asarray(weights, np.float32), 2)
    return {
        "adj_data": data,
        "adj_indices": cols,
        "adj_indptr": np.searchsorted(rows, np.arange(7)),
        "adj_shape": np.array([6, 6]),
    }


def test_weights_and_directions_of_an_own_file_are_never_lost_unasked(save_npz):
    assert load_graph(save_npz("plain.npz", **symmetric())).num_edges == 4
    weighted, directed = save_npz("weighted.npz", **symmetric((1.0, 0.5))), save_npz("directed.npz")
    with pytest.raises(DatasetError, match=r"weighted\.npz has weights of edges.*simplify=True"):
        load_graph(weighted)
    with pytest.raises(DatasetError, match=r"directed\.npz has directed edges.*edge_index and edge_weight"):
        load_graph(directed)
    for path in (weighted, directed):
        data = load_graph(path, simplify=True)
        assert data.is_undirected()
        assert "edge_weight" not in data


def test_features_are_what_loaders_and_transforms_take_unless_asked(tmp_path):
    """Rows of a sparse matrix cannot be picked by ``index_select``, which PyG's loaders and subgraphs do."""
    arrays = {"node_features": np.eye(40), "node_labels": np.arange(40) % 2}
    edges = np.stack([np.arange(40), (np.arange(40) + 1) % 40], axis=1)
    np.savez(tmp_path / "mine.npz", **arrays, edges=edges)
    data = load_graph(tmp_path / "mine.npz", split="random:50/25/25")
    assert data.x.layout == torch.strided
    assert load_graph(tmp_path / "mine.npz", features="auto").x.layout == torch.sparse_csr
    part = data.subgraph(data.train_mask)
    assert torch.equal(part.x, data.x[data.train_mask])
    one = NormalizeFeatures()(data.clone())
    assert torch.equal(one.x, data.x)
    for loader in (
        NodeLoader(data, NeighborSampler(data, [2]), input_nodes=data.train_mask, batch_size=5),
        RandomNodeLoader(data, num_parts=4),
        DataLoader([data, data], batch_size=2),
    ):
        assert next(iter(loader)).x.size(1) == 40


def test_own_file_with_masks(tmp_path):
    masks = {
        f"{part}_masks": np.stack([np.eye(6)[k], np.eye(6)[5 - k]]) for k, part in enumerate(("train", "val", "test"))
    }
    arrays = {"node_features": np.eye(6), "node_labels": np.arange(6) % 2, "edges": np.array([[0, 1], [1, 2]])}
    np.savez(tmp_path / "mine.npz", **arrays, **masks)
    data = load_graph(tmp_path / "mine.npz")
    assert data.split == "fixed:0"
    assert data.train_mask.nonzero().item() == 0
    assert load_graph(tmp_path / "mine.npz", split="fixed:1").train_mask.nonzero().item() == 5


def test_home_folder_is_expanded(save_npz, tmp_path, monkeypatch):
    save_npz("mine.npz")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_graph("~/mine.npz", simplify=True).num_nodes == 6
    with pytest.raises(DatasetError, match=f"{tmp_path}/roots/airport"):
        load_graph("airport", root="~/roots")


@pytest.mark.parametrize("card", [card for card in available() if card.graphs is None], ids=lambda card: card.key)
def test_graph_is_as_on_its_card(card, shared_data, no_network):
    if card.folder and not (shared_data / card.folder).is_dir():
        pytest.skip(f"the raw files of {card.title} are not in ../shared/data")
    data = load_graph(card.key, shared_data)
    assert data.validate()
    assert (data.num_nodes, data.num_edges // 2, data.num_features) == (card.nodes, card.edges, card.features)
    assert (data.num_classes, data.content_hash) == (card.classes, card.content_hash)
    assert (data.name, data.metric, data.split) == (card.key, card.metric, card.split)
    assert data.is_coalesced()
    assert data.is_undirected()
    assert not data.has_self_loops()
    assert data.x.dtype == torch.float32


def test_dense_features_of_a_known_graph_may_be_larger_where_that_is_said(source):
    assert load_graph("tiny", source, features="dense").x.layout == torch.strided
    with pytest.raises(ValueError, match="pass a larger max_bytes to load_graph"):
        load_graph("tiny", source, features="dense", max_bytes=7)
