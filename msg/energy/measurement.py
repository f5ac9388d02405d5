"""Measured energy, where the machine has counters: RAPL for processors, NVML for graphics cards."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

POWERCAP = Path("/sys/class/powercap")


class Meter(Protocol):
    """A counter of consumed energy.

    Attributes:
        name: shown.
    """

    name: str

    def read(self) -> float:
        """Energy consumed since some moment, in joules; it never decreases.

        Raises:
            OSError: if the counter cannot be read.
        """
        ...


class Rapl:
    """All processor packages, by the kernel's powercap files (Intel and AMD); wrap-arounds are undone.

    Reading it at least once in each wrap-around (minutes at full power) is the caller's duty.

    Args:
        root: folder of the powercap files.

    Raises:
        OSError: if there is no counter, or no permission to read it.
    """

    name = "RAPL, processor packages"

    def __init__(self, root: str | Path = POWERCAP):
        found = [zone for zone in Path(root).glob("intel-rapl:*") if re.fullmatch(r"intel-rapl:\d+", zone.name)]
        # psys would count the packages again
        self._zones = sorted(zone for zone in found if (zone / "name").read_text().startswith("package"))
        if not self._zones:
            raise OSError(f"no RAPL package in {root}")
        self._ranges = [int((zone / "max_energy_range_uj").read_text()) for zone in self._zones]
        self._last = self._raw()
        self._total = 0

    def _raw(self) -> list[int]:
        return [int((zone / "energy_uj").read_text()) for zone in self._zones]

    def read(self) -> float:
        """See :meth:`Meter.read`."""
        now = self._raw()
        for before, after, size in zip(self._last, now, self._ranges):
            # a counter counts up to its range, both ends included
            self._total += after - before if after >= before else after - before + size + 1
        self._last = now
        return self._total * 1e-6


class Nvml:
    """One graphics card, by NVIDIA's management library (the package ``nvidia-ml-py``).

    Args:
        index: of the card.

    Raises:
        OSError: if there is no library, no card, or no counter in it.
    """

    def __init__(self, index: int = 0):
        try:
            import pynvml  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise OSError("NVML needs the package nvidia-ml-py") from error
        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            self._card = pynvml.nvmlDeviceGetHandleByIndex(index)
            pynvml.nvmlDeviceGetTotalEnergyConsumption(self._card)
        except pynvml.NVMLError as error:
            raise OSError(f"NVML has no energy counter here: {error}") from error
        self.name = f"NVML, card {index}"

    def read(self) -> float:
        """See :meth:`Meter.read`."""
        return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._card) * 1e-3


@dataclass(frozen=True)
class Measurement:
    """Energy of one run of a function, by one meter.

    Attributes:
        meter: its name.
        joules: of one run above idle; ``None`` where the machine has no such counter.
        idle_watts: power before, with nothing running.
        watts: power while running.
        runs: how many were averaged.
        seconds: how long they took.
        reason: why there is no figure, or empty.
    """

    meter: str
    joules: float | None = None
    idle_watts: float | None = None
    watts: float | None = None
    runs: int = 0
    seconds: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        if self.joules is None:
            return f"{self.meter}: not available ({self.reason})"
        return (
            f"{self.meter}: {1e3 * self.joules:.4g} mJ a run above idle, {self.watts:.3g} W against "
            f"{self.idle_watts:.3g} W idle, mean of {self.runs} runs in {self.seconds:.1f} s"
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields, as JSON would have them."""
        return asdict(self)


METERS: tuple[tuple[str, Callable[[], Meter]], ...] = (("RAPL", Rapl), ("NVML", Nvml))
"""Name and maker of every meter that is tried."""


def measure(
    run: Callable[[], object],
    seconds: float = 5.0,
    idle_seconds: float = 2.0,
    meters: Sequence[tuple[str, Callable[[], Meter]]] = METERS,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], object] = time.sleep,
) -> list[Measurement]:
    """Measure the energy of a function, the idle power subtracted; whatever else the machine does is measured too.

    Args:
        run: what to measure; it must wait for the device it uses.
        seconds: repeat it for so long. Counters are updated every millisecond (RAPL) to tenths of a second (NVML).
        idle_seconds: first do nothing for so long.
        meters: names and makers of the meters.
        clock: of the elapsed time, in seconds.
        sleep: does nothing for a number of seconds.

    Returns:
        One for each meter; those that are not available say why.

    Raises:
        ValueError: for durations that are not positive.
    """
    if not (seconds > 0 and idle_seconds > 0):
        raise ValueError(f"durations must be positive, not {seconds} and {idle_seconds} seconds")
    ready, absent = [], []
    for name, make in meters:
        try:
            ready.append(make())
        except OSError as error:
            absent.append(Measurement(name, reason=str(error)))
    if not ready:
        return absent
    run()  # what is made once is not measured
    start, before = clock(), [meter.read() for meter in ready]
    sleep(idle_seconds)
    idle_time, idle = clock() - start, [meter.read() for meter in ready]
    start, runs, now = clock(), 0, idle
    while runs == 0 or clock() - start < seconds:
        run()
        runs += 1
        now = [meter.read() for meter in ready]
    spent = clock() - start
    found = []
    for meter, first, rest, last in zip(ready, before, idle, now):
        idle_watts, joules = (rest - first) / idle_time, last - rest
        above = (joules - idle_watts * spent) / runs
        found.append(Measurement(meter.name, above, idle_watts, joules / spent, runs, spent))
    return [*found, *absent]
