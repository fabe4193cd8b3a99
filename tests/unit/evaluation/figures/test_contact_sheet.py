import numpy as np
import pytest

from imbalance_study.evaluation.figures import style
from imbalance_study.evaluation.figures.contact_sheet import contact_sheet


def some_images(count):
    return np.random.default_rng(0).integers(0, 255, (count, 8, 12, 3)).astype(np.uint8)


def test_images_are_sorted_by_class_and_then_by_confidence(saved):
    figure = contact_sheet(
        some_images(3), ["a.png", "b.png", "c.png"], np.array([1, 0, 0]),
        np.array([0.9, 0.6, 0.8]), ["cat", "dog"], "title",
    )  # fmt: skip
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["title", "cat 80%", "c.png", "cat 60%", "b.png", "dog 90%", "a.png"]
    saved(figure)


def test_unsure_predictions_are_rejected_in_red(saved):
    figure = contact_sheet(
        some_images(2), ["a", "b"], np.zeros(2, int), np.array([0.9, 0.4]), ["cat"], "title", 0.5
    )
    colors = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert colors["rejected 40%"] == style.RED
    assert colors["cat 90%"] == "black"
    saved(figure)


@pytest.mark.parametrize("count", [1, 10, 23])
def test_there_are_ten_images_in_a_row(count, saved):
    figure = contact_sheet(
        some_images(count), ["x"] * count, np.zeros(count, int), np.ones(count), ["cat"], "title"
    )
    boxes = [image.get_extent() for image in figure.axes[0].images]
    assert len(boxes) == count
    assert len({box[3] for box in boxes}) == -(-count // 10)
    saved(figure)
