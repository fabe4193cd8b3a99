"""The Python that README.md shows runs as it stands."""

import os
import subprocess
import sys

import pages

ROOT = pages.repository()


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
