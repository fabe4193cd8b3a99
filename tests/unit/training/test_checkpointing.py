import functools
import os
import shutil
import threading
from pathlib import Path

import pytest
import torch

from imbalance_study import files
from imbalance_study.models import checkpoint
from imbalance_study.training import checkpointing


def _content(epoch, size=10):
    return {"epoch": epoch, "weights": torch.full((size,), float(epoch))}


def test_the_last_two_checkpoints_are_kept_and_the_newest_is_found(tmp_path):
    said = []
    assert checkpointing.newest(tmp_path / "none", said.append) is None
    with checkpointing.Keeper(tmp_path, {"about": "a run"}) as keeper:
        for epoch in (9, 10, 11):
            keeper.save(epoch, _content(epoch), lambda: None)
    assert sorted(os.listdir(tmp_path)) == ["epoch-000010.pt", "epoch-000011.pt"]
    found = checkpointing.newest(tmp_path, said.append)
    assert (found["epoch"], found["about"], said) == (11, "a run", [])
    keeper.discard()
    assert not tmp_path.exists()


def test_what_follows_a_checkpoint_follows_it_once_it_is_on_the_disk(tmp_path):
    done = []

    def then(epoch):
        assert (tmp_path / f"epoch-{epoch:06d}.pt").exists()
        done.append(epoch)

    with checkpointing.Keeper(tmp_path, {}) as keeper:
        for epoch in range(1, 8):
            keeper.save(epoch, _content(epoch, 300_000), functools.partial(then, epoch))
            assert done[-1] >= epoch - 1 if done else epoch == 1
    assert done == [1, 2, 3, 4, 5, 6, 7]


def test_a_checkpoint_written_beside_the_training_has_the_values_of_its_epoch(tmp_path):
    weights, beside = torch.zeros(2_000_000), 0
    with checkpointing.Keeper(tmp_path, {}) as keeper:
        for epoch in range(1, 6):
            weights += 1
            keeper.save(epoch, {"weights": weights, "more": [weights]}, lambda: None)
            beside += any(thread.name == checkpointing.WRITER for thread in threading.enumerate())
            weights += 0.5
            weights -= 0.5
    assert beside  # an epoch as short as this one is over before its checkpoint is written
    found = checkpointing.newest(tmp_path, pytest.fail)
    assert found["weights"].unique().tolist() == found["more"][0].unique().tolist() == [5.0]


def test_a_checkpoint_that_cannot_be_written_ends_the_training_and_the_one_before_stays(
    tmp_path, small_files_only
):
    done = []

    def train():
        with checkpointing.Keeper(tmp_path, {}) as keeper:
            keeper.save(1, _content(1), lambda: done.append(1))
            with small_files_only(100_000):
                keeper.save(2, _content(2, 200_000), lambda: done.append(2))
                keeper.wait()

    with pytest.raises(OSError, match=r"epoch-000002.pt cannot be written"):
        train()
    assert done == [1]
    assert os.listdir(tmp_path) == ["epoch-000001.pt"]


def test_an_error_of_the_training_is_not_hidden_by_one_of_the_last_checkpoint(tmp_path):
    def then():
        raise KeyError("what follows")

    def train():
        with checkpointing.Keeper(tmp_path, {}) as keeper:
            keeper.save(1, _content(1, 2_000_000), lambda: None)
            keeper.save(2, _content(2, 2_000_000), then)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    assert checkpointing.newest(tmp_path, pytest.fail)["epoch"] == 2


def test_half_a_file_of_a_killed_process_is_removed_and_never_read(tmp_path):
    checkpoint.save(tmp_path / "epoch-000001.pt", _content(1))
    with files.replacing(tmp_path / "epoch-000002.pt") as partial:
        partial.write_bytes(b"half")
        left = shutil.copy(partial, partial.with_name(partial.name.replace("partial", "9.partial")))
    (tmp_path / "epoch-000002.pt").unlink()
    assert Path(left).exists()
    (tmp_path / "epoch-x.pt").write_bytes(b"of another")
    assert checkpointing.newest(tmp_path, pytest.fail)["epoch"] == 1
    checkpointing.Keeper(tmp_path, {})
    assert sorted(os.listdir(tmp_path)) == ["epoch-000001.pt", "epoch-x.pt"]


def test_a_damaged_checkpoint_is_passed_over_with_a_line_and_without_a_whole_one_it_is_an_error(
    tmp_path,
):
    for epoch in (1, 2):
        checkpoint.save(tmp_path / f"epoch-{epoch:06d}.pt", _content(epoch))
    newest = tmp_path / "epoch-000002.pt"
    newest.write_bytes(newest.read_bytes()[:-50])
    said = []
    assert checkpointing.newest(tmp_path, said.append)["epoch"] == 1
    assert len(said) == 1
    assert said[0].startswith("checkpoint of epoch 2 passed over: ")
    (tmp_path / "epoch-000001.pt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"all checkpoints in .* are damaged"):
        checkpointing.newest(tmp_path, said.append)


def test_without_a_gpu_copies_are_there_at_once():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert checkpointing._arrival() is None
    weights = torch.zeros(3)
    copied = checkpointing._copy({"a": [weights], "b": 1})
    weights += 1
    assert copied["a"][0].tolist() == [0, 0, 0]
