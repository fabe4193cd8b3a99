import pytest
from mlflow import MlflowClient

from imbalance_study import cli
from imbalance_study.tracking import process


@pytest.fixture
def orphan(empty_store):
    """The id of a run whose process, on another machine, has been silent for long."""
    tags = process.tags() | {process.PROCESS: "another 1 2", process.HEARTBEAT: "1000"}
    return MlflowClient(empty_store).create_run("0", tags=tags, run_name="lost").info.run_id


def test_an_orphaned_run_is_listed_and_marked(empty_store, orphan, capsys):
    cli.main(["reap", "--tracking_uri", empty_store, "--dry_run"])
    output = capsys.readouterr().out
    assert output.startswith(f"{orphan} (lost, Default): process ")
    assert output.endswith("; would be marked FAILED\n")
    cli.main(["reap", "--tracking_uri", empty_store])
    assert capsys.readouterr().out.endswith("; marked FAILED\n")
    assert MlflowClient(empty_store).get_run(orphan).info.status == "FAILED"
    cli.main(["reap", "--tracking_uri", empty_store])
    assert capsys.readouterr().out == "No RUNNING run has lost its process.\n"


def test_a_silence_of_less_than_two_heartbeats_is_refused(empty_store, capsys):
    with pytest.raises(SystemExit):
        cli.main(["reap", "--tracking_uri", empty_store, "--silence", "30"])
    assert "silence must be at least 60, got 30" in capsys.readouterr().err
