import io
import warnings

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from imbalance_study.evaluation.figures import style


@pytest.fixture
def saved():
    """A function that draws a figure without any warning and gives its pixels."""

    def save(figure):
        stream = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure.savefig(stream, format="png")
        pixels = np.asarray(Image.open(stream).convert("L"))
        assert max(pixels.shape) <= style.MAX_INCHES * style.DPI + 1
        assert len(np.unique(pixels)) > 10
        return pixels

    return save


@pytest.fixture
def names_of():
    """A function that gives names for so many classes; five of them are odd."""
    odd = ["a_b $x$ 5$", "über\nlang", "", "%s {0} \\alpha", "x" * 200]
    return lambda count: odd if count == 5 else [f"class {label}" for label in range(count)]


@pytest.fixture
def laid_out():
    """A function that draws a figure and gives a renderer to measure its texts with."""

    def draw(figure):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return canvas.get_renderer()

    return draw
