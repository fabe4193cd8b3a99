import numpy as np
import pytest
import torch

from imbalance_study.experiment import estimates
from imbalance_study.models import profiling


@pytest.fixture
def slow(monkeypatch):
    """A clock by which each image of an update takes so many seconds; the updates stay real."""

    def per_image(seconds):
        tried = []

        def measure(work):
            before = len(tried)
            work()
            return seconds * sum(tried[before:])

        monkeypatch.setattr(estimates, "_seconds", measure)
        return tried

    return per_image


def _of_update(setup, tried):
    def augment(images, generator):
        tried.append(len(images))
        return images

    procedure = setup.procedure.__class__(**vars(setup.procedure) | {"augment": augment})
    return estimates.of_update(setup, setup.model, setup.parts.train, procedure)


def test_an_update_is_measured_on_as_many_images_as_it_has(make_setup, slow):
    tried = slow(0.01)
    found = _of_update(make_setup(batch_size=24), tried)
    assert found == estimates.Measured(pytest.approx(0.24), 24)
    assert max(tried) == 24


def test_a_slow_update_is_measured_on_fewer_images_and_multiplied(make_setup, slow):
    tried = slow(0.2)
    found = _of_update(make_setup(batch_size=64), tried)
    assert found.images == 15
    assert found.seconds == pytest.approx(64 * 0.2)
    assert max(tried) == 15


def test_the_head_and_the_pass_are_measured(make_setup):
    setup = make_setup()
    head = estimates.of_head(setup, setup.model, setup.procedure)
    assert head.images == 8
    assert 0 < head.seconds < 5
    assert 0 < estimates.of_pass(setup, setup.model, setup.procedure, setup.parts.train) < 5


def test_the_memory_of_a_head_is_that_of_all_weights_and_of_the_features(make_setup):
    frozen = {"freeze": "head_only", "weights": "weights.pt"}
    setup = make_setup(**frozen)
    trained = 4 * (4 * 3 + 3)
    rows = 21 + 6 + 12 + 8
    expected = profiling.model_bytes(setup.model) + 3 * trained + 4 * 4 * rows
    assert estimates.of_memory(setup, setup.model) == expected
    more = make_setup(**frozen, augment="flip", feature_views=3)
    assert estimates.of_memory(more, more.model) == expected + 4 * 4 * 2 * 21


def test_the_parts_of_a_dry_run_are_those_of_the_run_and_are_not_copied(make_setup):
    setup = make_setup()
    for part, own in zip(estimates.parts_of_files(setup), setup.parts, strict=True):
        assert not part.resident
        assert torch.equal(part.targets, own.targets)
        assert np.array_equal(part.read(np.arange(3)), own.read(np.arange(3)))
