import os

import pytest
import torch

from msg.training import RunConfig
from msg.training.folder import RunFolder, free_folder


def test_free_folder(tmp_path):
    assert free_folder("a", tmp_path) == tmp_path / "a"
    (tmp_path / "a").mkdir()
    (tmp_path / "a-2").mkdir()
    assert free_folder("a", tmp_path) == tmp_path / "a-3"


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.save_checkpoint({"number": 1})

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        folder.save_checkpoint({"number": 2})
    assert folder.load_checkpoint() == {"number": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_damaged_files_are_named(tmp_path):
    folder = RunFolder(tmp_path)
    folder.save_config(RunConfig())
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"checkpoint.pt is damaged or no checkpoint: delete it"):
        folder.load_checkpoint()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json cannot be read"):
        folder.load_config()
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"config.json cannot be read"):
        folder.load_config()


def test_checkpoints_hold_no_code(tmp_path):
    torch.save({"evil": RunConfig()}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="damaged"):
        RunFolder(tmp_path).load_checkpoint()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "curves.png").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"already holds a run \(curves.png\).*--resume"):
        RunFolder(tmp_path).check_free()
    with pytest.raises(FileExistsError, match="is a file"):
        RunFolder(tmp_path / "curves.png").check_free()
    RunFolder(tmp_path / "new").check_free()
    assert not (tmp_path / "new").exists()
