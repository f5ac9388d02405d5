"""Runs that die of SIGKILL, as a user's do."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from msg.cli import main
from msg.experiments import RunConfig, run

OPTIONS = {
    "dataset": "digits", "manifold": "H4", "timesteps": 3, "epochs": 20, "dropout": 0.3, "checkpoint_every": 4,
}  # fmt: skip


def start(*arguments):
    command = [sys.executable, "-m", "msg", "train", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_when(process, ready):
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def rows(folder):
    path = folder / "history.csv"
    if not path.exists():
        return []
    with path.open() as file:
        return [(row["model"], row["seed"], row["epoch"], row["loss"], row["val"]) for row in csv.DictReader(file)]


def timeless(folder):
    results = json.loads((folder / "results.json").read_text())
    del results["sha256"]
    for model in (results, results["baseline"]):
        del model["seconds_per_epoch"]
    return results


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_result_of_an_unbroken_one(tmp_path, capsys):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(RunConfig(**OPTIONS, seeds=(0, 1)), whole)

    flags = [text for name, value in OPTIONS.items() for text in ("--" + name.replace("_", "-"), str(value))]
    kill_when(start(*flags, "--seeds", "0-1", "--out", str(broken)), lambda: len(rows(broken)) >= 10)
    assert not (broken / "results.json").exists()
    reached = len(rows(broken))
    kill_when(start("--resume", str(broken)), lambda: any(row[:2] == ("GCN", "0") for row in rows(broken)))
    assert len(rows(broken)) > reached
    assert not (broken / "results.json").exists()
    main(["train", "--resume", str(broken)])
    output, errors = capsys.readouterr()

    assert not errors
    assert "MSG, seed 0" not in output  # it was over already
    assert "MSG, seed 1" in output
    assert timeless(broken) == timeless(whole)
    assert rows(broken) == rows(whole)
    assert sorted(path.name for path in broken.iterdir()) == sorted(path.name for path in whole.iterdir())
