import pytest
import torch

from imbalance_study.config.resolve import resolve
from imbalance_study.studies.comparison import workers
from imbalance_study.studies.comparison.plan import PlannedRun

MISSING = {"dataset": "imagefolder", "data_dir": "no_such_folder", "device": "cpu"}
DYING = """
import os

def net(num_classes):
    os._exit(3)
"""
COUNTING = """
import torch

def cells(data_dir):
    (data_dir / "threads").write_text(str(torch.get_num_threads()))
    raise ValueError("no cells")
"""


def task(**options):
    given = MISSING | options
    return workers.RunTask(resolve(given), {}, "", brief=True, metric="test/accuracy", weights={})


def planned(**options):
    return PlannedRun("a", 0, True, resolve({"dataset": "digits"} | options), "", "", "")


@pytest.fixture
def reported():
    """A list, and a function that adds to it."""
    results = []
    return results, lambda number, result: results.append((number, result.problem))


def test_a_given_number_of_runs_is_kept_up_to_the_number_of_tasks():
    children = [planned(device="cpu")] * 5
    assert workers.count_parallel(3, children, None) == 3
    assert workers.count_parallel(8, children, None) == 5
    assert workers.count_parallel(2, [], None) == 1
    assert workers.count_parallel("auto", [], None) == 1


@pytest.mark.parametrize(("given", "expected"), [("", 1), ("3", 3), ("many", 1), ("0", 1)])
def test_runs_on_a_processor_have_as_many_threads_whatever_runs_beside_them(
    given, expected, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    children = [PlannedRun("a", 0, True, resolve({"device": "cpu"}), "", "", "")]
    for parallel in (1, 2, 5):
        assert workers.count_threads("auto", parallel, children) == expected
        assert workers.count_threads(4, parallel, children) == 4


@pytest.mark.threads(2)
def test_a_run_computes_with_the_threads_that_are_given_and_leaves_the_number_as_it_was(
    tmp_path, monkeypatch, empty_store, reported
):
    (tmp_path / "counting.py").write_text(COUNTING)
    monkeypatch.chdir(tmp_path)
    results, report = reported
    given = task(dataset="counting:cells", data_dir=str(tmp_path), tracking_uri=empty_store)
    workers.run_in_turn([given], report, threads=1)
    assert "no cells" in results[0][1]
    assert (tmp_path / "threads").read_text() == "1"
    assert torch.get_num_threads() == 2


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


def test_runs_at_the_same_time_do_not_each_try_what_the_gpu_holds(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    children = [planned(device="cuda", batch_size="auto")] * 3
    assert workers.count_parallel("auto", children, None) == 1
    assert workers.count_parallel(1, children, None) == 1
    with pytest.raises(ValueError, match=r"batch_size=auto tries what .* which 2 runs at a time"):
        workers.count_parallel(2, children, None)


def test_the_memory_of_a_run_whose_batch_size_is_open_is_that_of_the_usual_one():
    sizes = [
        workers._gpu_bytes(resolve({"dataset": "digits", "batch_size": size}).config, None)
        for size in ("auto", 32, 64)
    ]
    assert sizes[0] == sizes[1] < sizes[2]
