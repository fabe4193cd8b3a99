"""Common style of all figures, with sizes at which 2 or 102 class names stay readable."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, ParamSpec

import numpy as np
from matplotlib import colormaps, rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PINK, SKY, YELLOW, BLACK, GREY = "#CC79A7", "#56B4E9", "#F0E442", "#000000", "#8C8C8C"
OKABE_ITO = (BLUE, ORANGE, GREEN, RED, PINK, SKY, BLACK, YELLOW)
# For nine or ten classes: wine of Tol's "muted" and a light grey, which stay as far from the eight,
# and from each other, as these are, for eyes without red or green cones as well.
TEN = (*OKABE_ITO, "#882255", "#BBBBBB")
FEW_CLASSES = 20  # up to here every class is annotated
MAX_INCHES = 24.0
DPI = 100
PHOTO_PIXELS = 250_000  # of photographs in one figure, about 500 kB as PNG

# Fonts for letters that DejaVu Sans lacks; matplotlib warns of a family that is not installed.
_EAST_ASIAN = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei"),
    *("Droid Sans Fallback", "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic"),
)


def families() -> list[str]:
    """Return the fonts of all figures; each serves the letters that the ones before it lack."""
    installed = set(fontManager.get_font_names())
    return ["sans-serif", *(name for name in _EAST_ASIAN if name in installed)]


STYLE: dict[str, Any] = {
    "font.family": families(),
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": f"cycler('color', {list(OKABE_ITO)!r})",
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.0,
    "figure.facecolor": "white",
    "figure.dpi": DPI,
    "savefig.dpi": "figure",
    "image.interpolation": "nearest",
    "text.usetex": False,
}

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw inside the style, whatever the caller's matplotlib settings are."""

    settings: Any = {**rcParamsDefault, **STYLE}
    settings.pop("backend")

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with rc_context(rc=settings):
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of this size in inches, at most `MAX_INCHES` either way."""
    return Figure(
        figsize=(min(width, MAX_INCHES), min(height, MAX_INCHES)), layout="constrained", dpi=DPI
    )


def shown(name: object, length: int = 22) -> str:
    """Shorten a name to one line of a figure, and keep dollar signs from starting formulas."""
    text = " ".join(str(name).split()) or "(no name)"
    if len(text) > length:
        text = text[: length - 1].rstrip() + "…"
    return text.replace("$", r"\$")


def name_size(count: int, inches: float) -> float:
    """Return the font size in points at which `count` names side by side fit into `inches`."""
    return float(np.clip(0.82 * 72 * inches / max(count, 1), 4.5, 9.0))


def text_inches(labels: Sequence[str], size: float = 9.0) -> float:
    """Estimate the width of the longest label, in inches."""
    return max((len(label) for label in labels), default=0) * size * 0.62 / 72


def class_ticks(
    axes: Axes, names: Sequence[str], inches: float, axis: Literal["x", "y"] = "x"
) -> None:
    """Put a tick with its name at every class; `inches` is the length of that axis."""
    size = name_size(len(names), inches)
    labels = [shown(name) for name in names]
    if axis == "y":
        axes.set_yticks(range(len(labels)), labels, fontsize=size)
        return
    flat = text_inches(labels, size) < 0.95 * inches / len(labels)
    slanted = not flat and len(labels) <= FEW_CLASSES
    axes.set_xticks(
        range(len(labels)),
        labels,
        fontsize=size,
        rotation=0 if flat else 40 if slanted else 90,
        ha="right" if slanted else "center",
        rotation_mode="anchor" if slanted else "default",
    )


def class_colors(count: int) -> list[Any]:
    """Return one colour per class: a palette for the colour-blind up to 10, else viridis."""
    if count <= len(TEN):
        return list(TEN[:count])
    return [colormaps["viridis"](position) for position in np.linspace(0, 0.95, count)]


def plain_numbers(value: float, _position: float | None = None) -> str:
    """Write 1000 as 1,000 and 0.5 as 0.5, for ticks of counts, also on a logarithmic axis."""
    return f"{value:,.0f}" if value >= 1 or value == 0 else f"{value:g}"


def count_axis(axes: Axes, axis: Literal["x", "y"] = "y") -> None:
    """Make an axis of counts: whole numbers at its ticks, written plainly."""
    getattr(axes, f"{axis}axis").set_major_locator(
        MaxNLocator(integer=True, nbins=7, steps=[1, 2, 5, 10])
    )
    getattr(axes, f"{axis}axis").set_major_formatter(FuncFormatter(plain_numbers))


def log_counts(axes: Axes, axis: Literal["x", "y"] = "y") -> None:
    """Make an axis of counts logarithmic, with plain numbers at its ticks."""
    getattr(axes, f"set_{axis}scale")("log")
    getattr(axes, f"{axis}axis").set_major_formatter(FuncFormatter(plain_numbers))


def note(axes: Axes, text: str) -> None:
    """Write in the middle of an empty panel why it is empty."""
    axes.text(0.5, 0.5, text, ha="center", va="center", color=GREY, transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])


def empty_figure(title: str, reason: str) -> Figure:
    """Make a figure that shows no data, and why."""
    figure = new_figure(5, 1.5)
    axes = figure.subplots()
    axes.set_title(title)
    note(axes, reason)
    return figure


def mosaic(images: NDArray[np.uint8], gap: int) -> NDArray[np.uint8]:
    """Lay images (R, K, H, W, 3) out as one, `gap` white pixels apart: (R(H+gap)-gap, ..., 3)."""
    padded = np.pad(
        images, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255
    ).transpose(0, 2, 1, 3, 4)
    rows, height, columns, width = padded.shape[:4]
    return padded.reshape(rows * height, columns * width, 3)[
        : rows * height - gap, : columns * width - gap
    ]


def cell_inches(pictures: int, least: float = 0.28, most: float = 0.8) -> float:
    """Return the width of one of `pictures` that keeps the file of all of them small."""
    return float(np.clip((PHOTO_PIXELS / max(pictures, 1)) ** 0.5 / DPI, least, most))
