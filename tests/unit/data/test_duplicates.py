"""Copies among images."""

import io

import numpy as np
from PIL import Image

from imbalance_study.data import duplicates


def _photographs(count, size=48, seed=0):
    """Smooth random pictures."""
    small = np.random.default_rng(seed).integers(0, 256, (count, 7, 7, 3), np.uint8)
    return np.stack([_resized(one, size) for one in small])


def _resized(image, size):
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))


def _saved_anew(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=60)
    return np.asarray(Image.open(stream))


def test_equal_and_nearly_equal_images_are_found_and_others_are_not(tmp_path):
    images = _photographs(40)
    smaller = _resized(_resized(images[5], 30), 48)
    brighter = (images[6] * 0.7 + 40).astype(np.uint8)
    more = [images[3], _saved_anew(images[4]), smaller, brighter, images[7][:, ::-1]]
    found = duplicates.find(np.concatenate([images, np.stack(more)]), tmp_path)
    assert found.pairs.tolist() == [[3, 40], [4, 41], [5, 42], [6, 43], [7, 44]]
    assert found.equal.tolist() == [True, False, False, False, False]
    assert found.near_searched


def test_black_bars_make_no_copies_and_hide_none(tmp_path):
    images = np.zeros((9, 48, 48, 3), np.uint8)
    strips = _photographs(8, 48)[:, :16]  # wide pictures, padded to a square
    images[:8, 16:32] = strips
    images[8, 16:32] = _saved_anew(np.ascontiguousarray(strips[2]))
    assert duplicates.find(images, tmp_path).pairs.tolist() == [[2, 8]]


def test_the_result_is_kept_by_the_pixels(tmp_path):
    images = np.concatenate([_photographs(6), _photographs(2)])
    first = duplicates.find(images, tmp_path)
    assert len([*tmp_path.glob("copies-*.npz")]) == 1
    again = duplicates.find(images, tmp_path)
    assert again.pairs.tolist() == first.pairs.tolist()
    assert again.equal.tolist() == first.equal.tolist()
    assert not len(duplicates.find(images[:6], tmp_path).pairs)


def test_plain_images_are_counted_and_are_no_copies(tmp_path):
    images = _photographs(5)
    images[1], images[3] = 0, 0
    found = duplicates.find(images, tmp_path)
    assert (found.plain.tolist(), found.pairs.tolist()) == ([1, 3], [])


def test_copies_and_groups_become_components(tmp_path):
    images = np.concatenate([_photographs(5), _photographs(5)[1:2]])
    copies = duplicates.find(images, tmp_path)
    alone = duplicates.components(copies, np.empty(0, np.int64), 6)
    assert alone[1] == alone[5]
    assert len(set(alone.tolist())) == 5
    joined = duplicates.components(copies, np.array([0, 1, 2, 3, 4, 0]), 6)
    assert joined[0] == joined[5] == joined[1]
    assert len(set(joined.tolist())) == 4


def test_an_unwritable_cache_is_no_obstacle(tmp_path):
    (tmp_path / "file").write_text("")
    assert not len(duplicates.find(_photographs(3), tmp_path / "file").pairs)
