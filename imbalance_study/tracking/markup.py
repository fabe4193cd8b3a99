"""Markdown as MLflow's UI draws it."""

from __future__ import annotations

import html
from collections.abc import Iterable


def escape_markdown(text: str) -> str:
    """Escape HTML and Markdown in a text; names of classes and files may hold them."""
    text = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{sign}" if sign in "\\`*[]|" else sign for sign in text)


def markdown_row(cells: Iterable[str]) -> str:
    """Make a row of a table; the spaces are needed, as the UI draws columns without a gap."""
    return "| " + " | &emsp;".join(cell.replace("|", "\\|") for cell in cells) + " |"
