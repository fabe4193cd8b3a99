import json

import pytest
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from imbalance_study.tracking import experiment_page, run_kind


@pytest.fixture
def client(empty_store):
    return MlflowClient(empty_store)


def _make_run(client, name, kind, data="digits"):
    tags = {run_kind.KIND: kind, run_kind.DATA: data}
    return client.create_run("0", run_name=name, tags=tags).info.run_id


def _note(client):
    return client.get_experiment("0").tags[MLFLOW_RUN_NOTE]


def _view(client, key):
    return json.loads(client.get_experiment("0").tags[f"mlflow.sharedViewState.{key}"])


def test_each_data_set_has_a_view_of_its_trainings_alone(client):
    mine = _make_run(client, "mine", run_kind.TRAINING)
    for kind in (run_kind.CHILD, run_kind.TRIAL, run_kind.COMPARISON, run_kind.STUDY):
        _make_run(client, kind, kind)
    _make_run(client, "other", run_kind.TRAINING, 'it\'s mine: a="b"'.replace('"', ""))
    for data in ("digits", "it's mine: a=b"):
        experiment_page.write(client, "0", data)
    search = _view(client, experiment_page.data_key("digits"))["searchFilter"]
    assert [run.info.run_id for run in client.search_runs(["0"], search)] == [mine]
    other = _view(client, experiment_page.data_key("it's mine: a=b"))["searchFilter"]
    assert [run.info.run_name for run in client.search_runs(["0"], other)] == ["other"]


def test_comparisons_and_studies_are_a_view_the_newest_first(client):
    names = [
        _make_run(client, kind, kind)
        for kind in (run_kind.COMPARISON, run_kind.STUDY, run_kind.TRAINING, run_kind.CHILD)
    ]
    experiment_page.write(client, "0")
    view = _view(client, experiment_page.PARENTS_KEY)
    found = {run.info.run_id for run in client.search_runs(["0"], view["searchFilter"])}
    assert found == set(names[:2])
    assert (view["orderByKey"], view["orderByAsc"]) == ("attributes.start_time", False)


def test_the_description_links_to_views_comparisons_and_the_last_report(client):
    compared = _make_run(client, "compare loss on digits", run_kind.COMPARISON)
    report = _make_run(client, "report of Experiment Default", run_kind.REPORT)
    for data in ("digits", "cifar10"):
        experiment_page.write(client, "0", data)
    note = _note(client)
    assert note.splitlines()[2].startswith("[Comparisons and studies](#/")
    assert "All runs of [cifar10](#/" in note
    assert " · [digits](#/" in note
    assert f"[compare loss on digits](#/experiments/0/runs/{compared}?" in note
    assert f"/runs/{report}/artifacts/report/report.html?" in note
    assert "](http" not in note  # it works on any server, host and port


def test_what_a_person_wrote_into_the_description_stays(client):
    client.set_experiment_tag("0", MLFLOW_RUN_NOTE, "Ours since 2024.")
    experiment_page.write(client, "0", "digits")
    assert _note(client).startswith("Ours since 2024.\n")
    client.set_experiment_tag("0", MLFLOW_RUN_NOTE, _note(client) + "\n\nAsk Ada.")
    experiment_page.write(client, "0", "cifar10")
    note = _note(client)
    assert note.startswith("Ours since 2024.\n")
    assert note.endswith("\n\nAsk Ada.")
    assert note.count("[Comparisons and studies]") == 1
    assert "[cifar10](#/" in note


def test_nothing_is_written_where_all_is_there(client):
    experiment_page.write(client, "0", "digits")
    before = client.get_experiment("0").last_update_time
    experiment_page.write(client, "0", "digits")
    assert client.get_experiment("0").last_update_time == before
