import csv
import json

import pytest

from imbalance_study.studies.advise import files


def test_pages_figures_tables_and_json_are_written(advice, tmp_path):
    made = advice()
    folder = tmp_path / "new" / "advice"
    files.write(folder, made, {"remedies": b"png"}, {"advice.html": b"page"})
    assert (folder / "advice.html").read_bytes() == b"page"
    assert (folder / "figures" / "remedies.png").read_bytes() == b"png"
    with (folder / "tables" / "suspects.csv").open() as file:
        [row] = csv.DictReader(file)
    assert row["file"] == "'=odd|name.jpg"  # no spreadsheet runs it
    found = json.loads((folder / "advice.json").read_text())
    assert found["sets"][1] == {
        "class": "b", "images": 9, "coverage": None, "size": None, "always": True
    }  # fmt: skip


def test_a_folder_that_is_a_file_is_named(advice, tmp_path):
    (tmp_path / "advice").write_text("here already")
    with pytest.raises(OSError, match=r"advice .* cannot be written"):
        files.write(tmp_path / "advice", advice(), {}, {"advice.html": b""})
