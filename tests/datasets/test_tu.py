"""Sets of graphs in TU Dortmund's text files, against PyG's own reader."""

import dataclasses
import shutil
import urllib.error
import zipfile

import pytest
import torch
from torch_geometric.datasets import TUDataset

from msg.datasets import Card, DatasetError, import_folder, load_graph, load_graphs, store, verify

# a lonely node with a self-loop, a triangle, and a path whose edges stand once and twice
FILES = {
    "A": "1, 1\n2, 3\n3, 2\n3, 4\n4, 3\n4, 2\n2, 4\n5, 6\n6, 5\n6, 5\n",
    "graph_indicator": "1\n2\n2\n2\n3\n3\n",
    "graph_labels": "1\n-1\n1\n",
    "node_labels": "5\n3\n5\n3\n4\n3\n",
}
CARD = Card(
    key="tiny",
    title="Tiny",
    format="tu",
    folder="TINY",
    split="random:34/33/33",
    graphs=3,
    features=3,
    classes=2,
    download="TUDataset",
    files={f"raw/TINY_{name}.txt": "" for name in FILES},
)


@pytest.fixture
def source(tmp_path, use_cards):
    """A folder with the set TINY, the only one that is known."""
    raw = tmp_path / "source" / "TINY" / "raw"
    raw.mkdir(parents=True)
    for name, content in FILES.items():
        (raw / f"TINY_{name}.txt").write_text(content)
    use_cards(CARD)
    return tmp_path / "source"


def test_it_is_what_pyg_reads(source, tmp_path):
    found = load_graphs("tiny", source)
    shutil.copytree(source, tmp_path / "pyg")
    expected = TUDataset(str(tmp_path / "pyg"), "TINY")
    assert len(found.to_data_list()) == len(expected) == 3
    for graph, own in zip(found.to_data_list(), expected):
        assert torch.equal(graph.x, own.x)
        assert torch.equal(graph.edge_index, own.edge_index)
        assert torch.equal(graph.y, own.y)
    assert found.batch.tolist() == [0, 1, 1, 1, 2, 2]
    assert (found.num_classes, found.metric, found.name, found.split) == (2, "accuracy", "tiny", "random:34/33/33")


def test_import_verify_and_download(source, tmp_path, monkeypatch):
    root = tmp_path / "root"
    assert [card.key for card in import_folder(source, root)] == ["tiny"]
    assert [found.problem for found in verify(root)] == [""]
    assert load_graphs("tiny", root).content_hash == load_graphs("tiny", source).content_hash
    with zipfile.ZipFile(tmp_path / "TINY.zip", "w") as archive:
        for name in [*FILES, "edge_labels"]:  # as it is packed there, without raw, and with more than is read
            archive.writestr(f"TINY/TINY_{name}.txt", FILES.get(name, "1\n"))
        archive.writestr("TINY/README.txt", "")

    def download(url, target, log=True):
        if url != "https://www.chrsmrrs.com/graphkerneldatasets/TINY.zip":
            raise urllib.error.URLError("no route to host")
        return shutil.copy(tmp_path / "TINY.zip", tmp_path / "fetched.zip")

    monkeypatch.setattr(store, "download_url", download)
    fetched = load_graphs("tiny", tmp_path / "new")
    assert fetched.content_hash == load_graphs("tiny", source).content_hash
    assert sorted(path.name for path in (tmp_path / "new").rglob("*.txt")) == sorted(f"TINY_{n}.txt" for n in FILES)
    monkeypatch.setattr(store, "download_url", lambda *args: download("elsewhere", ""))
    with pytest.raises(DatasetError, match=r"cannot download .*TINY\.zip.*msg datasets import"):
        load_graphs("tiny", tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("A", "1, 2\n2\n", r"TINY_A\.txt is damaged"),
        ("A", "1, 2, 3\n", r"TINY_A\.txt has 3 numbers a line, not 2"),
        ("A", "1, 7\n", r"edges to nodes outside 0\.\.5"),
        ("A", "1, 4\n", "edges between nodes of two graphs"),
        ("A", "", r"TINY_A\.txt is damaged"),
        ("graph_labels", "1\n-1\n", "labels of shape"),
        ("graph_labels", "0.5\n1\n1\n", r"graph_labels\.txt is damaged"),
        ("graph_indicator", "1\n1\n2\n1\n2\n3\n", "do not stand graph by graph"),
        ("graph_indicator", "1\n1\n1\n3\n3\n3\n", "graphs without nodes"),
        ("graph_indicator", "0\n1\n1\n2\n2\n3\n", "do not stand graph by graph"),
        ("graph_indicator", "1\n1\n1\n2\n2\n", "graphs of nodes of shape"),
        ("graph_indicator", f"1\n1\n1\n2\n2\n{10**12}\n", "labels of shape"),
        ("node_labels", f"3\n5\n3\n4\n3\n{10**9}\n", r"more than 16,777,216"),
        ("node_labels", "3\n5\n3\n4\n3\n\x80\n", r"node_labels\.txt is damaged"),
        ("node_labels", "3\n4\n3\n4\n3\n4\n", "has 2 features, Tiny has 3"),
    ],
)
def test_what_is_damaged_is_named(source, name, content, message):
    (source / "TINY" / "raw" / f"TINY_{name}.txt").write_text(content, encoding="latin-1")
    with pytest.raises(DatasetError, match=message):
        load_graphs("tiny", source)


def test_labels_of_several_kinds_stand_side_by_side(source, use_cards):
    use_cards(dataclasses.replace(CARD, features=5))
    (source / "TINY" / "raw" / "TINY_node_labels.txt").write_text("3, 0\n5, 1\n3, 0\n4, 0\n3, 1\n5, 0\n")
    assert load_graphs("tiny", source).x.tolist()[1] == [0, 0, 1, 0, 1]


def test_other_numbers_than_on_the_card(source, use_cards):
    use_cards(dataclasses.replace(CARD, graphs=4))
    with pytest.raises(DatasetError, match="has 3 graphs, Tiny has 4"):
        load_graphs("tiny", source)


def test_a_set_is_no_graph_and_a_graph_no_set():
    with pytest.raises(ValueError, match=r"'mutag' is a set of 188 graphs: use load_graphs"):
        load_graph("mutag")
    with pytest.raises(
        ValueError, match=r"'karate' is a single graph: use load_graph, or one of the sets motifs, mutag"
    ):
        load_graphs("karate")


def test_labels_as_far_apart_as_numbers_can_be(source):
    path = source / "TINY" / "raw" / "TINY_node_labels.txt"
    path.write_text(f"{-(2**63)}\n{2**63 - 1}\n5\n3\n4\n3\n")
    with pytest.raises(DatasetError, match=r"node_labels\.txt has labels up to .*, more than"):
        load_graphs("tiny", source)
