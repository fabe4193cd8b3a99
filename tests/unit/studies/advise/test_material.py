import numpy as np
import pytest
from made_folders import folder

from imbalance_study.experiment.setup.data import DataCache
from imbalance_study.studies.advise import comparing, material
from imbalance_study.studies.advise.settings import AdviceSettings

OPTIONS = {"image_size": 32, "device": "cpu"}


def _read(data_dir, **options):
    settings = AdviceSettings(data_dir=str(data_dir), model="efficientnet_lite0")
    return material.read(settings, OPTIONS | options, DataCache())


def test_all_images_are_used_where_the_set_has_no_test_part(tmp_path):
    found = _read(folder(tmp_path, {"a": 10, "b": 5}))
    assert (len(found.pool), found.unseen) == (15, 0)


def test_test_images_of_the_set_stay_unseen_and_validation_is_used(tmp_path):
    for seed, part in enumerate(("train", "val", "test")):
        folder(tmp_path, {"a": 6, "b": 4}, part, seed)
    found = _read(tmp_path)
    assert found.unseen == 10
    assert {name.split("/")[0] for name in found.files} == {"train", "val"}


def test_an_imbalance_that_is_asked_for_is_cut(tmp_path):
    found = _read(folder(tmp_path, {"a": 40, "b": 40}), imbalance_ratio=4)
    counts = np.bincount(found.labels)
    assert counts[0] == 4 * counts[1]


def test_copies_stay_together(tmp_path):
    folder(tmp_path, {"a": 8, "b": 8})
    for number in (6, 7):
        (tmp_path / "a" / f"{number}.png").write_bytes((tmp_path / "a" / "0.png").read_bytes())
    found = _read(tmp_path)
    place = {name: row for row, name in enumerate(found.files)}
    same = {int(found.groups[place[f"a/{n}.png"]]) for n in (0, 6, 7)}
    assert len(same) == 1


def test_a_table_is_told_from_folders(tmp_path):
    folder(tmp_path / "classes", {"a": 3, "b": 3})
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "labels.csv").write_text("path,label\n")
    assert material._kind(tmp_path / "classes") == "imagefolder"
    assert material._kind(tmp_path / "table") == "csv"
    assert material._kind(tmp_path / "table" / "labels.csv") == "csv"


def test_features_are_those_of_the_pool_and_the_file_of_rows_is_theirs(tmp_path):
    found = _read(folder(tmp_path / "one", {"a": 10, "b": 5}))
    images = material.features_of(found, DataCache())
    assert images.features.shape == (15, 1280)
    assert images.labels.tolist() == found.labels.tolist()
    tried = comparing.remedies(images)
    name = material.rows_file(found, images, tried)
    again = material.features_of(found, DataCache())
    assert name == material.rows_file(found, again, tried)
    other = images._replace(labels=images.labels[::-1].copy())
    assert name != material.rows_file(found, other, tried)
    assert name != material.rows_file(found, images, tried[:3])


def test_small_images_are_in_the_order_asked_for(tmp_path):
    found = _read(folder(tmp_path, {"a": 4, "b": 4}))
    rows = np.array([5, 0, 3])
    expected = found.image_set.images[found.pool[rows]]
    assert (material.small(found, rows) == expected).all()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"a": 5}, "at least two class folders"),
        ({"a": 5, "b": 1}, "b has fewer"),
        ({}, "found: none"),
    ],
)
def test_images_that_cannot_be_advised_on_are_refused(sizes, message, tmp_path):
    with pytest.raises(ValueError, match=message) as error:
        _read(folder(tmp_path, sizes))
    assert "\n" not in str(error.value)


def test_images_that_are_all_alike_are_one_group(tmp_path):
    folder(tmp_path, {"a": 4, "b": 4})
    first = (tmp_path / "a" / "0.png").read_bytes()
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(first)
    with pytest.raises(ValueError, match="all its images are of one group"):
        _read(tmp_path)
