"""The Python that README.md shows runs as it stands, and names that pages import exist."""

import os
import subprocess
import sys

import pages
import pytest
from PIL import Image

from imbalance_study.data import datasets

ROOT = pages.repository()
IMPORTS = [
    (page.name, line)
    for page in pages.of(ROOT)
    for block in pages.blocks(page, "python")
    for line in block.splitlines()
    if line.startswith("from imbalance_study")
]


@pytest.mark.parametrize(("page", "line"), IMPORTS)
def test_the_names_that_a_page_imports_exist(page, line):
    exec(line, {})


@pytest.mark.slow
def test_the_readmes_ten_lines_of_python_run(tmp_path):
    (code,) = pages.blocks(ROOT / "README.md", "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    whole = 'analyses="confusion")'
    assert whole in code
    (tmp_path / "quick_start.py").write_text(code.replace(whole, 'analyses="confusion", epochs=1)'))
    done = subprocess.run(
        [sys.executable, "quick_start.py"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"IMBALANCE_STUDY_CACHE": str(tmp_path / "cache")},
    )
    shown = dict(line.split() for line in done.stdout.splitlines() if line.startswith("test/"))
    assert shown.keys() == {"test/balanced_accuracy", "test/tail_recall"}
    assert (tmp_path / "outputs" / "confusion.png").stat().st_size > 10_000


def test_the_data_set_of_ones_own_that_the_guide_shows_is_read(tmp_path, monkeypatch):
    code = next(
        b for b in pages.blocks(ROOT / "docs" / "extending.md", "python") if "def cells" in b
    )
    (tmp_path / "mine_of_the_guide.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "data" / "he"
    folder.mkdir(parents=True)
    lines = ["file,kind,patient"]
    for number in range(8):
        Image.new("RGB", (20, 20), (30 * number, 0, 0)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{'ab'[number % 2]},{number}")
    (folder / "cells.csv").write_text("\n".join(lines))
    read = datasets.load(
        "mine_of_the_guide:cells:stain=he", tmp_path / "data", image_size=16, cache_dir=tmp_path
    )
    assert read.images.shape == (8, 16, 16, 3)
    assert read.class_names == ("a", "b")
    assert len(set(read.groups.tolist())) == 8
