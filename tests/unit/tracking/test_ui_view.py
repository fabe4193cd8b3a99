"""The prepared view as the store has it; test_ui.py looks at it in a browser."""

import json
import threading

from mlflow import MlflowClient

from imbalance_study.tracking import ui_view


def test_several_processes_can_prepare_the_same_view_at_once(tmp_path, empty_store):
    client = MlflowClient(empty_store)
    experiment = client.create_experiment("x", artifact_location=str(tmp_path))
    failed = []
    barrier = threading.Barrier(8)

    def prepare(number):
        barrier.wait()
        try:
            for key in range(5):
                ui_view.write_view(client, experiment, ui_view.View(str(key)))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=prepare, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_runs_are_grouped_by_a_tag_when_asked_to(tmp_path, empty_store):
    client = MlflowClient(empty_store)
    experiment = client.create_experiment("x", artifact_location=str(tmp_path))
    view = ui_view.View("y", group_by="configuration", images=(), count=14)
    ui_view.write_view(client, experiment, view)
    state = json.loads(client.get_experiment(experiment).tags["mlflow.sharedViewState.y"])
    assert state["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "configuration"}]
    assert {card["type"] for card in state["compareRunCharts"]} == {"BAR", "LINE"}
    assert {card["runsCountToCompare"] for card in state["compareRunCharts"]} == {20}


def test_validation_is_a_curve_in_the_charts_and_the_order_can_be_ascending(tmp_path, empty_store):
    client = MlflowClient(empty_store)
    experiment = client.create_experiment("x", artifact_location=str(tmp_path))
    names = ("selected_val/loss", "val/loss", "val/macro_f1")
    view = ui_view.View("y", metrics=names, tags=("trial_state",), ascending=True)
    ui_view.write_view(client, experiment, view)
    state = json.loads(client.get_experiment(experiment).tags["mlflow.sharedViewState.y"])
    assert state["orderByAsc"]
    assert "tags.`trial_state`" in state["selectedColumns"]
    cards = [(card["type"], card.get("metricKey")) for card in state["compareRunCharts"]]
    assert [name for kind, name in cards if kind == "BAR"] == ["selected_val/loss"]
    curves = [name for kind, name in cards if kind == "LINE"]
    assert sorted(curves) == sorted({"val/macro_f1", *ui_view.CURVES})
