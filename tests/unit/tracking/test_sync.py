import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient

from imbalance_study.config.resolve import make
from imbalance_study.tracking import artifacts, journal, run_folder, sync
from imbalance_study.tracking.session import session

ODD = "a \"b\" 'c' <img src=x onerror=alert(1)> ü/é `d` | [e](f) $(touch x); " + "long" * 50


@pytest.fixture(autouse=True)
def _own_place(own_place):
    pass


@pytest.fixture
def config(make_store):
    """Settings of a run, with a store of its own."""

    def settings(folder, **given):
        store = make_store(folder)
        return make(dataset="digits", system_metrics=False, tracking_uri=store, **given)

    return settings


def fill(steps=5):
    """Everything that a run records, without a training."""
    book = journal.current()
    book.params({"loss": "focal", "odd": ODD})
    for step in range(steps):
        book.metrics({"train/loss": 1 / (step + 1), "nan": float("nan")}, step)
    book.dict({"class_names": [ODD]}, "config.json")
    book.table({"class": [ODD, "b"], "recall": [0.5, np.float64(1.0)]}, "per_class.json")
    book.table({"a": [1]}, "pairs.json")
    figure = Figure(figsize=(1, 1))
    figure.suptitle("x")
    artifacts.log_figures({"curves": figure})
    artifacts.log_grid({"images/curves": figure}, 0)
    artifacts.log_overlays({"digit": np.zeros((4, 4, 3), np.uint8)})
    artifacts.log_frames({"predictions/test": {"target": np.arange(3)}})
    dataset = {"name": "digits", "digest": "d1", "source_type": "code", "source": "{}"}
    book.append("input", {"dataset": dataset, "context": "training"})
    model = Path("saved")
    model.mkdir(exist_ok=True)
    (model / "MLmodel").write_text("flavors: {}\nutc_time_created: '2026-01-01'\n")
    book.append("model", {"name": "model", "time": 5, "values": {"test/a": 1.0}}, {"model": model})
    book.tags({"mlflow.note.content": "done", "odd": ODD})
    book.append("view", {})


def content(store):
    """All that the only run of a store holds, without ids and times."""
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("Default")
    (run,) = client.search_runs([experiment.experiment_id])

    def walk(path=None):
        for item in client.list_artifacts(run.info.run_id, path):
            if item.is_dir:
                yield from walk(item.path)
            else:
                yield item.path.partition("+timestamp")[0]

    history = {
        name: [(repr(m.value), m.step) for m in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    (output,) = run.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    changing = ("imbalance_study.journal", "imbalance_study.heartbeat")
    return {
        "status": run.info.status,
        "name": run.info.run_name,
        "params": run.data.params,
        "tags": {k: v for k, v in run.data.tags.items() if k not in changing},
        "history": history,
        "artifacts": sorted(walk()),
        "inputs": [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs],
        "model": (model.name, model.params, str(model.status)),
        "model metrics": sorted((m.key, m.value, m.step) for m in model.metrics),
        "models": len(client.search_logged_models([experiment.experiment_id])),
        "view": set(experiment.tags),
    }


def test_a_run_made_offline_and_uploaded_later_equals_one_made_online(tmp_path, config):
    online, offline = tmp_path / "online", tmp_path / "offline"
    for folder in (online, offline):
        folder.mkdir()
    with session(config(online)):
        fill()
    with session(config(offline, tracking="offline")):
        fill()
    assert not MlflowClient(f"sqlite:///{offline / 'mlflow.db'}").search_runs(["0"])
    (outcome,) = sync.sync(tracking_uri=f"sqlite:///{offline / 'mlflow.db'}")
    assert outcome.uploaded, outcome.message
    first, second = (content(f"sqlite:///{folder / 'mlflow.db'}") for folder in (online, offline))
    assert first == second
    assert first["status"] == "FINISHED"
    assert first["params"]["odd"] == ODD
    assert "nan" in first["history"]
    assert not (tmp_path / "x").exists()
    assert not list(sync.sync())


def test_uploading_everything_again_leaves_nothing_twice(tmp_path, config):
    """As after a process that was killed before it noted what it had uploaded."""
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with session(config(tmp_path, tracking="offline")) as run:
        fill()
    folder = run_folder.folder_of(run.info.run_id)
    shutil.copytree(folder, tmp_path / "copy" / folder.name)
    list(sync.sync(tracking_uri=store))
    once = content(store)
    shutil.copytree(tmp_path / "copy" / folder.name, folder)
    (outcome,) = sync.sync(tracking_uri=store)
    assert outcome.uploaded
    assert content(store) == once


def test_an_upload_that_breaks_off_anywhere_goes_on_where_it_was(tmp_path, config):
    """Each position is that of an upload which was killed behind it."""
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with session(config(tmp_path, tracking="offline")) as run:
        fill(2)
    folder = run_folder.folder_of(run.info.run_id)
    shutil.copytree(folder, tmp_path / "copy")
    list(sync.sync(tracking_uri=store))
    once = content(store)
    client = MlflowClient(store)
    (record,) = client.search_runs(["0"])
    for position in (1, 3, 8):
        shutil.copytree(tmp_path / "copy", folder)
        state = json.loads((folder / "journal" / "state.json").read_text())
        state |= {"position": position, "run_id": record.info.run_id, "experiment_id": "0"}
        (folder / "journal" / "state.json").write_text(json.dumps(state))
        (outcome,) = sync.sync([run.info.run_id], tracking_uri=store)
        assert outcome.uploaded, outcome.message
        assert content(store) == once


def test_original_times_are_kept(tmp_path, config):
    with session(config(tmp_path, tracking="offline")) as run:
        journal.current().metrics({"a": 1.0}, 1)
    entries = {entry.op: entry.content["time"] for entry in run_entries(run)}
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    list(sync.sync([run.info.run_id], tracking_uri=store))
    client = MlflowClient(store)
    (record,) = client.search_runs(["0"])
    assert record.info.start_time == entries["start"]
    assert record.info.end_time == entries["end"]
    assert client.get_metric_history(record.info.run_id, "a")[0].timestamp == entries["metrics"]


def run_entries(run):
    book = journal.Journal(run_folder.folder_of(run.info.run_id))
    try:
        return book.entries()
    finally:
        book.close()


def test_children_find_their_parent_again(tmp_path, config):
    with session(config(tmp_path, tracking="offline", run_name="parent")):
        for name in ("first", "second"):
            with session(config(tmp_path, tracking="offline", run_name=name)):
                journal.current().metrics({"a": 1.0}, 1)
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    outcomes = list(sync.sync(tracking_uri=store))
    assert [outcome.uploaded for outcome in outcomes] == [True] * 3
    runs = {run.info.run_name: run for run in MlflowClient(store).search_runs(["0"])}
    for name in ("first", "second"):
        parent = runs[name].data.tags["mlflow.parentRunId"]
        assert parent == runs["parent"].info.run_id


def test_an_unknown_journal_is_named_with_where_it_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match=r"no journal of abc in .*/cache/runs"):
        list(sync.sync(["abc"]))


def test_no_secret_of_the_store_reaches_the_journal(tmp_path, monkeypatch, capsys):
    """Given by option, and by environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hush-env@127.0.0.1:9/x")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hush-variable")
    given = {"dataset": "digits", "system_metrics": False, "tracking": "offline"}
    said = "postgresql://me:hush-option@db/x http://me:hush-env@h hush-variable hush-env"
    with (
        pytest.raises(ValueError, match="never"),
        session(make(**given, tracking_uri="http://me:hush-option@127.0.0.1:9"), {"t": said}),
    ):
        raise ValueError(f"never {said}")
    files = Path(os.environ["IMBALANCE_STUDY_CACHE"]).rglob("*")
    text = b"".join(path.read_bytes() for path in files if path.is_file()).decode()
    text += "".join(capsys.readouterr())
    assert "127.0.0.1" in text or "never" in text
    assert "hush" not in text


def test_a_journal_that_cannot_be_uploaded_does_not_keep_the_others(tmp_path, config):
    names = []
    for name in ("away", "damaged", "sound"):
        with session(config(tmp_path, tracking="offline", run_name=name)) as run:
            journal.current().metrics({"a": 1.0}, 1)
        names.append(run.info.run_id)
    away, damaged, sound = (run_folder.folder_of(name) / "journal" for name in names)
    state = json.loads((away / "state.json").read_text())
    (away / "state.json").write_text(json.dumps(state | {"store": "http://127.0.0.1:9"}))
    (damaged / "events.jsonl").write_bytes(b"[]\n" * 3)
    for name in names:  # the one that waits for a dead server is the oldest
        state = json.loads((run_folder.folder_of(name) / "journal" / "state.json").read_text())
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    os.environ["MLFLOW_TRACKING_URI"] = store
    outcomes = {outcome.journal: outcome for outcome in sync.sync()}
    assert "cannot be reached" in outcomes[names[0]].message
    assert "line 1 is damaged" in outcomes[names[1]].message
    assert outcomes[names[2]].uploaded
    assert away.exists()
    assert damaged.exists()
    assert not sound.exists()


def test_a_salvaged_journal_is_uploaded_with_the_files_of_its_lost_entries(tmp_path, config):
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with session(config(tmp_path, tracking="offline")) as run:
        fill()
    events = run_folder.folder_of(run.info.run_id) / "journal" / "events.jsonl"
    lines = events.read_bytes().splitlines(keepends=True)
    entries = [json.loads(line) for line in lines]
    hit = next(at for at, entry in enumerate(entries) if entry["op"] == "files")
    lines[hit] = lines[hit].replace(b"files", b"filed")
    events.write_bytes(b"".join(lines))
    (outcome,) = sync.sync([run.info.run_id], tracking_uri=store)
    assert not outcome.uploaded
    assert "sync --salvage true" in outcome.message
    (outcome,) = sync.sync([run.info.run_id], tracking_uri=store, salvage=True)
    assert outcome.uploaded
    assert f"line {hit + 1} is damaged" in outcome.message
    found = content(store)
    assert found["status"] == "FINISHED"
    assert "config.json" in found["artifacts"]
    assert "damaged" in found["tags"]["imbalance_study.damaged_records"]
    assert found["models"] == 1


def test_a_run_that_its_store_has_lost_is_made_anew_on_demand(tmp_path, config):
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with session(config(tmp_path, tracking="offline")) as run:
        fill(2)
    folder = run_folder.folder_of(run.info.run_id) / "journal"
    state = json.loads((folder / "state.json").read_text())
    state |= {"run_id": "0" * 32, "experiment_id": "0", "position": 4}
    (folder / "state.json").write_text(json.dumps(state))
    (outcome,) = sync.sync(tracking_uri=store)
    assert not outcome.uploaded
    assert "does not know run 0000" in outcome.message
    (outcome,) = sync.sync(tracking_uri=store, into="saved")
    assert outcome.uploaded
    client = MlflowClient(store)
    (record,) = client.search_runs([client.get_experiment_by_name("saved").experiment_id])
    assert record.info.status == "FINISHED"
    assert record.data.params["loss"] == "focal"
    assert record.data.metrics["train/loss"] == 0.5
