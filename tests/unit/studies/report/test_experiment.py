import pytest
from mlflow import MlflowClient

from imbalance_study.studies.report import experiment
from imbalance_study.studies.report.document import Code, Items, Paragraph
from imbalance_study.studies.report.experiment import experiment_report
from imbalance_study.studies.search import parent_run

METRIC = "test/balanced_accuracy"


@pytest.fixture
def report_of(tiny_run):
    """A function that reports on runs."""

    def make(runs, baseline="auto", metric=METRIC):
        return experiment_report(
            tiny_run.client, runs, "mine", baseline=baseline, metric=metric, command="again"
        )

    return make


@pytest.fixture
def failed(empty_store):
    """A run that ended before it had a result."""
    client = MlflowClient(empty_store)
    run_id = client.create_run("0", run_name="broken").info.run_id
    client.set_terminated(run_id, "FAILED")
    return client.get_run(run_id)


def test_runs_without_a_result_are_counted_and_named(report_of, tiny_run, failed):
    report = report_of([failed, tiny_run.record])
    assert Items(["1 FAILED: broken"]) in report.sections[0].blocks
    first, made, what = report.all(Paragraph)[:3]
    assert first.strong
    assert first.text.startswith("ldam reaches balanced accuracy ")
    assert made.text.startswith("Made 2")
    assert what.text.startswith("1 finished training runs, compared on")
    assert report.all(Code)[-1].text.endswith("again")
    assert [one.title for one in report.sections][1:4] == [
        "Which remedy",
        "How sure",
        "At what cost",
    ]


def test_without_a_finished_run_the_reasons_are_given(report_of, tiny_run, failed):
    with pytest.raises(ValueError, match=r"no finished training run with .*: 1 FAILED: broken"):
        report_of([failed])
    with pytest.raises(ValueError, match="1 finished without test/nothing"):
        report_of([tiny_run.record], metric="test/nothing")


def test_an_unknown_baseline_is_refused_with_the_known_ones(report_of, tiny_run):
    with pytest.raises(ValueError, match="unknown baseline 'focal'; known: ldam"):
        report_of([tiny_run.record], baseline="focal")


def test_trials_are_counted_and_not_listed(report_of, tiny_run, empty_store):
    client = MlflowClient(empty_store)
    trials = []
    for number in range(2):
        tags = {experiment.TRIAL: str(number)}
        run_id = client.create_run("0", run_name=f"trial {number}", tags=tags).info.run_id
        trials.append(client.get_run(run_id))
    report = report_of([*trials, tiny_run.record])
    assert Items(["2 trials of studies, without a test"]) in report.sections[0].blocks
    assert experiment.TRIAL == parent_run.TRIAL
