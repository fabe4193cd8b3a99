"""Write a report as a .docx file, with python-docx, which the extra `report` installs."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any

from PIL import Image

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

MISSING = 'report.docx is left out: install python-docx by pip install "imbalance-study[report]"'

# Space for a figure on the page, in centimetres.
_WIDTH, _HEIGHT = 17.0, 21.0
_MANY_COLUMNS = 7


def is_installed() -> bool:
    """Whether python-docx is installed."""
    return importlib.util.find_spec("docx") is not None


def write(report: Report, path: Path) -> None:
    """Write the file, on A4 pages."""
    import docx
    from docx.shared import Cm

    made = docx.Document()
    page = made.sections[0]
    page.page_width, page.page_height = Cm(21), Cm(29.7)
    page.left_margin = page.right_margin = page.top_margin = page.bottom_margin = Cm(2)
    made.core_properties.title = document.clean(report.title)[:250]
    made.core_properties.author = "imbalance_study"
    made.add_heading(document.clean(report.title), 0)
    for section in report.sections:
        made.add_heading(document.clean(section.title), section.level - 1)
        for block in section.blocks:
            _add(made, block)
    made.save(str(path))


def _add(made: Any, block: Block) -> None:
    from docx.shared import Pt

    match block:
        case Paragraph(text, remark, strong):
            style = "Intense Quote" if remark else None
            made.add_paragraph(style=style).add_run(document.clean(text)).bold = strong or None
        case Items(texts):
            for one in texts:
                made.add_paragraph(document.clean(one), style="List Bullet")
        case Code(text):
            run = made.add_paragraph().add_run(document.clean(text))
            run.font.name, run.font.size = "Courier New", Pt(9)
        case Figure(_, caption, content):
            _add_picture(made, content)
            made.add_paragraph(document.clean(caption), style="Caption")
        case Table():
            made.add_paragraph(document.clean(block.note), style="Caption")
            _add_table(made, block)


def _add_picture(made: Any, content: bytes) -> None:
    from docx.shared import Cm

    width, height = Image.open(io.BytesIO(content)).size
    made.add_picture(io.BytesIO(content), width=Cm(min(_WIDTH, _HEIGHT * width / height)))
    made.paragraphs[-1].paragraph_format.keep_with_next = True


def _add_table(made: Any, block: Table) -> None:
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.shared import Pt

    added = made.add_table(rows=0, cols=len(block.head), style="Light Grid Accent 1")
    size = Pt(9 if len(block.head) <= _MANY_COLUMNS else 6.5)
    for number, row in enumerate([block.head, *block.body]):
        cells = added.add_row().cells
        for target, text, numeric in zip(cells, row, block.numeric, strict=True):
            paragraph = target.paragraphs[0]
            run = paragraph.add_run(text)
            run.font.size, run.bold = size, number == 0
            if numeric:
                paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
    made.add_paragraph()
