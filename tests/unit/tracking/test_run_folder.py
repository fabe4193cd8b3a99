import pytest

from imbalance_study.tracking import run_folder


def test_the_folder_of_a_run_is_below_runs_of_the_cache_and_is_not_made(tmp_path):
    folder = run_folder.folder_of("abc-1", str(tmp_path))
    assert folder == tmp_path / "runs" / "abc-1"
    assert not folder.exists()


def test_an_automatic_cache_is_that_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("IMBALANCE_STUDY_CACHE", str(tmp_path))
    assert run_folder.runs_folder() == tmp_path / "runs"
    assert run_folder.runs_folder("~/x").name == "runs"
    assert "~" not in str(run_folder.runs_folder("~/x"))


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a b", "x" * 65])
def test_a_run_id_cannot_lead_out_of_its_folder(name):
    with pytest.raises(ValueError, match="a run id is made of"):
        run_folder.folder_of(name)
