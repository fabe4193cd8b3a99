import pytest

from imbalance_study import cli


def test_the_lines_of_a_promotion_are_printed(tiny_run, capsys):
    words = ("--name", "by_command", "--tracking_uri", tiny_run.store)
    cli.main(["promote", tiny_run.run_id, *words])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"by_command version 1 is @champion: run {tiny_run.run_id}"
    assert lines[-1].startswith("Serve it:  mlflow models serve -m models:/by_command@champion")


def test_an_unknown_run_is_one_line(empty_store, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["promote", "abc", "--tracking_uri", empty_store])
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("Error: unknown run 'abc' in sqlite")
