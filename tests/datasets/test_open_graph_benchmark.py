import dataclasses
import gzip
import importlib.util
import sys
import warnings
from pathlib import Path

import pytest
import torch
from writers import Payload

from msg.datasets import DatasetError, get_card, import_folder, load_graph, verify
from msg.datasets.open_graph_benchmark import read_ogb

ARXIV = {
    "RELEASE_v1.txt": None,
    "raw/edge.csv.gz": "0,1\n1,2\n2,1\n3,4\n4,4\n",  # directed, one edge both ways, a self-loop
    "raw/node-feat.csv.gz": "".join(f"{node}.5,0.0,1.0\n" for node in range(5)),
    "raw/node-label.csv.gz": "0\n1\n2\n1\n0\n",
    "raw/node_year.csv.gz": "2000\n" * 5,
    "raw/num-node-list.csv.gz": "5\n",
    "raw/num-edge-list.csv.gz": "5\n",
    "split/time/train.csv.gz": "0\n1\n",
    "split/time/valid.csv.gz": "2\n",
    "split/time/test.csv.gz": "3\n4\n",
}


@pytest.fixture
def root(tmp_path, use_cards, no_network) -> Path:
    """A dataset root with a tiny graph in the layout of ogbn-arxiv, and its card."""
    for name, content in ARXIV.items():
        path = tmp_path / "root" / "ogbn_arxiv" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if content is None else gzip.compress(content.encode()))
    card = dataclasses.replace(get_card("ogbn-arxiv"), nodes=5, features=3, classes=3, raw_edges=5)
    use_cards(card)
    return tmp_path / "root"


def test_manifest_lists_the_files_ogb_needs():
    assert set(get_card("ogbn-arxiv").files) == set(ARXIV)


def test_arxiv(root, capsys):
    for _ in range(2):
        data = load_graph("ogbn-arxiv", root)
        assert data.edge_index.tolist() == [[0, 1, 1, 2, 3, 4], [1, 0, 2, 1, 4, 3]]
        assert data.x[:, 0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
        assert data.y.tolist() == [0, 1, 2, 1, 0]
        assert (data.num_classes, data.split) == (3, "public")
        assert [data[f"{part}_mask"].nonzero().view(-1).tolist() for part in ("train", "val", "test")] == [
            [0, 1],
            [2],
            [3, 4],
        ]
        assert data.validate()
    assert capsys.readouterr().out == ""


def test_import_reads_the_raw_files(root, tmp_path):
    import_folder(root, tmp_path / "copy")
    assert load_graph("ogbn-arxiv", tmp_path / "copy").num_nodes == 5
    (root / "ogbn_arxiv" / "raw" / "node-feat.csv.gz").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"root/ogbn_arxiv/raw/node-feat\.csv\.gz cannot be read"):
        import_folder(root, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_other_release_asks_nothing(root):
    (root / "ogbn_arxiv" / "RELEASE_v1.txt").rename(root / "ogbn_arxiv" / "RELEASE_v0.txt")
    with pytest.raises(DatasetError, match=r"RELEASE_v1\.txt is missing"):
        read_ogb(get_card("ogbn-arxiv"), root / "ogbn_arxiv")


def test_wrong_number_of_edges(root, use_cards):
    card = dataclasses.replace(get_card("ogbn-arxiv"), raw_edges=1166243)
    use_cards(card)
    with pytest.raises(DatasetError, match=r"edge\.csv\.gz lists 5 edges, ogbn-arxiv has 1,166,243"):
        load_graph("ogbn-arxiv", root)


def rewrite(root: Path, name: str, content: str) -> None:
    (root / "ogbn_arxiv" / name).write_bytes(gzip.compress(content.encode()))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("raw/edge.csv.gz", "0,1\n1,2\n", r"edge\.csv\.gz has a table of shape \[2, 2\] instead of \[5, 2\]"),
        ("raw/edge.csv.gz", "0,1\n1,2\n2,1\n3,4\n4,5\n", r"ogbn_arxiv has edges to nodes outside 0\.\.4"),
        ("raw/edge.csv.gz", "0,1\n1,2\n2,1\n3,4\n4,0.5\n", r"edge\.csv\.gz cannot be read"),
        ("raw/edge.csv.gz", "0,1\n1,2,3\n2,1\n3,4\n4,4\n", r"edge\.csv\.gz cannot be read"),
        ("raw/node-feat.csv.gz", "1.0,,1.0\n" * 5, "features that are not finite"),
        ("raw/node-feat.csv.gz", "1.0,a,1.0\n" * 5, r"node-feat\.csv\.gz cannot be read"),
        ("raw/node-feat.csv.gz", "1.0,1e39,1.0\n" * 5, "features that are not finite"),
        ("raw/node-label.csv.gz", "0\n1\n2\n1\n\n", r"node-label\.csv\.gz has a table of shape \[4, 1\]"),
        ("raw/num-node-list.csv.gz", "9999999999999\n", r"node-feat\.csv\.gz has a table of shape \[5, 3\]"),
        ("raw/num-node-list.csv.gz", "", r"num-node-list\.csv\.gz cannot be read"),
        ("split/time/train.csv.gz", "-1\n", r"train\.csv\.gz lists nodes outside 0\.\.4"),
        ("split/time/train.csv.gz", "0\n5\n", r"train\.csv\.gz lists nodes outside 0\.\.4"),
        ("split/time/train.csv.gz", "0\n2\n", "1 nodes of val_mask also in train_mask"),
    ],
)
def test_what_does_not_fit_is_named(root, name, content, problem):
    rewrite(root, name, content)
    with pytest.raises(DatasetError, match=problem):
        load_graph("ogbn-arxiv", root)


def test_what_a_small_file_may_unpack_to_is_bounded(root):
    rewrite(root, "raw/node-feat.csv.gz", "0.0,0.0,0.0\n" * 100_000)
    with pytest.raises(DatasetError, match=r"node-feat\.csv\.gz unpacks to too much, more than \d+,\d+ bytes"):
        read_ogb(get_card("ogbn-arxiv"), root / "ogbn_arxiv", max_bytes=1000)


@pytest.mark.parametrize("name", ["pre_transform.pt", "pre_filter.pt", "geometric_data_processed.pt"])
def test_what_pytorch_geometric_keeps_there_is_not_unpickled(root, tmp_path, name):
    load_graph("ogbn-arxiv", root)
    processed = root / "ogbn_arxiv" / "processed"
    processed.mkdir(exist_ok=True)
    torch.save(Payload(tmp_path / "made"), processed / name)
    assert load_graph("ogbn-arxiv", root).num_nodes == 5
    assert verify(root)[0].ok
    assert not (tmp_path / "made").exists()
    assert list(processed.iterdir()) == [processed / name]


def test_reading_needs_no_other_package(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "ogb", None)
    assert load_graph("ogbn-arxiv", root).num_nodes == 5


# Not importorskip: importing ogb as it is asks a package registry for its newest version.
@pytest.mark.skipif(importlib.util.find_spec("ogb") is None, reason="ogb is not installed")
def test_same_graph_as_ogb_reads(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "outdated", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ogb.io.read_graph_raw import read_csv_graph_raw
    rewrite(root, "raw/node-feat.csv.gz", "".join(f"{0.1 * k!r},{k / 3!r},-1.5e-3\n" for k in range(5)))
    (theirs,) = read_csv_graph_raw(str(root / "ogbn_arxiv" / "raw"))
    ours = read_ogb(get_card("ogbn-arxiv"), root / "ogbn_arxiv")
    assert ours.edge_index.tolist() == theirs["edge_index"].tolist()
    assert ours.features.tolist() == theirs["node_feat"].tolist()
