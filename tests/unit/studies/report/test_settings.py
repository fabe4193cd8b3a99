import pytest

from imbalance_study.studies.report.settings import ReportSettings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "a report takes either experiment or run, got none"),
        ({"experiment": ""}, "a report takes either experiment or run, got none"),
        ({"experiment": "a", "run": "b"}, "a report takes either experiment or run, got both"),
    ],
)
def test_a_report_has_one_subject(given, message):
    with pytest.raises(ValueError, match=message):
        ReportSettings(**given)


def test_a_run_or_an_experiment_is_a_subject():
    assert ReportSettings(run="abc").experiment == "none"
    assert ReportSettings(experiment="mine").run == "none"
