import sys

import docx as python_docx

from imbalance_study.studies.report import docx


def test_every_text_is_in_the_file(every_block, markup, tmp_path):
    path = tmp_path / "x.docx"
    docx.write(every_block, path)
    file = python_docx.Document(str(path))
    cells = [cell.text for table in file.tables for row in table.rows for cell in row.cells]
    text = " ".join([*(paragraph.text for paragraph in file.paragraphs), *cells])
    assert text.count(markup) >= 7
    assert len(file.inline_shapes) == 1
    assert file.core_properties.title == markup


def test_a_missing_library_is_noticed(monkeypatch):
    assert docx.is_installed()
    monkeypatch.setitem(sys.modules, "docx", None)
    assert not docx.is_installed()
