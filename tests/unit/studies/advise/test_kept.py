import numpy as np

from imbalance_study.studies.advise.kept import Key, Rows, name_of

MATRIX = np.array([[3, 1], [0, 2]])


def test_rows_are_there_after_a_new_start(tmp_path):
    path = tmp_path / "folder" / "rows.jsonl"
    rows = Rows(path)
    rows.add(Key("plain", 0), MATRIX)
    rows.add(Key("plain", 0, 1, 0.5), 2 * MATRIX)
    again = Rows(path)
    assert again.read == 2
    assert (again[Key("plain", 0, 1, 0.5)] == 2 * MATRIX).all()
    assert Key("plain", 1) not in again


def test_a_line_that_was_cut_off_is_made_again_and_the_rest_kept(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = Rows(path)
    rows.add(Key("plain", 0), MATRIX)
    rows.add(Key("plain", 1), MATRIX)
    path.write_text(path.read_text()[:-20])
    again = Rows(path)
    assert Key("plain", 0) in again
    assert Key("plain", 1) not in again
    again.add(Key("plain", 1), MATRIX)
    assert Rows(path).read == 2


def test_rows_without_a_file_are_kept_in_memory():
    rows = Rows(None)
    for number in range(3):
        rows.add(Key("plain", number), MATRIX)
    assert rows.stacked("plain", 2).shape == (2, 2, 2)


def test_other_images_have_another_file():
    one = name_of({"features": "a", "labels": [0, 1]})
    assert one == name_of({"labels": [0, 1], "features": "a"})
    assert one != name_of({"features": "a", "labels": [1, 1]})
