import pytest

from imbalance_study.cli.loading import load_model, trusts_store
from imbalance_study.tracking import fetch


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("missing.pt", "model 'missing.pt' does not exist; give models:/NAME@champion"),
        ("folder", "model 'folder' is a folder, not a file"),
        ("folder/missing", "does not exist"),
        ("notes.txt", "is not a checkpoint"),
    ],
)
def test_a_wrong_address_is_an_error_that_names_it(tmp_path, monkeypatch, address, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("no weights")
    with pytest.raises(ValueError, match=message):
        load_model(address)


def test_a_run_and_its_checkpoint_file_give_the_same_model(tiny_run, tmp_path):
    path = fetch.download_checkpoint(tiny_run.run_id, tmp_path, tiny_run.store)
    by_file = load_model(str(path))
    by_run = load_model(f"runs:/{tiny_run.run_id}", tiny_run.store)
    assert by_file.config == by_run.config
    assert by_file.class_names == by_run.class_names
    for name, value in by_file.model.state_dict().items():
        assert value.equal(by_run.model.state_dict()[name])


@pytest.mark.parametrize(
    ("address", "trusted"),
    [("sqlite:///a.db", True), ("http://127.0.0.1:9", False), ("postgresql://h/db", False)],
)
def test_functions_named_in_a_shared_store_are_imported_on_demand_alone(
    monkeypatch, address, trusted
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert trusts_store(own_code=False) == trusted
    assert trusts_store(own_code=True)
