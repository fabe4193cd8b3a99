import os
import pickle
import shutil
import subprocess

import pytest
import torch

from imbalance_study.models import checkpoint

CONTENT = {"model": {"w": torch.arange(50.0)}, "epoch": 3, "config": {"loss": "ldam", "ema": False}}


def test_what_was_saved_comes_back(tmp_path):
    path = tmp_path / "new" / "folders" / "best.pt"
    checkpoint.save(path, CONTENT)
    found = checkpoint.load(path)
    assert torch.equal(found["model"]["w"], CONTENT["model"]["w"])
    assert (found["epoch"], found["config"]) == (3, CONTENT["config"])
    assert os.listdir(path.parent) == ["best.pt"]


def test_a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else(
    tmp_path, small_files_only
):
    path = tmp_path / "last.pt"
    checkpoint.save(path, CONTENT)
    before = path.read_bytes()
    message = r"the checkpoint .*last.pt cannot be written: File too large$"
    with small_files_only(100_000), pytest.raises(OSError, match=message):
        checkpoint.save(path, {"model": torch.zeros(200_000)})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["last.pt"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 KB."""
    place = tmp_path / "small"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("no tmpfs may be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_said_to_be_full_and_the_checkpoint_before_is_kept(small_disk):
    path = small_disk / "last.pt"
    checkpoint.save(path, CONTENT)
    with pytest.raises(OSError, match=r"last.pt cannot be written: No space left on device$"):
        checkpoint.save(path, {"model": torch.zeros(100_000)})
    assert checkpoint.load(path)["epoch"] == 3
    assert os.listdir(small_disk) == ["last.pt"]


def test_content_that_cannot_be_saved_leaves_the_old_file(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.save(path, CONTENT)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        checkpoint.save(path, {"model": lambda: None})
    assert checkpoint.load(path)["epoch"] == 3
    assert os.listdir(tmp_path) == ["last.pt"]


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = tmp_path / "best.pt"
    checkpoint.save(path, CONTENT)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match=r"best.pt is not a checkpoint, or it is damaged"):
        checkpoint.load(path)


def test_a_single_wrong_bit_in_a_weight_is_noticed(tmp_path):
    path = tmp_path / "best.pt"
    checkpoint.save(path, CONTENT)
    content = bytearray(path.read_bytes())
    content[content.find(CONTENT["model"]["w"].numpy().tobytes()) + 81] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged: wrong checksum of"):
        checkpoint.load(path)


@pytest.mark.parametrize("content", [b"not a checkpoint", pickle.dumps({"model": 1}), b"\x80\x02."])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"x.pt is not a checkpoint") as refused:
        checkpoint.load(tmp_path / "x.pt")
    assert "weights_only" not in str(refused.value)  # torch advises to allow pickle


def test_a_checkpoint_holds_a_dict(tmp_path):
    torch.save([1, 2], tmp_path / "x.pt")
    with pytest.raises(ValueError, match="it holds a list"):
        checkpoint.load(tmp_path / "x.pt")


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "none.pt")


class _Bomb:
    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_code_in_a_file_is_refused_and_not_run(tmp_path):
    bomb = _Bomb()
    bomb.folder = str(tmp_path / "made_by_the_file")
    torch.save({"model": bomb}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="is not a checkpoint"):
        checkpoint.load(tmp_path / "x.pt")
    assert not (tmp_path / "made_by_the_file").exists()


def test_a_file_of_safetensors_is_read(tmp_path):
    from safetensors.torch import save_file

    save_file(
        {"a": torch.arange(3.0), "b": torch.ones(2, 2).bfloat16()}, tmp_path / "x.safetensors"
    )
    content = checkpoint.load(tmp_path / "x.safetensors")
    assert torch.equal(content["a"], torch.arange(3.0))
    assert content["b"].dtype is torch.bfloat16


def test_a_damaged_file_of_safetensors_is_refused_and_never_unpickled(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"x.safetensors is not a file of safetensors, or it is"):
        checkpoint.load(tmp_path / "x.safetensors")
