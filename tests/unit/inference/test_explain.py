from imbalance_study.inference import explain


def test_folders_are_searched_in_depth_and_nothing_comes_twice(tmp_path):
    for name in ("b/2.JPG", "b/deep/1.png", "a.webp", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = explain.find([str(tmp_path / "b"), str(tmp_path), str(tmp_path / "a.webp")])
    assert [path.name for path in found] == ["2.JPG", "1.png", "a.webp"]
