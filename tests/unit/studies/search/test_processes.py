import ast
import subprocess
import sys
import time

from imbalance_study.studies.search import processes
from imbalance_study.tracking import process

SAY_WHO = "from imbalance_study.studies.search.processes import process_identity as i; print(i())"


def elsewhere():
    """The identity of a process on another machine."""
    return processes.process_identity() | {process.PROCESS: "another-machine 1 2"}


def test_this_process_lives_and_is_this_one():
    identity = processes.process_identity()
    assert processes.is_this_process(identity)
    assert processes.is_alive_here(identity)
    assert not processes.is_this_process(identity | {process.PID: "1"})


def test_a_reused_number_is_not_the_same_process():
    identity = processes.process_identity()
    machine, number, _ = identity[process.PROCESS].split()
    reused = identity | {process.PROCESS: f"{machine} {number} 1"}
    assert processes.is_alive_here(reused) is False


def test_a_killed_process_is_dead_even_before_its_parent_has_waited_for_it():
    child = subprocess.Popen(
        [sys.executable, "-c", f"{SAY_WHO}; import time; time.sleep(60)"],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONUNBUFFERED": "1"},
    )
    identity = ast.literal_eval(child.stdout.readline())
    assert processes.is_alive_here(identity)
    child.kill()
    until = time.monotonic() + 10
    while processes.is_alive_here(identity) and time.monotonic() < until:
        time.sleep(0.01)
    assert processes.is_alive_here(identity) is False
    child.wait()
    child.stdout.close()
    assert processes.is_alive_here(identity) is False


def test_a_process_on_another_machine_is_judged_by_its_heartbeat():
    assert processes.is_alive_here(elsewhere()) is None
    assert processes.is_alive(elsewhere(), time.time() - 1, 5)
    assert not processes.is_alive(elsewhere(), time.time() - 6, 5)


def test_an_identity_of_an_older_version_is_judged_by_the_heartbeat():
    old = {"host": "here", "pid": 1, "born": 0.0}
    assert processes.is_alive(old, time.time(), 5)
    assert not processes.is_alive(old, time.time() - 6, 5)


def test_a_heartbeat_continues_after_a_failure():
    count = []

    def beat():
        count.append(1)
        if len(count) == 2:
            raise OSError

    with processes.Heartbeat(beat, 0.02):
        time.sleep(0.3)
    assert len(count) > 3


def test_stopped_processes_are_gone_even_if_they_ignore_the_signal():
    stubborn = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    children = [
        subprocess.Popen([sys.executable, "-c", code])
        for code in ("import time; time.sleep(60)", stubborn)
    ]
    time.sleep(0.3)
    processes.stop_workers(children, seconds=0.5)
    assert all(child.poll() is not None for child in children)
