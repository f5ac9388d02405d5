"""Processes that do not outlive the one that started them."""

import os
import platform
import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import multiprocessing, os, sys, time
from msg.process import start

class Slow:
    # what takes long to open, as work does whose module imports torch
    def __reduce__(self):
        return time.sleep, (SECONDS,)

if __name__ == "__main__":
    child = start(print, Slow(), connection=multiprocessing.Pipe()[1])
    print(child.pid, flush=True)
    INTERRUPT
    time.sleep(0.2)
    os._exit(9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the list of processes")
def test_a_process_ends_with_its_parent_before_its_work_is_opened(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT.replace("SECONDS", "60").replace("INTERRUPT", ""))
    done = subprocess.run([sys.executable, tmp_path / "script.py"], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 9
    deadline = time.monotonic() + 30
    while alive(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs signals that can wait")
def test_an_interrupt_of_all_is_for_the_parent_however_early_it_comes(tmp_path):
    # what was started in the background of a shell ignores interrupts, and so does what it starts
    interrupt = """
    import signal
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        os.killpg(0, 2)
        time.sleep(60)
    except KeyboardInterrupt:
        child.join()
        os._exit(child.exitcode + 8)
"""
    (tmp_path / "script.py").write_text(SCRIPT.replace("SECONDS", "0").replace("INTERRUPT", interrupt))
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=False, start_new_session=True
    )
    assert (done.returncode, done.stderr) == (8, "")


FAULTS = """
import resource, sys
from msg.process import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
bytearray(2**26)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    bytearray(2**26)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how, **environment):
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], stdout=subprocess.PIPE, check=True, env={**os.environ, **environment}
    )
    return int(done.stdout)


GLIBC = [int(part) for part in platform.libc_ver()[1].split(".")] if platform.libc_ver()[0] == "glibc" else [0]


@pytest.mark.skipif(GLIBC < [2, 35], reason="of glibc's malloc, which keeps such blocks since 2.35")
def test_large_blocks_are_kept_for_the_next_ones_unless_the_user_has_decided():
    assert faults("keep") < faults("as it is") / 10
    assert faults("keep", MALLOC_ARENA_MAX="8") > faults("as it is") / 2


WAITING = """
import os, sys, time
from msg.process import wait_asleep

if sys.argv[1] == "asleep":
    wait_asleep()
assert "torch" not in sys.modules
import torch
torch.set_num_threads(2)
ones = torch.ones(2**20)
ones.add_(1)
before = os.times()
for _ in range(100):
    ones.add_(1)
    time.sleep(0.003)
after = os.times()
print(after.user + after.system - before.user - before.system)
"""


def waited(how, **environment):
    """Seconds of a processor."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    command = [sys.executable, "-c", WAITING, how]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True, env={**own, **environment}).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="of the OpenMP that torch has there")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a thread alone does not wait")
def test_threads_sleep_between_operations_unless_the_user_has_decided():
    spinning = waited("as it is")
    assert waited("asleep") < spinning / 2
    assert waited("asleep", OMP_WAIT_POLICY="ACTIVE") > spinning / 2


def alive(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return "zombie" not in file.read()
    except OSError:
        return False
