"""Folders that somebody else made: quick tests of what tests/reliability found, one a defect."""

import os
import zipfile

import pytest
import torch

from msg.cli import main
from msg.experiments import Experiment, Job, Result, RunConfig, Store, load_model, load_trained, run, search
from msg.experiments.files import (
    SEAL,
    digest,
    read_json,
    read_tensors,
    replace_file,
    sealed_json,
    torch_bytes,
)


@pytest.fixture
def begun(tmp_path, small, interrupt):
    """A run with one job done, and a checkpoint of the next."""
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(small(epochs=4, checkpoint_every=2, seeds=(0, 1), baseline="none"), folder, interrupt(epochs=7))
    return folder


@pytest.fixture
def finished(tmp_path, small):
    folder = tmp_path / "run"
    run(small(epochs=2, seeds=(0, 1), baseline="none"), folder)
    return folder


def refused(folder, message):
    with pytest.raises((ValueError, OSError), match=message) as caught:
        Experiment.resume(folder).execute()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["json", "pt"])
def test_a_file_of_another_seed(finished, suffix):
    (finished / f"jobs/msg-1.{suffix}").replace(finished / f"jobs/msg-0.{suffix}")
    refused(finished, rf"msg-0\.{suffix} was not made with the .* beside it|msg-1\.pt")


def test_a_checkpoint_of_another_seed(begun):
    (begun / "jobs/msg-1.checkpoint.pt").rename(begun / "jobs/msg-2.checkpoint.pt")
    refused(begun, r"msg-2\.checkpoint\.pt was not made with the config\.json beside it")


@pytest.mark.parametrize("name", ["config.json", "jobs/msg-0.json", "jobs/msg-0.pt", "jobs/msg-1.checkpoint.pt"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_pipes_and_folders(begun, name, make):
    (begun / name).unlink()
    make(begun / name)
    refused(begun, rf"{name} is (a pipe|no plain file)")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"history": []}, "history"),
        ({"val": "much"}, "val"),
        ({"val": 2.0}, "val"),
        ({"model": "$\\frac$"}, "model"),
        ({"metric": None}, "metric"),
        ({"chart": "cube"}, "picture"),
    ],
)
def test_a_sealed_result_that_is_none(begun, change, fault):
    path = begun / "jobs/msg-0.json"
    kept = read_json(path)
    path.write_bytes(sealed_json({**kept, "record": {**kept["record"], **change}}))
    refused(begun, rf"msg-0\.json is no result of its job \(.*{fault}.*delete it")


@pytest.mark.parametrize("key", ["model", "optimizer", "best_weights", "history", "best_epoch"])
def test_a_sealed_state_that_is_none(begun, key):
    path = begun / "jobs/msg-1.checkpoint.pt"
    state = read_tensors(path)
    for wrong in (None, {}, torch.ones(3)):
        path.write_bytes(torch_bytes({**state, "training": {**state["training"], key: wrong}}))
        refused(begun, r"msg-1\.checkpoint\.pt is no state of its job \(.*delete it")


@pytest.mark.parametrize("change", [torch.Tensor.bool, lambda one: one * torch.nan, lambda one: one[None]])
def test_a_sealed_state_of_other_tensors(begun, change):
    path = begun / "jobs/msg-1.checkpoint.pt"
    for part in ("model", "best_weights"):
        state = read_tensors(path)
        state["training"][part] = {name: change(tensor) for name, tensor in state["training"][part].items()}
        path.write_bytes(torch_bytes(state))
        refused(begun, "is no state of its job")


@pytest.mark.parametrize("wrong", [torch.ones(3), [], {"step": torch.tensor(1.0)}, "nan", "bool"])
def test_sealed_moments_that_are_none(begun, wrong):
    path = begun / "jobs/msg-1.checkpoint.pt"
    state = read_tensors(path)
    moments = state["training"]["optimizer"]["state"]
    if isinstance(wrong, str):
        change = torch.Tensor.bool if wrong == "bool" else lambda one: one * torch.nan
        wrong = {name: change(tensor) for name, tensor in moments[0].items()}
    moments[0] = wrong
    path.write_bytes(torch_bytes(state))
    refused(begun, r"msg-1\.checkpoint\.pt is no state of its job")


def test_the_learning_rate_is_the_configurations(begun):
    path = begun / "jobs/msg-1.checkpoint.pt"
    state = read_tensors(path)
    state["training"]["optimizer"]["param_groups"] = [{"lr": "fast"}]
    path.write_bytes(torch_bytes(state))
    Experiment.resume(begun).execute()


@pytest.mark.parametrize("change", [{"threads": 10**9}, {"threads": "many"}, {"versions": []}, {"more": 1}])
def test_a_sealed_configuration_that_is_none(begun, change):
    before = read_json(begun / "config.json")
    store = Store(begun / "alone")  # without jobs, which would contradict it first
    store.make("jobs")
    store.begin({**before, **change})
    kept = (store.path / "config.json").read_bytes()
    refused(store.path, r"config\.json (cannot be read|is not as this version of msg writes it)")
    assert (store.path / "config.json").read_bytes() == kept


def test_another_runs_model_and_results(finished, tmp_path, small):
    run(small(epochs=2, seeds=(0, 1), baseline="none", lr=0.5), tmp_path / "other")
    for name in ("best.pt", "results.json"):
        sound = (finished / name).read_bytes()
        (finished / name).write_bytes((tmp_path / "other" / name).read_bytes())
        with pytest.raises(ValueError, match=rf"{name} was not made with the config\.json beside it"):
            load_trained(finished)
        (finished / name).write_bytes(sound)


def test_weights_of_another_type(finished):
    best = read_tensors(finished / "best.pt")
    best["state_dict"] = {name: tensor.double() for name, tensor in best["state_dict"].items()}
    (finished / "best.pt").write_bytes(torch_bytes(best))
    with pytest.raises(ValueError, match=r"best\.pt does not fit"):
        load_model(finished / "best.pt")


def test_a_model_too_large_to_build(finished):
    best = read_tensors(finished / "best.pt")
    (finished / "best.pt").write_bytes(torch_bytes({**best, "in_channels": 2**60}))
    with pytest.raises(ValueError, match="cannot be built"):
        load_model(finished / "best.pt")


def test_small_files_that_hold_much(tmp_path):
    nested = ("x", "x")
    for _ in range(60):
        nested = (nested, nested)
    for value in (nested, torch.zeros(1).expand(10**12)):
        torch.save({"a": value, SEAL: ""}, tmp_path / "a.pt")
        with pytest.raises(ValueError, match="damaged"):
            read_tensors(tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    with pytest.raises(ValueError, match="damaged"):
        read_tensors(tmp_path / "a.pt")


def test_a_seal_covers_all_that_is_read(tmp_path):
    """Attributes of mappings and whether a gradient is needed are in no seal, so neither is read."""
    state = torch.nn.Linear(2, 2).state_dict(keep_vars=True)
    torch.save({"a": state, SEAL: digest({"a": state})}, tmp_path / "a.pt")
    found = read_tensors(tmp_path / "a.pt")["a"]
    assert type(found) is dict
    assert not any(tensor.requires_grad for tensor in found.values())


def test_a_lock_with_two_names(tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    store = Store(tmp_path / "run")
    replace_file(precious, b"precious")
    (store.path / "jobs").mkdir(parents=True)
    (store.path / "jobs/.lock").hardlink_to(precious)
    with pytest.raises(ValueError, match=r"\.lock is a second name of another file"), store.locked():
        pass
    assert precious.read_bytes() == b"precious"


def test_a_search_that_has_diverged_says_so_when_it_goes_on(tmp_path, small):
    search(["gcn"], small(epochs=1), {"lr": [0.1]}, out=tmp_path)
    path = tmp_path / "jobs/gcn-0-0.json"
    path.write_bytes(sealed_json({**read_json(path), "record": {"diverged": "lost", "line": "lost"}}))
    ready = Experiment.resume(tmp_path)
    with pytest.raises(FloatingPointError, match="the loss of gcn diverged in every setting"):
        ready.execute()


def test_a_result_without_tensors(tmp_path):
    store = Store(tmp_path)
    store.make("jobs")
    store.begin({"study": "train", "content_hash": "", "options": {}})
    store.keep(Job("memory", "a", RunConfig(), 0), Result({"memory_mb": None}))
    assert store.results()["a"].tensors is None


def test_line_breaks_and_escapes_in_names_stay_on_one_line(tmp_path, capsys):
    for words in (["train", "--resume", f"{tmp_path}/\x1b[2J\nerror: well"], ["train", "--\x1b[2J\nwell"]):
        with pytest.raises(SystemExit):
            main(words)
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert "\\x1b[2J" in said
        assert said.rstrip("\n").isprintable()
