import subprocess
import sys
import time

import psutil

from imbalance_study.studies.search import processes


def test_this_process_lives_and_is_this_one():
    me = processes.me()
    assert processes.is_me(me)
    assert processes.lives_here(me)
    assert not processes.is_me(me | {"pid": me["pid"] + 1})


def test_a_number_that_was_given_again_is_not_the_same_process():
    assert processes.lives_here(processes.me() | {"born": 1.0}) is False


def test_a_killed_process_that_nobody_waited_for_is_dead():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    found = processes.me() | {"pid": child.pid, "born": psutil.Process(child.pid).create_time()}
    assert processes.lives_here(found)
    child.kill()
    _wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert processes.lives_here(found) is False
    child.wait()
    assert processes.lives_here(found) is False


def test_elsewhere_only_signs_of_life_tell():
    there = processes.me() | {"host": "elsewhere"}
    assert processes.lives_here(there) is None
    assert processes.lives(there, time.time() - 1, 5)
    assert not processes.lives(there, time.time() - 6, 5)


def test_a_beat_that_fails_does_not_end_the_heart():
    count = []

    def beat():
        count.append(1)
        if len(count) == 2:
            raise OSError

    with processes.Heartbeat(beat, 0.02):
        _wait_until(lambda: len(count) > 3)


def test_processes_that_are_told_to_stop_are_gone():
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    wait = "import time; print('ready', flush=True); time.sleep(60)"
    children = [
        subprocess.Popen([sys.executable, "-c", code + wait], stdout=subprocess.PIPE)
        for code in ("", stubborn)
    ]
    for child in children:
        assert child.stdout.readline() == b"ready\n"
        child.stdout.close()
    processes.stop(children, seconds=0.5)
    assert all(child.poll() is not None for child in children)


def _wait_until(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)
