import dataclasses
import errno
import os
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


def failing(code: int):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code), "some/temporary/file")

    return fail


@pytest.mark.parametrize("step", ["shutil.copyfile", "os.replace", "tempfile.mkdtemp"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT])
def test_a_full_read_only_or_vanished_disk_is_one_line(source, tmp_path, monkeypatch, step, code):
    root = tmp_path / "root"
    (root / "Tiny" / "raw").mkdir(parents=True)
    (root / "Tiny" / "raw" / "tiny.npz").write_bytes(b"damaged, but mine")
    with monkeypatch.context() as patched:
        patched.setattr(step, failing(code))
        with pytest.raises(DatasetError, match=rf"{root}.*{os.strerror(code)}.*[;:] .+") as caught:
            import_folder(source, root)
    assert str(caught.value).isprintable()
    assert contents(root) == ["Tiny/raw/tiny.npz"]
    assert (root / "Tiny" / "raw" / "tiny.npz").read_bytes() == b"damaged, but mine"
    import_folder(source, root)
    assert verify(root)[0].ok


def test_a_root_that_vanishes_is_one_line(source, tmp_path, monkeypatch):
    copyfile = shutil.copyfile

    def vanish(*names):
        copyfile(*names)
        shutil.rmtree(tmp_path / "root")

    monkeypatch.setattr("shutil.copyfile", vanish)
    with pytest.raises(DatasetError, match=r"tiny\.npz is missing"):
        import_folder(source, tmp_path / "root")


@pytest.mark.parametrize("place", ["Tiny", "Tiny/raw"])
def test_a_file_where_a_folder_should_be_is_one_line(source, tmp_path, place):
    root = tmp_path / "root"
    (root / place).parent.mkdir(parents=True)
    (root / place).write_bytes(b"mine")
    with pytest.raises(
        DatasetError, match=rf"{root}/Tiny.*a folder was expected there|{root}/Tiny.*a file was expected"
    ):
        import_folder(source, root)
    assert (root / place).read_bytes() == b"mine"


def test_a_folder_where_a_file_should_be_is_one_line(source, tmp_path):
    root = tmp_path / "root"
    (root / "Tiny" / "raw" / "tiny.npz" / "mine").mkdir(parents=True)
    with pytest.raises(
        DatasetError, match=r"tiny\.npz: Is a directory; a file was expected there: move the folder away"
    ):
        import_folder(source, root)
    assert (root / "Tiny" / "raw" / "tiny.npz" / "mine").is_dir()


def test_a_file_that_cannot_be_read_is_one_line(source, monkeypatch):
    monkeypatch.setattr("hashlib.file_digest", failing(errno.EIO))
    (check,) = verify(source)
    assert check.problem == f"{source}/Tiny/raw/tiny.npz: Input/output error; check its disk and try again"


@pytest.mark.parametrize("step", ["pathlib.Path.is_dir", "pathlib.Path.iterdir", "pathlib.Path.is_file"])
def test_a_folder_that_cannot_be_searched_is_one_line(source, tmp_path, monkeypatch, step):
    monkeypatch.setattr(step, failing(errno.EACCES))
    with pytest.raises(DatasetError, match="Permission denied; ask for the right to it"):
        import_folder(source, tmp_path / "root")


def test_two_folders_of_one_graph(source, tmp_path):
    shutil.copytree(source / "Tiny", source / "TINY")
    with pytest.raises(DatasetError, match=r"TINY and .*Tiny are the same graph: move one of them out"):
        import_folder(source, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_link_is_known_by_its_name(source, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (source / "Tiny").rename(tmp_path / "elsewhere" / "abc")
    (source / "Tiny").symlink_to(tmp_path / "elsewhere" / "abc")
    root = tmp_path / "root"
    assert [card.key for card in import_folder(source, root)] == ["tiny"]
    assert verify(root)[0].ok
