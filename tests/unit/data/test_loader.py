import threading
import time

import numpy as np
import pytest
import torch

from imbalance_study.data.loader import Batches, fits, free_memory

CPU = torch.device("cpu")
BOTH_WAYS = pytest.mark.parametrize("resident", [True, False], ids=["resident", "streamed"])

# Image i of the set is filled with i; its label is i % 4.
IMAGES = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 6, 5, 3)).copy()
LABELS = np.arange(40) % 4
ROWS = np.array([31, 2, 17, 8, 39, 5, 0, 22, 13, 30])


def _batches(resident, images=IMAGES):
    return Batches(images, LABELS, ROWS, CPU, resident=resident)


def _numbers(batches, indices, size):
    """The numbers of the images of each batch."""
    return [b.images[:, 0, 0, 0].tolist() for b in batches.epoch(torch.tensor(indices), size)]


@BOTH_WAYS
def test_batches_follow_the_index_vector_with_its_repeats(resident):
    found = _numbers(_batches(resident), [9, 0, 0, 4, 1, 9], 2)
    assert found == [[30, 31], [31, 39], [2, 30]]


@BOTH_WAYS
def test_the_last_batch_has_what_is_left(resident):
    found = _numbers(_batches(resident), list(range(10)), 4)
    assert [len(batch) for batch in found] == [4, 4, 2]
    assert [number for batch in found for number in batch] == ROWS.tolist()


@BOTH_WAYS
def test_each_image_keeps_its_label(resident):
    batches = _batches(resident)
    for batch in batches.epoch(torch.randperm(10), 3):
        assert torch.equal(batch.images[:, 1, 2, 2] % 4, batch.targets)
        assert batch.targets.dtype == torch.int64
    assert torch.equal(batches.targets, torch.from_numpy(ROWS % 4))
    assert len(batches) == 10


@BOTH_WAYS
def test_images_are_a_channels_last_view_without_a_copy(resident):
    batch = next(_batches(resident).epoch(torch.arange(10), 10))
    assert batch.images.shape == (10, 3, 6, 5)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.images._is_view()


@BOTH_WAYS
def test_changing_a_batch_does_not_change_the_images(resident):
    batches = _batches(resident)
    next(batches.epoch(torch.arange(10), 10)).images.zero_()
    assert _numbers(batches, [0, 1], 2) == [[31, 2]]
    assert IMAGES[31].min() == 31


@pytest.mark.parametrize("size", [1, 7, 64])
def test_resident_and_streamed_batches_are_the_same(tmp_path, size):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    indices = torch.randint(10, (33,), generator=torch.Generator().manual_seed(1))
    ways = [_batches(resident, mapped).epoch(indices, size) for resident in (True, False)]
    for held, streamed in zip(*ways, strict=True):
        assert torch.equal(held.images, streamed.images)
        assert held.images.stride() == streamed.images.stride()
        assert torch.equal(held.targets, streamed.targets)


@BOTH_WAYS
def test_one_batch_and_raw_images_can_be_taken(resident):
    batches = _batches(resident)
    batch = batches.take(torch.tensor([2, 0]))
    assert batch.images[:, 0, 0, 0].tolist() == [17, 31]
    raw = batches.read(np.array([2, 0]))
    assert raw.shape == (2, 6, 5, 3)
    assert raw[:, 0, 0, 0].tolist() == [17, 31]


class _BrokenDisk:
    """An array of images whose image 17 cannot be read."""

    shape, dtype = IMAGES.shape, IMAGES.dtype

    def __getitem__(self, rows):
        if 17 in rows:
            raise OSError("image 17 cannot be read")
        return IMAGES[rows]


def _readers():
    return [thread for thread in threading.enumerate() if thread.name == "batches"]


def _no_reader_left():
    deadline = time.monotonic() + 5
    while _readers() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not _readers()


def test_an_error_while_streaming_arrives_after_the_batches_before_it():
    batches = _batches(False, _BrokenDisk())
    epoch = batches.epoch(torch.tensor([0, 1, 2, 3]), 1)
    assert [next(epoch).targets.item(), next(epoch).targets.item()] == [31 % 4, 2 % 4]
    with pytest.raises(OSError, match="image 17 cannot be read"):
        next(epoch)
    assert _no_reader_left()


def test_streaming_that_is_given_up_leaves_no_thread_behind():
    epoch = _batches(False).epoch(torch.arange(10), 1)
    next(epoch)
    assert _readers()
    epoch.close()
    assert _no_reader_left()


def test_streaming_reads_ahead_but_not_the_whole_epoch():
    reads = []

    class Counted:
        shape, dtype = IMAGES.shape, IMAGES.dtype

        def __getitem__(self, rows):
            reads.append(len(rows))
            return IMAGES[rows]

    epoch = _batches(False, Counted()).epoch(torch.arange(10), 1)
    next(epoch)
    deadline = time.monotonic() + 5
    while len(reads) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(reads) == 5  # one used, three waiting, one in hand
    epoch.close()


def test_images_are_resident_when_they_take_less_than_half_of_what_is_free():
    most = free_memory(CPU)
    assert fits(int(0.4 * most), CPU)
    assert not fits(int(0.6 * most), CPU)


@pytest.mark.parametrize("resident", [True, False])
def test_features_are_served_as_images_are(resident):
    features = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    rows = np.array([6, 0, 3])
    part = Batches(features, np.arange(7), rows, CPU, resident=resident)
    (batch,) = part.epoch(torch.tensor([2, 0]), 8)
    assert torch.equal(batch.images, torch.from_numpy(features[[3, 6]]))
    assert batch.targets.tolist() == [3, 6]
