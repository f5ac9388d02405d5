import dataclasses
import shutil
from pathlib import Path

import pytest

from msg.datasets import DatasetError, get_card, import_folder, verify
from msg.datasets.store import read_folder


def contents(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_import(source, tmp_path):
    (source / "README.md").touch()
    (source / ".cache").mkdir()
    (source / "Tiny" / "processed").mkdir()
    (source / "Tiny" / "processed" / "data.pt").touch()
    for given in (source, source / "Tiny"):
        root = tmp_path / f"root-{given.name}"
        assert [card.key for card in import_folder(given, root)] == ["tiny"]
        assert contents(root) == ["Tiny/raw/tiny.npz"]


def test_import_keeps_a_sound_graph_and_replaces_a_damaged_one(source, tmp_path):
    root = tmp_path / "root"
    import_folder(source, root)
    file = root / "Tiny" / "raw" / "tiny.npz"
    before = file.stat().st_ino
    import_folder(source, root)
    assert file.stat().st_ino == before
    file.write_bytes(b"damaged")
    (root / "Tiny" / "notes.txt").touch()
    import_folder(source, root)
    assert verify(root)[0].ok
    assert contents(root) == ["Tiny/notes.txt", "Tiny/raw/tiny.npz"]
    import_folder(root, root)
    assert contents(root) == ["Tiny/notes.txt", "Tiny/raw/tiny.npz"]


def test_import_is_all_or_nothing(source, tmp_path, save_npz, use_cards):
    use_cards(get_card("tiny"), dataclasses.replace(get_card("tiny"), key="other", folder="Other"))
    save_npz("source/Other/raw/tiny.npz").write_bytes(b"damaged")
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(DatasetError, match=rf"{source}/Other/raw/tiny\.npz is damaged"):
        import_folder(source, root)
    assert list(root.iterdir()) == []


def test_import_refuses_what_it_does_not_know(source, tmp_path):
    (source / "Mystery" / "raw").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"Mystery is no known graph \(Tiny\).*give load_graph its path"):
        import_folder(source, tmp_path / "root")
    with pytest.raises(DatasetError, match="is not a folder"):
        import_folder(tmp_path / "nowhere", tmp_path / "root")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no graph"):
        import_folder(tmp_path / "empty", tmp_path / "root")
    (source / "Mystery" / "raw").rmdir()
    (source / "Mystery").rmdir()
    (source / "Tiny" / "raw" / "tiny.npz").unlink()
    with pytest.raises(DatasetError, match=r"tiny\.npz is missing: Tiny needs"):
        import_folder(source, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_verify(source, tmp_path):
    assert [(check.card.key, check.ok, check.problem) for check in verify(source)] == [("tiny", True, "")]
    (source / "Tiny" / "raw" / "tiny.npz").unlink()
    (check,) = verify(source)
    assert not check.ok
    assert "tiny.npz is missing" in check.problem
    assert verify(tmp_path / "source" / "Tiny") == []
    with pytest.raises(DatasetError, match="is not a folder"):
        verify(tmp_path / "nowhere")


def test_import_of_benchmark_graphs(shared_data, tmp_path):
    source = tmp_path / "source"
    for folder in ("Cora", "airport"):
        shutil.copytree(shared_data / folder, source / folder)
    assert [card.key for card in import_folder(source, tmp_path / "root")] == ["cora", "airport"]
    assert [check.ok for check in verify(tmp_path / "root")] == [True, True]
    card = get_card("cora")
    assert contents(tmp_path / "root" / "Cora") == sorted(card.files)
    assert read_folder(card, tmp_path / "root" / "Cora").num_nodes == 2708


def test_incomplete_benchmark_graph_is_refused(shared_data, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(shared_data / "Cora", source / "Cora")
    (source / "Cora").chmod(0o755)
    (source / "Cora" / "raw").chmod(0o755)
    (source / "Cora" / "raw" / "ind.cora.ty").unlink()
    with pytest.raises(DatasetError, match=r"ind\.cora\.ty is missing"):
        import_folder(source, tmp_path / "root")
    assert not (tmp_path / "root").exists()
