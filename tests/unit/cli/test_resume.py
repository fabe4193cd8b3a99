import pytest

from imbalance_study import cli


def test_a_run_without_checkpoint_is_one_line(own_place, empty_store, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["resume", "abc", "--tracking_uri", empty_store])
    assert stop.value.code == 1
    assert "there is no checkpoint of run 'abc'" in capsys.readouterr().err


def test_a_wrong_kind_of_tracking_is_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["resume", "abc", "--tracking", "sometimes"])
    assert "tracking must be one of auto, online, offline" in capsys.readouterr().err
