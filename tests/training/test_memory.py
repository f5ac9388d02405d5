import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from msg.training import memory, peak_memory


def allocate(megabytes):
    ballast = torch.ones(20 * 2**20 // 4)  # held before the work begins, so it does not count

    def work():
        return float((torch.ones(megabytes * 2**20 // 4) + ballast[0]).sum())

    return work


def test_peak_in_a_fresh_process():
    peak = peak_memory(allocate, 100, times=2)
    if sys.platform != "linux":
        assert peak is None
    else:
        assert peak is None or 190 < peak < 260  # the ones, and the sum with them


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def left():
    raise SystemExit(3)


def unsendable():
    error = ValueError("the real reason")
    error.held = lambda: 0
    raise error


def broken():
    raise FloatingPointError("the loss is nan")


@pytest.mark.parametrize(
    ("work", "error", "told"),
    [
        pytest.param(killed, MemoryError, "was killed", marks=pytest.mark.slow),
        pytest.param(broken, FloatingPointError, "the loss is nan", marks=pytest.mark.slow),
        pytest.param(left, RuntimeError, "ended with code 3", marks=pytest.mark.slow),
        pytest.param(unsendable, RuntimeError, "the real reason", marks=pytest.mark.slow),
    ],
)
def test_how_a_process_ended_is_reported(work, error, told, monkeypatch):
    monkeypatch.setattr(memory, "_reported", lambda: True)
    with pytest.raises(error, match=told):
        peak_memory(work)


@pytest.mark.parametrize(
    ("work", "kind", "said"),
    [(broken, FloatingPointError, "the loss is nan"), (unsendable, RuntimeError, "the real reason")],
)
def test_an_error_is_sent_to_the_process_that_asked(work, kind, said):
    """What is sent, without the process that sends it."""
    ours, theirs = multiprocessing.Pipe()
    memory._tell(theirs, work, (), 1, "cpu")
    peak, error = ours.recv()
    assert peak is None
    assert type(error) is kind
    assert said in str(error)


def test_what_is_not_reported_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "no" / "clear_refs")
    assert peak_memory(allocate, 1) is None
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "clear_refs")
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t  12 kB\n")
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    assert peak_memory(allocate, 1) is None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the list of processes")
def test_children_end_with_their_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from msg.training import peak_memory\n"
        "def begin(path):\n"
        "    Path(path).write_text(str(os.getpid()))\n"
        "    time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    peak_memory(begin, sys.argv[1])\n"
    )
    told = tmp_path / "child"
    parent = subprocess.Popen([sys.executable, script, told], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (told.exists() and told.read_text()):
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child = Path(f"/proc/{told.read_text()}")
    assert child.exists()
    parent.kill()
    parent.wait()
    while child.exists() and "zombie" not in (child / "status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
