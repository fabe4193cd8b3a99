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
