import os
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from imbalance_study import cli
from imbalance_study.models import checkpoint
from imbalance_study.tracking import fetch


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def photographs(tmp_path, tiny_run):
    """Twelve test images of the run as PNG files in folders, and a file that is none."""
    data = tiny_run.result.data
    folder = tmp_path / "photographs"
    (folder / "deep").mkdir(parents=True)
    for number, row in enumerate(data.split.test[:12]):
        place = folder / "deep" if number % 2 else folder
        Image.fromarray(np.asarray(data.image_set.images[row])).save(place / f"{number:02d}.png")
    (folder / "bad.png").write_text("no picture")
    (folder / "notes.txt").write_text("no picture either")
    return folder


def _run(capsys, *args):
    status = 0
    try:
        cli.main([*map(str, args)])
    except SystemExit as stop:
        status = stop.code
    return status, capsys.readouterr()


def _predict(capsys, run, *args):
    words = ("--model", f"runs:/{run.run_id}", "--tracking_uri", run.store)
    return _run(capsys, "predict", *words, *args)


def test_the_labels_of_a_run_are_those_that_it_predicted(tiny_run, photographs, tmp_path, capsys):
    status, output = _predict(
        capsys, tiny_run, "--images", photographs, "--contact_sheet", "sheet.png"
    )
    assert status == 0, output.err
    assert f"cannot be read: {photographs}/bad.png (not an image" in output.err
    assert "2 unreadable (.png 1, .txt 1): see the column error" in output.out
    assert f"Written to {tmp_path}/predictions.parquet" in output.out
    table = pd.read_parquet("predictions.parquet")
    assert [name.rpartition("/")[2] for name in table.file] == [
        *(f"{number:02d}.png" for number in range(0, 12, 2)),
        "bad.png",
        *(f"{number:02d}.png" for number in range(1, 12, 2)),
        "notes.txt",
    ]
    assert "not an image" in table.error[13]
    table = table[table.error.isna()]
    table = table.set_index(table.file.str[-6:-4])
    result = tiny_run.result
    probs = result.procedure.probabilities(torch.from_numpy(result.test.logits[:12])).numpy()
    for number in range(12):
        row = table.loc[f"{number:02d}"]
        assert row.label == result.data.image_set.class_names[probs[number].argmax()]
        np.testing.assert_allclose(
            row[[f"probability_{rank}" for rank in range(1, 6)]].astype(float),
            -np.sort(-probs[number])[:5],
            atol=1e-4,
        )
    assert np.asarray(Image.open("sheet.png")).std() > 10
    assert sorted(os.listdir(tmp_path)) == ["photographs", "predictions.parquet", "sheet.png"]


def test_images_below_the_threshold_are_rejected(tiny_run, photographs, capsys):
    status, output = _predict(
        capsys,
        tiny_run,
        *("--images", photographs / "00.png", photographs / "02.png"),
        *("--reject_below", 1, "--out", "p.csv"),
    )
    assert status == 0, output.err
    assert "2 rejected: less probable than 1" in output.out
    table = pd.read_csv("p.csv")
    assert table.label.isna().all()
    assert table.rejected.all()
    assert table.label_1.notna().all()


def test_a_checkpoint_file_predicts_without_a_store(tiny_run, photographs, tmp_path, capsys):
    best = fetch.download_checkpoint(tiny_run.run_id, tmp_path, tiny_run.store)
    status, output = _run(
        capsys, "predict", "--model", best, "--images", photographs / "00.png", "--out", "p.csv"
    )
    assert status == 0, output.err
    assert "Note: all" not in output.out
    assert not (tmp_path / "mlflow.db").exists()


class _Bomb:
    def __reduce__(self):
        return os.mkdir, ("made_by_the_file",)


@pytest.mark.parametrize("kind", ["pickle", "torch", "cut", "text", "weights"])
def test_a_checkpoint_that_is_none_is_refused_in_one_line_and_nothing_in_it_runs(
    kind, tiny_run, photographs, tmp_path, capsys
):
    path = tmp_path / "m.pt"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(_Bomb()))
    elif kind == "torch":
        torch.save({"model": _Bomb(), "config": {}, "facts": {}}, path)
    elif kind == "text":
        path.write_text("weights")
    elif kind == "weights":
        checkpoint.save(path, {"a": torch.zeros(2)})
    else:
        best = fetch.download_checkpoint(tiny_run.run_id, tmp_path / "run", tiny_run.store)
        path.write_bytes(best.read_bytes()[:-1000])
        shutil.rmtree(tmp_path / "run")
    status, output = _run(capsys, "predict", "--model", path, "--images", photographs)
    assert status == 1
    assert "m.pt is not a checkpoint" in output.err or "m.pt holds weights only" in output.err
    assert output.err.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["m.pt", "photographs"]


@pytest.mark.parametrize("option", ["model", "loss"])
def test_a_file_cannot_choose_a_function_to_call(option, tiny_run, photographs, tmp_path, capsys):
    best = fetch.download_checkpoint(tiny_run.run_id, tmp_path, tiny_run.store)
    content = checkpoint.load(best)
    content["config"][option] = "os.path:join"
    checkpoint.save(tmp_path / "m.pt", content)
    status, output = _run(capsys, "predict", "--model", tmp_path / "m.pt", "--images", photographs)
    assert status == 1
    assert f"names the function os.path:join as its {option}" in output.err


def test_nothing_readable_is_an_error_and_no_table(tiny_run, photographs, tmp_path, capsys):
    status, output = _predict(capsys, tiny_run, "--images", photographs / "bad.png")
    assert status == 1
    assert "none of the 1 files could be read as an image" in output.err
    assert os.listdir(tmp_path) == ["photographs"]


def test_a_folder_given_twice_is_labelled_once(tiny_run, photographs, capsys):
    status, _ = _predict(
        capsys,
        tiny_run,
        *("--images", photographs / "deep", photographs, photographs / "00.png"),
    )
    assert status == 0
    names = pd.read_parquet("predictions.parquet").file
    assert len(names) == names.nunique() == 14
    assert "/deep/" in names[0]


def test_images_of_one_class_are_said_to_be_so(tiny_run, photographs, capsys):
    folder = photographs / "deep"
    for image in sorted(folder.iterdir())[1:]:
        shutil.copy(folder / "01.png", image)
    for _ in range(2):  # the second time, the table of the first lies in the folder
        status, output = _predict(
            capsys, tiny_run, "--images", folder, "--out", folder / "table.parquet"
        )
        assert status == 0, output.err
        assert "Note: all 6 images have the likeliest class " in output.out
        assert "with the same probability" in output.out
        assert "6 files in" in output.out


@pytest.mark.parametrize("option", ["dataset", "sampler", "augment"])
def test_a_file_cannot_choose_a_function_for_the_images_of_an_export(
    option, tiny_run, tmp_path, capsys
):
    best = fetch.download_checkpoint(tiny_run.run_id, tmp_path, tiny_run.store)
    content = checkpoint.load(best)
    content["config"][option] = "os.path:join"
    checkpoint.save(tmp_path / "m.pt", content)
    status, output = _run(capsys, "export", "--model", tmp_path / "m.pt", "--out", "m.onnx")
    assert status == 1
    assert f"names the function os.path:join as its {option}" in output.err
    assert "images=FOLDER" in output.err
