import numpy as np
import pytest

from imbalance_study.evaluation.figures import grid as grids
from imbalance_study.evaluation.figures import style


def pictures_of(grid):
    return [tuple(np.round(image.get_extent(), 6)) for image in grid.axes.images]


def test_pictures_have_the_asked_size_and_do_not_overlap(saved):
    grid = grids.picture_grid(2, 3, aspect=0.5, cell=1.0, caption_lines=2, title="some")
    picture = np.random.default_rng(0).integers(0, 255, size=(8, 16, 3)).astype(np.uint8)
    for row in range(2):
        for column in range(3):
            grids.put(grid, row, column, picture, "upper\nlower")
    boxes = pictures_of(grid)
    for left, right, low, high in boxes:
        assert (right - left, low - high) == pytest.approx((1.0, 0.5))
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            beside = one[1] <= other[0] or other[1] <= one[0]
            assert beside or one[2] + 2 * grids.LINE < other[3]
    saved(grid.figure)


def test_every_picture_and_label_lies_inside_the_figure(laid_out):
    names = [f"class {index}" for index in range(102)]
    grid = grids.picture_grid(
        102, 12, aspect=1.0, cell=1.0, caption_lines=1, row_labels=names, rows_per_block=26, group=3
    )
    for row in range(102):
        for column in (0, 11):
            grids.put(grid, row, column, np.zeros((2, 2, 3), np.uint8), "caption")
    width, height = grid.figure.get_size_inches()
    assert max(width, height) <= style.MAX_INCHES + 0.01
    boxes = np.array(pictures_of(grid))
    assert boxes.min() > 0
    assert boxes[:, 1].max() < width
    assert boxes[:, 2].max() < height
    renderer = laid_out(grid.figure)
    for text in grid.axes.texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width * style.DPI


def test_groups_of_columns_stand_apart():
    grid = grids.picture_grid(1, 4, aspect=1.0, cell=1.0, group=2)
    lefts = [grids.corner(grid, 0, column)[0] for column in range(4)]
    assert np.diff(lefts) == pytest.approx([1.05, 1.05 + grids.GROUP_GAP, 1.05])


def test_small_pictures_keep_their_pixels_and_large_ones_are_smoothed():
    grid = grids.picture_grid(1, 2, aspect=1.0, cell=1.0)
    grids.put(grid, 0, 0, np.zeros((8, 8, 3), np.uint8))
    grids.put(grid, 0, 1, np.zeros((800, 800, 3), np.uint8))
    assert [image.get_interpolation() for image in grid.axes.images] == ["nearest", "antialiased"]
