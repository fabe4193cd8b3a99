"""Whole studies: small ones here, killed and shared ones under their marks."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import optuna
import pytest
from mlflow import MlflowClient
from tiny import SMALLEST, TINY, words

from imbalance_study.config.resolve import resolve
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.data import load_data
from imbalance_study.studies.search import job, parent_run, processes
from imbalance_study.studies.search.optuna_study import OptunaStudy, open_storage
from imbalance_study.studies.search.run import run_search
from imbalance_study.studies.search.settings import StudySettings
from imbalance_study.tracking import process
from imbalance_study.tracking import run as tracked

ROOT = Path(__file__).parents[3]
# A model that notes how many images it is shown without being trained on them.
SPY = """
from torch import nn

shown = []

def net(num_classes):
    first = nn.AdaptiveAvgPool2d(4)
    def note(module, inputs):
        if not module.training and inputs[0].std() > 0:  # no dry run
            shown.append(len(inputs[0]))
    first.register_forward_pre_hook(note)
    return nn.Sequential(first, nn.Flatten(), nn.Linear(48, num_classes))
"""

GIVEN = SMALLEST | {"validation": "stratified:fraction=0.1"}


@pytest.fixture(autouse=True)
def _own_store(empty_store):
    yield
    while mlflow.active_run():
        mlflow.end_run()


def _uri(folder):
    return f"sqlite:///{folder / 'mlflow.db'}"


def _runs(folder):
    client = MlflowClient(_uri(folder))
    found = []
    for one in client.search_experiments():
        found += client.search_runs([one.experiment_id], max_results=1000)
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    return parents, [run for run in found if run not in parents]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, make_store):
    """A study of four trials that was asked for three first, its folder."""
    folder = tmp_path_factory.mktemp("study")
    make_store(folder)
    given = GIVEN | {"tracking_uri": _uri(folder)}
    for trials in (3, 4):
        run_search(StudySettings(study="s", trials=trials, search="loss", winner_seeds=1), given)
    return folder


def test_a_study_is_a_run_whose_trials_are_its_children(finished):
    (parent,), children = _runs(finished)
    trials = {run.data.tags["trial"]: run for run in children if "trial" in run.data.tags}
    assert sorted(trials) == ["0", "1", "2", "3"]
    for run in [parent, *children]:
        assert run.info.status == "FINISHED"
        assert run is parent or run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert {run.data.tags["trial_state"] for run in trials.values()} <= {"complete", "pruned"}


def test_the_test_set_is_shown_to_the_winner_alone(finished):
    _, children = _runs(finished)
    for run in children:
        tested = [name for name in run.data.metrics if name.startswith("test")]
        assert bool(tested) == ("winner_of_trial" in run.data.tags)
        assert "selected_val/balanced_accuracy_standard_error" in run.data.metrics or (
            run.data.tags["trial_state"] == "pruned"
        )


def test_the_run_of_a_study_has_what_came_out(finished, tmp_path):
    (parent,), children = _runs(finished)
    client = MlflowClient(_uri(finished))
    names = {entry.path for entry in client.list_artifacts(parent.info.run_id, "figures")}
    for figure in ("history", "slices", "parallel", "intermediate"):
        assert f"figures/study_{figure}.png" in names
    path = client.download_artifacts(parent.info.run_id, "trials.json", str(tmp_path))
    assert "trials.json" in parent.data.tags["mlflow.loggedArtifacts"]  # the UI shows a table
    table = json.loads(Path(path).read_text())
    assert len(table["data"]) == 4
    winner = next(run for run in children if "winner_of_trial" in run.data.tags)
    assert parent.data.metrics["test/accuracy"] == winner.data.metrics["test/accuracy"]
    assert parent.data.params["search"] == "loss"
    state = (
        MlflowClient(_uri(finished))
        .get_experiment(parent.info.experiment_id)
        .tags[f"mlflow.sharedViewState.{parent_run.view_key('s')}"]
    )
    assert parent.info.run_id in json.loads(state)["searchFilter"]
    columns = json.loads(state)["selectedColumns"]
    assert {"params.`loss`", "tags.`trial_state`"} < set(columns)
    assert "params.`model`" not in columns  # the same in all trials


def test_the_command_of_the_description_trains_what_won(finished):
    (parent,), children = _runs(finished)
    text = parent.data.tags["mlflow.note.content"]
    words = text.split("`imbalance-study train ")[1].split("`")[0].split()
    typed = dict(zip([w.removeprefix("--") for w in words[::2]], words[1::2], strict=True))
    winner = next(run for run in children if "winner_of_trial" in run.data.tags)
    config = resolve(typed).config
    for name in ("loss", "class_weights", "lr", "epochs", "batch_size"):
        assert str(getattr(config, name)) == winner.data.params[name]


def test_a_study_of_the_same_name_that_is_another_is_refused(finished, tmp_path):
    given = GIVEN | {"tracking_uri": _uri(finished)}
    for settings, changed, what in (
        ({"search": "sampler"}, {}, "search space"),
        ({"objective": "val/macro_f1"}, {}, "objective"),
        ({}, {"imbalance_ratio": "3"}, "data"),
        ({}, {"epochs": "2"}, r"options \(epochs: there 1, here 2\)"),
    ):
        with pytest.raises(ValueError, match=f"study s exists in .* with another {what}"):
            run_search(
                StudySettings(**{"study": "s", "search": "loss"} | settings), given | changed
            )
    assert all(run.info.status == "FINISHED" for part in _runs(finished) for run in part)


def test_bad_input_is_refused_before_anything_is_recorded(tmp_path):
    given = GIVEN | {"tracking_uri": _uri(tmp_path)}
    for settings, changed, reason in (
        ({"storage": "postgresql+psycopg2://x:y@127.0.0.1:1/z"}, {}, "cannot be opened"),
        ({}, {"validation": "none"}, "needs validation images"),
        ({"objective": "val/accuracy|macs"}, {}, "needs several models"),
        ({}, {"lerning_rate": "1"}, "unknown option"),
    ):
        with pytest.raises(ValueError, match=reason):
            run_search(StudySettings(study="s", search="loss", **settings), given | changed)
    assert _runs(tmp_path) == ([], [])


def test_no_trial_evaluates_more_images_than_validation_has(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "spies.py").write_text(SPY)
    monkeypatch.syspath_prepend(tmp_path)
    given = GIVEN | {"model": "mine.spies:net", "epochs": "2", "tracking_uri": _uri(tmp_path)}
    config = resolve(given).config
    data = load_data(config, bind(config))
    evaluated = {}
    for test in (False, True):
        tracked.train(resolve(given), test=test, brief=True, show_progress=False)
        shown = sys.modules["mine.spies"].shown
        evaluated[test] = sum(shown)
        shown.clear()
    assert evaluated[False] == 2 * len(data.split.val)  # after either epoch
    assert evaluated[True] >= evaluated[False] + len(data.split.test)


def test_what_is_balanced_is_chosen_on_where_the_data_allow(tmp_path):
    given = TINY | {"tracking_uri": _uri(tmp_path)}
    ready = job.prepare_job(StudySettings(search="loss"), given)
    assert ready.base.config.validation == "balanced:per_class=50"
    assert ready.plan.name == "loss-digits-resnet20"
    assert ready.storage == str(tmp_path / "studies.journal")
    typed = job.prepare_job(
        StudySettings(search="loss"), given | {"validation": "stratified:fraction=0.2"}
    )
    assert typed.base.config.validation == "stratified:fraction=0.2"


def test_two_objectives_give_a_front(tmp_path):
    given = GIVEN | {
        "tracking_uri": _uri(tmp_path),
        "model": "small_nets:conv|small_nets:conv:width=8",
    }
    run_search(
        StudySettings(study="two", trials=3, search="loss", winner_seeds=0,
                 objective="val/balanced_accuracy|macs"), given)  # fmt: skip
    (parent,), children = _runs(tmp_path)
    client = MlflowClient(_uri(tmp_path))
    names = {entry.path for entry in client.list_artifacts(parent.info.run_id, "figures")}
    assert "figures/study_pareto.png" in names
    assert "No trial beats these in both" in parent.data.tags["mlflow.note.content"]
    assert not any("test/accuracy" in run.data.metrics for run in children)


def _start(folder, storage, trials, **more):
    asked = {"study": "s", "search": "loss", "winner_seeds": "1", "storage": storage}
    asked |= GIVEN | TINY | {"tracking_uri": _uri(folder), "trials": trials, "epochs": "3"} | more
    del asked["steps_per_epoch"]  # so that there is time to kill it
    return subprocess.Popen(
        [sys.executable, "-m", "imbalance_study", "study", *words(asked)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _trials(storage):
    try:
        study = optuna.load_study(study_name="s", storage=open_storage(storage, 60))
    except (KeyError, optuna.exceptions.DuplicatedStudyError):
        return []
    return study.get_trials(deepcopy=False)


def _wait_for(holds, seconds=400):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.2)


def _in_a_trial(storage, ended):
    trials = _trials(storage)
    states = [trial.state.name for trial in trials]
    under_way = [t for t in trials if t.state.name == "RUNNING" and t.intermediate_values]
    return states.count("COMPLETE") + states.count("PRUNED") >= ended and bool(under_way)


def _check_whole(folder, storage, trials):
    states = [trial.state.name for trial in _trials(storage)]
    assert states.count("COMPLETE") + states.count("PRUNED") == trials
    assert "RUNNING" not in states
    parents, children = _runs(folder)
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert "RUNNING" not in {run.info.status for run in children}
    assert sum("winner_of_trial" in run.data.tags for run in children) == 1
    return states, children


@pytest.mark.slow
def test_a_study_that_was_killed_in_the_middle_of_a_trial_goes_on(tmp_path):
    storage = str(tmp_path / "studies.journal")
    first = _start(tmp_path, storage, 5)
    _wait_for(lambda: _in_a_trial(storage, 2))
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert "RUNNING" in {run.info.status for run in _runs(tmp_path)[1]}
    again = _start(tmp_path, storage, 5)
    text, _ = again.communicate(timeout=900)
    assert again.returncode == 0, text
    states, children = _check_whole(tmp_path, storage, 5)
    assert states.count("FAIL") == 1
    (killed,) = [run for run in children if run.data.tags.get("trial_state") == "failed"]
    assert killed.info.status == "FAILED"
    assert "is gone" in killed.data.tags["mlflow.note.content"]
    lost = next(trial for trial in _trials(storage) if trial.state.name == "FAIL")
    (retried,) = [t for t in _trials(storage) if t.user_attrs.get("again") == lost.number]
    assert retried.params == lost.params


def _two_workers_one_killed(folder, storage):
    first = _start(folder, storage, 8)
    time.sleep(3)  # so that the first leads, and is not done before the second is there
    second = _start(folder, storage, 8)

    def both():
        return {
            trial.user_attrs.get("process", {}).get(process.PID)
            for trial in _trials(storage)
            if trial.state.name == "RUNNING"
        } == {str(first.pid), str(second.pid)}

    _wait_for(both)
    os.kill(first.pid, signal.SIGKILL)  # the one that leads
    first.wait()
    text, _ = second.communicate(timeout=900)
    assert second.returncode == 0, text
    states, _ = _check_whole(folder, storage, 8)
    assert states.count("FAIL") == 1


@pytest.mark.slow
def test_of_two_workers_on_a_journal_file_one_goes_on_when_the_leader_is_killed(tmp_path):
    _two_workers_one_killed(tmp_path, str(tmp_path / "studies.journal"))


@pytest.mark.postgres
def test_of_two_workers_on_postgresql_one_goes_on_when_the_leader_is_killed(tmp_path, postgres):
    _two_workers_one_killed(tmp_path, postgres)


@pytest.mark.postgres
def test_a_silent_worker_on_another_machine_is_noticed_by_postgresql(tmp_path, postgres):
    given = GIVEN | {"tracking_uri": _uri(tmp_path)}
    settings = StudySettings(
        study="silent",
        trials=2,
        search="loss",
        winner_seeds=0,
        storage=postgres,
        heartbeat_timeout=2,
    )
    ready = job.prepare_job(settings, given)
    elsewhere = OptunaStudy(open_storage(postgres, 2), ready.plan)
    elsewhere.set_attribute("signature", ready.signature)
    claim = elsewhere.claim_trial()
    values = elsewhere.propose(claim).values
    claim.set_attributes(
        process=processes.process_identity() | {process.PROCESS: "another-machine 1 2"}
    )
    claim.send_heartbeat()
    run_search(settings, given)
    records = elsewhere.records()
    assert records[0].state == "failed"
    assert [one.dimensions for one in records if one.state != "failed"].count(values) == 1
    assert elsewhere.count_ended() == 2


@pytest.mark.slow
def test_workers_are_started_and_share_the_trials(tmp_path):
    storage = str(tmp_path / "studies.journal")
    whole = _start(tmp_path, storage, 10, workers=2)  # enough for the second to get some
    text, _ = whole.communicate(timeout=900)
    assert whole.returncode == 0, text
    _check_whole(tmp_path, storage, 10)
    pids = {trial.user_attrs["process"][process.PID] for trial in _trials(storage)}
    assert len(pids) == 2
    assert np.isfinite([trial.user_attrs.get("gap", 0) for trial in _trials(storage)]).all()
