import errno
import json
import os
import threading

import pytest
import torch
from filelock import FileLock

from msg.experiments import Experiment, Job, Result, RunConfig, Store, run
from msg.experiments.files import sealed_json
from msg.experiments.store import free_folder

JOB = Job("fit", "msg-0", RunConfig(), 0)
CONFIG = {"study": "train", "content_hash": "", "options": {}}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    store.make("jobs")
    store.begin(CONFIG)
    return store


def test_free_folder(tmp_path):
    assert free_folder("a", tmp_path) == tmp_path / "a"
    (tmp_path / "a").mkdir()
    (tmp_path / "a-2").mkdir()
    assert free_folder("a", tmp_path) == tmp_path / "a-3"


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch, store):
    slot = store.slot(JOB)
    slot.save({"number": 1})

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        slot.save({"number": 2})
    assert slot.load()["number"] == 1
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["msg-0.checkpoint.pt"]


def test_results_are_kept_and_checkpoints_forgotten(tmp_path, store):
    assert store.slot(JOB).load() is None
    store.slot(JOB).save({"number": 1})
    store.keep(JOB, Result({"val": 0.5}, {"weights": torch.ones(2)}))
    again = Store(tmp_path)
    assert again.read_config() == CONFIG
    ((name, result),) = again.results().items()
    assert (name, result.record) == ("msg-0", {"val": 0.5})
    assert torch.equal(result.tensors["weights"], torch.ones(2))
    assert sorted(path.name for path in (tmp_path / "jobs").iterdir()) == ["msg-0.json", "msg-0.pt"]


def test_what_json_cannot_say_is_not_kept(tmp_path, store):
    with pytest.raises(ValueError, match="JSON"):
        store.keep(JOB, Result({"val": float("nan")}))
    assert not list((tmp_path / "jobs").iterdir())


def test_damaged_files_are_named(tmp_path, store):
    (tmp_path / "jobs" / "msg-0.checkpoint.pt").write_bytes(b"not a checkpoint")
    for read in (store.slot(JOB).load, store.check):
        with pytest.raises(ValueError, match=r"checkpoint.pt is damaged, or not a file of msg: delete it"):
            read()
    (tmp_path / "jobs" / "msg-0.json").write_text("{}")
    with pytest.raises(ValueError, match=r"msg-0.json was changed after it was written: .*delete the file"):
        store.results()
    deep = b"[" * 100_000
    for content, fault in (
        (b"{", "cannot be read as JSON"),
        (deep, "cannot be read as JSON"),
        (b"\xff", "cannot be read as JSON"),
        (b"[]", "no object"),
        (sealed_json({}), "describes no study"),
    ):
        (tmp_path / "config.json").write_bytes(content)
        with pytest.raises(ValueError, match=rf"config.json .*{fault}"):
            store.read_config()


@pytest.mark.parametrize("options", [{}, [], {"lr": -1}, {"rate": 1}], ids=str)
def test_options_that_cannot_be_are_refused(tmp_path, store, options):
    (tmp_path / "config.json").write_bytes(sealed_json({"study": "rules", "content_hash": "", "options": options}))
    with pytest.raises(ValueError, match=r"config.json cannot be read"):
        Experiment.resume(tmp_path)


def test_unknown_studies_are_refused(tmp_path, store):
    (tmp_path / "config.json").write_bytes(sealed_json({"study": "poetry", "content_hash": "", "options": {}}))
    with pytest.raises(ValueError, match="unknown study 'poetry'"):
        Experiment.resume(tmp_path)


def test_checkpoints_hold_no_code(tmp_path, store):
    torch.save({"evil": RunConfig()}, tmp_path / "jobs" / "msg-0.checkpoint.pt")
    with pytest.raises(ValueError, match="damaged"):
        store.slot(JOB).load()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "curves.png").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"already holds a run \(curves.png\).*--resume"):
        Store(tmp_path).check_free("run", ("curves.png",))
    with pytest.raises(FileExistsError, match="is a file"):
        Store(tmp_path / "curves.png").check_free("run", ())
    Store(tmp_path / "new").check_free("run", ())
    assert not (tmp_path / "new").exists()


def test_results_of_another_configuration_are_refused(tmp_path, small, interrupt):
    with pytest.raises(KeyboardInterrupt):
        run(small(checkpoint_every=2), tmp_path, interrupt(epochs=15))
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"lr": 0.01', '"lr": 0.02'))
    with pytest.raises(ValueError, match=r"config\.json was changed after it was written"):
        Experiment.resume(tmp_path)
    edited = json.loads(path.read_text())
    del edited["sha256"]
    path.write_bytes(sealed_json(edited))  # by somebody who knows how
    with pytest.raises(ValueError, match=r"msg-0\.json was not made with the config\.json beside it"):
        Experiment.resume(tmp_path)
    (tmp_path / "jobs" / "msg-0.json").unlink()
    with pytest.raises(ValueError, match=r"checkpoint\.pt was not made with the config\.json beside it"):
        Experiment.resume(tmp_path)


def test_the_kind_of_study_is_checked(tmp_path, small):
    run(small(epochs=1, seeds=(0,), baseline="none"), tmp_path)
    with pytest.raises(ValueError, match="holds a run: go on with msg train --resume"):
        Experiment.resume(tmp_path, "energy")
    with pytest.raises(FileNotFoundError, match=r"holds no search: it has no config\.json"):
        Experiment.resume(tmp_path / "nowhere", "energy")


def test_a_folder_that_was_moved_away_is_not_begun_anew(tmp_path):
    store = Store(tmp_path / "run")
    with store.locked():
        store.begin(CONFIG)
        (tmp_path / "run").rename(tmp_path / "away")
        for write in (lambda: store.begin(CONFIG), lambda: store.write("history.csv", b"")):
            with pytest.raises(
                OSError, match=r"cannot be written \(No such file .*\): bring its folder back or choose"
            ):
                write()
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    def full(path, *_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(os, "mkdir", full)
    with (
        pytest.raises(OSError, match=r"run.jobs cannot be written \(No space left on device\): make room or choose"),
        Store(tmp_path / "run").locked(),
    ):
        pass


def test_an_error_is_told_though_the_folder_is_read_only_by_then(tmp_path, monkeypatch, store):
    def read_only(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    with pytest.raises(OSError, match=r"history\.csv cannot be written \(Read-only"), store.locked():  # noqa: PT012
        monkeypatch.setattr(os, "unlink", read_only)
        store.write("history.csv", b"")


def test_a_state_that_a_kill_left_beside_its_result_is_forgotten(tmp_path, store):
    store.keep(JOB, Result({"val": 0.5}))
    store.slot(JOB).save({"number": 1})
    Store(tmp_path).begin(CONFIG)
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["msg-0.json"]


def test_what_cannot_be_read_is_not_taken_for_damage(store, tmp_path):
    (tmp_path / "jobs" / "msg-0.checkpoint.pt").mkdir()
    with pytest.raises(ValueError, match="is no plain file"):
        store.slot(JOB).load()


def test_who_has_a_folder_is_named(tmp_path, store, small):
    with store.locked():
        for attempt in (Store(tmp_path).check_unused, lambda: Experiment.resume(tmp_path)):
            with pytest.raises(BlockingIOError, match=f"is in use by process {os.getpid()} on .*: wait until it ends"):
                attempt()
    store.check_unused()


def test_neither_a_killed_process_is_named_nor_who_asks_in_the_way(tmp_path, store):
    (tmp_path / "jobs" / ".owner").write_text("process 1 on another machine")  # killed
    asked = FileLock(tmp_path / "jobs" / ".lock", thread_local=False)
    asked.acquire()
    threading.Timer(0.05, asked.release).start()
    with store.locked():
        assert str(os.getpid()) in (tmp_path / "jobs" / ".owner").read_text()
