"""Choice of the decoding of an image set."""

import numpy as np
import pytest
from PIL import Image

from imbalance_study.data import decoding_choice
from imbalance_study.data.decode import Decoding, Look, decode, fitted
from imbalance_study.data.decoding_choice import Wanted
from imbalance_study.data.deep_pixels import Use

DEEP = Use("whole", 0, 4095, 0, 4095)


@pytest.mark.parametrize(
    ("ratios", "fit"),
    [([1, 1.2, 1.5], "crop"), ([1, 1.5, 1.5, 6], "crop"), ([1, 1.6, 6.25], "pad")],
)
def test_auto_crops_unless_the_median_image_is_oblong(ratios, fit):
    looks = [Look(ratio) for ratio in ratios]
    assert Wanted().decide(looks, np.ones(len(looks), bool)).fit == fit


def test_the_training_part_decides_and_the_test_part_does_not():
    looks = [Look(1.0, DEEP), Look(9.0, DEEP._replace(high=60_000.0, inner_high=60_000.0))]
    assert Wanted().decide(looks, np.array([True, False])) == Decoding("crop", (0, 4095))


def test_a_given_range_and_fit_are_kept():
    looks = [Look(9.0, DEEP)]
    wanted = Wanted("squash", "0/1023")
    assert wanted.decide(looks, np.ones(1, bool)) == Decoding("squash", (0, 1023), (0, 1023))


@pytest.mark.parametrize("text", ["4095", "5/1", "a/b", "0/inf", "1/2/3", ""])
def test_a_range_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="pixel_range must be auto, or"):
        Wanted("auto", text).first()


def test_looks_survive_their_packing():
    looks = [Look(1.25), Look(1.0, DEEP, 3), Look(2.0, None, 1, True)]
    assert decoding_choice.unpack(decoding_choice.pack(looks)) == looks


def test_what_is_not_evident_is_said():
    looks = [Look(2.0, DEEP), Look(2.0, None, 2), Look(1.0, None, 1, True)]
    decoding = Wanted().decide(looks, np.ones(3, bool))
    texts = [one.text for one in decoding_choice.findings(Wanted(), decoding, looks, list("abc"))]
    assert texts == [
        "2 of 3 images are not square (longer side 2.00 times the shorter in the median). "
        "fit=pad (auto): all of each is shown, on black; fit=crop takes the middle square",
        "1 of 3 images hold whole numbers of more than 8 bits: 0 to 4095, by the training images, "
        "become 0 to 255",
        "1 files of several pages or frames: the first counts (b)",
        "1 TIFF files have a fourth band that is not alpha: it is left out (c)",
    ]
    assert not decoding_choice.findings(Wanted(), Decoding(), [Look(1.0)], ["a"])


def test_endings_are_counted_and_one_that_gives_a_class_away_is_named():
    files = ["a/1.JPG", "b/2.jp2", "b/3.jp2", "b/4.jpg", "a/5.jpg"]
    (found,) = decoding_choice.endings(files, np.array([0, 1, 1, 1, 0]), ["healthy", "rust"])
    assert found.text == "files by ending: .jpg 3, .jp2 2 (all of class rust)"
    assert not decoding_choice.endings(files[:1], np.zeros(1, int), ["a"])


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_a_square_is_the_same_in_every_way(fit):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    assert np.array_equal(fitted(image, 16, fit), fitted(image, 16, "crop"))


def test_pad_shows_both_ends_of_a_wide_image_and_crop_neither():
    pixels = np.full((32, 200, 3), 128, np.uint8)
    pixels[:, :20], pixels[:, -20:] = (255, 0, 0), (0, 0, 255)
    image = Image.fromarray(pixels)
    crop, pad, squash = (np.asarray(fitted(image, 100, fit)) for fit in ("crop", "pad", "squash"))
    assert (crop == 128).all()
    assert pad[50, 2].tolist() == [255, 0, 0]
    assert pad[50, 97].tolist() == [0, 0, 255]
    assert not pad[:40].any()
    assert not pad[60:].any()
    assert (squash[:, 2] == (255, 0, 0)).all()


def test_a_damaged_file_is_still_refused_in_every_way():
    for fit in decoding_choice.FITS:
        with pytest.raises(ValueError, match="not an image"):
            decode(b"text", 8, Decoding(fit))
