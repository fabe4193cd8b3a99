import numpy as np
import pytest
import torch

from imbalance_study.experiment.analyses.context import HeatmapOptions
from imbalance_study.experiment.monitor import Monitor


def _look(setup, epoch):
    return Monitor(setup, HeatmapOptions()).look(setup.model, epoch, setup.procedure.probabilities)


def _pixels(figure):
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def test_there_is_a_look_every_few_epochs_from_before_the_first(make_setup):
    setup = make_setup(figure_every=2, epochs=4)
    assert [epoch for epoch in range(5) if _look(setup, epoch)] == [0, 2, 4]
    assert _look(make_setup(figure_every=0), 0) == {}


@pytest.mark.parametrize("part", ["val", "train"])
def test_validation_images_are_shown_or_training_images_where_there_are_none(
    make_setup, make_data, part
):
    data = make_data({"train": (6, 4, 3), "val": (2, 1, 2) if part == "val" else (0, 0, 0),
                      "test": (2, 2, 2)})  # fmt: skip
    setup = make_setup(data=data, figure_every=1)
    drawn = _look(setup, 0)
    assert set(drawn) == {f"images/{part}_predictions", f"images/{part}_gradcam"}
    known = data.image_set.images[getattr(data.split, part)]
    shown = _pixels(drawn[f"images/{part}_predictions"])
    assert shown
    for image in shown:
        assert (known == image).all((1, 2, 3)).any()


def test_the_same_images_are_looked_at_each_time(make_setup):
    setup = make_setup(figure_every=1)
    monitor = Monitor(setup, HeatmapOptions())
    looks = [
        monitor.look(setup.model, epoch, setup.procedure.probabilities)["images/val_predictions"]
        for epoch in (0, 1)
    ]
    for one, other in zip(*map(_pixels, looks), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_look_changes_neither_model_nor_generators(make_setup):
    setup = make_setup(figure_every=1)
    setup.model.train()
    before, generator = setup.model.state_dict(), torch.get_rng_state()
    before = {name: value.clone() for name, value in before.items()}
    _look(setup, 0)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, before[name]) for name, value in setup.model.state_dict().items())
    assert setup.model.training
