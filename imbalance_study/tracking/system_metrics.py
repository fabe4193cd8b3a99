"""System metrics: use of CPU, memory, disk, network and GPU, recorded every few seconds."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from imbalance_study.tracking import journal as journals
from imbalance_study.tracking.journal import Journal

# Seconds between two samples.
INTERVAL = 5.0
_PREFIX = "system/"
# Seconds that a run lasts before its samples are recorded: those of a shorter one say little.
SHORT = 600.0


class SystemMetrics(threading.Thread):
    """Records the values of MLflow's own monitors while its context is open.

    Args:
        journal: Of the run.
        after: Seconds after which samples are recorded, the earlier ones too.
    """

    def __init__(self, journal: Journal, after: float = 0.0) -> None:
        super().__init__(daemon=True, name="system metrics")
        self._journal = journal
        self._after = after
        self._kept: list[dict[str, Any]] = []  # contents of entries that are not recorded yet
        self._stopped = threading.Event()

    def __enter__(self) -> SystemMetrics:
        self.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._stopped.set()
        self.join(1)

    def run(self) -> None:
        """Sample until the context is left; the first sample comes after one interval."""
        monitors = _monitors()
        step = self._journal.last_step(_PREFIX) + 1
        began = time.monotonic() - (self._after if step else 0.0)  # a resumed run goes on
        while not self._stopped.is_set():
            values: dict[str, float] = {}
            for monitor in monitors:
                with contextlib.suppress(Exception):  # a device may vanish
                    monitor.collect_metrics()
            if self._stopped.wait(INTERVAL):
                return
            for monitor in monitors:
                with contextlib.suppress(Exception):
                    values |= monitor.aggregate_metrics()
                monitor.clear_metrics()
            named = {_PREFIX + name: float(value) for name, value in values.items()}
            if named:
                self._kept.append({"step": step, "time": journals.now(), "values": named})
            step += 1
            if time.monotonic() - began >= self._after:
                for content in self._kept:
                    self._journal.append("metrics", content)
                self._kept.clear()


def _monitors() -> list[Any]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

    monitors: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    for kind in (GPUMonitor, ROCMMonitor):
        with contextlib.suppress(Exception):  # there is no such device
            monitors.append(kind())
            break
    return monitors
