"""A loss is added by the three edits that docs/extending.md shows, and nothing else."""

import os
import shutil
import subprocess
import sys

import pages
import pytest

ROOT = pages.repository()
FOLDERS = ("imbalance_study", "docs", "tests", "benchmarks", "analysis", "deploy", ".ci")
THREE_EDITS = {  # file, and the line that the new lines come before
    "imbalance_study/training/losses.py": "\n\n\ndef check_class_counts(",
    "imbalance_study/config/choices.py": "\n}\n\nCLASS_WEIGHTS",
    "tests/unit/training/test_losses.py": "\n]\n",
}


@pytest.fixture
def copy(tmp_path):
    """A copy of the tree, and a function that runs Python in it."""
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for file in ROOT.iterdir():
        if file.is_file() and file.suffix in ("", ".md", ".toml", ".yml", ".yaml", ".cff"):
            shutil.copy(file, tmp_path)

    def python(*words):
        environment = os.environ | {
            "PYTHONPATH": str(tmp_path),
            "IMBALANCE_STUDY_CACHE": str(tmp_path / "cache"),
        }
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    return tmp_path, python


@pytest.mark.slow
def test_three_edits_add_a_loss(copy):
    folder, python = copy
    guide = (folder / "docs" / "extending.md").read_text()
    section = folder / "section.md"
    section.write_text(guide.split("\n## A loss\n")[1].split("\n## ")[0])
    function, entry, row = pages.blocks(section, "python")
    section.unlink()
    for (name, before), lines in zip(THREE_EDITS.items(), (function, entry, row), strict=True):
        text = (folder / name).read_text()
        assert before in text, name
        gap = "\n\n\n" if lines is function else "\n"
        (folder / name).write_text(text.replace(before, f"{gap}{lines.rstrip()}{before}", 1))

    status, said = python("docs/generate.py", "--check")
    assert status == 1
    assert "docs/remedies.md is not up to date: run python docs/generate.py" in said
    assert python("docs/generate.py")[0] == 0
    assert "`loss=poly:epsilon=1`" in (folder / "docs" / "remedies.md").read_text()

    tests = ("tests/unit/training/test_losses.py", "tests/unit/config", "tests/integration/docs")
    status, said = python("-m", "pytest", "-n", "0", "-p", "no:warnings", *tests)
    assert status == 0, said[-3000:]

    status, said = python("-m", "imbalance_study", "train", "--help")
    assert "adds epsilon * (1 - p_t) to cross-entropy; option epsilon" in " ".join(said.split())
    words = "--dataset digits --model resnet20 --loss poly:epsilon=2 --epochs 1 --steps_per_epoch 1"
    store = f"sqlite:///{folder / 'mlflow.db'}"
    status, said = python(
        *("-m", "imbalance_study", "train", *words.split(), "--tracking_uri", store),
        *("--analyses", "none", "--system_metrics", "false"),
    )
    assert status == 0, said[-3000:]
    assert "balanced accuracy" in said
