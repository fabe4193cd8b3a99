"""Numbers as a person reads them."""

from __future__ import annotations

import math


def number(value: float, form: str) -> str:
    """Write a number; a dash where it is undefined, as the middle third of two classes is."""
    return f"{value:{form}}" if math.isfinite(value) else "-"
