import pytest
from mlflow import MlflowClient

from imbalance_study.tracking import run_folder
from imbalance_study.tracking.journal import Journal
from imbalance_study.tracking.resume import resume

pytestmark = pytest.mark.usefixtures("own_place")


def test_a_run_without_checkpoint_is_an_error_that_names_the_folder(empty_store):
    with pytest.raises(ValueError, match=r"there is no checkpoint of run 'abc' in .*/runs/abc"):
        resume("runs:/abc", tracking_uri=empty_store)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("FINISHED", "is FINISHED: there is nothing to resume"),
        ("FAILED", "is FAILED and has no checkpoint .*: it began on far"),
    ],
)
def test_a_run_of_another_machine_is_named_with_its_status(empty_store, status, message):
    client = MlflowClient(empty_store)
    run_id = client.create_run("0", tags={"host": "far"}).info.run_id
    client.set_terminated(run_id, status)
    with pytest.raises(ValueError, match=message):
        resume(run_id, tracking_uri=empty_store)


def test_a_run_that_another_process_records_cannot_be_resumed(empty_store):
    journal = Journal(run_folder.folder_of("abc"))
    with pytest.raises(ValueError, match="still being recorded or uploaded by another process"):
        resume("abc", tracking_uri=empty_store)
    journal.close()


def test_a_finished_run_whose_upload_was_interrupted_is_uploaded(empty_store, capsys):
    folder = run_folder.folder_of("offline-abc")
    journal = Journal(folder)
    start = {"experiment": "mine", "name": "one", "time": 1, "tags": {}, "parent": ""}
    journal.append("start", start)
    journal.end("FINISHED")
    journal.state["store"] = empty_store
    journal.save_state()
    journal.close()
    assert resume("offline-abc") is None
    assert "the training of run offline-abc was finished: 2 records uploaded" in (
        capsys.readouterr().err
    )
    assert not folder.exists()


def test_an_address_out_of_the_folder_of_runs_is_refused(empty_store):
    with pytest.raises(ValueError, match="a run id is made of"):
        resume("../x", tracking_uri=empty_store)
