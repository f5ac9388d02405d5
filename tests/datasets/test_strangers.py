"""What a dataset root from a stranger may not do: run code, exhaust memory, write elsewhere, speak to the terminal."""

import dataclasses
import gzip
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from writers import WRITERS, Payload, graph

from msg.datasets import DatasetError, get_card, import_folder, load_graph, verify
from msg.datasets.canonical import to_data
from msg.datasets.planetoid import read_planetoid
from msg.datasets.raw_graph import RawGraph, validate


def poisoned(payload: Payload, folder: Path) -> dict[str, bytes]:
    """A payload in every packing in which any loader of graphs might unpickle it."""
    (folder / "torch").mkdir(parents=True)
    torch.save(payload, folder / "torch" / "new.pt")
    torch.save(payload, folder / "torch" / "old.pt", _use_new_zipfile_serialization=False)
    np.savez(folder / "torch" / "objects.npz", **dict.fromkeys(OBJECTS, np.array([payload], dtype=object)))
    files = {path.stem: path.read_bytes() for path in (folder / "torch").iterdir()}
    return files | {"pickle": pickle.dumps(payload), "gzip": gzip.compress(pickle.dumps(payload))}


OBJECTS = [
    *(f"{prefix}_{part}" for prefix in ("adj", "attr") for part in ("data", "indices", "indptr", "shape", "matrix")),
    *("labels", "node_features", "node_labels", "edges", "train_masks", "val_masks", "test_masks"),
]
PROCESSED = ["pre_transform.pt", "pre_filter.pt", "geometric_data_processed.pt", "data.pt", "data_processed"]


@pytest.fixture(params=list(WRITERS))
def root(request, tmp_path, use_cards, no_network) -> Path:
    """A sound dataset root in one of the layouts, and its card."""
    use_cards(WRITERS[request.param](tmp_path / "root"))
    return tmp_path / "root"


def test_every_layout_gives_the_same_graph(root):
    data, expected = load_graph("tiny", root, split="random:60/20/20"), graph()
    same = to_data(validate(RawGraph(expected.x, expected.edge_index, expected.y), "here"))
    assert data.content_hash == same.content_hash
    if get_card("tiny").files.keys() != {"raw/tiny.npz"}:
        public = load_graph("tiny", root, split="public")
        for name in ("train_mask", "val_mask", "test_mask"):
            assert torch.equal(public[name], torch.from_numpy(expected[name]))


def test_payloads_do_run_where_they_are_unpickled(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "made")))
    assert (tmp_path / "made").is_dir()


@pytest.mark.parametrize("packing", ["new", "old", "objects", "pickle", "gzip"])
def test_a_payload_in_any_file_is_not_executed(root, packing, tmp_path):
    made = tmp_path / "made"
    content = poisoned(Payload(made), tmp_path / "poison")[packing]
    card = get_card("tiny")
    for name in card.files:
        path = root / card.folder / name
        sound = path.read_bytes()
        path.write_bytes(content)
        for attempt in (
            lambda: load_graph("tiny", root, split="random:60/20/20"),
            lambda: import_folder(root, tmp_path / "copy"),
        ):
            if name.startswith("RELEASE"):  # it only has to be there
                attempt()
            else:
                with pytest.raises(DatasetError):
                    attempt()
        assert verify(root)[0].ok == name.startswith("RELEASE")
        path.write_bytes(sound)
    assert not made.exists()


def test_what_other_programs_keep_in_a_root_is_not_opened(root, tmp_path):
    card = get_card("tiny")
    made = tmp_path / "made"
    for packing, content in poisoned(Payload(made), tmp_path / "poison").items():
        for name in PROCESSED:
            (root / card.folder / "processed").mkdir(exist_ok=True)
            (root / card.folder / "processed" / name).write_bytes(content)
        load_graph("tiny", root, split="random:60/20/20")
        assert verify(root)[0].ok
        import_folder(root, tmp_path / f"copy-{packing}")
        assert not (tmp_path / f"copy-{packing}" / card.folder / "processed").exists()
    assert not made.exists()


def test_a_pickle_of_planetoid_makes_nothing_but_numbers(tmp_path):
    """Even one whose checksum somebody has put on a card."""
    card = WRITERS["planetoid"](tmp_path)
    folder, made = tmp_path / card.folder / "raw", tmp_path / "made"
    assert read_planetoid(folder, "Tiny").features.shape[0] == card.nodes
    for part in ("allx", "tx", "ally", "ty", "y", "graph"):
        path = folder / f"ind.tiny.{part}"
        sound = path.read_bytes()
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            path.write_bytes(pickle.dumps(Payload(made), protocol))
            with pytest.raises(DatasetError, match=r"it asks for \w+\.mkdir, which no such file holds"):
                read_planetoid(folder, "Tiny")
        path.write_bytes(sound)
    assert not made.exists()


_LOAD = """
import sys
from msg.datasets import DatasetError, load_graph
for path in sys.argv[1:]:
    try:
        load_graph(path)
    except DatasetError as error:
        print(error)
"""


def test_crafted_pointers_do_not_crash(save_npz):
    """In a process of its own: where the last pointer is 0, SciPy checks nothing and reads and writes out of bounds."""
    far = np.array([0, 2**40, 1, 2**50, 2, 2**60, 0])
    crafted = [
        {"adj_indptr": far},
        {"attr_indptr": far},
        {"adj_indptr": np.zeros(7, np.int64), "adj_indices": np.full(7, 2**40)},
        {"attr_indptr": np.array([0, -(2**40), 5, 5, 5, 5, 7])},
        {"adj_indptr": np.array([0, 7, 1, 7, 1, 7, 7])},
        {"attr_indices": np.array([0, 1, 0, 1, 0, 1, -1])},
        {"adj_indices": np.full(7, 2**63, np.uint64)},
        {"adj_indptr": np.array([0, 1, 3, 4, 5, 6, 7]) / 1.0},
        {"adj_indptr": np.array([1, 1, 3, 4, 5, 6, 7])},
        {"adj_indptr": np.array([0, 1, 3, 4, 5, 6, 8])},
        {"attr_data": np.ones(3)},
        {"attr_data": np.ones((7, 1))},
        {"adj_shape": np.array([2**62, 2**62])},
        {"adj_shape": np.array([-6, 6])},
        {"adj_shape": np.array([6.0, 6.0])},
        {"adj_shape": np.array(6)},
    ]
    paths = [str(save_npz(f"{number}.npz", **changes)) for number, changes in enumerate(crafted)]
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, *paths], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths), done.stdout
    for path, line in zip(paths, lines):
        assert line.startswith(f"{path} cannot be read as a graph ("), line


def planted(root: Path, place: str, target: Path) -> Path:
    """Move a part of a graph's folder out of the root and leave a link to it."""
    link = root / place
    target.parent.mkdir(parents=True, exist_ok=True)
    link.rename(target)
    link.symlink_to(target)
    return link


@pytest.mark.parametrize("place", ["Tiny", "Tiny/raw"])
def test_nothing_is_written_through_a_link(source, tmp_path, place, monkeypatch):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere" / "Tiny"
    import_folder(source, root)
    (root / "Tiny" / "raw" / "tiny.npz").write_bytes(b"precious")
    link = planted(root, place, elsewhere)
    before = sorted(elsewhere.rglob("*"))
    with pytest.raises(DatasetError, match=rf"{link} is a link to {elsewhere}, and nothing is written through a link"):
        import_folder(source, root)
    (precious,) = elsewhere.rglob("tiny.npz")
    assert precious.read_bytes() == b"precious"
    precious.rename(precious.with_name("kept.npz"))  # now the graph is missing, so it would be downloaded
    monkeypatch.setattr("msg.datasets.store.download_url", lambda *_: pytest.fail("downloaded"))
    with pytest.raises(DatasetError, match="nothing is written through a link"):
        load_graph("tiny", root)
    assert len(sorted(elsewhere.rglob("*"))) == len(before)
    assert link.is_symlink()
    assert sorted(path.name for path in root.iterdir()) == ["Tiny"]


def test_a_file_that_is_a_link_is_replaced_not_followed(source, tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    import_folder(source, root)
    (root / "Tiny" / "raw" / "tiny.npz").write_bytes(b"precious")
    link = planted(root, "Tiny/raw/tiny.npz", elsewhere)
    import_folder(source, root)
    assert elsewhere.read_bytes() == b"precious"
    assert not link.is_symlink()
    assert verify(root)[0].ok


def test_an_archive_brings_only_what_the_card_lists(source, tmp_path, monkeypatch, use_cards):
    packed = tmp_path / "tiny.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(source / "Tiny" / "raw" / "tiny.npz", "top/raw/tiny.npz")
        archive.writestr("top/processed/pre_filter.pt", b"payload")
        archive.writestr("top/../../escaped", b"payload")
    use_cards(dataclasses.replace(get_card("tiny"), download="https://example.org/tiny.zip"))
    monkeypatch.setattr("msg.datasets.store.download_url", lambda *_: packed)
    assert load_graph("tiny", tmp_path / "root").num_nodes == 6
    assert [str(path.relative_to(tmp_path / "root")) for path in (tmp_path / "root").rglob("*.*")] == [
        "Tiny/raw/tiny.npz"
    ]


def test_escapes_in_names_do_not_reach_the_terminal(tmp_path, save_npz):
    clear = "\x1b[2J\x9b31m\u202e"
    folder = tmp_path / f"{clear}\nroot" / f"{clear}"
    folder.mkdir(parents=True)
    with pytest.raises(DatasetError) as caught:
        import_folder(folder.parent, tmp_path / "copy")
    assert str(caught.value).isprintable()
    assert "\\x1b[2J" in str(caught.value)
    path = save_npz(f"{clear}.npz")
    assert load_graph(path, simplify=True).name.isprintable()
    path.write_bytes(b"damaged")
    with pytest.raises(DatasetError) as caught:
        load_graph(path)
    assert str(caught.value).isprintable()
