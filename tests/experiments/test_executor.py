import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from msg.experiments import Processes, Progress, resume, run


def timeless(value):
    if isinstance(value, dict):
        return {key: timeless(part) for key, part in value.items() if key != "seconds_per_epoch"}
    return value


class Events(Progress):
    def __init__(self):
        self.seen = []

    def started(self, job, model, history):
        self.seen.append((job.name, "started", len(history)))

    def epoch(self, job, row):
        self.seen.append((job.name, "epoch", row.epoch))

    def finished(self, job, record):
        self.seen.append((job.name, "finished", record["best_epoch"]))


def of_jobs(events):
    return {name: [event[1:] for event in events.seen if event[0] == name] for name, *_ in events.seen}


def test_results_and_what_is_told_do_not_depend_on_who_works(tmp_path, small):
    config = small(seeds=(0, 1), dropout=0.3, epochs=5)
    told = Events(), Events()
    serial = run(config, tmp_path / "serial", told[0])
    several = run(config, tmp_path / "several", told[1], Processes(2))
    assert timeless(serial) == timeless(several)
    assert of_jobs(told[0]) == of_jobs(told[1])
    assert len(told[0].seen) == 4 * 7
    kept = [(tmp_path / folder / "config.json").read_bytes() for folder in ("serial", "several")]
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory.\nMore"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_too_little_memory_is_a_memory_error(tmp_path, small, monkeypatch, error):
    def greedy(*arguments):
        raise error

    monkeypatch.setattr("msg.experiments.executor.do", greedy)
    with pytest.raises(MemoryError, match=r"^(CUDA out of memory\.|\[enforce fail\] .*memory)$"):
        run(small(), tmp_path / "o")


def test_what_else_torch_says_stays_what_it_is(tmp_path, small, monkeypatch):
    def wrong(*arguments):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("msg.experiments.executor.do", wrong)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(small(), tmp_path / "o")


@pytest.mark.slow
def test_an_error_is_that_of_the_job_and_ends_all(tmp_path, small):
    with pytest.raises(FloatingPointError, match="loss is"):
        run(small(epochs=50, lr=1e30, neuron="lif"), tmp_path, executor=Processes(2))


@pytest.mark.slow
def test_an_interrupt_ends_all_and_what_is_kept_goes_on(tmp_path, small, interrupt):
    config = small(seeds=(0, 1), dropout=0.3, epochs=6, checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "broken", interrupt(epochs=9), Processes(2))
    whole = run(config, tmp_path / "whole")
    assert timeless(resume(tmp_path / "broken")) == timeless(whole)


def test_no_workers():
    with pytest.raises(ValueError, match="workers must be a whole number of at least 1, not 0"):
        Processes(0)


@pytest.mark.slow  # two programs begin
def test_a_killed_process_is_named(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal\n"
        "from msg.names import JOBS\n"
        "def killed(*_):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "JOBS.remove('fit')\n"
        "JOBS.register('fit', killed)\n"
        "if __name__ == '__main__':\n"
        "    from msg.experiments import Processes, RunConfig, run\n"
        "    run(RunConfig(dataset='karate', seeds=(0,)), 'out', executor=Processes(1))\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "MemoryError: msg-0: its process was killed" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the list of processes")
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    command = [sys.executable, "-m", "msg", "train", "--dataset", "digits", "--workers", "2", "--out", "o"]
    parent = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    try:
        while len(found := _children(parent.pid)) < 2 or not (tmp_path / "o" / "history.csv").exists():
            assert parent.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()
    while any(_alive(pid) for pid in found):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def _alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
