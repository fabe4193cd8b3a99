"""Energy and memory that a training takes, from the counters of the machine.

They count what processors (RAPL, package domains) and a GPU (NVML) take, whoever uses them: beside
other work the energy of a training is too high, and memory, disks and the power supply's losses are
not in it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import torch

from imbalance_study.models import profiling

POWERCAP = Path("/sys/class/powercap")
INTERVAL = 60.0  # seconds between two looks: a counter of RAPL starts anew after some minutes
_JOULES_OF_KWH = 3.6e6


class Counter(NamedTuple):
    """A counter of energy that only grows, until it starts anew at 0."""

    read: Callable[[], float]  # joules
    limit: float  # joules at which it starts anew; 0: never


def rapl(folder: Path = POWERCAP) -> list[Counter]:
    """List the counters of this machine's processors; none where they cannot be read.

    Since 2020 Linux lets only root read them, as they can leak what a processor computes.

    Args:
        folder: The folder of the system's power capping, with ``intel-rapl:N`` of each package.
    """
    counters = []
    for domain in sorted(folder.glob("intel-rapl:*")):
        if domain.name.count(":") > 1:
            continue  # a part of a package, which its counter has
        with contextlib.suppress(OSError, ValueError):
            counter = Counter(
                lambda file=domain / "energy_uj": int(file.read_text()) / 1e6,  # type: ignore[misc]
                int((domain / "max_energy_range_uj").read_text()) / 1e6,
            )
            counter.read()
            counters.append(counter)
    return counters


def nvml(device: torch.device) -> list[Counter]:
    """Return the counter of a GPU; none for other devices, and where the driver has none."""
    if device.type != "cuda":
        return []
    with contextlib.suppress(Exception):  # no driver, an old one, or a GPU without a counter
        import pynvml

        pynvml.nvmlInit()
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode())
        counter = Counter(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000, 0.0)
        counter.read()
        return [counter]
    return []


class Meter(threading.Thread):
    """Adds up what counters count while its context is open.

    Args:
        counters: From `rapl` and `nvml`.
        interval: Seconds between two looks.
    """

    def __init__(self, counters: Sequence[Counter], interval: float = INTERVAL) -> None:
        super().__init__(daemon=True, name="energy")
        self._counters, self._interval = list(counters), interval
        self._last: list[float] = []
        self._joules = 0.0
        self._stopped = threading.Event()
        self._failed = not counters

    def __enter__(self) -> Self:
        self._look()
        if not self._failed:
            self.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._stopped.set()
        if self.is_alive():
            self.join()
        self._look()

    def run(self) -> None:
        """Look at the counters until the context is left."""
        while not self._stopped.wait(self._interval):
            self._look()

    def _look(self) -> None:
        if self._failed:
            return
        try:
            values = [counter.read() for counter in self._counters]
        except Exception:  # a counter that goes away leaves the energy unknown
            self._failed = True
            return
        for before, value, counter in zip(self._last, values, self._counters, strict=False):
            anew = counter.limit if value < before else 0.0
            self._joules += value - before + anew
        self._last = values

    @property
    def kwh(self) -> float | None:
        """Kilowatt-hours so far; None where the machine does not tell."""
        return None if self._failed else self._joules / _JOULES_OF_KWH


def reset_memory(device: torch.device) -> None:
    """Let the peak of a GPU's memory be that of the run that begins."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def spent(meter: Meter, device: torch.device) -> dict[str, float]:
    """Make the metrics of a finished training: its energy, and on a GPU its peak of memory."""
    found = {}
    if meter.kwh is not None:
        found["cost/train_kwh"] = meter.kwh
    if device.type == "cuda":
        found["cost/peak_memory_mb"] = profiling.peak_memory_bytes(device) / 1e6
    return found
