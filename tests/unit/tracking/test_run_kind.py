import pytest
from mlflow.entities import LifecycleStage, Run, RunData, RunInfo, RunTag

from imbalance_study.tracking import run_kind


def _run(**tags):
    info = RunInfo("1", "0", "me", "FINISHED", 1, 2, LifecycleStage.ACTIVE)
    names = {name.replace("__", "."): text for name, text in tags.items()}
    return Run(info, RunData(tags=[RunTag(name, text) for name, text in names.items()]))


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({}, "training"),
        ({"imbalance_study__version": "0.1.0"}, "training"),
        ({"imbalance_study__version": "0.1.0", "mlflow__parentRunId": "2"}, "child"),
        ({"imbalance_study__version": "0.1.0", "comparison": "a"}, "comparison of runs"),
        ({"study": "s"}, "study of runs"),
        ({"study": "s", "trial": "1", "mlflow__parentRunId": "2"}, "trial"),
        ({"study": "s", "winner_of_trial": "1", "mlflow__parentRunId": "2"}, "child"),
        ({"report": "Experiment x"}, "report"),
    ],
)
def test_runs_of_earlier_versions_have_the_kind_that_their_tags_show(tags, kind):
    assert run_kind.kind_of(_run(**tags)) == kind


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ("main", "training"),
        ("distributed", "training"),
        ("compare", "comparison of runs"),
        ("study", "study of runs"),
        ("advise", "advice"),
        ("report", "report"),
        ("evaluate", "foreign"),
    ],
)
def test_a_run_that_failed_before_it_began_has_the_kind_of_its_entry_point(entry, kind):
    run = _run(mlflow__source__name="/project", mlflow__project__entryPoint=entry)
    assert run_kind.kind_of(run) == kind


def test_a_run_of_another_program_is_foreign_and_the_kind_that_a_run_says_counts():
    assert run_kind.kind_of(_run(mlflow__source__name="script.py")) == "foreign"
    assert run_kind.kind_of(_run(imbalance_study__kind="trial", mlflow__user="x")) == "trial"
