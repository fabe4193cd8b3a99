import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import mlflow
import pytest
from mlflow import MlflowClient

from imbalance_study.config.resolve import make
from imbalance_study.tracking import journal, outage, run_folder, sync
from imbalance_study.tracking.session import INCOMPLETE, exit_status, finish_uploads, session

GONE = "http://127.0.0.1:9"
CHILD = (
    *(sys.executable, "-m", "imbalance_study", "train", "--dataset=digits", "--model=resnet20"),
    *("--analyses=none", "--system_metrics=false", "--image_size=16"),
)

# Eight processes, which share their imports.
EIGHT_RUNS = """
import os, sys, time
import mlflow
from imbalance_study.config.resolve import make
from imbalance_study.tracking import journal
from imbalance_study.tracking.session import session

def record(address, seed):
    with session(make(system_metrics=False, tracking_uri=address, run_name=f"run {seed}")):
        book = journal.current()
        book.params({"seed": seed})
        for step in range(30):
            book.metrics({"a": float(step), "b": 1.0}, step)
            if step % 3 == 0:
                book.files({f"figures/{step}.png": b"x" * 1000})
            time.sleep(0.1)

processes = []
for seed in range(8):
    process = os.fork()
    if not process:
        status = 1
        try:
            record(sys.argv[1], str(seed))
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    processes.append(process)
sys.exit(any([os.waitpid(process, 0)[1] for process in processes]))
"""


@pytest.fixture(autouse=True)
def _own_place(own_place):
    pass


@pytest.fixture
def config(tmp_path, make_store):
    def settings(**given):
        given = {"tracking_uri": make_store(tmp_path)} | given
        return make(dataset="digits", system_metrics=False, **given)

    return settings


def runs(address):
    client = MlflowClient(address)
    experiments = [one.experiment_id for one in client.search_experiments()]
    return {run.info.run_name: run for run in client.search_runs(experiments)}


def test_an_unreachable_store_at_the_start_names_offline_and_leaves_nothing(config, tmp_path):
    for address in (GONE, "postgresql://a:b@127.0.0.1:9/x", f"sqlite:///{tmp_path}/no/mlflow.db"):
        with (
            pytest.raises(ValueError, match="tracking=offline"),
            session(config(tracking_uri=address)),
        ):
            pytest.fail("it began")
    assert not list(run_folder.runs_folder().glob("*"))


@pytest.mark.slow
def test_a_child_is_recorded_though_the_store_went_away(config, monkeypatch):
    monkeypatch.setattr("imbalance_study.tracking.session.PATIENCE", 1.0)
    with session(config(run_name="parent")) as parent:
        mlflow.set_tracking_uri(GONE)
        with session(config(run_name="child", tracking_uri=GONE)) as child:
            journal.current().metrics({"a": 1.0}, 1)
        assert child.info.run_id.startswith("offline-")
        assert journal.current() is parent.journal
        started = time.monotonic()
        with session(config(run_name="second", tracking_uri=GONE)):
            pass
        assert time.monotonic() - started < 5  # the store is known not to answer
    for thread in threading.enumerate():
        if thread.name.startswith("upload "):
            thread.join(20)
    address = config().tracking_uri
    outcomes = list(sync.sync(tracking_uri=address))
    assert all(outcome.uploaded for outcome in outcomes), outcomes
    found = runs(address)
    assert {name: run.info.status for name, run in found.items()} == dict.fromkeys(
        ("parent", "child", "second"), "FINISHED"
    )
    assert found["child"].data.tags["mlflow.parentRunId"] == found["parent"].info.run_id


@pytest.mark.slow
def test_children_of_a_server_that_comes_back_are_there_once_caught_up(
    config, mlflow_server, capsys, monkeypatch
):
    monkeypatch.setattr("imbalance_study.tracking.session.PATIENCE", 1.0)
    address = mlflow_server.address
    with session(config(run_name="parent", tracking_uri=address, experiment="a")) as parent:
        client = outage.PatientClient()
        mlflow_server.kill()
        for name in ("first", "second"):
            with session(config(run_name=name, tracking_uri=address)):
                journal.current().metrics({"a": 1.0}, 1)
        back = threading.Timer(2, mlflow_server.start)
        back.start()
        assert finish_uploads()
        found = client.search_runs([parent.info.experiment_id], "metrics.a = 1")
        back.join()
    assert {run.info.run_name: run.info.status for run in found} == {
        "first": "FINISHED",
        "second": "FINISHED",
    }
    assert {run.data.tags["mlflow.parentRunId"] for run in found} == {parent.info.run_id}
    said = capsys.readouterr().err
    assert said.count("until MLflow has 2 runs") == 1
    assert "sync" not in said


def test_mlflow_knows_the_run_as_the_active_one_until_its_end(config):
    with session(config(run_name="parent")) as parent:
        assert mlflow.active_run().info.run_id == parent.info.run_id
        mlflow.log_metric("from_outside", 1.0)
        with session(config(run_name="child")) as child:
            assert mlflow.active_run().info.run_id == child.info.run_id
        assert mlflow.active_run().info.run_id == parent.info.run_id
    assert mlflow.active_run() is None
    found = runs(config().tracking_uri)
    assert found["parent"].data.metrics == {"from_outside": 1.0}
    assert found["child"].data.tags["mlflow.parentRunId"] == parent.info.run_id


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError("x"), "FAILED"),
        (OSError(28, "No space left"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(143), "KILLED"),
    ],
)
def test_the_status_is_true_after_every_end(config, error, status):
    with pytest.raises(type(error)), session(config(run_name="run")):
        raise error
    assert runs(config().tracking_uri)["run"].info.status == status


class _Signalling:
    """A tag whose text is asked for while a run is being begun."""

    def __init__(self, number):
        self.number = number

    def __str__(self):
        os.kill(os.getpid(), self.number)
        return "text"


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_while_a_run_begins_leaves_it_killed(config, number, kind):
    before = signal.getsignal(number)
    if number == signal.SIGINT:  # a shell's background ignores it
        signal.signal(number, signal.default_int_handler)
    with pytest.raises(kind), session(config(run_name="run"), {"tag": _Signalling(number)}):
        pytest.fail("it went on")
    signal.signal(number, before)
    assert runs(config().tracking_uri)["run"].info.status == "KILLED"


def test_a_signal_while_a_finished_run_is_uploaded_waits_for_that(config):
    def stop(book):
        while not book.status:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    with contextlib.ExitStack() as stack:
        stopped = stack.enter_context(pytest.raises(SystemExit))
        run = stack.enter_context(session(config(run_name="run")))
        threading.Thread(target=stop, args=(run.journal,), daemon=True).start()
        for step in range(50):
            run.journal.files({f"figures/{step}.png": b"x"})
    assert stopped.value.code == 128 + signal.SIGTERM
    assert runs(config().tracking_uri)["run"].info.status == "FINISHED"
    client = MlflowClient(config().tracking_uri)
    assert len(client.list_artifacts(run.info.run_id, "figures")) == 50


def test_a_second_signal_does_not_wait(config):
    with (
        pytest.raises(KeyboardInterrupt),
        session(
            config(run_name="run"),
            {"one": _Signalling(signal.SIGTERM), "two": _Signalling(signal.SIGINT)},
        ),
    ):
        pytest.fail("it went on")
    assert not runs(config().tracking_uri)


def test_a_run_goes_on_where_it_was(config):
    with contextlib.suppress(KeyboardInterrupt), session(config(run_name="run")) as first:
        journal.current().metrics({"a": 1.0}, 1)
        raise KeyboardInterrupt
    with session(config(run_name="run"), run_id=first.info.run_id) as second:
        journal.current().metrics({"a": 0.5}, 2)
    assert second.info.run_id == first.info.run_id
    found = runs(config().tracking_uri)
    assert found["run"].info.status == "FINISHED"
    client = MlflowClient(config().tracking_uri)
    history = client.get_metric_history(first.info.run_id, "a")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1.0), (2, 0.5)]


def test_html_in_an_error_is_shown_as_text(config):
    with pytest.raises(ValueError, match="script"), session(config(run_name="run")):
        raise ValueError("class '<script>alert(1)</script>' [x](javascript:y)")
    note = runs(config().tracking_uri)["run"].data.tags["mlflow.note.content"]
    assert "<" not in note
    assert "\\](javascript" in note


@pytest.mark.slow
def test_metrics_are_in_the_store_within_seconds(config):
    with session(config(run_name="run")) as run:
        client = MlflowClient(config().tracking_uri)
        for step in (1, 2):
            journal.current().metrics({"a": float(step)}, step)
            until = time.monotonic() + 5
            while client.get_run(run.info.run_id).data.metrics.get("a") != step:
                assert time.monotonic() < until
                time.sleep(0.1)


def test_what_the_store_refuses_costs_nothing_else(config, capsys):
    with session(config(run_name="run")):
        book = journal.current()
        with book.changed:  # all of them in one upload
            book.metrics({"before": 1.0}, 1)
            book.metrics({"no <good> name": 1.0}, 1)
            book.metrics({"after": 1.0}, 1)
    run = runs(config().tracking_uri)["run"]
    assert run.info.status == "FINISHED"
    assert set(run.data.metrics) == {"before", "after"}
    assert "MLflow refused 1 records: metrics: Invalid" in capsys.readouterr().err


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back_misses_nothing(config, mlflow_server):
    with session(config(run_name="run", tracking_uri=mlflow_server.address)) as run:
        book, slowest = journal.current(), 0.0
        for step in range(60):
            started = time.perf_counter()
            book.metrics({"a": float(step)}, step)
            book.files({f"figures/{step}.png": b"x" * 1000})
            slowest = max(slowest, time.perf_counter() - started)
            if step == 10:
                mlflow_server.kill()
            if step == 50:
                mlflow_server.start()
            time.sleep(0.05)
    assert slowest < 0.5
    client = MlflowClient(mlflow_server.address)
    history = client.get_metric_history(run.info.run_id, "a")
    assert [(metric.step, metric.value) for metric in history] == [(n, n) for n in range(60)]
    assert len(client.list_artifacts(run.info.run_id, "figures")) == 60
    assert client.get_run(run.info.run_id).info.status == "FINISHED"
    assert not run.journal.folder.exists()


@pytest.mark.slow
def test_a_server_gone_for_good_costs_no_run_and_sync_uploads_it_later(
    mlflow_server, tmp_path, monkeypatch
):
    address = mlflow_server.address.replace("//", "//me:hush@")
    process = subprocess.Popen(
        [*CHILD, "--epochs=25", f"--tracking_uri={address}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("epoch 2/"):
            mlflow_server.kill()
            break
    out, rest = process.communicate(timeout=200)
    assert process.returncode == INCOMPLETE, rest
    (folder,) = run_folder.runs_folder().glob("*")
    assert rest.endswith(f"Upload it with: imbalance-study sync {folder.name}\n")
    assert "Result on" in out
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"hush" not in written
    assert "hush" not in out + rest
    mlflow_server.start()
    (outcome,) = sync.sync([folder.name])
    assert outcome.uploaded, outcome.message
    (run,) = runs(mlflow_server.address).values()
    assert run.info.status == "FINISHED"
    assert "hush" not in str(run.to_dictionary())
    client = MlflowClient(mlflow_server.address)
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [metric.step for metric in history] == list(range(1, 26))
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "server"])
def test_eight_runs_at_once_are_all_finished_and_lose_nothing(kind, tmp_path, request):
    address = f"sqlite:///{tmp_path / 'fresh.db'}"
    if kind == "server":
        address = request.getfixturevalue("mlflow_server").address
    words = [sys.executable, "-c", EIGHT_RUNS, address]
    done = subprocess.run(words, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    found = runs(address)
    assert len(found) == 8
    client = MlflowClient(address)
    for seed in range(8):
        run = found[f"run {seed}"]
        assert run.info.status == "FINISHED"
        assert run.data.params == {"seed": str(seed)}
        history = client.get_metric_history(run.info.run_id, "a")
        assert [(metric.step, metric.value) for metric in history] == [(n, n) for n in range(30)]
        assert len(client.list_artifacts(run.info.run_id, "figures")) == 10
    assert not list(run_folder.runs_folder().glob("*"))


def test_a_store_of_artifacts_that_takes_none_is_refused_before_there_is_a_run(config):
    client = MlflowClient(config().tracking_uri)
    client.create_experiment("bad", "/proc/nowhere")
    with (
        pytest.raises(ValueError, match="the artifact store /proc/nowhere"),
        session(config(experiment="bad")),
    ):
        pytest.fail("it began")
    assert not runs(config().tracking_uri)
    assert not list(run_folder.runs_folder().glob("*"))


def test_a_run_whose_files_are_not_taken_has_ended_and_is_said_last(
    config, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("imbalance_study.tracking.session.PATIENCE", 0.5)
    monkeypatch.setattr("imbalance_study.tracking.session._incomplete", set())
    assert exit_status() == 0
    place = tmp_path / "artifacts"
    client = MlflowClient(config().tracking_uri)
    client.create_experiment("mine", str(place))
    with session(config(run_name="run", experiment="mine")) as run:
        shutil.rmtree(place, ignore_errors=True)
        place.write_text("a file where the folder was")
        run.journal.files({"figures/a.png": b"a"})
        run.journal.metrics({"a": 1.0}, 1)
        run.journal.note("done")
    record = runs(config().tracking_uri)["run"]
    assert record.info.status == "FINISHED"
    assert record.data.metrics == {"a": 1.0}
    assert record.data.tags["mlflow.note.content"] == "done"
    said = capsys.readouterr().err
    assert said.endswith(f"Upload it with: imbalance-study sync {run.info.run_id}\n")
    assert exit_status() == INCOMPLETE
    run.uploader.join(30)
    place.unlink()
    (outcome,) = sync.sync([run.info.run_id])
    assert outcome.uploaded, outcome.message
    assert client.list_artifacts(run.info.run_id, "figures")
