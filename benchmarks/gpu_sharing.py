"""Several processes on one GPU: side by side under NVIDIA's MPS where it runs, else in turns."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

_CONTROL = "nvidia-cuda-mps-control"
_TRY = "import torch; torch.ones(1, device='cuda').sum().item()"


@contextlib.contextmanager
def mps(*, enabled: bool = True) -> Iterator[bool]:
    """Start the MPS daemon for the processes that begin inside the context, and end it after.

    Without it the processes of a GPU take turns, which is right and slower.

    Yields:
        Whether it runs: there is a daemon, and a process computes under it.
    """
    if not enabled or shutil.which(_CONTROL) is None or "CUDA_MPS_PIPE_DIRECTORY" in os.environ:
        yield False
        return
    with tempfile.TemporaryDirectory(prefix="mps_") as folder:
        names = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
        os.environ.update(dict.fromkeys(names, folder))
        works = _succeeds([_CONTROL, "-d"]) and _succeeds([sys.executable, "-c", _TRY])
        if not works:
            _quit(names)
        print(f"MPS: {'on' if works else 'off'}", flush=True)
        try:
            yield works
        finally:
            _quit(names)


def _succeeds(command: list[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _quit(names: tuple[str, ...]) -> None:
    """End the daemon that was begun here, and let processes compute without it."""
    if names[0] not in os.environ:
        return
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run([_CONTROL], input=b"quit\n", capture_output=True, timeout=30, check=False)
    for name in names:
        os.environ.pop(name, None)
