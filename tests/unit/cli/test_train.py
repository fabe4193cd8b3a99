import tiny

from imbalance_study import cli


def test_a_dry_run_prints_the_configuration_and_trains_nothing(tmp_path, capsys, own_place):
    cli.main(["train", *tiny.words(tiny.TINY), "--loss=focal:gamma=1", "--dry_run"])
    output = capsys.readouterr().out
    assert "focal:gamma=1" in output
    assert "resnet20" in output
    assert not list(tmp_path.glob("mlflow.db"))


def test_a_configuration_is_trained_and_recorded(tmp_path, capsys, own_place, empty_store):
    words = tiny.words(tiny.SMALLEST | {"tracking_uri": empty_store, "tracking": "online"})
    cli.main(["train", *words])
    assert "Result on" in capsys.readouterr().out
    (run,) = tiny.runs_of(empty_store)
    assert run.info.status == "FINISHED"
    assert "time/start_seconds" in run.data.metrics
