import mlflow
import pytest

from imbalance_study.tracking import fetch


def test_an_unknown_run_and_a_run_without_checkpoint_are_told_apart(tiny_run, tmp_path, make_store):
    with pytest.raises(ValueError, match=r"unknown run 'abc' in sqlite"):
        fetch.download_checkpoint("abc", tmp_path, tiny_run.store)
    own = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.raises(ValueError, match="there is no store"):
        fetch.download_checkpoint("abc", tmp_path, own)
    assert not (tmp_path / "mlflow.db").exists()
    client = mlflow.MlflowClient(make_store(tmp_path))
    place = client.create_experiment("x", artifact_location=str(tmp_path / "artifacts"))
    made = client.create_run(place)
    with pytest.raises(ValueError, match=r"no checkpoint checkpoints/best.pt: .* RUNNING"):
        fetch.download_checkpoint(made.info.run_id, tmp_path, own)


class _FewAtATime(mlflow.MlflowClient):
    """A client of a store that gives two runs a page."""

    def search_runs(self, *args, **kwargs):
        return super().search_runs(*args, max_results=2, **kwargs)


def test_runs_of_all_pages_are_found_the_newest_first(empty_store):
    client = _FewAtATime(empty_store)
    ids = [client.create_run("0", start_time=time).info.run_id for time in (1, 3, 2, 5, 4)]
    client.set_tag(ids[0], "other", "1")
    found = [run.info.run_id for run in fetch.search_runs(client, "0", "")]
    assert found == [ids[position] for position in (3, 4, 1, 2, 0)]
    query = "tags.other = '1'"
    assert [run.info.run_id for run in fetch.search_runs(client, "0", query)] == [ids[0]]
    assert list(fetch.search_runs(client, "0", "tags.other = '2'")) == []


def test_an_artifact_that_does_not_exist_is_named_with_its_run(empty_store, tmp_path):
    client = mlflow.MlflowClient(empty_store)
    place = client.create_experiment("x", artifact_location=str(tmp_path / "artifacts"))
    run = client.create_run(place)
    with pytest.raises(ValueError, match=f"a.txt of run {run.info.run_id} cannot be downloaded"):
        fetch.download(client, run, "a.txt", tmp_path)
    client.log_text(run.info.run_id, "text", "a.txt")
    assert fetch.download(client, run, "a.txt", tmp_path).read_text() == "text"


@pytest.mark.parametrize("tagged", ["run", "version"])
def test_a_checkpoint_that_was_replaced_is_refused(empty_store, tmp_path, tagged):
    client = mlflow.MlflowClient(empty_store)
    place = client.create_experiment("x", artifact_location=str(tmp_path / "artifacts"))
    run_id = client.create_run(place).info.run_id
    (tmp_path / "best.pt").write_bytes(b"weights")
    client.log_artifact(run_id, str(tmp_path / "best.pt"), "checkpoints")
    client.create_registered_model("m")
    client.create_model_version("m", str(tmp_path), run_id)
    right = fetch.hash_of(tmp_path / "best.pt")
    address = "models:/m/1" if tagged == "version" else f"runs:/{run_id}"

    def record(digest):
        if tagged == "version":
            client.set_model_version_tag("m", "1", fetch.HASH_TAG, digest)
        else:
            client.set_tag(run_id, fetch.HASH_TAG, digest)

    record(right)
    assert (
        fetch.download_checkpoint(address, tmp_path / "a", empty_store).read_bytes() == b"weights"
    )
    record(right[::-1])
    with pytest.raises(ValueError, match=rf"is not the file that .*{tagged}.* recorded"):
        fetch.download_checkpoint(address, tmp_path / "b", empty_store)


def test_a_run_whose_folder_was_moved_is_told_from_one_that_has_no_checkpoint(
    empty_store, tmp_path
):
    client = mlflow.MlflowClient(empty_store)
    place = client.create_experiment("x", artifact_location=str(tmp_path / "old" / "mlruns"))
    run_id = client.create_run(place, tags={"imbalance_study.version": "0.1.0"}).info.run_id
    client.log_text(run_id, "text", "a.txt")
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(
        ValueError, match=rf"in {tmp_path}/old/mlruns/.* does not exist.*put .*back"
    ):
        fetch.download_checkpoint(run_id, tmp_path, empty_store)
