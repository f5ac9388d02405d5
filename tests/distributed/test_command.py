"""``torchrun -m msg train --partition``: the same run, on any number of processes; and what happens when one dies."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

# dropout draws other numbers on another number of processes
OPTIONS = ["--epochs", "8", "--seeds", "0", "--checkpoint-every", "2", "--no-baseline", "--dropout", "0"]


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


def torchrun(ranks, *words, cwd):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return subprocess.run(
        [*command, "-m", "msg", "train", *words],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def history(folder):
    """What each epoch measured, without its time."""
    with open(folder / "history.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [[float(row[name]) for name in row if name not in ("model", "seconds")] for row in rows]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(rank, ranks, port, folder, *words):
    """One process of a group without torchrun, which nobody else ends."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return subprocess.Popen(
        [sys.executable, "-m", "msg", "train", "--partition", "range", *words],
        cwd=folder,
        env=environment(**{name: str(value) for name, value in told.items()}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(found, seconds=60):
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


def end(crew):
    for process in crew:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            stream.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    command = [sys.executable, "-m", "msg", "train", *OPTIONS, "--out", "run"]
    subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True)
    return history(folder / "run")


def close(found, expected):
    return len(found) == len(expected) and all(
        row == pytest.approx(other, rel=1e-4, abs=1e-4) for row, other in zip(found, expected)
    )


@pytest.mark.slow
def test_the_same_run_on_two_processes(tmp_path, alone):
    done = torchrun(2, *OPTIONS, "--partition", "metis", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("kept in run") == 1
    assert close(history(tmp_path / "run"), alone)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "lost"),
    [(2, 0), (2, 1), (4, 2)],
)
def test_a_rank_that_dies_is_named(tmp_path, ranks, lost):
    port = free_port()
    words = [*OPTIONS, "--out", "run"]
    words[1] = "100000"  # killed long before
    crew = [start(rank, ranks, port, tmp_path, *words) for rank in range(ranks)]
    try:
        until((tmp_path / "run" / "jobs" / "msg-0.checkpoint.pt").exists)
        crew[lost].kill()
        began = time.monotonic()
        for process in crew[:lost] + crew[lost + 1 :]:
            said = process.communicate(timeout=60)[1]
            assert f"rank {lost} of {ranks} is gone" in said
            assert "Traceback" not in said
            assert process.returncode == 1
        assert time.monotonic() - began < 60
    finally:
        end(crew)


@pytest.mark.slow
def test_torchrun_ends_the_others_and_names_it(tmp_path):
    words = ["--partition", "range", *OPTIONS, "--out", "run"]
    words[3] = "100000"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3", "-m", "msg"]
    process = subprocess.Popen(
        [*command, "train", *words], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    )
    until((tmp_path / "run" / "jobs" / "msg-0.checkpoint.pt").exists)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (second,) = (one for one in children if b"\0RANK=1\0" in b"\0" + Path(f"/proc/{one}/environ").read_bytes())
    os.kill(int(second), signal.SIGKILL)
    said = process.communicate(timeout=60)[1]
    assert process.returncode
    assert "rank      : 1" in said or "rank 1 of 3 is gone" in said


@pytest.mark.slow
def test_a_killed_run_goes_on_with_another_number_of_ranks(tmp_path, alone):
    port = free_port()
    crew = [start(rank, 2, port, tmp_path, *OPTIONS, "--out", "run") for rank in range(2)]
    try:
        until((tmp_path / "run" / "jobs" / "msg-0.checkpoint.pt").exists)
        crew[1].send_signal(signal.SIGKILL)
        crew[0].wait(60)
    finally:
        end(crew)
    assert not (tmp_path / "run" / "results.json").exists()
    done = torchrun(1, "--resume", "run", "--partition", "range", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert close(history(tmp_path / "run"), alone)


@pytest.mark.slow
def test_the_baseline_that_stands_for_the_default_has_none_itself(tmp_path):
    words = ["--model", "cached-gcn", "--epochs", "2", "--seeds", "0"]
    done = torchrun(1, *words, "--partition", "range", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "run" / "jobs").glob("gcn-*"))
