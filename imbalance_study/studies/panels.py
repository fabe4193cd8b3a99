"""The figures of a comparison: from its runs to the arrays that are drawn."""

from __future__ import annotations

from typing import Any

from imbalance_study.studies.grouping import Grouped


def figures(grouped: Grouped) -> dict[str, Any]:
    """Name to figure; one that has nothing to show is left out."""
    return {}
