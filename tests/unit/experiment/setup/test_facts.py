import json

from imbalance_study.config.resolve import make
from imbalance_study.experiment.setup.facts import RunFacts, config_record

STORED = {
    "fingerprint": {"fingerprint": "ab", "images": 5},
    "class_names": ["oak", "ash"],
    "train_counts": [3, 2],
    "images": {"train": 5, "val": 2, "test": 4},
    "skipped_images": [],
    "image_size": 8,
    "mean": [0.1, 0.2, 0.3],
    "std": [1.0, 1.0, 1.0],
    "parameters": 10,
    "trainable_parameters": 8,
    "frozen_parameters": 2,
    "stem": "small",
    "batch_size": 4,
    "processes": 1,
    "device": "cpu",
    "threads": 2,
    "precision": "fp32",
    "memory_format": "contiguous",
}
FOUND = {
    "probe_seconds": {"contiguous fp32": 0.1},
    "weights": {"from": "runs:/1", "loaded": 3},
    "trainable_from_epoch": {"1": 8},
    "lr": 0.05,
}


def test_a_record_of_before_is_read_and_written_with_its_keys_in_their_order():
    for stored in (STORED, STORED | FOUND):
        written = RunFacts.from_dict(json.loads(json.dumps(stored))).to_dict()
        assert written == stored
        assert list(written) == list(stored)


def test_facts_that_a_run_lacks_are_left_out():
    assert RunFacts.from_dict(STORED).lr is None
    assert not FOUND.keys() & RunFacts.from_dict(STORED).to_dict().keys()


def test_unknown_keys_are_left_out_and_missing_ones_have_defaults():
    found = RunFacts.from_dict({"fingerprint": {"fingerprint": "ab"}, "of_tomorrow": 1})
    assert found.digest == "ab"
    assert (found.processes, found.threads, found.class_names) == (1, 0, [])
    assert "of_tomorrow" not in found.to_dict()
    assert RunFacts.from_dict({}).fingerprint == {}


def test_a_checkpoint_holds_no_address_with_a_password():
    config = make(dataset="digits", tracking_uri="http://me:secret@host")
    record = config_record(config)
    assert "secret" not in json.dumps(record)
    assert record["dataset"] == "digits"
