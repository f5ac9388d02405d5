import dataclasses
import errno
import http.client
import os
import shutil
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pytest

from msg.datasets import DatasetError, get_card, import_folder, load_graph, store


def serve(monkeypatch, folder: Path) -> list[str]:
    """Let downloads come from a local folder; return the list that collects the addresses."""
    urls = []

    def download_url(url: str, target: str, log: bool = True) -> str:
        urls.append(url)
        path = folder / url.rpartition("/")[2]
        if not path.is_file():
            raise urllib.error.URLError("no route to host")
        os.makedirs(target, exist_ok=True)
        return shutil.copy(path, target)

    monkeypatch.setattr(store, "download_url", download_url)
    return urls


def contents(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_download_moves_into_place_and_happens_once(source, tmp_path, monkeypatch):
    urls = serve(monkeypatch, source / "Tiny" / "raw")
    root = tmp_path / "new" / "root"
    for _ in range(2):
        assert load_graph("tiny", root).num_nodes == 6
    assert urls == ["https://github.com/shchur/gnn-benchmark/raw/master/data/npz/tiny.npz"]
    assert contents(root) == ["Tiny/raw/tiny.npz"]


def test_failed_download_names_the_import_and_leaves_nothing(source, tmp_path, monkeypatch):
    serve(monkeypatch, tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"tiny\.npz \(.*no route.*msg datasets import SOURCE --root .*root"):
        load_graph("tiny", tmp_path / "root")
    assert not (tmp_path / "root").exists()
    monkeypatch.setattr(store, "download_url", lambda *args: (_ for _ in ()).throw(http.client.IncompleteRead(b"")))
    with pytest.raises(DatasetError, match="msg datasets import"):
        load_graph("tiny", tmp_path / "root")


def test_truncated_download_is_refused(source, tmp_path, monkeypatch):
    path = source / "Tiny" / "raw" / "tiny.npz"
    path.write_bytes(path.read_bytes()[:300])
    serve(monkeypatch, path.parent)
    with pytest.raises(DatasetError, match=r"the download/raw/tiny\.npz is damaged or truncated"):
        load_graph("tiny", tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_download_completes_a_folder_and_keeps_other_files(source, tmp_path, monkeypatch):
    serve(monkeypatch, source / "Tiny" / "raw")
    (tmp_path / "root" / "Tiny").mkdir(parents=True)
    (tmp_path / "root" / "Tiny" / "notes.txt").touch()
    load_graph("tiny", tmp_path / "root")
    assert contents(tmp_path / "root") == ["Tiny/notes.txt", "Tiny/raw/tiny.npz"]


def test_archive_is_unpacked(source, tmp_path, monkeypatch, use_cards):
    server = tmp_path / "server"
    server.mkdir()
    with zipfile.ZipFile(server / "tiny.zip", "w") as archive:
        archive.write(source / "Tiny" / "raw" / "tiny.npz", "download-name/raw/tiny.npz")
    use_cards(dataclasses.replace(get_card("tiny"), download="https://example.org/tiny.zip"))
    serve(monkeypatch, server)
    assert load_graph("tiny", tmp_path / "root").num_nodes == 6
    assert contents(tmp_path / "root") == ["Tiny/raw/tiny.npz"]
    (server / "tiny.zip").write_bytes(b"not a zip")
    with pytest.raises(DatasetError, match=r"cannot download https://example.org/tiny.zip"):
        load_graph("tiny", tmp_path / "other")


def test_graph_without_a_download_names_the_import(tmp_path, no_network):
    with pytest.raises(DatasetError, match=r"airport\.npz is missing.*SOURCE/airport/raw/.*msg datasets import"):
        load_graph("airport", tmp_path)
    assert contents(tmp_path) == []


def test_root_that_cannot_be_made_is_named(source, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"cannot write to the dataset root .*file"):
        load_graph("tiny", tmp_path / "file")


def test_read_only_root_is_enough_to_read(source, no_network):
    for path in (source, source / "Tiny", source / "Tiny" / "raw"):
        path.chmod(0o555)
    assert load_graph("tiny", source).num_nodes == 6
    for path in (source, source / "Tiny", source / "Tiny" / "raw"):
        path.chmod(0o755)


def test_damaged_file_in_the_root_is_named(source):
    path = source / "Tiny" / "raw" / "tiny.npz"
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"Tiny/raw/tiny\.npz is damaged.*delete it and load again, or import one"):
        load_graph("tiny", source)


def test_npz_packed_in_another_way_is_the_same_graph(source, save_npz):
    path = save_npz("source/Tiny/raw/tiny.npz", class_names=np.array(["a", "b"]))
    assert store._sha256(path) != get_card("tiny").files["raw/tiny.npz"]
    assert load_graph("tiny", source).content_hash == get_card("tiny").content_hash


def test_another_graph_is_refused(source, save_npz, tmp_path):
    save_npz("source/Tiny/raw/tiny.npz", labels=np.array([1, 0, 1, 0, 1, 0]))
    with pytest.raises(DatasetError, match="the counts agree, the content hash does not"):
        load_graph("tiny", source)
    save_npz("source/Tiny/raw/tiny.npz", labels=np.arange(6))
    with pytest.raises(DatasetError, match="has 6 classes, Tiny has 2"):
        import_folder(source, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_altered_pickle_is_never_loaded(tmp_path, monkeypatch):
    card = get_card("cora")
    for name in card.files:
        (tmp_path / "Cora" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "Cora" / name).write_bytes(b"anything")
    monkeypatch.setattr("pickle.load", lambda *args, **kwargs: pytest.fail("unpickled"))
    monkeypatch.setattr("pickle.loads", lambda *args, **kwargs: pytest.fail("unpickled"))
    with pytest.raises(DatasetError, match=r"ind\.cora\.x is damaged or altered \(SHA-256\), so it is not unpickled"):
        load_graph("cora", tmp_path)
    with pytest.raises(DatasetError, match="not unpickled"):
        import_folder(tmp_path, tmp_path / "root")


@pytest.mark.parametrize("step", ["msg.datasets.store.download_url", "os.replace", "shutil.copyfileobj"])
def test_full_disk_while_downloading_is_one_line(source, tmp_path, monkeypatch, use_cards, step):
    server = tmp_path / "server"
    server.mkdir()
    with zipfile.ZipFile(server / "tiny.zip", "w") as archive:
        archive.write(source / "Tiny" / "raw" / "tiny.npz", "top/raw/tiny.npz")
    use_cards(dataclasses.replace(get_card("tiny"), download="https://example.org/tiny.zip"))
    serve(monkeypatch, server)

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(step, fail)
    with pytest.raises(
        DatasetError, match=rf"No space left on device.*{tmp_path}/root.*free space|root/Tiny: No space"
    ):
        load_graph("tiny", tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_pickles_without_a_known_checksum_are_not_loaded(tmp_path, use_cards):
    from writers import write_planetoid

    card = write_planetoid(tmp_path)
    use_cards(dataclasses.replace(card, files=dict.fromkeys(card.files, "")))
    with pytest.raises(DatasetError, match="so it is not unpickled"):
        load_graph("tiny", tmp_path)
