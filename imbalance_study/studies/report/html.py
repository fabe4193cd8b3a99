"""Write a report as one HTML page without scripts or links, for the phone and for paper."""

from __future__ import annotations

import base64
import io
from html import escape

from PIL import Image

from imbalance_study.studies.report import document
from imbalance_study.studies.report.document import (
    Block,
    Code,
    Figure,
    Items,
    Paragraph,
    Report,
    Section,
    Table,
)

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem 1rem 4rem; max-width: 62rem; background: #fff; color: #1b1b1b;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 1rem 0; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 1px solid #ddd; }
h3 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; }
h1, h2, h3, p, li, figcaption { overflow-wrap: anywhere; }
p, li { max-width: 46rem; }
.remark { border-left: 3px solid #b8860b; padding-left: .8rem; color: #444; }
nav { font-size: .9rem; margin-bottom: 1rem; }
nav a { display: inline-block; margin-right: .8rem; color: #1a5490; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; line-height: 1.35; }
figcaption { color: #555; font-size: .85rem; padding: .3rem 0; max-width: 46rem; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #e4e4e4; text-align: left;
  vertical-align: top; max-width: 24rem; overflow-wrap: break-word; }
thead th { border-bottom: 2px solid #999; vertical-align: bottom; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
figure { margin: 1.2rem 0; }
img { max-width: 100%; height: auto; display: block; }
pre { background: #f5f5f5; padding: .7rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font-size: .85rem; }
@media screen and (max-width: 40rem) { figure .scroll img { max-width: none; width: 40rem; } }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  .scroll { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding: .15rem .3rem; }
  figure, tr { break-inside: avoid; }
  h2, h3, figcaption { break-after: avoid; }
  img { max-height: 22cm; }
}
"""


def page(report: Report) -> str:
    """Write the page."""
    links = " ".join(
        f'<a href="#s{number}">{_text(one.title)}</a>'
        for number, one in enumerate(report.sections)
        if one.level == 2
    )
    body = "\n".join(_section(number, one) for number, one in enumerate(report.sections))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(report.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{_text(report.title)}</h1>\n<nav>{links}</nav>\n{body}\n</body>\n</html>\n"
    )


def _text(text: str) -> str:
    return escape(document.clean(text), quote=True)


def _section(number: int, section: Section) -> str:
    heading = f'<h{section.level} id="s{number}">{_text(section.title)}</h{section.level}>'
    return "\n".join([heading, *map(_block, section.blocks)])


def _block(block: Block) -> str:
    match block:
        case Paragraph(text, remark, strong):
            shown = f"<strong>{_text(text)}</strong>" if strong else _text(text)
            return f"<p{' class=remark' if remark else ''}>{shown}</p>"
        case Items(texts):
            return "<ul>" + "".join(f"<li>{_text(one)}</li>" for one in texts) + "</ul>"
        case Code(text):
            return f"<pre><code>{_text(text)}</code></pre>"
        case Figure(_, caption, content):
            data = base64.b64encode(content).decode()
            return (
                f'<figure><div class="scroll"><img alt="{_text(caption)}" '
                f'width="{_width(content)}" src="data:image/png;base64,{data}"></div>'
                f"<figcaption>{_text(caption)}</figcaption></figure>"
            )
        case Table():
            return _table(block)


def _width(content: bytes) -> int:
    """Return the width of a picture on the page: 100 of its pixels fill an inch, as in text."""
    image = Image.open(io.BytesIO(content))
    return round(image.width * 100 / float(image.info.get("dpi", (100, 100))[0]))


def _table(table: Table) -> str:
    kinds = [' class="number"' if numeric else "" for numeric in table.numeric]
    head = "".join(
        f'<th scope="col"{kind}>{_text(name)}</th>'
        for kind, name in zip(kinds, table.head, strict=True)
    )
    rows = "\n".join(
        "<tr>"
        + "".join(f"<td{kind}>{_text(one)}</td>" for kind, one in zip(kinds, row, strict=True))
        + "</tr>"
        for row in table.body
    )
    return (
        f'<figure><figcaption>{_text(table.note)}</figcaption>\n<div class="scroll"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div></figure>"
    )
