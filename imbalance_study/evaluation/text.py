"""Numbers as a person reads them."""

from __future__ import annotations

import math


def number(value: float, form: str) -> str:
    """Write a number; a dash where it is undefined, as the middle third of two classes is."""
    return f"{value:{form}}" if math.isfinite(value) else "-"


def short_number(value: float) -> str:
    """Write a number in few letters: 0.613, 12.3, 4,567, 126M."""
    size = abs(value)
    for least, limit, unit in ((999.5e6, 1e9, "G"), (999.5e3, 1e6, "M"), (1e4, 1e3, "k")):
        if size >= least:
            return f"{value / limit:.3g}{unit}"
    if size >= 999.5:
        return f"{value:,.0f}"
    if size >= 10 or value == round(value):
        return f"{value:.3g}"
    return f"{value:.3f}" if size < 1 else f"{value:.2f}"
