import pytest

from imbalance_study.studies.report.settings import ReportSettings


def test_a_report_has_one_subject():
    with pytest.raises(ValueError, match="a report takes either experiment or run, got both"):
        ReportSettings(experiment="a", run="b")


def test_a_run_an_experiment_or_the_usual_experiment_is_the_subject():
    assert ReportSettings().experiment == "auto"
    assert ReportSettings(run="abc").experiment == "auto"
    assert ReportSettings(experiment="mine").run == "none"
