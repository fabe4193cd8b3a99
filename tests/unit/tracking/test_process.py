import os
import subprocess
import sys

import psutil
import pytest

from imbalance_study.tracking import process


def test_this_process_has_not_ended():
    tags = process.tags()
    assert tags[process.PID] == str(os.getpid())
    assert process.has_ended(tags) is False


def test_an_ended_process_is_known_on_its_machine():
    code = "from imbalance_study.tracking import process; print(process.tags())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tags = eval(done.stdout)
    assert process.has_ended(tags) is True


def test_a_process_id_that_another_process_got_does_not_count_as_the_same():
    machine, pid, started = process.tags()[process.PROCESS].split(" ")
    assert process.has_ended({process.PROCESS: f"{machine} {pid} {started}"}) is False
    assert process.has_ended({process.PROCESS: f"{machine} {pid} 12345"}) is True


def test_a_process_of_another_machine_or_without_tags_is_not_known():
    _, pid, started = process.tags()[process.PROCESS].split(" ")
    assert process.has_ended({process.PROCESS: f"another-boot/4 {pid} {started}"}) is None
    assert process.has_ended({process.PROCESS: f"another-boot/4 no-number {started}"}) is None
    assert process.has_ended({}) is None


PARENT = """
import os, subprocess, sys, time
code = (
    "import os, sys, time; from imbalance_study.tracking import process;"
    "process.end_with_parent(int(sys.argv[1])); print(os.getpid(), flush=True); time.sleep(60)"
)
subprocess.Popen([sys.executable, "-c", code, str(os.getpid())])
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_child_ends_with_its_parent_even_if_that_is_killed_with_9():
    words = [sys.executable, "-c", PARENT]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(10)
