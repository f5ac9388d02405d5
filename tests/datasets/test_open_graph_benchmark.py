import dataclasses
import gzip
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from msg.datasets import DatasetError, get_card, import_folder, load_graph

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


# Not importorskip: importing ogb as it is asks a package registry for its newest version.
needs_ogb = pytest.mark.skipif(importlib.util.find_spec("ogb") is None, reason="ogb is not installed")


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


@needs_ogb
def test_arxiv(root, capsys):
    for _ in range(2):  # the second time from ogb's processed file
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


@needs_ogb
def test_import_reads_the_raw_files(root, tmp_path):
    import_folder(root, tmp_path / "copy")
    assert load_graph("ogbn-arxiv", tmp_path / "copy").num_nodes == 5
    (root / "ogbn_arxiv" / "raw" / "node-feat.csv.gz").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"root/ogbn_arxiv/raw/node-feat\.csv\.gz cannot be read by ogb"):
        import_folder(root, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@needs_ogb
def test_other_release_asks_nothing(root):
    (root / "ogbn_arxiv" / "RELEASE_v1.txt").rename(root / "ogbn_arxiv" / "RELEASE_v0.txt")
    from msg.datasets.open_graph_benchmark import read_ogb

    with pytest.raises(DatasetError, match=r"RELEASE_v1\.txt is missing"):
        read_ogb(get_card("ogbn-arxiv"), root / "ogbn_arxiv")


@needs_ogb
def test_wrong_number_of_edges(root, use_cards):
    card = dataclasses.replace(get_card("ogbn-arxiv"), raw_edges=1166243)
    use_cards(card)
    with pytest.raises(DatasetError, match=r"edge\.csv\.gz lists 5 edges, ogbn-arxiv has 1,166,243"):
        load_graph("ogbn-arxiv", root)


@needs_ogb
def test_damaged_processed_file_is_named(root):
    load_graph("ogbn-arxiv", root)
    (root / "ogbn_arxiv" / "processed" / "geometric_data_processed.pt").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"ogbn_arxiv/processed cannot be read.*delete it and load again"):
        load_graph("ogbn-arxiv", root)


@needs_ogb
def test_processed_file_is_not_trusted(root):
    load_graph("ogbn-arxiv", root)
    torch.save(pytest.fail, root / "ogbn_arxiv" / "processed" / "geometric_data_processed.pt")
    with pytest.raises(DatasetError, match="Weights only load failed"):
        load_graph("ogbn-arxiv", root)


@needs_ogb
def test_without_ogb(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "ogb.nodeproppred", None)
    with pytest.raises(ImportError, match=r'pip install "msg-graph\[ogb\]"'):
        load_graph("ogbn-arxiv", root)


@needs_ogb
def test_import_of_ogb_asks_no_registry():
    script = """
import socket, sys, threading
def refuse(*args, **kwargs):
    print("connection or thread", args)
    sys.exit(1)
import msg.datasets.open_graph_benchmark as benchmark
assert "ogb" not in sys.modules
socket.getaddrinfo = threading.Thread.start = refuse
benchmark._import_ogb()
assert "outdated" not in sys.modules
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert result.returncode == 0, result.stdout + result.stderr
