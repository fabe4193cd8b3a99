import pytest
from mlflow import MlflowClient

from imbalance_study.tracking import experiments


@pytest.fixture
def client(empty_store):
    return MlflowClient(empty_store)


def test_without_a_word_it_is_mlflows_own(client):
    assert experiments.find_or_create(client, "auto").name == "Default"


def test_the_variables_that_mlflow_reads_are_read_the_id_first(client, monkeypatch):
    team = client.create_experiment("team")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "team")
    assert experiments.find_or_create(client, "auto").experiment_id == team
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "new")
    assert experiments.find_or_create(client, "auto").name == "new"
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", team)
    assert experiments.find_or_create(client, "auto").name == "team"
    assert experiments.named_now("auto") == team
    assert experiments.find_or_create(client, "mine").name == "mine"


def test_variables_that_contradict_each_other_are_refused(client, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", client.create_experiment("one"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "other")
    with pytest.raises(ValueError, match="_ID=1 and MLFLOW_EXPERIMENT_NAME=other mean two"):
        experiments.find_or_create(client, "auto")


def test_a_number_is_an_id_and_makes_no_experiment_of_that_name(client):
    number = client.create_experiment("mine")
    assert experiments.find_or_create(client, number).name == "mine"
    with pytest.raises(ValueError, match=r"experiment=77: a number is the id.*1 \(mine\)"):
        experiments.find_or_create(client, "77")
    assert {one.name for one in client.search_experiments()} == {"Default", "mine"}


def test_an_experiment_with_a_number_for_a_name_is_found_where_no_id_is_meant(client):
    client.create_experiment("2026")
    assert experiments.find_or_create(client, "2026").name == "2026"


def test_a_deleted_experiment_says_how_to_restore_it(client):
    number = client.create_experiment("gone")
    client.delete_experiment(number)
    for wanted in ("gone", number):
        with pytest.raises(ValueError, match=f"restore --experiment-id {number}"):
            experiments.find_or_create(client, wanted)


def test_a_joined_run_of_another_experiment_is_refused_with_the_way_out(client):
    run = client.create_run("0").info.run_id
    for wanted in ("auto", "Default", "0"):
        assert experiments.of_joined_run(client, run, wanted).name == "Default"
    client.create_experiment("there")
    for wanted in ("there", "new"):
        with pytest.raises(ValueError, match=r"cannot|no run can be moved.*--experiment-name"):
            experiments.of_joined_run(client, run, wanted)
    assert client.get_experiment_by_name("new") is None


def test_looking_makes_nothing(client, monkeypatch):
    assert experiments.find(client, "new") is None
    assert experiments.of_next_run(client, "new") is None
    assert client.get_experiment_by_name("new") is None
    client.create_experiment("there")
    monkeypatch.setenv("MLFLOW_RUN_ID", client.create_run("0").info.run_id)
    assert experiments.of_next_run(client, "auto").name == "Default"
    with pytest.raises(ValueError, match="comes too late"):
        experiments.of_next_run(client, "there")


def test_the_experiment_of_earlier_versions_is_pointed_to_until_runs_are_in_the_new_one(
    client, capsys
):
    experiments._say_former.cache_clear()
    client.create_experiment("imbalance_study")
    experiments.find_or_create(client, "auto")
    assert "--experiment imbalance_study goes on there" in capsys.readouterr().err
    experiments._say_former.cache_clear()
    client.create_run("0")
    experiments.find_or_create(client, "auto")
    assert capsys.readouterr().err == ""
