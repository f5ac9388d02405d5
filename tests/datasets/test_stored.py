import dataclasses
import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.loader import NodeLoader
from writers import Payload

from msg.datasets import DatasetError, content_hash, get_card, import_folder, load_graph, open_graph, verify
from msg.datasets import stored as module
from msg.graph import NeighborSampler

NODES, EDGES, FEATURES, CLASSES = 200, 900, 5, 4


def drawn() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    order = draw.permutation(NODES)
    return {
        "edges": draw.integers(0, NODES - 1, (2, EDGES)),  # the last node has none; some are twice, some lead back
        "x": np.where(draw.random((NODES, FEATURES)) < 0.3, 0, draw.normal(size=(NODES, FEATURES))).astype(np.float32),
        "y": draw.integers(0, CLASSES, NODES),
        "train": np.sort(order[:50]),
        "valid": np.sort(order[50:80]),
        "test": np.sort(order[80:]),
    }


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content.encode()))


def rows(table: np.ndarray) -> str:
    return "".join(",".join(map(repr, row)) + "\n" for row in np.atleast_2d(table.T).T.tolist())


@pytest.fixture
def products(tmp_path, use_cards, no_network) -> Path:
    """A root with a small graph in the layout of ogbn-products: tables of text."""
    data, folder = drawn(), tmp_path / "root" / "ogbn_products"
    tables = {"edge": data["edges"].T, "node-feat": data["x"], "node-label": data["y"]}
    for name, table in tables.items():
        write(folder / "raw" / f"{name}.csv.gz", rows(table))
    for name, count in (("node", NODES), ("edge", EDGES)):
        write(folder / "raw" / f"num-{name}-list.csv.gz", f"{count}\n")
    for name in ("train", "valid", "test"):
        write(folder / "split" / "sales_ranking" / f"{name}.csv.gz", rows(data[name]))
    (folder / "RELEASE_v1.txt").write_bytes(b"")
    sizes = {"nodes": NODES, "features": FEATURES, "classes": CLASSES, "raw_edges": EDGES}
    use_cards(dataclasses.replace(get_card("ogbn-products"), **sizes))
    return tmp_path / "root"


@pytest.fixture
def papers(tmp_path, use_cards, no_network) -> Path:
    """The same graph in the layout of ogbn-papers100M: arrays, and nodes without a label."""
    data, folder = drawn(), tmp_path / "root" / "ogbn_papers100M"
    labels = data["y"].astype(np.float32)
    labels[data["test"][-20:]] = np.nan
    (folder / "raw").mkdir(parents=True)
    counts = {"num_nodes_list": np.array([NODES]), "num_edges_list": np.array([EDGES])}
    np.savez_compressed(folder / "raw" / "data.npz", edge_index=data["edges"], node_feat=data["x"], **counts)
    np.savez_compressed(folder / "raw" / "node-label.npz", node_label=labels[:, None])
    for name in ("train", "valid"):
        write(folder / "split" / "time" / f"{name}.csv.gz", rows(data[name]))
    write(folder / "split" / "time" / "test.csv.gz", rows(data["test"][:-20]))
    (folder / "RELEASE_v1.txt").write_bytes(b"")
    sizes = {"nodes": NODES, "features": FEATURES, "classes": CLASSES, "raw_edges": EDGES}
    use_cards(dataclasses.replace(get_card("ogbn-papers100M"), **sizes))
    return tmp_path / "root"


@pytest.mark.parametrize("bucket", [20_000_000, 100, 1])
def test_the_graph_is_the_one_in_memory(products, bucket, monkeypatch):
    monkeypatch.setattr(module, "_BUCKET", bucket)
    monkeypatch.setattr("msg.datasets.open_graph_benchmark._ROWS", 70)
    graph, data = open_graph("ogbn-products", products), load_graph("ogbn-products", products, features="dense")
    assert torch.equal(graph.edge_index, data.edge_index)
    for name in ("x", "y", "train_mask", "val_mask", "test_mask"):
        assert torch.equal(graph.nodes[name], data[name])
        assert graph.nodes[name].dtype == data[name].dtype
    assert graph.nodes.content_hash == data.content_hash == content_hash(data)
    assert (graph.num_nodes, graph.num_edges) == (NODES, data.num_edges)
    assert (graph.nodes.num_classes, graph.nodes.name) == (CLASSES, "ogbn-products")
    assert sorted(p.name for p in (products / "ogbn_products").iterdir()) == [
        "RELEASE_v1.txt",
        "raw",
        "split",
        "stored",
    ]


def test_it_is_converted_once(products, monkeypatch):
    first = open_graph("ogbn-products", products)
    monkeypatch.setattr(module, "convert", None)
    assert torch.equal(open_graph("ogbn-products", products, check=False).columns, first.columns)
    assert verify(products)[0].ok


def test_other_raw_files_are_converted_anew(products):
    open_graph("ogbn-products", products)
    labels, path = drawn()["y"], products / "ogbn_products" / "raw" / "node-label.csv.gz"
    write(path, rows((labels + 1) % CLASSES))
    os.utime(path, (0, 0))
    assert "made from other raw files" in verify(products)[0].problem
    assert torch.equal(open_graph("ogbn-products", products).nodes.y, torch.from_numpy((labels + 1) % CLASSES))
    assert verify(products)[0].ok


def test_arrays(papers):
    graph = open_graph("ogbn-papers100M", papers)
    data = drawn()
    back = np.concatenate([data["edges"], data["edges"][::-1]], 1)
    want = np.unique(back[:, back[0] != back[1]], axis=1)
    assert graph.edge_index.tolist() == want.tolist()
    assert graph.nodes.x.numpy().tolist() == data["x"].tolist()
    assert int((graph.nodes.y == -1).sum()) == 20
    assert bool((graph.nodes.y[graph.nodes.test_mask] >= 0).all())
    assert verify(papers)[0].ok
    with pytest.raises(DatasetError, match=r"is not read into memory: open it with msg\.datasets\.open_graph"):
        load_graph("ogbn-papers100M", papers)
    with pytest.raises(DatasetError, match="is not read into memory"):  # and nothing is downloaded before that is said
        load_graph("ogbn-papers100M", papers / "elsewhere")
    assert not (papers / "elsewhere").exists()


def test_arrays_are_imported(papers, tmp_path):
    import_folder(papers, tmp_path / "copy")
    assert open_graph("ogbn-papers100M", tmp_path / "copy").num_nodes == NODES
    (papers / "ogbn_papers100M" / "raw" / "node-label.npz").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"root/ogbn_papers100M/raw/node-label\.npz cannot be read"):
        import_folder(papers, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_batches_are_those_of_the_graph_in_memory(products):
    graph, data = open_graph("ogbn-products", products), load_graph("ogbn-products", products, features="dense")
    options = {"input_nodes": data.train_mask, "batch_size": 16}
    ours = NodeLoader(graph.nodes, NeighborSampler(graph, [4, 3], seed=1), **options)
    theirs = NodeLoader(data, NeighborSampler(data, [4, 3], seed=1), **options)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.edge_index, b.edge_index)
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.y, b.y)
        assert (a.num_sampled_nodes, a.batch_size) == (b.num_sampled_nodes, b.batch_size)
    with pytest.raises(ValueError, match="no 'edge_weight' to weigh edges by"):
        NeighborSampler(graph, [2], weight_attr="edge_weight")


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("columns", lambda a: np.where(a == a.max(), NODES, a).astype(np.int32), "do not fit together"),
        ("columns", lambda a: -a, "do not fit together"),
        ("columns", lambda a: a[:-1], "do not fit together"),
        ("columns", lambda a: a.astype(np.float32), "is no array of 1 dimensions"),
        ("pointers", lambda a: a[::-1].copy(), "do not fit together"),
        ("pointers", lambda a: a[:0], "do not fit together"),
        ("x", lambda a: a[:-1], "do not fit together"),
        ("x", lambda a: a.astype(np.float64), "is no array of 2 dimensions"),
        ("y", lambda a: a[:, None], "is no array of 1 dimensions"),
        ("train_mask", lambda a: a[1:], "do not fit together"),
    ],
)
def test_what_does_not_fit_is_named(products, name, change, problem):
    open_graph("ogbn-products", products)
    path = products / "ogbn_products" / "stored" / f"{name}.npy"
    np.save(path, change(np.load(path)))
    with pytest.raises(DatasetError, match=problem):
        open_graph("ogbn-products", products)


def test_a_changed_number_is_found_by_verifying(products):
    open_graph("ogbn-products", products)
    path = products / "ogbn_products" / "stored" / "x.npy"
    x = np.load(path)
    x[3, 1] += 1
    np.save(path, x)
    open_graph("ogbn-products", products)
    assert "damaged or altered" in verify(products)[0].problem


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100_000, b"\xff"])
def test_what_is_said_of_it_is_damaged(products, content):
    open_graph("ogbn-products", products)
    (products / "ogbn_products" / "stored" / "about.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"about\.json is damaged"):
        open_graph("ogbn-products", products)


def test_nothing_is_unpickled(products, tmp_path):
    open_graph("ogbn-products", products)
    path = products / "ogbn_products" / "stored" / "y.npy"
    np.save(path, np.array([Payload(tmp_path / "made")], dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match=r"y\.npy is damaged"):
        open_graph("ogbn-products", products)
    assert not (tmp_path / "made").exists()


def test_what_fails_leaves_nothing(products):
    write(products / "ogbn_products" / "raw" / "edge.csv.gz", "0,1\n" * (EDGES - 1) + f"0,{NODES}\n")
    with pytest.raises(DatasetError, match=r"edges to nodes outside 0\.\.199"):
        open_graph("ogbn-products", products)
    assert sorted(p.name for p in (products / "ogbn_products").iterdir()) == ["RELEASE_v1.txt", "raw", "split"]


def test_small_graphs_are_not_stored():
    with pytest.raises(ValueError, match=r"use load_graph\('photo'\)"):
        open_graph("photo")


def test_versions_are_told(products):
    open_graph("ogbn-products", products)
    about = products / "ogbn_products" / "stored" / "about.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "version": 0}))
    assert open_graph("ogbn-products", products).num_nodes == NODES
    assert json.loads(about.read_text())["version"] == module.VERSION


def _altered(folder, name, **arrays):
    """One archive of arrays, with some of them others or none."""
    with np.load(folder / name) as there:
        kept = {key: there[key] for key in there.files}
    kept |= arrays
    np.savez_compressed(folder / name, **{key: value for key, value in kept.items() if value is not None})


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("data.npz", lambda a: {"num_nodes_list": np.array(a["num_nodes_list"][0] + 0.5)}, "one number of nodes"),
        ("data.npz", lambda a: {"num_nodes_list": np.array([], np.int64)}, "one number of nodes"),
        ("data.npz", lambda a: {"num_nodes_list": np.array([10**15])}, "rows of features"),
        ("data.npz", lambda a: {"num_edges_list": None}, "cannot be read"),
        ("data.npz", lambda a: {"edge_index": a["edge_index"] + 0.5}, "no whole numbers"),
        ("data.npz", lambda a: {"edge_index": a["edge_index"][:, :-7]}, "lists .* edges, not"),
        ("data.npz", lambda a: {"edge_index": np.asfortranarray(a["edge_index"])}, "cannot be read"),
        ("data.npz", lambda a: {"node_feat": None}, "cannot be read"),
        ("node-label.npz", lambda a: {"node_label": a["node_label"] + 0.7}, "labels that are no whole numbers"),
        ("node-label.npz", lambda a: {"node_label": np.full_like(a["node_label"], np.inf)}, "labels that are"),
        ("node-label.npz", lambda a: {"node_label": a["node_label"].astype(str)}, "labels that are no whole"),
        ("node-label.npz", lambda a: {"node_label": None}, "cannot be read"),
    ],
)
def test_damaged_arrays_are_named(papers, name, change, problem):
    raw = papers / "ogbn_papers100M" / "raw"
    with np.load(raw / name) as there:
        _altered(raw, name, **change({key: there[key] for key in there.files}))
    with pytest.raises(DatasetError, match=problem) as caught:
        open_graph("ogbn-papers100M", papers)
    assert "papers100M" in str(caught.value)
    assert not (papers / "ogbn_papers100M" / "stored").exists()


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_byte_of_an_archive(papers, seed):
    path = papers / "ogbn_papers100M" / "raw" / "data.npz"
    content = bytearray(path.read_bytes())
    content[np.random.default_rng(seed).integers(len(content))] ^= 0xFF
    path.write_bytes(content)
    try:  # any other error is one too many
        found = open_graph("ogbn-papers100M", papers).num_nodes
    except DatasetError as error:
        found = str(error)
    assert found == NODES or "papers100M" in found  # a byte may say nothing


def test_nothing_is_stored_through_a_link(papers, tmp_path):
    folder, elsewhere = papers / "ogbn_papers100M", tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    with pytest.raises(DatasetError, match="link"):
        open_graph("ogbn-papers100M", papers)
    assert "link" in verify(papers)[0].problem
    assert not (elsewhere / "stored").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_a_pipe_is_not_waited_for(products):
    open_graph("ogbn-products", products)
    path = products / "ogbn_products" / "stored" / "y.npy"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DatasetError, match=r"y\.npy is no file"):
        open_graph("ogbn-products", products)


@pytest.mark.parametrize("damaged", ["raw/edge.csv.gz", "stored/y.npy"])
def test_an_import_leaves_nothing_of_a_damaged_graph(products, tmp_path, damaged):
    source = tmp_path / "source"
    shutil.copytree(products, source)
    open_graph("ogbn-products", products)
    (products / "ogbn_products" / damaged).write_bytes(b"damaged")
    assert not verify(products)[0].ok
    import_folder(source, products)
    assert verify(products)[0].ok
    assert open_graph("ogbn-products", products, check=True).num_nodes == NODES


def test_what_an_import_has_stored_is_kept(papers, tmp_path):
    root = tmp_path / "other"
    import_folder(papers, root)
    (root / "ogbn_papers100M" / "raw" / "node-label.npz").write_bytes(b"damaged")
    import_folder(papers, root)
    assert (root / "ogbn_papers100M" / "stored").is_dir()
    assert verify(root)[0].ok
