"""Processes whose parent is killed with no chance to say goodbye: they end too, whatever they are doing."""

import collections
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from folders import GRAPH

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.skipif(sys.platform != "linux", reason="reads the list of processes"),
]

SECONDS, TRIES = 10, 4
MEASURED = ("compare", *GRAPH, "--timesteps", "3000", "--rules", "bptt", "--epochs", "1", "--seeds", "0")
LONG = (*GRAPH, "--timesteps", "200", "--epochs", "2000", "--seeds", "0-1", "--workers", "2")
COMMANDS = {
    "compare": MEASURED,
    "compare with workers": (*MEASURED, "--workers", "2"),
    "train with workers": ("train", *LONG),
    "energy with workers": ("energy", *LONG, "--models", "msg,gcn"),
}


def descendants(pid):
    """Processes that a process started, and those that they did."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def alive(pid):
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def busy(pid):
    """Whether a process has used the processor for longer than it takes to begin."""
    try:
        used = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    except OSError:
        return False
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK") > 0.5


@pytest.mark.parametrize("which", list(COMMANDS))
def test_nothing_outlives_a_killed_command(tmp_path, which):
    found, slowest = collections.Counter(alive=0), 0.0
    for number in range(TRIES):
        out = tmp_path / str(number)
        command = [sys.executable, "-m", "msg", *COMMANDS[which], "--out", str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        log = (tmp_path / f"{number}.log").open("w")
        parent = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        deadline, started = time.monotonic() + 120, []
        # in the first tries the others have just been started, in the last ones they work
        while not started or (number >= TRIES // 2 and not any(busy(pid) and far(pid, out, which) for pid in started)):
            assert parent.poll() is None, (tmp_path / f"{number}.log").read_text()
            assert time.monotonic() < deadline, descendants(parent.pid)
            time.sleep(0.02)
            started = descendants(parent.pid)
        started = descendants(parent.pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        log.close()
        began = time.monotonic()
        while any(alive(pid) for pid in started) and time.monotonic() - began < SECONDS:
            time.sleep(0.02)
        slowest = max(slowest, time.monotonic() - began)
        left = [pid for pid in started if alive(pid)]
        found["alive"] += len(left)
        found["ended"] += len(started) - len(left)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    print(which, dict(found), f"{slowest:.1f} s")
    assert found["alive"] == 0, found
    assert found["ended"] >= TRIES


def far(pid, out, which):
    """Whether a process is past its imports: what it works on is measured, or has been told of."""
    if "compare" in which:
        return (out / "jobs" / "bptt-3000-0.json").exists()
    return any(out.glob("jobs/*.checkpoint.pt"))
