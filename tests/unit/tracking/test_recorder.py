import dataclasses
import subprocess

import numpy as np
import pytest

from imbalance_study import __version__
from imbalance_study.config.resolve import resolve
from imbalance_study.config.schema import AXES
from imbalance_study.evaluation.bootstrap import Interval
from imbalance_study.tracking import journal, recorder
from imbalance_study.tracking.journal import Journal
from imbalance_study.training.procedure import EpochResult


@pytest.fixture
def active(tmp_path):
    """The journal of the active run."""
    one = Journal(tmp_path / "one")
    with journal.activate(one):
        yield one


def test_params_are_the_axes_and_the_options_that_were_given(active):
    given = {"dataset": "digits", "ema": "true", "weight_decay": "0.1"}
    hidden = {"cache_dir": "x", "run_name": "y", "analyses": "none", "experiment": "z"}
    recorder.Recorder(resolve(given | hidden), None).record_params()
    (entry,) = active.pending()
    names = entry.content["values"].keys()
    assert {"ema", "weight_decay"} <= names
    assert not names & hidden.keys()
    assert set(AXES) - names <= {"lr", "batch_size"}  # auto until the run decides them


def test_an_epoch_that_an_earlier_process_recorded_is_not_recorded_again(active):
    active.metrics({"train/loss": 1.0}, 1)
    of_run = recorder.Recorder(resolve({"dataset": "digits"}), None)
    of_run.on_epoch(EpochResult(1, {"train/loss": 2.0}))
    of_run.on_epoch(EpochResult(2, {"train/loss": 3.0}))
    assert active.recorded_metrics() == {(1, "train/loss"), (2, "train/loss")}
    values = [entry.content["values"]["train/loss"] for entry in active.pending()]
    assert values == [1.0, 3.0]


def test_both_ends_of_an_interval_are_named_after_its_metric():
    ends = recorder._interval_ends({"accuracy": Interval(0.4, 0.6)})
    assert ends == {"test_ci/accuracy_low": 0.4, "test_ci/accuracy_high": 0.6}


def test_the_environment_names_the_versions_and_the_commit_of_the_code():
    found = recorder.environment()
    assert found["imbalance_study"] == __version__
    assert {"torch", "numpy", "mlflow", "python", "platform", "processor"} <= found.keys()
    assert found["git_commit"] == recorder.git_commit()


def test_code_outside_of_a_repository_has_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(recorder, "__file__", str(tmp_path / "recorder.py"))
    assert recorder.git_commit() == ""
    monkeypatch.setenv("PATH", "")  # no git at all
    assert recorder.git_commit() == ""


def test_the_commit_is_that_of_the_repository(monkeypatch, tmp_path):
    def git(*words):
        done = subprocess.run(
            ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    monkeypatch.setattr(recorder, "__file__", str(tmp_path / "recorder.py"))
    assert recorder.git_commit() == git("rev-parse", "HEAD")


def _recall(classes):
    return np.linspace(0, 1, classes)


def test_the_recall_of_each_class_is_recorded_where_it_is_asked_for(active):
    epoch = EpochResult(1, {"val/accuracy": 0.5}, val_recall=_recall(3))
    recorder.Recorder(resolve({"dataset": "digits"}), None).on_epoch(epoch)
    assert active.recorded_metrics() == {(1, "val/accuracy")}
    asked = resolve({"dataset": "digits", "per_class_metrics": "true"})
    recorder.Recorder(asked, None).on_epoch(dataclasses.replace(epoch, epoch=2))
    (_, entry) = active.pending()
    assert entry.content["values"] == {
        "val/accuracy": 0.5,
        "val/recall_0": 0.0,
        "val/recall_1": 0.5,
        "val/recall_2": 1.0,
    }
    many = EpochResult(3, {"val/accuracy": 0.5}, val_recall=_recall(31))
    recorder.Recorder(asked, None).on_epoch(many)
    assert active.pending()[-1].content["values"].keys() == {"val/accuracy"}


def test_values_are_rounded_when_they_are_recorded(active):
    epoch = EpochResult(1, {"val/accuracy": 0.25339999999999996, "train/lr": 8.6123456789e-8})
    recorder.Recorder(resolve({"dataset": "digits"}), None).on_epoch(epoch)
    (entry,) = active.pending()
    assert entry.content["values"] == {"val/accuracy": 0.2534, "train/lr": 8.612346e-8}
    assert recorder._rounded({"macs": 40551050.0, "x": float("nan")})["macs"] == 40551050.0
