"""Write a report as Markdown, with its figures as files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from imbalance_study.studies.report import document
from imbalance_study.studies.report.document import (
    Block,
    Code,
    Figure,
    Items,
    Paragraph,
    Report,
    Table,
)

FIGURES = "figures"


def text(report: Report) -> str:
    """Write the file."""
    parts = [f"# {_plain(report.title)}"]
    for section in report.sections:
        parts.append(f"{'#' * section.level} {_plain(section.title)}")
        parts += map(_block, section.blocks)
    return "\n\n".join(parts) + "\n"


def _plain(words: str) -> str:
    """Put text on one line, and escape the markup of Markdown and HTML in it."""
    one_line = " ".join(document.clean(words).split())
    return re.sub(r"([\\`*_\[\]<>|#~$&])", r"\\\1", one_line)


def _block(block: Block) -> str:
    match block:
        case Paragraph(words, remark, strong):
            shown = f"**{_plain(words)}**" if strong else _plain(words)
            return f"> {shown}" if remark else shown
        case Items(texts):
            return "\n".join(f"- {_plain(one)}" for one in texts)
        case Code(words):
            longest = max((len(run) for run in re.findall(r"`+", words)), default=0)
            fence = "`" * max(3, longest + 1)
            return f"{fence}sh\n{document.clean(words)}\n{fence}"
        case Figure(name, caption, _):
            return f"![{_plain(caption)}]({FIGURES}/{name}.png)\n\n{_plain(caption)}"
        case Table():
            return _table(block)


def _table(table: Table) -> str:
    line = ["---:" if numeric else "---" for numeric in table.numeric]
    rows = [_row(map(_plain, table.head)), _row(line)]
    rows += [_row(map(_plain, row)) for row in table.body]
    return f"{_plain(table.note)}\n\n" + "\n".join(rows)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
