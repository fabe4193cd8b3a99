"""Common looks, labels and legends of the figures of several configurations.

A configuration has the same look in all of them; the baseline is the first and black.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imbalance_study.evaluation.figures import style

COLORS = (style.BLUE, style.ORANGE, style.GREEN, style.RED, style.PINK, style.SKY)
PATTERNS = ("-", "--", ":")
MARKERS = "osD^vP"
LINE = 38  # letters of a configuration's name on one line, of two at the most
DAGGER = " †"
FOOTNOTE = "† other data or another amount of training than the baseline: not to be ranked with it"


class Look(NamedTuple):
    """Colour, line pattern and marker of a configuration."""

    color: str
    pattern: str
    marker: str


def looks(count: int) -> list[Look]:
    """Return `count` looks, all different up to 19: black, then colours by patterns."""
    chosen = [Look(style.BLACK, "-", "o")]
    for index in range(count - 1):
        round_, position = divmod(index, len(COLORS))
        pattern = PATTERNS[round_ % len(PATTERNS)]
        chosen.append(Look(COLORS[position], pattern, MARKERS[(position + round_) % len(MARKERS)]))
    return chosen[:count]


def labels(names: Sequence[str], marked: Sequence[bool] = ()) -> list[str]:
    """Shorten names for a legend and keep them different; marked ones carry a dagger.

    A beginning up to ``=`` that all names share is left out. A long name takes two lines, each of
    which is cut in its middle where it is still too long.
    """
    heads = {name.partition("=")[0] for name in names}
    same = len(heads) == 1 and len(names) > 1 and all(name.count("=") for name in names)
    cut = [_two_lines(name.partition("=")[2] if same else name) for name in names]
    distinct = [
        f"{text} ({cut[:index].count(text) + 1})" if cut.count(text) > 1 else text
        for index, text in enumerate(cut)
    ]
    daggers = [DAGGER if mark else "" for mark in marked] or [""] * len(names)
    return [
        (text + dagger).replace("$", r"\$") for text, dagger in zip(distinct, daggers, strict=True)
    ]


def _two_lines(name: str) -> str:
    """Break a long name at the space nearest to the middle, or at a sign."""
    text = " ".join(name.split()) or "(no name)"
    if len(text) <= LINE:
        return text
    inside = range(len(text) // 5, len(text) - len(text) // 5)
    spaces = [at for at in inside if text[at] == " "]
    signs = [at for at in inside if text[at - 1] in ",:=+|/"]
    at = min(spaces or signs or [len(text) // 2], key=lambda at: abs(at - len(text) / 2))
    return f"{_cut(text[:at])}\n{_cut(text[at:].lstrip())}"


def _cut(line: str) -> str:
    if len(line) <= LINE:
        return line
    head = (LINE - 1) // 2
    return f"{line[:head].rstrip()}…{line[head + 1 - LINE :].lstrip()}"


def label_inches(names: Sequence[str], size: float = 9.0) -> float:
    """Estimate the width of the longest line of the labels, in inches."""
    return style.text_inches([line for name in names for line in name.split("\n")], size)


def label_lines(names: Sequence[str]) -> int:
    """Return the number of lines of the tallest label."""
    return max(name.count("\n") + 1 for name in names)


def explain_daggers(figure: Figure, names: Sequence[str]) -> None:
    """Explain the dagger at the foot of the figure, where a name has one."""
    if any(name.endswith(DAGGER) for name in names):
        figure.supxlabel(FOOTNOTE, fontsize=8, color="#555555")


def legend_below(figure: Figure, axes: Axes, width: float) -> None:
    """Draw one legend for all panels, in as many columns as fit."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=_columns(names, width), handlelength=3
    )


def _columns(names: Sequence[str], width: float) -> int:
    return int(np.clip(width // (label_inches(names, 8.5) + 0.65), 1, len(names)))


def legend_inches(names: Sequence[str], width: float) -> float:
    """Estimate the height of the legend that `legend_below` draws."""
    return -(-len(names) // _columns(names, width)) * 0.155 * label_lines(names) + 0.25
