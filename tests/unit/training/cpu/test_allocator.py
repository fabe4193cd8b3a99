import ctypes
import platform
import subprocess
import sys

import pytest
import torch

from imbalance_study.training.cpu import allocator

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

# Faults of pages while blocks are taken, written and freed, again and again; and the resident pages
# when that has ended. Afterwards the blocks are larger: a hole that a small block above it keeps in
# the heap is taken again for one of the same size, whatever glibc is told.
SCRIPT = """
import resource, torch
from pathlib import Path
from imbalance_study.training.cpu import allocator

def faults(times, floats):
    torch.zeros(floats)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.zeros(floats).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

print(faults(20, 25_000_000))
with allocator.kept(torch.device("cpu")):
    print(faults(20, 25_000_000), resident())
print(resident(), faults(5, 100_000_000))
"""


@pytest.mark.slow
@glibc
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts the faults of Linux")
def test_memory_is_taken_from_the_system_once_and_given_back_afterwards():
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    ).stdout
    before, kept, held, left, afterwards = map(int, said.split())
    assert before > 100_000
    assert kept < before / 4  # it may grow more than once
    assert held - left > 20_000  # of the 24,414 pages of a block
    assert afterwards > 100_000


@glibc
def test_it_is_given_back_after_an_error(monkeypatch):
    called = []
    monkeypatch.setattr(allocator, "give_back", lambda: called.append("give back"))
    with pytest.raises(KeyError), allocator.kept(torch.device("cpu")):
        raise KeyError
    assert called == ["give back"]


def test_devices_with_an_allocator_of_their_own_and_other_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("loaded"))
    allocator._glibc.cache_clear()
    try:
        with allocator.kept(torch.device("cpu")), allocator.kept(torch.device("cuda")):
            pass
    finally:
        allocator._glibc.cache_clear()
