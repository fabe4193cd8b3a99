import signal
import subprocess
import sys
import time

import pytest
from mlflow import MlflowClient

from imbalance_study.tracking import orphans, process

SCRIPT = """
import time
from imbalance_study.config.resolve import make
from imbalance_study.tracking.session import session
with session(make(dataset="digits", system_metrics=False, tracking_uri={store!r})):
    print("begun", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def store(own_place, make_store, tmp_path):
    return make_store(tmp_path)


@pytest.mark.slow
def test_a_killed_run_is_found_listed_and_marked_with_the_reason(store):
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(store=store)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "begun\n"
    assert not list(orphans.reap(store))  # it lives
    child.send_signal(signal.SIGKILL)
    child.wait(30)
    client = MlflowClient(store)
    (orphan,) = orphans.reap(store, dry_run=True)
    assert client.get_run(orphan.run_id).info.status == "RUNNING"
    (again,) = orphans.reap(store)
    assert again == orphan
    run = client.get_run(orphan.run_id)
    assert run.info.status == "FAILED"
    assert f"process {child.pid} on" in run.data.tags["mlflow.note.content"]
    assert abs(run.info.end_time / 1000 - time.time()) < 120
    assert not list(orphans.reap(store))


def test_a_process_elsewhere_counts_as_gone_after_its_last_sign_of_life(store):
    client = MlflowClient(store)
    tags = process.tags() | {process.PROCESS: "another-machine 1 2", process.HOST: "far"}
    ids = {}
    for name, ago in (("old", 1000), ("young", 30)):
        beat = {process.HEARTBEAT: f"{time.time() - ago:.0f}"}
        ids[name] = client.create_run("0", tags=tags | beat).info.run_id
    orphaned = list(orphans.reap(store))
    assert [orphan.run_id for orphan in orphaned] == [ids["old"]]
    assert "on far sent its last heartbeat" in orphaned[0].reason
    assert client.get_run(ids["young"]).info.status == "RUNNING"


def test_runs_of_others_are_left_alone(store):
    client = MlflowClient(store)
    run = client.create_run("0", start_time=0)
    assert not list(orphans.reap(store))
    assert client.get_run(run.info.run_id).info.status == "RUNNING"
