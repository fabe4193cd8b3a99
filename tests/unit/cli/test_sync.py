import pytest

from imbalance_study import cli
from imbalance_study.tracking import run_folder
from imbalance_study.tracking.journal import Journal

pytestmark = pytest.mark.usefixtures("own_place")


def _journal(name):
    journal = Journal(run_folder.folder_of(name))
    start = {"experiment": "mine", "name": "one", "time": 1, "tags": {}, "parent": ""}
    journal.append("start", start)
    journal.end("FINISHED")
    return journal


def test_journals_are_uploaded_and_then_nothing_is_left(empty_store, capsys):
    _journal("offline-a").close()
    cli.main(["sync", "--tracking_uri", empty_store])
    assert capsys.readouterr().out.startswith("offline-a: 2 records uploaded to run ")
    cli.main(["sync", "--tracking_uri", empty_store])
    assert capsys.readouterr().out == "Nothing to upload.\n"


def test_a_journal_that_cannot_be_uploaded_gives_status_1_and_stops_no_other(empty_store, capsys):
    busy = _journal("offline-a")
    _journal("offline-b").close()
    with pytest.raises(SystemExit) as stop:
        cli.main(["sync", "--tracking_uri", empty_store])
    assert stop.value.code == 1
    first, second = capsys.readouterr().out.splitlines()
    assert "offline-a: the run offline-a is still being recorded" in first
    assert second.startswith("offline-b: 2 records uploaded")
    busy.close()


def test_an_unknown_journal_is_named_with_the_folder(empty_store, capsys):
    with pytest.raises(SystemExit):
        cli.main(["sync", "offline-x", "--tracking_uri", empty_store])
    assert "there is no journal of offline-x in" in capsys.readouterr().err
