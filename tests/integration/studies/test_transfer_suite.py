"""The suite transfer, from a source run to the bars of its gain over scratch."""

import mlflow
import pytest

from imbalance_study import cli
from imbalance_study.models import pretrained

TINY = [
    "--dataset=digits",
    "--model=resnet20",
    "--epochs=1",
    "--steps_per_epoch=3",
    "--system_metrics=false",
]


@pytest.fixture(autouse=True)
def _own_store(monkeypatch, tmp_path):
    for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_a_suite_starts_from_the_weights_of_a_run_and_compares_with_scratch(tmp_path, capsys):
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    cli.main(["train", *TINY, "--image_size=16", "--analyses=none", f"--tracking_uri={store}"])
    client = mlflow.MlflowClient(store)
    (experiment,) = (e for e in client.search_experiments() if e.name != "Default")
    (source,) = client.search_runs([experiment.experiment_id])
    cli.main(
        ["compare", "--suite=transfer", *TINY, "--seeds=1", "--analyses=predictions+intervals",
         f"--weights=runs:/{source.info.run_id}", f"--tracking_uri={store}",
         "--experiment=transfer"]
    )  # fmt: skip
    assert not pretrained.FETCHED
    found = client.get_experiment_by_name("transfer")
    runs = client.search_runs([found.experiment_id])
    children = {r.info.run_name: r for r in runs if "mlflow.parentRunId" in r.data.tags}
    assert set(children) == {
        f"{name}, seed 0" for name in ("scratch", "head only", "last block", "all layers")
    }
    assert "weights" not in children["scratch, seed 0"].data.tags
    for name in ("head only", "last block", "all layers"):
        tags = children[f"{name}, seed 0"].data.tags
        assert tags["weights"] == f"97 tensors from runs:/{source.info.run_id}; head loaded"
    (parent,) = (r for r in runs if "mlflow.parentRunId" not in r.data.tags)
    figures = {
        file.path for file in client.list_artifacts(parent.info.run_id, "figures/comparison")
    }
    assert {
        f"figures/comparison/{name}.png" for name in ("differences", "training_curves")
    } <= figures
