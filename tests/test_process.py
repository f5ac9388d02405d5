"""Processes that do not outlive the one that started them."""

import subprocess
import sys
import time

import pytest

SCRIPT = """
import multiprocessing, os, sys, time
from msg.process import begin, packed

class Slow:
    # what takes long to open, as work does whose module imports torch
    def __reduce__(self):
        return time.sleep, (60,)

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=begin, args=(packed(print, Slow()),))
    child.start()
    print(child.pid, flush=True)
    time.sleep(0.2)
    os._exit(9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the list of processes")
def test_a_process_ends_with_its_parent_before_its_work_is_opened(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 9
    deadline = time.monotonic() + 30
    while alive(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return "zombie" not in file.read()
    except OSError:
        return False
