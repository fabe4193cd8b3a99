"""Runs killed at any moment go on as the same run of MLflow."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
import torch
from mlflow import MlflowClient
from tiny import SMALLEST

from imbalance_study.config.resolve import resolve
from imbalance_study.experiment import run as experiment
from imbalance_study.models import checkpoint
from imbalance_study.tracking import journal, run, run_folder, sync
from imbalance_study.tracking.resume import resume
from imbalance_study.training import checkpointing

LONGER = SMALLEST | {"epochs": "4", "steps_per_epoch": "6"}
LONGER |= {"mix": "mixup", "ema": "true"}
LONGER |= {"model": "small_nets:conv:width=1024"}  # so that most of a checkpoint is weights
WATCHED = LONGER | {"model": "resnet20"}  # it takes long enough to be killed in between


# A model whose logits are no numbers from some step of its process on.
NET = """
import torch
from torch import nn

class Fails(nn.Module):
    def __init__(self, after):
        super().__init__()
        self.left = after

    def forward(self, logits):
        self.left -= self.training
        return logits * (1 if self.left >= 0 else torch.nan)

def of_ten(num_classes, *, after: int = 0):
    return nn.Sequential(nn.Flatten(), nn.Linear(192, num_classes), Fails(after))
"""


pytestmark = pytest.mark.usefixtures("own_place")


@pytest.fixture
def store(empty_store):
    return empty_store


class Killed(Exception):
    pass


def _broken_off(store, after=2, **settings):
    """A run that fails after an epoch; its id."""
    ids = []

    def stop(result):
        if result.epoch == after:
            ids.append(journal.current().id)
            raise Killed

    with pytest.raises(Killed):
        run.train(
            resolve(LONGER | {"tracking_uri": store} | settings),
            hooks=run.Hooks(stop),
            show_progress=False,
            brief=True,
        )
    return ids[0]


def _record(store, run_id):
    return MlflowClient(store).get_run(run_id)


def _steps(store, run_id, metric):
    return [one.step for one in MlflowClient(store).get_metric_history(run_id, metric)]


def _weights(store, run_id, folder, name):
    path = MlflowClient(store).download_artifacts(run_id, f"checkpoints/{name}.pt", str(folder))
    return checkpoint.load(Path(path))["model"]


def _assert_same(store, run_id, whole, folder):
    record = _record(store, run_id)
    assert record.info.status == "FINISHED"
    for name, value in whole.metrics.items():
        if not name.startswith(("time/", "cost/")):
            logged = float(f"{value:.7g}")  # as the recorder rounds
            assert record.data.metrics[name] == pytest.approx(logged, rel=0, abs=0, nan_ok=True)
    for name in record.data.metrics:
        steps = _steps(store, run_id, name)
        assert len(steps) == len(set(steps)), name
    assert _steps(store, run_id, "train/loss") == [1, 2, 3, 4]
    for name, state in (("best", whole.fit.best), ("last", whole.fit.last)):
        kept = _weights(store, run_id, folder, name)
        assert all(torch.equal(value, kept[key]) for key, value in state.items())


def _whole(folder, options):
    """The run that nobody broke off."""
    folder.mkdir()
    return experiment.run(
        resolve(options).config, output_dir=folder, show_progress=False, draw=False
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return _whole(tmp_path_factory.mktemp("whole") / "run", LONGER)


def _start(store, *words, **settings):
    words = [*(words or ("train", *tiny.words(WATCHED | settings))), f"--tracking_uri={store}"]
    return subprocess.Popen(
        [sys.executable, "-m", "imbalance_study", *words], stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["after", "writing"])
def test_a_run_is_left_to_its_process_and_killed_with_9_goes_on_bit_by_bit(
    store, tmp_path, moment, capsys
):
    process = _start(store)
    runs = tmp_path / "cache" / "runs"
    pattern = ".epoch-000002.*partial*" if moment == "writing" else "epoch-000002.pt"
    while process.poll() is None and not list(runs.glob(f"*/checkpoints/{pattern}")):
        if moment == "writing" and list(runs.glob("*/checkpoints/epoch-000003.pt")):
            break  # too fast for us; killed all the same
        time.sleep(0.0005 if moment == "writing" else 0.05)
    process.send_signal(signal.SIGSTOP)
    (folder,) = runs.iterdir()
    if moment == "after":
        with pytest.raises(ValueError, match=r"still being recorded or uploaded by another"):
            resume(folder.name, tracking_uri=store)
        assert _record(store, folder.name).data.tags["imbalance_study.pid"] == str(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert _record(store, folder.name).info.status == "RUNNING"
    if moment == "after":
        resume(folder.name, tracking_uri=store)
        said = capsys.readouterr().err
    else:
        again = _start(store, "resume", folder.name)
        said = again.stderr.read()
        assert again.wait() == 0, said
    assert re.search(r"going on with run \w+ after epoch [123]", said)
    _assert_same(store, folder.name, _whole(tmp_path / "whole", WATCHED), tmp_path)


@pytest.mark.slow
def test_a_failed_run_goes_on_from_the_checkpoint_before_a_damaged_one(
    store, whole, tmp_path, capsys
):
    run_id = _broken_off(store)
    assert _record(store, run_id).info.status == "FAILED"
    kept = sorted((run_folder.folder_of(run_id) / "checkpoints").iterdir())
    names = [path.name for path in kept]
    assert names in (
        ["epoch-000001.pt", "epoch-000002.pt"],
        ["epoch-000002.pt", "epoch-000003.pt"],
    )
    kept[1].write_bytes(kept[1].read_bytes()[:-1000])
    first = bytearray(kept[0].read_bytes())
    flipped = bytearray(first)
    flipped[len(first) // 2] ^= 1
    kept[0].write_bytes(flipped)
    with pytest.raises(ValueError, match=r"all checkpoints in .* are damaged; train the run again"):
        resume(run_id, tracking_uri=store)
    kept[0].write_bytes(first)
    capsys.readouterr()
    resume(f"runs:/{run_id}", tracking_uri=store, show_progress=False)
    assert re.search(r"checkpoint of epoch \d passed over: .* damaged", capsys.readouterr().err)
    _assert_same(store, run_id, whole, tmp_path)
    assert not run_folder.folder_of(run_id).exists()
    with pytest.raises(ValueError, match="is FINISHED: there is nothing to resume"):
        resume(run_id, tracking_uri=store)


def test_a_run_whose_loss_is_no_number_is_failed_and_keeps_its_last_good_checkpoint(
    store, tmp_path, monkeypatch
):
    (tmp_path / "failing").mkdir()
    (tmp_path / "failing" / "net.py").write_text(NET)
    monkeypatch.syspath_prepend(str(tmp_path))
    options = {"model": "failing.net:of_ten:after=16", "ema": "false", "tracking_uri": store}
    with pytest.raises(ValueError, match=r"the loss is not finite in epoch 3 .*try a smaller lr"):
        run.train(resolve(LONGER | options), show_progress=False, brief=True)
    (record,) = MlflowClient(store).search_runs(["0"])
    run_id = record.info.run_id
    assert record.info.status == "FAILED"
    assert "not finite in epoch 3" in record.data.tags["mlflow.note.content"]
    folder = run_folder.folder_of(run_id) / "checkpoints"
    assert checkpointing.newest(folder, pytest.fail)["fit"]["history"][-1]["epoch"] == 2
    resume(run_id, tracking_uri=store, show_progress=False)
    assert _record(store, run_id).info.status == "FINISHED"
    assert _steps(store, run_id, "train/loss") == [1, 2, 3, 4]


def test_without_a_checkpoint_there_is_one_line(store):
    early = _broken_off(store, after=0)
    with pytest.raises(ValueError, match=r"is FAILED and has no checkpoint .* before its first"):
        resume(early, tracking_uri=store)
    with pytest.raises(ValueError, match="there is no checkpoint of run 'abc'"):
        resume("abc", tracking_uri=store)
    with pytest.raises(ValueError, match="letters, digits and hyphens"):
        resume("../x", tracking_uri=store)


def _cut(run_id, holds):
    """Cut a journal behind its first entry for which `holds` is true, as a power cut may."""
    events = run_folder.folder_of(run_id) / "journal" / "events.jsonl"
    lines = events.read_bytes().splitlines(keepends=True)
    last = next(at for at, line in enumerate(lines) if holds(json.loads(line)))
    events.write_bytes(b"".join(lines[: last + 1]))


@pytest.mark.slow
def test_epochs_whose_records_a_power_cut_took_are_recorded_from_the_checkpoint(store, tmp_path):
    run_id = _broken_off(store, after=4, tracking="offline")
    _cut(run_id, lambda entry: entry["op"] == "metrics" and entry["step"] == 1)
    assert resume(run_id, tracking="offline", show_progress=False) is not None
    (outcome,) = sync.sync([run_id], tracking_uri=store)
    (record,) = MlflowClient(store).search_runs(["0"])
    assert outcome.uploaded
    assert _steps(store, record.info.run_id, "train/loss") == [1, 2, 3, 4]


@pytest.mark.slow
def test_final_metrics_that_were_recorded_before_a_kill_stand_once(store, tmp_path):
    journals, left = tmp_path / "cache" / "runs", tmp_path / "left"
    run.train(
        resolve(LONGER | {"tracking_uri": store}),
        hooks=run.Hooks(on_end=lambda result: shutil.copytree(journals, left)),
        show_progress=False,
    )
    shutil.copytree(left, journals, dirs_exist_ok=True)
    (folder,) = journals.iterdir()
    _cut(folder.name, lambda entry: "test/accuracy" in entry.get("values", {}))
    MlflowClient(store).update_run(folder.name, status="RUNNING")
    assert resume(folder.name, tracking_uri=store, show_progress=False) is not None
    for name in _record(store, folder.name).data.metrics:
        if not name.startswith("time/"):
            steps = _steps(store, folder.name, name)
            assert len(steps) == len(set(steps)), name


def test_of_a_finished_run_that_died_before_its_end_was_told_the_rest_is_uploaded(
    store, tmp_path, capsys
):
    journals, left = tmp_path / "cache" / "runs", tmp_path / "left"
    run.train(
        resolve(LONGER | {"tracking_uri": store}),
        hooks=run.Hooks(on_end=lambda result: shutil.copytree(journals, left)),
        show_progress=False,
        brief=True,
    )
    shutil.copytree(left, journals, dirs_exist_ok=True)
    (folder,) = journals.iterdir()
    broken = journal.Journal(folder)
    broken.end("FINISHED")
    broken.close()
    client = MlflowClient(store)
    client.update_run(folder.name, status="RUNNING")
    capsys.readouterr()
    assert resume(folder.name) is None
    assert "was finished" in capsys.readouterr().err
    assert _record(store, folder.name).info.status == "FINISHED"
    assert _steps(store, folder.name, "train/loss") == [1, 2, 3, 4]
    assert not folder.exists()
    with pytest.raises(ValueError, match="is FINISHED: there is nothing to resume"):
        resume(folder.name, tracking_uri=store)
