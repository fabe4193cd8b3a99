"""The Markdown pages of the repository: their links, anchors and blocks of code."""

import re
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A block of code and its language."""

    language: str
    text: str


def of(root):
    """Every page of a checkout: those beside the README, and docs/."""
    return sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")])


def blocks(page, language):
    """The blocks of code of a language."""
    found = [Block(*groups) for groups in FENCE.findall(page.read_text())]
    return [block.text for block in found if block.language == language]


def anchors(page):
    """What a link to a heading of the page may end in, as GitHub and MkDocs name headings."""
    headings = HEADING.findall(FENCE.sub("", page.read_text()).lower())
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in headings}


def dead_links(page):
    """Links of a page whose file or heading does not exist; addresses of the web are not asked."""
    dead = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page if not file else (page.parent / file)
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    return dead


def commands(page):
    """The command lines of the page's blocks of shell, with lines that go on joined."""
    text = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = (re.sub(r"\s+#\s.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def inline_commands(page):
    """Commands within the text: `imbalance-study ...` and `mlflow run ...`."""
    text = FENCE.sub("", page.read_text())
    return re.findall(r"`((?:imbalance-study|mlflow run) [^`]+)`", text)


def named_paths(page, root):
    """Paths of the repository that the page names in backticks, as far as they look like paths."""
    text = FENCE.sub("", page.read_text())
    tops = "|".join(
        re.escape(entry.name)
        for entry in (*root.iterdir(), *(root / "imbalance_study").iterdir())
        if entry.is_dir() and not entry.name.startswith(".")
    )
    return re.findall(rf"`((?:{tops})/[\w./-]*)`", text)


def repository():
    """The checkout that these tests belong to."""
    return Path(__file__).parents[2]
