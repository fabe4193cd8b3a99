import pytest

from imbalance_study.tracking import attachments


def test_texts_files_and_folders_are_copied(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    contents = {"c/c.txt": b"c", "b.txt": tmp_path / "b.txt", "m": tmp_path / "model"}
    attachments.store(tmp_path / "kept", contents)
    (tmp_path / "b.txt").unlink()
    found = {path.name: path.read_text() for path in (tmp_path / "kept").rglob("*.txt")}
    assert found == {"a.txt": "a", "b.txt": "b", "c.txt": "c"}


def test_nothing_is_left_of_files_that_do_not_fit(tmp_path, small_files_only):
    with small_files_only(10), pytest.raises(OSError):
        attachments.store(tmp_path / "kept", {"a": b"a", "b": bytes(100)})
    assert not (tmp_path / "kept").exists()
