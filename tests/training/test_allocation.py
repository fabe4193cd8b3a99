import ctypes
import platform
import subprocess
import sys

import pytest
import torch

from imbalance_study.training import allocation

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

# Faults of pages while 100 MB are taken, written and freed, again and again.
SCRIPT = """
import contextlib, resource, torch
from imbalance_study.training import allocation

def faults():
    torch.zeros(25_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros(25_000_000).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults())
with allocation.kept(torch.device("cpu")):
    print(faults())
print(faults())
"""


@glibc
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts the faults of Linux")
def test_memory_is_taken_from_the_system_once_and_given_back_afterwards():
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    ).stdout
    before, kept, afterwards = map(int, said.split())
    assert before > 100_000
    assert kept < before / 4  # it may grow more than once
    assert afterwards > 100_000


@glibc
def test_it_is_given_back_after_an_error(monkeypatch):
    called = []
    monkeypatch.setattr(allocation, "give_back", lambda: called.append("give back"))
    with pytest.raises(KeyError), allocation.kept(torch.device("cpu")):
        raise KeyError
    assert called == ["give back"]


def test_devices_with_an_allocator_of_their_own_and_other_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("loaded"))
    allocation._glibc.cache_clear()
    try:
        with allocation.kept(torch.device("cpu")), allocation.kept(torch.device("cuda")):
            pass
    finally:
        allocation._glibc.cache_clear()
