import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imbalance_study.data import decode
from imbalance_study.inference import load, predict
from imbalance_study.models import zoo


@pytest.fixture(scope="module")
def ready():
    """An untrained model of seven classes for images of 16 px."""
    torch.manual_seed(0)
    model = zoo.create("resnet20", 7, image_size=16).eval()
    names = [f"class {number}" for number in range(7)]
    return load.LoadedModel(model, load._softmax, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3), names, 16)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Forty images of odd sizes, some of them no images."""
    folder = tmp_path_factory.mktemp("files")
    generator = np.random.default_rng(0)
    paths = []
    for number in range(40):
        path = folder / f"{number:02d}.{'png' if number % 2 else 'jpg'}"
        size = (*generator.integers(8, 60, 2), 3)
        Image.fromarray(generator.integers(0, 255, size).astype(np.uint8)).save(path)
        paths.append(path)
    paths[3].write_bytes(b"no picture")
    paths[30].write_bytes(b"")
    return paths


def _whole(pieces):
    pieces = list(pieces)
    columns = zip(*[(p.files, p.errors, p.classes, p.probs) for p in pieces], strict=True)
    files, errors, classes, probs = columns
    files, errors = ([*itertools.chain(*lists)] for lists in (files, errors))
    return files, errors, np.concatenate(classes), np.concatenate(probs)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_every_file_comes_once_in_order_with_the_probabilities_of_the_model(
    ready, files, batch_size
):
    names, errors, classes, probs = _whole(
        predict.predict_files(ready, files, batch_size=batch_size)
    )
    assert names == [str(path) for path in files]
    assert [bool(error) for error in errors] == [number in (3, 30) for number in range(40)]
    good = [path for number, path in enumerate(files) if number not in (3, 30)]
    images = np.stack([decode.decode(path.read_bytes(), 16) for path in good])
    with torch.inference_mode():
        inputs = ready.normalise(torch.from_numpy(images).permute(0, 3, 1, 2))
        wanted = ready.model(inputs).softmax(1).numpy()
    order = np.argsort(-wanted, axis=1)[:, :5]
    np.testing.assert_allclose(probs, np.take_along_axis(wanted, order, 1), atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(wanted, classes, 1), probs, atol=1e-5)


def test_files_are_decoded_as_those_of_the_training_were(ready, tmp_path):
    pixels = np.zeros((16, 48), np.uint16)
    pixels[:, :16] = 4095
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    decoding = decode.Decoding("pad", whole=(0.0, 4095.0))
    loaded = ready._replace(decoding=decoding)
    (found,) = predict.predict_files(loaded, [tmp_path / "wide.png"])
    data = (tmp_path / "wide.png").read_bytes()
    np.testing.assert_array_equal(found.images[0], decode.decode(data, 16, decoding))
    assert found.images[0, 8, 1].tolist() == [255] * 3


def test_a_batch_never_holds_more_images_than_asked_for(ready, files):
    seen = []
    hook = ready.model.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    try:
        list(predict.predict_files(ready, files, batch_size=16))
    finally:
        hook.remove()
    assert max(seen) <= 16
    assert sum(seen) == 38


def test_an_image_bomb_is_passed_over_with_its_reason(ready, files, tmp_path):
    bomb = tmp_path / "bomb.png"
    Image.new("1", (12_000, 12_000)).save(bomb)
    (piece,) = predict.predict_files(ready, [bomb, files[0]])
    assert "pixels" in piece.errors[0]
    assert piece.errors[1] == ""
    assert len(piece.images) == 1


def test_blocks_of_files_leave_no_seam(ready, files, monkeypatch):
    monkeypatch.setattr(predict, "_BLOCK", 9)
    names, errors, _, probs = _whole(predict.predict_files(ready, files, batch_size=4))
    assert names == [str(path) for path in files]
    assert [number for number, error in enumerate(errors) if error] == [3, 30]
    assert len(probs) == 38


def test_a_sample_keeps_everything_while_there_is_room_and_then_each_alike(ready):
    def piece(start, stop):
        count = stop - start
        images = np.arange(start, stop, dtype=np.uint8)[:, None, None, None]
        names = [str(number) for number in range(start, stop)]
        ones = np.ones((count, 1))
        return predict.FilePredictions(names, [""] * count, images, ones.astype(int), ones)

    counts = np.zeros(100)
    for seed in range(400):
        sample = predict.ReservoirSample(10, seed)
        sample.add(piece(0, 7))
        assert sample.files == [str(number) for number in range(7)]
        sample.add(piece(7, 60))
        sample.add(piece(60, 100))
        assert len(set(sample.files)) == 10
        assert [int(image.item()) for image in sample.images] == list(map(int, sample.files))
        counts[list(map(int, sample.files))] += 1
    assert sample.seen == 100
    assert abs(counts - 40).max() < 5 * 6  # five standard deviations of about 6
    assert abs(counts[:50].sum() - 2000) < 5 * 32


MEASURE = """
import resource, sys
from pathlib import Path
import torch
from imbalance_study.inference import load, predict, table
from imbalance_study.models.classifier import Classifier
folder, count = Path(sys.argv[1]), int(sys.argv[2])
names = [str(n) for n in range(10)]
layers = torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 10)
model = Classifier(torch.nn.Sequential(*layers), image_size=64).eval()
ready = load.LoadedModel(model, load._softmax, (0.5,) * 3, (0.2,) * 3, names, 64)
paths = sorted(folder.iterdir())
stream = (paths[number % len(paths)] for number in range(count))
with table.table(folder.parent / f"{count}.parquet", names, {}) as write:
    for piece in predict.predict_files(ready, stream, batch_size=64, workers=1):
        write(table.columns_of(piece, names, 0.0))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """An image of 64 px takes 12 kB, so that 1,800 more of them would be 22 MB."""
    folder = tmp_path / "images"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(50):
        image = generator.integers(0, 255, (80, 80, 3)).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{number}.jpg")

    def peak(count):
        words = [sys.executable, "-c", MEASURE, str(folder), str(count)]
        done = subprocess.run(
            words, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3]
        )
        return int(done.stdout) / 1000

    assert peak(2_200) - peak(400) < 10
