import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.font_manager import fontManager

from imbalance_study.evaluation.figures import style


def test_only_fonts_that_are_installed_are_asked_for(caplog):
    families = style.families()
    assert families[0] == "sans-serif"
    assert set(families[1:]) <= set(fontManager.get_font_names())

    @style.styled
    def draw():
        figure = style.new_figure(2, 2)
        figure.text(0.5, 0.5, "daisy")
        figure.canvas.draw()
        return figure

    draw()
    assert not [record for record in caplog.records if "findfont" in record.message]


def test_an_east_asian_font_comes_after_the_usual_one_where_there_is_one(monkeypatch):
    names = ["DejaVu Sans", "Noto Sans CJK JP", "Comic"]
    monkeypatch.setattr(fontManager, "get_font_names", lambda: names)
    assert style.families() == ["sans-serif", "Noto Sans CJK JP"]


# Machado, Oliveira and Fernandes (2009): eyes without green cones and without red ones.
EYES = {
    "usual": np.eye(3),
    "deuteranope": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "protanope": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
}


@pytest.mark.parametrize("eyes", EYES)
def test_ten_classes_have_colours_that_are_apart_for_the_colour_blind(eyes):
    """Distances in Oklab (Ottosson 2020), in which 0.02 is about what an eye just tells apart."""
    colors = np.array([to_rgb(color) for color in style.class_colors(10)])
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(EYES[eyes]).T, 0, 1)
    cones = (
        seen
        @ np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]).T
    )
    lab = (
        np.cbrt(cones)
        @ np.array(
            [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
        ).T
    )
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + np.eye(10)
    assert distances.min() > 0.07
