"""A bar of the heads that are trained, on a terminal."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from imbalance_study.studies.advise.comparing import Progress


class Bar(Progress):
    """Shows how many heads are trained, and how long the rest takes at most.

    Args:
        minutes: Time for everything, as asked for.
    """

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes
        self._bar: Any = None

    def begin(self, what: str, heads: int) -> None:
        """Begin the bar of a stage."""
        text = f"{what}, within {self._minutes:g} min; Ctrl-C: early answer"
        self._bar = tqdm(total=heads, desc=text, unit="head", disable=None, mininterval=0.5)

    def trained(self, heads: int) -> None:
        """Move the bar."""
        self._bar.update(heads)

    def end(self) -> None:
        """End the bar."""
        self._bar.close()
