import os

import pytest
from PIL import Image

from imbalance_study import cli


@pytest.mark.slow
def test_the_command_tells_accuracy_on_the_test_images_of_the_run(tiny_run, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    words = ["--model", tiny_run.address, "--tracking_uri", tiny_run.store]
    cli.main(["export", *words, "--out", str(out)])
    lines = capsys.readouterr().out
    accuracy = tiny_run.result.metrics["test/accuracy"]
    assert f"accuracy on them: {accuracy:.2%} (torch: {accuracy:.2%})" in lines
    assert "the same class as torch: 100.00% of 539 images" in lines
    assert f"Written to {out}" in lines
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    cli.main(["export", *words, "--out", str(out), "--images", str(tmp_path / "a.png")])
    assert "100.00% of 1 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "model must name the model to export"),
        (("--model", "m.pt", "--out", "m.pt"), "out must end in .onnx, got 'm.pt'"),
        (("--model", "m.pt"), "model 'm.pt' does not exist"),
        (("--model", "m.pt", "--format", "int4"), "format must be one of onnx, int8, got 'int4'"),
    ],
)
def test_a_mistake_in_export_is_one_line(args, message, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    done = command("export", *args)
    assert done.status == 1
    assert message in done.err
    assert done.err.count("\n") == 1
    assert os.listdir(tmp_path) == []
