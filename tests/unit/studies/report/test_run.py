import pytest
from mlflow import MlflowClient

from imbalance_study.studies.report.document import Figure, Table
from imbalance_study.studies.report.run import run_report
from imbalance_study.tracking import store


def test_a_run_is_reported_with_its_result_options_and_curves(tiny_run):
    store.connect(tiny_run.store)
    report = run_report(tiny_run.client, tiny_run.record)
    titles = [one.title for one in report.sections]
    assert titles[0] == "Result"
    assert titles[-1] == "How to repeat it"
    assert {"Configuration", "Training", "Where it fails", "Calibration"} <= set(titles)
    tables = {one.name: one for one in report.all(Table)}
    result = dict(zip(*list(tables["result"].columns.values())[:2], strict=True))
    assert tiny_run.result.metrics["test/accuracy"] in result.values()
    assert "loss" in tables["configuration"].columns["option"]
    assert "training_curves" in {one.name for one in report.all(Figure)}


def test_a_run_that_is_no_training_is_refused(empty_store):
    client = MlflowClient(empty_store)
    other = client.create_run("0")
    with pytest.raises(ValueError, match=r"has no config\.json"):
        run_report(client, other)
