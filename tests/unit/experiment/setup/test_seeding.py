import hashlib

from imbalance_study.experiment.setup import seeding


def test_a_seed_is_the_beginning_of_the_sha256_of_seed_and_purpose():
    digest = hashlib.sha256(b"3/weights").hexdigest()
    assert seeding.seeds(3)("weights") == int.from_bytes(bytes.fromhex(digest[:14]), "little")


def test_each_purpose_and_each_seed_has_a_seed_of_its_own_that_torch_takes():
    found = {seeding.seeds(seed)(purpose) for seed in range(5) for purpose in ("order", "weights")}
    assert len(found) == 10
    assert all(0 <= seed < 2**56 for seed in found)
