"""The suite transfer, from a source run to the bars of its gain over scratch."""

import mlflow
import pytest
from tiny import TINY, runs_of, words

from imbalance_study import cli


@pytest.mark.slow
@pytest.mark.usefixtures("own_place")
def test_a_suite_starts_from_the_weights_of_a_run_and_compares_with_scratch(empty_store):
    given = TINY | {"tracking_uri": empty_store}
    cli.main(["train", *words(given)])
    (source,) = runs_of(empty_store)
    client = mlflow.MlflowClient(empty_store)
    changed = {"analyses": "predictions+intervals", "weights": f"runs:/{source.info.run_id}"}
    asked = {"suite": "transfer", "seeds": 1, "experiment": "transfer"}
    cli.main(["compare", *words(asked | given | changed)])
    found = client.get_experiment_by_name("transfer")
    runs = client.search_runs([found.experiment_id])
    children = {r.info.run_name: r for r in runs if "mlflow.parentRunId" in r.data.tags}
    assert set(children) == {
        f"{name}, digits, seed 0" for name in ("scratch", "head only", "last block", "all layers")
    }
    assert "weights" not in children["scratch, digits, seed 0"].data.tags
    for name in ("head only", "last block", "all layers"):
        tags = children[f"{name}, digits, seed 0"].data.tags
        assert tags["weights"] == f"97 tensors from runs:/{source.info.run_id}; head loaded"
    (parent,) = (r for r in runs if "mlflow.parentRunId" not in r.data.tags)
    figures = {
        file.path for file in client.list_artifacts(parent.info.run_id, "figures/comparison")
    }
    assert {
        f"figures/comparison/{name}.png" for name in ("differences", "training_curves")
    } <= figures
