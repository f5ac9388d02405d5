import sys
from concurrent.futures.process import BrokenProcessPool

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


def test_a_killed_process_is_reported(monkeypatch):
    class Killed:
        def __init__(self, *_):
            raise BrokenProcessPool

    monkeypatch.setattr(memory, "_reported", lambda: True)
    monkeypatch.setattr(memory, "ProcessPoolExecutor", Killed)
    with pytest.raises(MemoryError, match="was killed"):
        peak_memory(allocate, 1)


def test_what_is_not_reported_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "no" / "clear_refs")
    assert peak_memory(allocate, 1) is None
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "clear_refs")
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t  12 kB\n")
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    assert peak_memory(allocate, 1) is None
