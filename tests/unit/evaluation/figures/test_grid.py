import numpy as np
import pytest

from imbalance_study.evaluation.figures import grid, style


def pictures_of(sheet):
    return [tuple(np.round(image.get_extent(), 6)) for image in sheet.axes.images]


def test_pictures_have_the_asked_size_and_do_not_overlap(saved):
    sheet = grid.picture_grid(
        grid.Layout(2, 3, aspect=0.5, cell=1.0, caption_lines=2, title="some")
    )
    picture = np.random.default_rng(0).integers(0, 255, size=(8, 16, 3)).astype(np.uint8)
    for row in range(2):
        for column in range(3):
            grid.put(sheet, row, column, picture, "upper\nlower")
    boxes = pictures_of(sheet)
    for left, right, low, high in boxes:
        assert (right - left, low - high) == pytest.approx((1.0, 0.5))
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            beside = one[1] <= other[0] or other[1] <= one[0]
            assert beside or one[2] + 2 * grid.LINE < other[3]
    saved(sheet.figure)


@pytest.mark.parametrize("rows", [30, pytest.param(102, marks=pytest.mark.slow)])
def test_every_picture_and_label_lies_inside_the_figure(rows, laid_out):
    names = [f"class {index}" for index in range(rows)]
    sheet = grid.picture_grid(
        grid.Layout(
            rows,
            12,
            aspect=1.0,
            cell=1.0,
            caption_lines=1,
            row_labels=names,
            rows_per_block=26,
            group=3,
        )
    )
    for row in range(rows):
        for column in (0, 11):
            grid.put(sheet, row, column, np.zeros((2, 2, 3), np.uint8), "caption")
    width, height = sheet.figure.get_size_inches()
    assert max(width, height) <= style.MAX_INCHES + 0.01
    boxes = np.array(pictures_of(sheet))
    assert boxes.min() > 0
    assert boxes[:, 1].max() < width
    assert boxes[:, 2].max() < height
    renderer = laid_out(sheet.figure)
    for text in sheet.axes.texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width * style.DPI


def test_groups_of_columns_stand_apart():
    sheet = grid.picture_grid(grid.Layout(1, 4, aspect=1.0, cell=1.0, group=2))
    lefts = [grid.corner(sheet, 0, column)[0] for column in range(4)]
    assert np.diff(lefts) == pytest.approx([1.05, 1.05 + grid.GROUP_GAP, 1.05])


def test_small_pictures_keep_their_pixels_and_large_ones_are_smoothed():
    sheet = grid.picture_grid(grid.Layout(1, 2, aspect=1.0, cell=1.0))
    grid.put(sheet, 0, 0, np.zeros((8, 8, 3), np.uint8))
    grid.put(sheet, 0, 1, np.zeros((800, 800, 3), np.uint8))
    assert [image.get_interpolation() for image in sheet.axes.images] == ["nearest", "antialiased"]


def test_a_contact_grid_has_a_row_for_each_started_dozen():
    sheet = grid.contact_grid(np.zeros((13, 8, 16, 3), np.uint8), 12, "some")
    assert sheet.columns == 12
    assert sheet.height == pytest.approx(sheet.cell / 2)
    top, lower = (grid.corner(sheet, row, 0)[1] for row in (0, 1))
    assert lower - top == pytest.approx(sheet.pitch[1])
    assert grid.contact_grid(np.zeros((3, 8, 8, 3), np.uint8), 12, "").columns == 3
