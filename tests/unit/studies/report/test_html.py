import io
import re

from html_page import Page
from PIL import Image

from imbalance_study.studies.report import document, html
from imbalance_study.studies.report.document import Figure, Report, Section


def test_every_text_is_escaped(every_block, markup):
    page = html.page(every_block)
    assert Page(page).tags.count("script") == 0
    assert page.count("&lt;script&gt;") >= 10
    assert markup in Page(page).text


def test_a_page_loads_nothing(every_block):
    page = html.page(every_block)
    assert not re.search(r"(src|href)=\"(?!data:image/png;base64,|#)", page)
    assert [image["alt"] for image in Page(page).images]


def test_sections_of_the_second_level_are_linked_at_the_top():
    report = Report("r", [Section("first"), Section("deeper", level=3), Section("second")])
    page = html.page(report)
    assert re.findall(r'<a href="#(s\d)">(\w+)</a>', page) == [("s0", "first"), ("s2", "second")]
    assert '<h3 id="s1">deeper</h3>' in page


def test_numbers_are_aligned_on_the_right():
    report = Report("r", [Section("s", document.table("t", "T.", {"a": ["x"], "b": [1.5]}))])
    page = html.page(report)
    assert "<td>x</td>" in page
    assert '<td class="number">1.5000</td>' in page


def test_a_picture_of_many_dots_is_no_larger_on_the_page():
    def width(dpi):
        file = io.BytesIO()
        Image.new("RGB", (300, 20)).save(file, format="png", dpi=(dpi, dpi))
        blocks = [Figure("f", "a figure", file.getvalue())]
        return html.page(Report("r", [Section("s", blocks)])).partition('width="')[2].split('"')[0]

    assert width(100) == "300"
    assert width(200) == "150"
