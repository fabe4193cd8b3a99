"""Identity of the process that records a run, and whether it still exists."""

from __future__ import annotations

import os
import platform
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

HOST, PID = "imbalance_study.host", "imbalance_study.pid"
_FORMER = {HOST: "host", PID: "pid"}  # of earlier versions
PROCESS = "imbalance_study.process"
HEARTBEAT = "imbalance_study.heartbeat"  # seconds since 1970


def tags() -> dict[str, str]:
    """Return tags that identify this process among all, on this machine and others."""
    own = os.getpid()
    return {HOST: platform.node(), PID: str(own), PROCESS: f"{_machine()} {own} {_started(own)}"}


def has_ended(run_tags: Mapping[str, str]) -> bool | None:
    """Return whether the process of a run has ended; None if this process cannot know.

    It can know on the same machine, since the same boot, within the same container.
    """
    machine, _, process = run_tags.get(PROCESS, "").partition(" ")
    pid, _, started = process.partition(" ")
    if machine != _machine() or not pid.isdigit():
        return None
    return _started(int(pid)) != started


def recorded(run_tags: Mapping[str, str], name: str) -> str:
    """Return the host or the process id that a run recorded, under the tags of any version."""
    return run_tags.get(name, run_tags.get(_FORMER[name], "?"))


def end_with_parent(parent: int) -> None:
    """Let the system terminate this process when its parent ends, however that ends (Linux).

    Call it in the main thread of a child that the main thread of its parent has started.

    Args:
        parent: Id of the parent, which may have ended already.
    """
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(128 + signal.SIGTERM)


def _machine() -> str:
    """Return the boot of this machine, and the namespace of its process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"
    except OSError:
        import psutil

        return f"{platform.node()}/{psutil.boot_time():.0f}"


def _started(pid: int) -> str:
    """Return the start of a process, in the system's own unit; empty if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
    except OSError:
        return ""
    import psutil

    try:
        return f"{psutil.Process(pid).create_time():.0f}"
    except psutil.Error:
        return ""
