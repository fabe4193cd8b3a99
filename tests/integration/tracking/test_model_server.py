"""The logged model over HTTP, as `mlflow models serve` serves it."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from servers import free_port

from imbalance_study.data import decode
from imbalance_study.tracking import registry

PAGE = (Path(__file__).parents[3] / "docs" / "using-models.md").read_text()
NAME = "served"


def _environment(run):
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {
        "PATH": programs,
        "MLFLOW_TRACKING_URI": run.store,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }


@pytest.fixture(scope="module")
def server(tiny_run, tmp_path_factory):
    """The address of the promoted model's server, stopped by its process id."""
    registry.promote(tiny_run.run_id, NAME, "champion", tiny_run.store)
    folder = tmp_path_factory.mktemp("model_server")
    port = free_port()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"),
                *("-m", f"models:/{NAME}@champion", "--port", str(port), "--host", "127.0.0.1"),
            ],
            stdout=log,
            stderr=log,
            cwd=folder,
            env=_environment(tiny_run),
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address, process, folder / "log")
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def _wait_for(address, process, log):
    until = time.monotonic() + 180
    while True:
        try:
            with urllib.request.urlopen(address + "/ping", timeout=2):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.5)


@pytest.fixture(scope="module")
def pictures(tiny_run, tmp_path_factory):
    """Three test images of the run as PNG files, one of them enlarged with margins."""
    data = tiny_run.result.data
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for number, row in enumerate(data.split.test[:3]):
        image = Image.fromarray(np.asarray(data.image_set.images[row]))
        image = image.resize((70, 50)) if number == 2 else image
        paths.append(folder / f"{number}.png")
        image.save(paths[-1])
    return paths


def _wanted(run, paths):
    """Probabilities of the training process for files decoded as for training."""
    images = np.stack([decode.decode(path.read_bytes(), 16) for path in paths])
    result = run.result
    with torch.inference_mode():
        inputs = torch.from_numpy(images).permute(0, 3, 1, 2)
        logits = result.model.cpu()(result.procedure.normalise(inputs))
        return result.procedure.probabilities(logits).numpy()


def _post(address, body):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{address}/invocations", content, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def _client_pixels(path, about):
    """Pixels as the client of the documentation makes them."""
    (code,) = re.findall(r"(def pixels.*?)\n\n\n", PAGE, re.DOTALL)
    names = {"numpy": np, "Image": Image, "ImageOps": ImageOps, "about": about, "side": 16}
    exec(code, names)
    return np.array(names["pixels"](path), np.uint8)


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", [(40, 23), (17, 50), (30, 30), (16, 16)])
def test_the_client_makes_the_pixels_of_the_training(tmp_path, fit, size):
    generator = np.random.default_rng(0)
    grey = generator.integers(300, 4000, size[::-1]).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    Image.fromarray(grey.astype(np.float32) / 4000).save(tmp_path / "float.tif")
    colours = generator.integers(0, 256, (*size[::-1], 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "plain.png")
    for ranges in ({}, {"whole": [300.0, 3900.0], "decimal": [0.1, 0.9]}):
        decoding = decode.Decoding.from_dict({"fit": fit, **ranges})
        for path in tmp_path.iterdir():
            wanted = decode.decode(path.read_bytes(), 16, decoding)
            np.testing.assert_array_equal(_client_pixels(path, decoding.to_dict()), wanted)


@pytest.mark.slow
def test_the_client_that_the_documentation_shows_gets_the_probabilities_of_the_training_process(
    server, tiny_run, pictures, tmp_path
):
    (code,) = re.findall(r"```python\n(import sys.*?)```", PAGE, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 32
    (tmp_path / "client.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "client.py", server, f"models:/{NAME}@champion", *map(str, pictures)],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=_environment(tiny_run),
    )
    probs = np.array(json.loads(done.stdout)["predictions"])
    np.testing.assert_allclose(probs, _wanted(tiny_run, pictures), atol=1e-4)


@pytest.mark.slow
def test_the_client_prints_the_reason_of_the_server(server, tiny_run, pictures, tmp_path):
    (code,) = re.findall(r"```python\n(import sys.*?)```", PAGE, re.DOTALL)
    (tmp_path / "client.py").write_text(re.sub(r"side = about.*", "side = 8", code))
    done = subprocess.run(
        [sys.executable, "client.py", server, f"models:/{NAME}@champion", str(pictures[0])],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=_environment(tiny_run),
    )
    assert done.returncode == 1
    assert "HTTP Error 400" in done.stderr
    assert "does not match expected shape" in done.stderr


@pytest.mark.slow
def test_what_is_wrong_gets_a_4xx_with_a_sentence_and_the_server_lives_on(server):
    good = np.zeros((2, 16, 16, 3), int)
    wrong = {
        "half an image": ({"inputs": good[:, :8].tolist()}, "does not match expected shape"),
        "one image alone": ({"inputs": good[0].tolist()}, "does not match expected shape"),
        "four channels": ({"inputs": np.zeros((1, 16, 16, 4), int).tolist()}, "expected shape"),
        "negative": ({"inputs": (good - 1).tolist()}, "out of bounds for uint8"),
        "above 255": ({"inputs": (good + 256).tolist()}, "out of bounds for uint8"),
        "text": ({"inputs": [["a"]]}, "invalid literal"),
        "nothing": ({}, "exactly one of the input fields"),
        "no JSON": (b"\x89PNG", "JSON"),
    }
    for name, (body, sentence) in wrong.items():
        status, answer = _post(server, body)
        assert 400 <= status < 500, name
        assert sentence in answer["message"], name
        assert _post(server, {"inputs": good.tolist()})[0] == 200, name


@pytest.mark.slow
def test_models_predict_answers_from_a_file(tiny_run, pictures, server, tmp_path):
    images = [decode.decode(path.read_bytes(), 16).tolist() for path in pictures]
    (tmp_path / "body.json").write_text(json.dumps({"inputs": images}))
    words = ("-m", f"models:/{NAME}@champion", "--env-manager", "local")
    subprocess.run(
        [
            *(sys.executable, "-m", "mlflow", "models", "predict", *words),
            *("-i", "body.json", "-o", "answer.json"),
        ],
        check=True,
        capture_output=True,
        cwd=tmp_path,
        env=_environment(tiny_run),
    )
    probs = np.array(json.loads((tmp_path / "answer.json").read_text())["predictions"])
    np.testing.assert_allclose(probs, _wanted(tiny_run, pictures), atol=1e-4)


def test_the_logged_model_names_its_classes_and_loads_without_pickle(tiny_run, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlflow.set_tracking_uri(tiny_run.store)
    record = mlflow.get_run(tiny_run.run_id)
    (output,) = record.outputs.model_outputs
    loaded = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    meta = loaded.metadata.metadata
    assert meta["class_names"] == list(tiny_run.result.data.image_set.class_names)
    assert meta["image_size"] == 16
    assert "(N, 16, 16, 3), not normalised" in meta["preprocessing"]
    rows = tiny_run.result.data.split.test[:5]
    images = np.ascontiguousarray(tiny_run.result.data.image_set.images[rows])
    logits = torch.from_numpy(tiny_run.result.test.logits[:5])
    wanted = tiny_run.result.procedure.probabilities(logits).numpy()
    np.testing.assert_allclose(loaded.predict(images), wanted, atol=1e-4)
