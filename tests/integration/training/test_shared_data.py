import numpy as np

from imbalance_study.config.resolve import make
from imbalance_study.data.fingerprint import fingerprint
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.data import load_data, shared_data


def _load(**given):
    config = make(dataset="digits", image_size=8, **given)
    return load_data(config, bind(config))


def test_the_same_images_are_cut_once_for_runs_that_differ_in_anything_else():
    with shared_data():
        assert _load(loss="focal", seed=3) is _load(model="resnet20", epochs=2)


def test_another_cut_shares_the_images_alone():
    with shared_data():
        one, other = _load(), _load(data_seed=1)
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
    with shared_data():
        plain = _load()
        for change in changes:
            assert _load(**change) is not plain, change
        assert _load().train_rows.tolist() == plain.train_rows.tolist()


def test_nothing_is_kept_outside_and_afterwards():
    assert _load() is not _load()
    with shared_data():
        inside = _load()
        with shared_data():
            assert _load() is inside
        assert _load() is inside
    assert _load() is not inside


def test_no_more_than_a_few_cuts_are_kept():
    with shared_data():
        first = _load()
        for seed in range(1, 5):
            _load(data_seed=seed)
        assert _load() is not first


def test_the_data_carry_the_fingerprint_of_what_they_are():
    found = _load(data_seed=2)
    assert found.fingerprint == fingerprint(found.image_set, found.split, 2)
