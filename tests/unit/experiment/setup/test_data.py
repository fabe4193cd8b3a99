import numpy as np
import pytest
from PIL import Image

from imbalance_study.config.resolve import make
from imbalance_study.data.fingerprint import fingerprint
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.data import DataCache, load_data


def _load(cache=None, **given):
    config = make(dataset="digits", image_size=8, **given)
    return load_data(config, bind(config), cache=cache)


def test_the_same_images_are_cut_once_for_runs_that_differ_in_anything_else():
    cache = DataCache()
    assert _load(cache, loss="focal", seed=3) is _load(cache, model="resnet20", epochs=2)


def test_another_cut_shares_the_images_alone():
    cache = DataCache()
    one, other = _load(cache), _load(cache, data_seed=1)
    assert one.image_set is other.image_set
    assert not np.array_equal(one.split.test, other.split.test)


def test_every_option_that_decides_the_data_leads_to_other_data():
    changes = [
        {"imbalance": "step:ratio=5"},
        {"class_order": "random"},
        {"validation": "none"},
        {"test_fraction": 0.5},
        {"data_seed": 1},
        {"resample": "smote:k=2"},
    ]
    cache = DataCache()
    plain = _load(cache)
    for change in changes:
        assert _load(cache, **change) is not plain, change
    assert _load(cache).train_rows.tolist() == plain.train_rows.tolist()


def test_without_a_cache_nothing_is_kept():
    assert _load() is not _load()


def test_no_more_than_four_cuts_are_kept_those_used_last():
    cache = DataCache()
    first, second = _load(cache), _load(cache, data_seed=1)
    for seed in (2, 3):
        _load(cache, data_seed=seed)
    assert _load(cache) is first
    _load(cache, data_seed=4)
    assert _load(cache) is first
    assert _load(cache, data_seed=1) is not second


def test_the_data_carry_the_fingerprint_of_what_they_are():
    found = _load(data_seed=2)
    assert found.fingerprint == fingerprint(found.image_set, found.split, 2)


def _folder_of_two(root, counts):
    """Write class folders of small images, and return the options that read them."""
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for position in range(count):
            pixels = np.random.default_rng([number, position]).integers(0, 255, (8, 8, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{position}.png")
    return {"dataset": "imagefolder", "data_dir": str(root), "image_size": 8}


@pytest.mark.parametrize(
    ("given", "way"),
    [
        ({"early_stopping": "val/accuracy:patience=5"}, "early_stopping=none"),
        ({"schedule": "plateau"}, "schedule=cosine"),
        ({"sampler": "error_driven"}, "sampler=shuffle"),
        ({"select_by": "val/loss"}, "select_by=last"),
    ],
)
def test_an_option_that_needs_validation_images_is_refused_where_none_is_left(tmp_path, given, way):
    config = make(**_folder_of_two(tmp_path, {"a": 2, "b": 1}), **given)
    with pytest.raises(ValueError, match=r"needs validation images, and validation=.* leaves none"):
        load_data(config, bind(config))
    with pytest.raises(ValueError, match=f"add images, or set {way}$"):
        load_data(config, bind(config))


def test_without_validation_images_the_last_epoch_counts_by_default(tmp_path):
    config = make(**_folder_of_two(tmp_path, {"a": 2, "b": 1}))
    assert not len(load_data(config, bind(config)).split.val)


def test_a_class_of_too_few_images_for_smote_is_called_by_its_name(tmp_path):
    config = make(**_folder_of_two(tmp_path, {"healthy": 6, "scab": 1}), resample="smote:k=1")
    with pytest.raises(ValueError, match="class 'scab' has 1 image"):
        load_data(config, bind(config))


def test_a_class_with_fewer_images_than_asked_for_is_called_by_its_name(tmp_path):
    folder = _folder_of_two(tmp_path, {"healthy": 6, "scab": 4})
    config = make(**folder, imbalance="explicit:counts=3/9", class_order="label")
    with pytest.raises(ValueError, match="the 3 images that class scab has for training, got 9"):
        load_data(config, bind(config))


def test_few_photographs_with_random_weights_get_a_hint_at_pretrained_ones(tmp_path):
    folder = _folder_of_two(tmp_path, {"a": 4, "b": 3}) | {"model": "resnet18"}

    def hints(**given):
        config = make(**folder | given)
        return [one for one in load_data(config, bind(config)).report.findings if "hint" in one]

    assert "weights=imagenet" in hints(image_size=64)[0].text
    assert not hints(image_size=32)
    assert not hints(image_size=64, model="resnet20")  # has no such weights


def test_options_that_do_nothing_are_named_in_the_report(tmp_path):
    for part, count in (("train", 6), ("val", 2), ("test", 2)):
        for name in ("a", "b"):
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for number in range(count):
                picture = Image.new("RGB", (8, 8), (number, count, ord(name)))
                picture.save(tmp_path / "data" / part / name / f"{number}.png")
    given = {"dataset": "imagefolder", "data_dir": str(tmp_path / "data"), "image_size": 8}
    idle = []
    for options in (
        {},
        {"test_fraction": 0.4, "validation": "balanced:per_class=3"},
        {"validation": "none"},
    ):
        config = make(**given, **options, cache_dir=str(tmp_path / "cache"))
        report = load_data(config, bind(config)).report
        idle.append([one.text for one in report.findings if one.kind == "options"])
    assert idle == [
        [],
        [
            "test_fraction=0.4 does nothing: there are test images",
            "validation=balanced:per_class=3 does nothing: there are validation images",
        ],
        [],
    ]


def _with_copies(root):
    """Write twelve pictures in two classes, each with a mirrored copy."""
    for name in ("a", "b"):
        (root / name).mkdir()
        for number in range(12):
            seed = np.random.default_rng([ord(name), number])
            small = Image.fromarray(seed.integers(0, 255, (7, 7, 3)).astype(np.uint8))
            image = small.resize((32, 32), Image.Resampling.BICUBIC)
            image.save(root / name / f"{number}.png")
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / name / f"{number}m.png")
    return {"dataset": "imagefolder", "data_dir": str(root), "image_size": 32}


def test_copies_are_said_and_go_to_one_side_where_that_is_asked_for(tmp_path):
    folder = _with_copies(tmp_path)

    def crossing(**given):
        config = make(**folder | given)
        found = load_data(config, bind(config))
        assert len(found.report.copies["file"]) == 24
        return [one.text for one in found.report.findings if "group_copies=true" in one.text]

    assert any("test images are also training images" in text for text in crossing())
    assert crossing(group_copies=True) == []


def test_copies_across_given_parts_are_left_out_or_refused(tmp_path):
    _folder_of_two(tmp_path / "train", {"a": 6, "b": 5})
    _folder_of_two(tmp_path / "test", {"a": 2, "b": 2})
    folder = {"dataset": "imagefolder", "data_dir": str(tmp_path), "image_size": 8}
    config = make(**folder, on_leak="drop", validation="none")
    dropped = load_data(config, bind(config))
    assert dropped.class_counts.tolist() == [4, 3]
    config = make(**folder, on_leak="error")
    with pytest.raises(ValueError, match=r"4 pairs .* on_leak=error"):
        load_data(config, bind(config))
