import numpy as np

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
