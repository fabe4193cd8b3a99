"""System metrics: use of CPU, memory, disk, network and GPU, recorded every few seconds."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from imbalance_study.tracking.journal import Journal

# Seconds between two samples.
INTERVAL = 5.0
_PREFIX = "system/"


class SystemMetrics(threading.Thread):
    """Records the values of MLflow's own monitors while its context is open."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(daemon=True, name="system metrics")
        self._journal = journal
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
            self._journal.metrics({_PREFIX + name: value for name, value in values.items()}, step)
            step += 1


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
