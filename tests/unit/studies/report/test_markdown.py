import re

from imbalance_study.studies.report import markdown
from imbalance_study.studies.report.document import Code, Paragraph, Report, Section


def test_every_text_is_escaped(every_block):
    text = markdown.text(every_block)
    outside = re.sub(r"````.*?````", "", text, flags=re.DOTALL).replace("\\<", "")
    assert "<script" not in outside
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}


def test_a_fence_is_longer_than_any_in_its_command():
    text = markdown.text(Report("r", [Section("s", [Code("echo ```")])]))
    assert "````sh\necho ```\n````" in text


def test_headings_have_their_level_and_remarks_are_quoted():
    sections = [Section("a", [Paragraph("note", remark=True)]), Section("b", [], 3)]
    assert markdown.text(Report("r", sections)) == "# r\n\n## a\n\n> note\n\n### b\n"
