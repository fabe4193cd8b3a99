import contextlib
import json
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import mlflow
import numpy as np
import pytest
import tiny
import torch
from mlflow import MlflowClient
from tiny import SMALLEST, TINY

from imbalance_study.config.resolve import resolve
from imbalance_study.config.schema import AXES
from imbalance_study.models import checkpoint
from imbalance_study.tracking import experiment_page, run

GIVEN = SMALLEST | {"epochs": "2", "lr": "0.01", "analyses": "quick_intervals"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, make_store):
    """A small run on a store of its own, its client and its record."""
    folder = tmp_path_factory.mktemp("store")
    names = {"run_name": "tiny", "experiment": "trial"}
    made = tiny.train(make_store(folder), folder, **GIVEN, **names)
    assert made.client.get_experiment(made.record.info.experiment_id).name == "trial"
    return made.result, made.client, made.record


def test_the_record_is_finished_and_holds_the_final_metrics(finished):
    result, _, record = finished
    assert record.info.status == "FINISHED"
    assert record.info.run_name == "tiny"
    for name, value in result.metrics.items():
        assert record.data.metrics[name] == pytest.approx(value, nan_ok=True), name


def test_every_epoch_has_its_metrics_once(finished):
    _, client, record = finished
    history = client.get_metric_history(record.info.run_id, "val/balanced_accuracy")
    assert [metric.step for metric in history] == [1, 2]


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_cache_folder_that_vanishes_is_made_again_and_nothing_is_lost(
    tmp_path, make_store, epoch
):
    cache, store = tmp_path / "cache", make_store(tmp_path)
    settings = SMALLEST | {"tracking_uri": store, "cache_dir": str(cache), "epochs": "3"}

    def clean_up(result):
        if result.epoch == epoch:
            shutil.rmtree(cache)

    with contextlib.chdir(tmp_path):
        run.train(resolve(settings), hooks=run.Hooks(on_epoch=clean_up), show_progress=False)
    (record,) = tiny.runs_of(store)
    assert record.info.status == "FINISHED"
    client = MlflowClient(store)
    history = client.get_metric_history(record.info.run_id, "train/loss")
    assert [metric.step for metric in history] == [1, 2, 3]
    names = {file.path for file in client.list_artifacts(record.info.run_id, "checkpoints")}
    assert names == {"checkpoints/best.pt", "checkpoints/last.pt"}


def test_params_are_the_axes_and_what_was_given(finished):
    _, _, record = finished
    typed = {"image_size", "steps_per_epoch", "device", "epochs", "lr"}
    assert set(record.data.params) == set(AXES) | typed
    assert record.data.params["imbalance"] == "exponential:ratio=10"
    assert record.data.params["lr"] == "0.01"


def test_config_json_holds_every_option_its_origin_and_the_environment(finished, tmp_path):
    _, client, record = finished
    path = client.download_artifacts(record.info.run_id, "config.json", str(tmp_path))
    content = json.loads(Path(path).read_text())
    assert content["config"]["epochs"] == 2
    assert content["origins"]["epochs"] == "given"
    assert content["origins"]["augment"] == "data set"
    assert content["environment"]["torch"] == torch.__version__.split("+")[0]
    assert content["resolved"]["train_counts"][0] > content["resolved"]["train_counts"][-1]


def test_the_command_in_the_description_repeats_the_run(finished):
    _, _, record = finished
    text = record.data.tags["mlflow.note.content"]
    line = text.split("Repeat: `")[1].split("`")[0].split()
    assert line[:2] == ["imbalance-study", "train"]
    given = dict(zip([w.removeprefix("--") for w in line[2::2]], line[3::2], strict=True))
    repeated = resolve(given | {"tracking_uri": "auto"}).config
    wanted = resolve(GIVEN).config
    assert repeated == wanted


def test_the_data_set_is_recorded_with_its_fingerprint(finished):
    result, _, record = finished
    (entry,) = record.inputs.dataset_inputs
    assert entry.dataset.name == "digits"
    assert entry.dataset.digest == result.facts.digest


def test_the_experiment_has_a_prepared_view_sorted_by_the_headline_metric(finished):
    _, client, record = finished
    tags = client.get_experiment(record.info.experiment_id).tags
    state = json.loads(tags["mlflow.sharedViewState." + experiment_page.data_key("digits")])
    assert state["orderByKey"] == "metrics.`test/balanced_accuracy`"
    for column in state["selectedColumns"]:
        kind, _, name = column.partition(".")
        there = record.data.metrics if kind == "metrics" else record.data.params
        assert name.strip("`") in there


def test_the_logged_model_takes_raw_images_and_gives_the_probabilities_of_the_run(finished):
    result, client, record = finished
    mlflow.set_tracking_uri(client.tracking_uri)
    (output,) = record.outputs.model_outputs
    loaded = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    rows = result.data.split.test[:7]
    probs = loaded.predict(np.ascontiguousarray(result.data.image_set.images[rows]))
    wanted = result.procedure.probabilities(torch.from_numpy(result.test.logits[:7])).numpy()
    np.testing.assert_allclose(probs, wanted, atol=1e-4)


def test_the_checkpoints_hold_the_weights_of_the_kept_and_of_the_last_epoch(finished, tmp_path):
    result, client, record = finished
    for name, state in (("best", result.fit.best), ("last", result.fit.last)):
        path = client.download_artifacts(
            record.info.run_id, f"checkpoints/{name}.pt", str(tmp_path)
        )
        loaded = checkpoint.load(Path(path))
        assert all(torch.equal(loaded["model"][key], value) for key, value in state.items())


def test_a_crash_leaves_the_run_failed(tmp_path, monkeypatch, empty_store):
    monkeypatch.chdir(tmp_path)
    bad = resolve(TINY | {"tracking_uri": empty_store, "imbalance_ratio": "5000"})
    with pytest.raises(ValueError, match="ratio"):
        run.train(bad)
    assert _statuses(empty_store) == ["FAILED"]


def test_a_typing_mistake_in_a_spec_leaves_no_run_at_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    for wrong in ({"loss": "focal:gama=1"}, {"loss": "focal:gamma=-1"}, {"sampler": "power:q=x"}):
        with pytest.raises(ValueError, match=r"gam|q of sampler"):
            run.train(resolve(TINY | {"tracking_uri": store} | wrong))
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "analyses"),
    [
        (signal.SIGTERM, "none"),
        # With standard analyses a thread compiles UMAP meanwhile.
        (signal.SIGTERM, "standard"),
        (signal.SIGINT, "standard"),
    ],
)
def test_a_signal_in_the_middle_leaves_the_run_killed(tmp_path, number, analyses, empty_store):
    given = TINY | {"tracking_uri": empty_store, "epochs": "500", "analyses": analyses}
    process = subprocess.Popen(
        [sys.executable, "-m", "imbalance_study", "train", *tiny.words(given)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what runs in its background with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    patience = threading.Timer(300, process.kill)
    patience.start()
    for line in process.stderr:
        if line.startswith("epoch 2/"):
            break
    process.send_signal(number)
    rest = process.stderr.read()
    assert process.wait(60) not in (0, -signal.SIGKILL)
    patience.cancel()
    assert "Traceback" not in rest
    assert _statuses(empty_store) == ["KILLED"]
    (record,) = tiny.runs_of(empty_store)
    assert f"go on with: imbalance-study resume {record.info.run_id}" in rest


def test_the_same_seed_gives_the_same_metrics_to_the_last_digit(tmp_path):
    from imbalance_study.experiment import run as experiment

    def once():
        given = {"epochs": "2", "augment": "crop+trivial_augment", "mix": "mixup"}
        config = resolve(SMALLEST | given).config
        found = experiment.run(config, output_dir=tmp_path, show_progress=False, draw=False).metrics
        return {name: value for name, value in found.items() if not name.startswith("time/")}

    first, second = once(), once()
    assert {k: repr(v) for k, v in first.items()} == {k: repr(v) for k, v in second.items()}


def _statuses(store):
    return [record.info.status for record in tiny.runs_of(store)]
