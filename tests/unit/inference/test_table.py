import csv
import json
import os

import numpy as np
import pytest
from pyarrow import parquet

from imbalance_study.inference import table as prediction_table
from imbalance_study.inference.predict import FilePredictions

NAMES = ["rose", "tulip, red", "daisy"]


def _piece(count=3, bad=(1,)):
    files = [f"photos/{number}.jpg" for number in range(count)]
    errors = ["truncated" if number in bad else "" for number in range(count)]
    good = count - len(bad)
    probs = np.tile(np.array([[0.6, 0.3, 0.1]], "f4"), (good, 1))
    probs[:1] = [0.4, 0.35, 0.25]
    classes = np.tile(np.array([[1, 0, 2]]), (good, 1))
    return FilePredictions(files, errors, np.zeros((good, 2, 2, 3), np.uint8), classes, probs)


def _written(path, pieces, reject_below=0.5):
    with prediction_table.table(path, NAMES, {"model": "runs:/1"}) as write:
        for piece in pieces:
            write(prediction_table.columns_of(piece, NAMES, reject_below))


def test_parquet_has_a_row_for_each_file_with_rejected_and_unreadable_ones(tmp_path):
    path = tmp_path / "new" / "p.parquet"
    _written(path, [_piece()])
    table = parquet.read_table(path)
    first, second, third = table.to_pylist()
    assert first["label"] is None
    assert (first["rejected"], first["label_1"], first["error"]) == (True, "tulip, red", None)
    assert first["probability"] == pytest.approx(0.4)
    assert (second["label"], second["rejected"], second["error"]) == (None, None, "truncated")
    assert (third["label"], third["rejected"]) == ("tulip, red", False)
    assert third["probability_3"] == pytest.approx(0.1)
    assert "label_4" not in third
    facts = json.loads(table.schema.metadata[b"imbalance_study"])
    assert facts == {"model": "runs:/1"}
    assert os.listdir(path.parent) == ["p.parquet"]


def test_csv_says_the_same(tmp_path):
    path = tmp_path / "p.csv"
    _written(path, [_piece()])
    with path.open(newline="") as file:
        first, second, third = csv.DictReader(file)
    assert (first["label"], first["rejected"], first["probability"]) == ("", "true", "0.4")
    assert (second["error"], second["probability"]) == ("truncated", "")
    assert third["label"] == "tulip, red"


def test_a_probability_at_the_threshold_is_no_rejection():
    piece = _piece(1, ())
    assert prediction_table.columns_of(piece, NAMES, float(piece.probs[0, 0]))["rejected"] == [
        False
    ]


def test_parquet_is_written_in_row_groups(tmp_path):
    path = tmp_path / "p.parquet"
    _written(path, [_piece(1000, ())] * 20)
    found = parquet.ParquetFile(path).metadata
    assert found.num_rows == 20_000
    assert found.num_row_groups == 3
    assert found.row_group(0).num_rows < 2 * prediction_table.ROW_GROUP


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_what_fails_half_way_leaves_nothing_and_keeps_what_was_there(tmp_path, ending):
    path = tmp_path / f"p{ending}"

    def pieces():
        yield _piece()
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        _written(path, pieces())
    assert os.listdir(tmp_path) == []
    path.write_text("older")
    with pytest.raises(KeyboardInterrupt), prediction_table.table(path, NAMES, {}):
        raise KeyboardInterrupt
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == [path.name]


def test_a_file_name_that_is_no_text_can_be_written(tmp_path):
    piece = _piece(1, ())._replace(files=[os.fsdecode(b"caf\xe9.jpg")])
    for name in ("p.parquet", "p.csv"):
        _written(tmp_path / name, [piece])
    assert parquet.read_table(tmp_path / "p.parquet")["file"].to_pylist() == ["caf?.jpg"]


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "p.csv").mkdir()
    for path in (tmp_path / "file" / "p.csv", tmp_path / "p.csv"):
        with pytest.raises(OSError, match=r"p.csv cannot be written: "):
            _written(path, [_piece()])
    with pytest.raises(ValueError, match=r"out must end in .parquet or .csv, got 'p.xlsx'"):
        prediction_table.ending(tmp_path.joinpath("p.xlsx").relative_to(tmp_path))
