import sys
import types

import pytest

from msg.energy import Nvml, Rapl, measure

RANGE = 999_999


class Machine:
    """A powercap folder whose counters follow a clock: so many watts when idle, so many when it runs."""

    def __init__(self, root, start=0):
        self.now, self.microjoules, self.root = 0.0, start, root
        for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:1", "psys")):
            (root / zone).mkdir(parents=True)
            (root / zone / "name").write_text(name + "\n")
            (root / zone / "max_energy_range_uj").write_text(f"{RANGE}\n")
        self.spend(0.0, 0.0)

    def spend(self, seconds, watts):
        self.now += seconds
        self.microjoules += round(seconds * watts * 1e6)
        for zone in self.root.iterdir():
            (zone / "energy_uj").write_text(f"{self.microjoules % (RANGE + 1)}\n")

    def clock(self):
        return self.now


def test_idle_is_subtracted_and_wrap_arounds_are_undone(tmp_path):
    machine = Machine(tmp_path, start=RANGE - 10)
    (found,) = measure(
        lambda: machine.spend(0.01, 50.0),
        seconds=1.0,
        idle_seconds=0.05,
        meters=[("RAPL", lambda: Rapl(tmp_path))],
        clock=machine.clock,
        sleep=lambda seconds: machine.spend(seconds, 10.0),
    )
    assert found.idle_watts == pytest.approx(10.0)
    assert found.watts == pytest.approx(50.0)
    assert found.joules == pytest.approx(0.01 * 40.0)
    assert found.runs in (100, 101)  # 50 J through a counter of 1 J
    assert found.seconds == pytest.approx(1.0, abs=0.02)
    assert "400 mJ a run above idle" in str(found)


def test_only_packages_are_added(tmp_path):
    machine = Machine(tmp_path)
    meter = Rapl(tmp_path)
    machine.spend(0.1, 3.0)
    assert meter.read() == pytest.approx(0.3)


def test_one_run_at_least(tmp_path):
    machine = Machine(tmp_path)
    (found,) = measure(
        lambda: machine.spend(0.02, 5.0), 1e-3, 1e-3, [("RAPL", lambda: Rapl(tmp_path))], machine.clock,
        lambda seconds: machine.spend(seconds, 1.0),
    )  # fmt: skip
    assert found.runs == 1


def test_machines_without_counters_say_so(tmp_path):
    runs = []
    (found,) = measure(lambda: runs.append(1), meters=[("RAPL", lambda: Rapl(tmp_path))])
    assert found.joules is None
    assert str(found) == f"RAPL: not available (no RAPL package in {tmp_path})"
    assert not runs
    assert found.as_dict()["reason"]


def test_counters_that_may_not_be_read_say_so(tmp_path):
    Machine(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    (found,) = measure(lambda: None, meters=[("RAPL", lambda: Rapl(tmp_path))])
    assert "energy_uj" in found.reason


def test_durations(tmp_path):
    with pytest.raises(ValueError, match="durations must be positive"):
        measure(lambda: None, seconds=0)


def library(energies=None):
    module = types.ModuleType("pynvml")
    module.NVMLError = RuntimeError
    module.nvmlInit = lambda: None
    module.nvmlDeviceGetHandleByIndex = lambda index: index

    def energy(card):
        if energies is None:
            raise RuntimeError("Not Supported")
        return energies.pop(0)

    module.nvmlDeviceGetTotalEnergyConsumption = energy
    return module


def test_nvml(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", library([1000, 2500]))
    meter = Nvml(0)
    assert meter.name == "NVML, card 0"
    assert meter.read() == 2.5
    monkeypatch.setitem(sys.modules, "pynvml", library())
    with pytest.raises(OSError, match="no energy counter here: Not Supported"):
        Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(OSError, match="nvidia-ml-py"):
        Nvml()
