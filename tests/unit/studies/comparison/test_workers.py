import pytest

from imbalance_study.config.resolve import resolve
from imbalance_study.studies.comparison import workers

MISSING = {"dataset": "imagefolder", "data_dir": "no_such_folder", "device": "cpu"}
DYING = """
import os

def net(num_classes):
    os._exit(3)
"""


def task(**options):
    given = MISSING | options
    return workers.RunTask(resolve(given), {}, "", brief=True, metric="test/accuracy", weights={})


@pytest.fixture
def reported():
    """A list, and a function that adds to it."""
    results = []
    return results, lambda number, result: results.append((number, result.problem))


def test_a_given_number_of_runs_is_kept_up_to_the_number_of_tasks():
    assert workers.count_parallel(3, [None] * 5, None) == 3
    assert workers.count_parallel(8, [None] * 5, None) == 5
    assert workers.count_parallel(2, [], None) == 1
    assert workers.count_parallel("auto", [], None) == 1


def test_an_error_becomes_the_problem_of_a_result(own_place, empty_store):
    result = workers.run_task(task(tracking_uri=empty_store))
    assert "no_such_folder" in result.problem
    assert "\n" not in result.problem
    assert result.value != result.value


def test_tasks_run_in_their_order(own_place, empty_store, reported):
    results, report = reported
    workers.run_in_turn([task(tracking_uri=empty_store)] * 2, report)
    assert [number for number, _ in results] == [0, 1]


@pytest.mark.slow
def test_a_process_that_dies_loses_its_task_only(
    own_place, empty_store, reported, tmp_path, monkeypatch
):
    (tmp_path / "dying.py").write_text(DYING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    results, report = reported
    given = {"tracking_uri": empty_store, "dataset": "digits", "data_dir": "."}
    dying = task(**given, model="dying:net")
    workers.run_in_parallel([dying, task(tracking_uri=empty_store)], 1, report)
    assert [number for number, _ in results] == [0, 1]
    assert results[0][1] == "its process ended with status 3"
    assert "no_such_folder" in results[1][1]
