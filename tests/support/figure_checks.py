"""Names of made configurations, and a check that no text of a figure is cut off."""

from imbalance_study.evaluation.figures.comparison_style import labels

SIZES = [(1, 2), (2, 5), (16, 102)]  # configurations, classes


def configurations(count):
    long = "loss=ldam:max_m=0.5,s=30 class_weights=effective:beta=0.9999 defer=0.8 model=b"
    return labels([f"{long}{index}" if index % 2 else f"loss=l{index}" for index in range(count)])


def texts_inside(figure, renderer):
    """Return whether every title, tick and other text of the panels lies within the figure."""
    box = figure.bbox.padded(1)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    texts = [text for axes in shown for text in [axes.title, *axes.texts]]
    for axes in shown:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)
            texts += [label for at, label in ticks if low <= at <= high]
    found = [
        text.get_window_extent(renderer) for text in texts if text.get_visible() and text.get_text()
    ]
    return all(
        box.x0 <= one.x0 and one.x1 <= box.x1 and box.y0 <= one.y0 and one.y1 <= box.y1
        for one in found
    )
