"""The record of a whole advice is read back in test_run.py."""

from imbalance_study.evaluation.figures import style
from imbalance_study.studies.advise import record


def test_figures_become_png():
    found = record.pictures({"one": style.empty_figure("title", "reason")})
    assert found["one"].startswith(b"\x89PNG")
