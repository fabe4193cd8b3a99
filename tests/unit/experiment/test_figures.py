import dataclasses

import numpy as np

from imbalance_study.experiment import figures


def test_the_data_are_drawn_as_counts_and_as_augmented_samples(make_setup):
    setup = make_setup()
    drawn = figures.of_data(setup.data, setup.procedure)
    assert set(drawn) == {"class_distribution", "augmented_samples"}
    words = " ".join(text.get_text() for text in drawn["class_distribution"].findobj(
        lambda artist: hasattr(artist, "get_text")
    ))  # fmt: skip
    for name in ("oak", "ash", "elm", "train", "val", "test"):
        assert name in words


def test_a_row_of_samples_begins_with_an_image_as_it_is(make_setup):
    setup = make_setup(augment="none")

    def black(images, generator):
        return images * 0

    procedure = dataclasses.replace(setup.procedure, augment=black)
    figure = figures.of_data(setup.data, procedure)["augmented_samples"]
    pictures = [np.asarray(image.get_array()) for ax in figure.axes for image in ax.images]
    shown = np.concatenate([picture.reshape(-1, 3) for picture in pictures])
    originals = setup.data.train_images[setup.data.train_rows[[0, 12, 18]]]
    assert (shown == 0).all(1).any()
    for original in originals:
        assert original.max() in shown


def test_the_training_is_drawn_as_curves_and_as_the_classes_of_each_stage(make_setup, make_stage):
    setup = make_setup()
    fit = make_stage(setup).fit
    assert set(figures.of_training(fit, setup.data)) == {"training_curves", "sampled_classes"}
    staged = [
        dataclasses.replace(epoch, metrics=epoch.metrics | {"train/stage": float(number)})
        for number, epoch in enumerate(fit.history, 1)
    ]
    both = figures.of_training(fit._replace(history=staged), setup.data)
    assert set(both) == {"training_curves", "sampled_classes", "sampled_classes_stage2"}
