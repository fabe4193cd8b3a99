"""A report with every kind of block, all of whose texts are markup."""

import io

import pytest
from PIL import Image

from imbalance_study.studies.report import document
from imbalance_study.studies.report.document import (
    Code,
    Figure,
    Items,
    Paragraph,
    Report,
    Section,
)

MARKUP = "<script>alert('x')</script> | *rare* & \"quoted\""


@pytest.fixture
def markup():
    """A text that would be markup in HTML and in Markdown."""
    return MARKUP


@pytest.fixture
def png():
    """The bytes of a small image."""
    file = io.BytesIO()
    Image.new("RGB", (30, 20)).save(file, format="png")
    return file.getvalue()


@pytest.fixture
def every_block(png):
    """A report with every kind of block."""
    columns = {MARKUP: [MARKUP, "a\nb"], "number": [1.5, float("nan")], "empty": [None, None]}
    blocks = [
        Paragraph(MARKUP),
        Paragraph(MARKUP, remark=True),
        Items([MARKUP, "bell \x07"]),
        Code(f"run `it` ``` {MARKUP}"),
        *document.table("t", MARKUP, columns),
        Figure("f", MARKUP, png),
    ]
    return Report(MARKUP, [Section(MARKUP, blocks), Section("deeper", [], 3)])
