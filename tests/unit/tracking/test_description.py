import shlex

from imbalance_study.config.resolve import resolve
from imbalance_study.tracking import description


def test_the_command_repeats_the_options_that_were_given_and_not_where_it_is_recorded():
    given = {"dataset": "digits", "data_dir": "my data", "ema": "true", "run_name": "x"}
    words = shlex.split(description.repeat_command(resolve(given)))
    assert words[:2] == ["imbalance-study", "train"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options.pop("--model")
    assert options == {
        "--dataset": "digits",
        "--data_dir": "my data",
        "--ema": "true",
        "--seed": "0",
    }


def test_a_local_store_is_opened_by_a_command_and_a_server_by_its_address():
    (_, command) = description.how_to_open("sqlite:////a b/mlflow.db")
    assert shlex.split(command) == [
        "mlflow",
        "ui",
        "--backend-store-uri",
        "sqlite:////a b/mlflow.db",
    ]
    assert description.how_to_open("http://host:1/") == []
    assert description.server("http://host:1/") == "http://host:1"
    assert description.server("sqlite:////a/mlflow.db") == "http://127.0.0.1:5000"
