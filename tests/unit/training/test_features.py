import multiprocessing

import numpy as np
import pytest
import torch
from torch import nn

from imbalance_study.data.loader import Batches
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import features
from imbalance_study.training.predict import predict

COUNT, WIDTH = 40, 4


@pytest.fixture
def model():
    torch.manual_seed(0)
    body = nn.Sequential(
        *(nn.Conv2d(3, WIDTH, 3), nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        *(nn.Flatten(), nn.Dropout(0.5), nn.Linear(WIDTH, 3)),
    )
    return Classifier(body, image_size=6)


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (COUNT, 6, 6, 3)).astype(np.uint8)
    labels = np.arange(COUNT) % 3
    return Batches(pixels, labels, np.arange(COUNT), torch.device("cpu"), resident=False)


def _normalise(images):
    return images.float() / 255


def _all(model, images, **options):
    return np.concatenate(list(features.compute(model, images, _normalise, **options)))


def _kept(folder, compute, made_of=None, shape=(COUNT, WIDTH)):
    return features.kept(folder, made_of or {"a": 1}, shape, 16, compute, name="train")


def test_features_are_those_of_a_prediction_in_evaluation_mode(model, images):
    model.train()
    model.backbone[1].eval()
    found = _all(model, images)
    assert found.dtype == np.float32
    assert not model.backbone[1].training  # each module is left in its mode
    assert model.backbone[5].training
    expected = predict(model, images, _normalise, features=True).features
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_every_batch_has_one_size_and_the_last_is_cut(model, images):
    sizes = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    parts = list(features.compute(model, images, _normalise))
    assert sizes == [16, 16, 16]
    assert [len(part) for part in parts] == [16, 16, 8]
    rest = list(features.compute(model, images, _normalise, first=2))
    assert np.array_equal(rest[0], parts[2])


def test_views_of_an_image_stand_in_a_row_and_are_drawn_in_the_same_way_again(model, images):
    def shift(batch, generator):
        moved = torch.randint(0, 9, (len(batch.targets), 1, 1, 1), generator=generator)
        return batch.images + moved.to(torch.uint8)

    views = features.Views(3, shift, seed=5)
    found = _all(model, images, views=views)
    assert found.shape == (3 * COUNT, WIDTH)
    assert len(np.unique(found[:3], axis=0)) == 3
    plain = _all(model, images)
    assert np.abs(found.reshape(COUNT, 3, WIDTH) - plain[:, None]).max() < 0.2
    rest = _all(model, images, views=views, first=4)
    assert np.array_equal(rest, found[64:])
    assert not np.array_equal(_all(model, images, views=views._replace(seed=6)), found)


def test_features_that_are_not_finite_are_refused(model, images):
    model.backbone[0].weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="features that are not finite; check its weights"):
        _all(model, images)


def test_kept_features_are_computed_once_and_equal_what_was_computed(tmp_path):
    rows = np.random.default_rng(0).normal(size=(COUNT, WIDTH)).astype(np.float32)
    calls = []

    def compute(first):
        calls.append(first)
        yield from (rows[start : start + 16] for start in range(first * 16, COUNT, 16))

    made, read = _kept(tmp_path, compute), _kept(tmp_path, compute)
    assert (made.read, read.read, calls) == (False, True, [0])
    assert np.array_equal(made.features, rows)
    assert np.array_equal(read.features, rows)
    assert not read.features.flags.writeable
    assert features.is_kept(tmp_path, {"a": 1}, (COUNT, WIDTH))
    assert not features.is_kept(tmp_path, {"a": 2}, (COUNT, WIDTH))
    _kept(tmp_path, compute, {"a": 2})
    assert calls == [0, 0]


@pytest.mark.parametrize("torn", [0, 7])
def test_an_interrupted_computation_goes_on_at_a_whole_batch(tmp_path, torn):
    rows = np.random.default_rng(0).normal(size=(COUNT, WIDTH)).astype(np.float32)

    def killed(first):
        yield rows[:16]
        yield rows[16:32]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _kept(tmp_path, killed)
    (partial,) = (tmp_path / "features").glob("*.partial")
    if torn:  # the process died within a write
        with partial.open("ab") as file:
            file.write(b"x" * torn)
    begun = []

    def rest(first):
        begun.append(first)
        yield rows[first * 16 :]

    assert np.array_equal(_kept(tmp_path, rest).features, rows)
    assert begun == [2]
    assert not list((tmp_path / "features").glob("*.partial"))


def test_a_damaged_file_is_computed_anew(tmp_path):
    rows = np.ones((COUNT, WIDTH), np.float32)
    _kept(tmp_path, lambda first: iter([rows]))
    (file,) = (tmp_path / "features").glob("*.npy")
    file.write_bytes(file.read_bytes()[:-8])
    again = _kept(tmp_path, lambda first: iter([rows]))
    assert not again.read
    assert np.array_equal(again.features, rows)


def _in_another_process(folder, entered, go_on):
    def compute(first):
        entered.set()
        go_on.wait(30)
        yield np.ones((COUNT, WIDTH), np.float32)

    _kept(folder, compute)


def test_of_two_processes_one_computes_and_the_other_waits_and_reads(tmp_path, capsys):
    context = multiprocessing.get_context("fork")
    entered, go_on = context.Event(), context.Event()
    other = context.Process(target=_in_another_process, args=(tmp_path, entered, go_on))
    other.start()
    assert entered.wait(30)
    timer = context.Process(target=lambda: go_on.set())
    timer.start()
    found = _kept(tmp_path, lambda first: pytest.fail("computed twice"))
    assert found.read or np.array_equal(found.features, np.ones((COUNT, WIDTH)))
    other.join()
    timer.join()


def test_a_folder_that_cannot_be_written_is_named_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"the features go to cache_dir=.* choose another"):
        _kept(tmp_path / "file", lambda first: iter(()))


def test_digests_tell_weights_and_pixels_apart(model, images):
    weights, pixels = (
        features.digest_of_weights(model.backbone),
        features.digest_of_images(images),
    )
    assert weights == features.digest_of_weights(model.backbone)
    assert pixels == features.digest_of_images(images, chunk=7)
    model.backbone[1].running_mean[0] += 1
    assert weights != features.digest_of_weights(model.backbone)
    other = Batches(images.read(np.arange(COUNT)), images.targets.numpy(), np.arange(COUNT - 1),
                    images.device, resident=True)  # fmt: skip
    assert pixels != features.digest_of_images(other)
