import os

import pytest

NO_STORE = ("--tracking_uri", "sqlite:///none.db")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "images must name an image or a folder"),
        (("--images", "."), "model must name a trained model: models:/NAME@champion"),
        (("--images", "x", "--model", "m.pt"), "there is no image or folder x"),
        (("--images", "empty", "--model", "m.pt"), "there are no files in empty"),
        (("--images", "a.png", "--model", "m.pt"), "model 'm.pt' does not exist"),
        (("--images", "a.png", "--model", "./empty"), "model './empty' is a folder"),
        (("--images", "a.png", "--model", "runs:/1", *NO_STORE), "there is no store"),
        (("--images", "a.png", "--model", "m", "--out", "p.xlsx"), "out must end in .parquet or"),
        (("--images", "a.png", "--model", "m", "--contact_sheet", "s.jpg"), "must end in .png"),
        (("--images", "a.png", "--model", "m", "--reject_below", "2"), "must be at most 1, got 2"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(args, message, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.png").touch()
    done = command("predict", *args)
    assert done.status == 1
    assert message in done.err
    assert done.err.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["a.png", "empty"]
