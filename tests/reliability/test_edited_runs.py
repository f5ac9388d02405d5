"""Runs whose configuration, graph, threads or versions changed: refused or told; no old work under new values."""

import collections
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import received
import torch
from received import COMMANDS, command, content, make, one_line, resume

from msg.datasets import load_graph
from msg.experiments.files import read_json, sealed_json

pytestmark = [pytest.mark.reliability, pytest.mark.usefixtures("one_thread")]

EDITS: dict[str, list[Any]] = {
    "lr": [0.02, 0.0100001], "epochs": [3, 5, 400], "weight_decay": [0.1], "patience": [1], "dropout": [0.0, 0.3],
    "gradient": ["bptt", "ottt"], "surrogate": ["triangle"], "split": ["random:20/20/60", "per-class:3"],
    "seeds": [[0], [1, 0], [0, 1, 2], [2, 3]], "manifold": ["E4", "S4", "H5"], "timesteps": [3], "layers": [3],
    "neuron": ["lif"], "threshold": [0.5], "reset": ["zero"], "conv": ["gcn"], "bias": [False], "step_size": [0.2],
    "max_step": [0.5], "features": ["sparse"], "top_features": [5], "sparsity": [0.1], "baseline": ["none", "sgc"],
    "dataset": ["digits", "disease"], "model": ["spiking-gnn", "gcn"], "task": ["link-prediction"],
    "checkpoint_every": [1], "batch_size": [8], "fan_out": ["5,5"],
}  # fmt: skip
CASES = [(kind, "sealed" if sealed else "unsealed") for kind in ("finished run", *COMMANDS) for sealed in (True, False)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("received")
    return {kind: make(kind, parent / kind) for kind in ("finished run", *COMMANDS)}


def edit(folder: Path, change: Any, sealed: bool) -> None:
    """Change ``config.json`` by hand, or as somebody who knows how to seal."""
    path = folder / "config.json"
    new = json.loads(path.read_text())
    seal = new.pop("sha256")
    change(new)
    path.write_bytes(sealed_json(new) if sealed else json.dumps({**new, "sha256": seal}).encode())


def timeless(folder: Path) -> dict[str, Any]:
    """Results without times, and without what they were made with."""
    found = read_json(folder / "results.json")
    del found["versions"]
    for model in (found, found["baseline"]):
        del model["seconds_per_epoch"]
    return found


@pytest.mark.parametrize(("kind", "how"), CASES)
def test_edited_options(folders, tmp_path, kind, how):
    """No option can be given another value: what was trained under the old one would be said to be of the new."""
    found = collections.Counter()
    for name, values in EDITS.items():
        for value in values:
            folder = received.copy(folders[kind], tmp_path / "run")
            if (name, value) == ("baseline", "none") and not kind.endswith("run"):
                continue  # these have none

            def change(new: dict[str, Any], name: str = name, value: Any = value) -> None:
                options = new["options"] if kind.endswith("run") else new["options"]["base"]
                options[name] = value

            edit(folder, change, how == "sealed")
            before = content(folder)
            orders = [lambda: resume(kind, folder)]  # noqa: B023 - called at once
            if kind == "finished run":
                orders += [lambda: command("energy", folder)]  # noqa: B023
            for order in orders:
                done = order()
                refused = one_line(done) and str(folder) in done.stderr and content(folder) == before
                found["refused" if refused else f"{name}={value}: {done}"] += 1
    print(dict(found))
    assert set(found) == {"refused"}, found.most_common(3)


@pytest.mark.parametrize("kind", ["finished run", *COMMANDS])
def test_another_study(folders, tmp_path, kind):
    """The name of the study, the graph's hashes, the number of threads, and keys that are more or less."""
    changes = {"study": "poetry", "content_hash": "0" * 64, "masks_hash": "0" * 64, "threads": 2, "more": 1}
    for name, value in changes.items():
        folder = received.copy(folders[kind], tmp_path / "run")
        edit(folder, lambda new, name=name, value=value: new.update({name: value}), True)
        before = content(folder)
        assert one_line(resume(kind, folder), str(folder)), name
        assert content(folder) == before
    for name in ("study", "content_hash", "masks_hash", "threads"):
        folder = received.copy(folders[kind], tmp_path / "run")
        edit(folder, lambda new, name=name: new.pop(name), True)
        assert one_line(resume(kind, folder), str(folder)), name


def test_a_configuration_alone(folders, tmp_path):
    """A folder in which nothing is done yet claims nothing: it may be edited by whoever can seal, and nobody else."""
    folder = received.copy(folders["run"], tmp_path / "run")
    received.shutil.rmtree(folder / "jobs")
    (folder / "history.csv").unlink()
    edit(folder, lambda new: new["options"].update(epochs=2), False)
    assert one_line(resume("run", folder), "config.json was changed after it was written")
    edit(folder, lambda new: None, True)
    assert resume("run", folder).status == 0
    found = read_json(folder / "results.json")
    assert (found["config"]["epochs"], found["epochs"]) == (2, [2, 2])


def test_other_versions_are_told(folders, tmp_path):
    """They may change results in rounding only; whoever goes on is told which was which."""
    whole = received.copy(folders["run"], tmp_path / "whole")
    assert resume("run", whole).status == 0
    for name in read_json(whole / "config.json")["versions"]:
        folder = received.copy(folders["run"], tmp_path / "run")
        edit(folder, lambda new, name=name: new["versions"].update({name: "0.0.1"}), True)
        done = resume("run", folder)
        assert done.status == 0
        assert f"begun with {name} 0.0.1, going on with" in done.stdout
        assert timeless(folder) == timeless(whole)
        assert read_json(folder / "results.json")["versions"][name].startswith("0.0.1, then ")


@pytest.mark.parametrize("threads", [2, 3])
def test_another_number_of_threads(folders, tmp_path, threads):
    """A run keeps the number that it began with, and gives the process its own back."""
    whole, folder = (received.copy(folders["run"], tmp_path / name) for name in ("whole", "run"))
    assert resume("run", whole).status == 0
    torch.set_num_threads(threads)
    try:
        assert resume("run", folder).status == 0
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(1)
    assert timeless(folder) == timeless(whole)
    assert read_json(folder / "config.json")["threads"] == 1


def save(path: Path, **changes: Any) -> None:
    """A graph of one's own with three masks."""
    data = load_graph("karate", split="random:40/30/30")
    masks = {f"{part}_masks": data[f"{part}_mask"].numpy()[None].copy() for part in ("train", "val", "test")}
    arrays = {
        "node_features": data.x.to_dense().numpy(),
        "node_labels": data.y.numpy(),
        "edges": data.edge_index.numpy().T,
    }
    np.savez(path, **{**arrays, **masks, **changes})


@pytest.mark.parametrize("kind", ["finished run", "run"])
def test_a_changed_graph(tmp_path, kind):
    """One edge, one feature, one label, two masks: each is refused by going on and by counting."""
    path = tmp_path / "own.npz"
    save(path)
    folder = make(kind, tmp_path / "run", dataset=str(path), split="fixed:0")
    with np.load(path) as arrays:
        sound = dict(arrays)
    features, labels = sound["node_features"].copy(), sound["node_labels"].copy()
    features[0, 0] += 1
    labels[0] = (labels[0] + 1) % 4
    train, val = sound["train_masks"].copy(), sound["val_masks"].copy()
    train[0, np.flatnonzero(train[0])[0]] = False
    swapped = {"train_masks": sound["val_masks"], "val_masks": sound["train_masks"]}
    changes: dict[str, dict[str, Any]] = {
        "an edge less": {"edges": sound["edges"][(np.sort(sound["edges"]) != np.sort(sound["edges"][0])).any(1)]},
        "a feature": {"node_features": features},
        "a label": {"node_labels": labels},
        "a mask": {"train_masks": train},
        "masks swapped": swapped,
        "no validation": {"val_masks": np.zeros_like(val)},
    }
    orders = {"resume": lambda: resume(kind, folder)}
    if kind == "finished run":
        orders["energy"] = lambda: command("energy", folder)
    found = collections.Counter()
    for what, change in changes.items():
        save(path, **change)
        before = content(folder)
        for by, order in orders.items():
            done = order()
            # a graph that cannot be split so is refused before it is compared with the one that was
            named = "split 'fixed:0'" if what == "no validation" else str(path)
            refused = one_line(done, named) and content(folder) == before
            found["refused" if refused else f"{what}, {by}: {done}"] += 1
    print(dict(found))
    assert set(found) == {"refused"}, found
    path.unlink()
    for order in orders.values():
        assert one_line(order(), str(path), "no such file")
    save(path)
    for order in orders.values():
        assert order().status == 0


def test_another_process_sees_the_same(folders, tmp_path):
    """What is refused does not depend on what this process has read before."""

    folder = received.copy(folders["run"], tmp_path / "run")
    edit(folder, lambda new: new["options"].update(lr=0.02), True)
    words = [sys.executable, "-m", "msg", "train", "--resume", str(folder)]
    done = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "was not made with the config.json beside it" in done.stderr
