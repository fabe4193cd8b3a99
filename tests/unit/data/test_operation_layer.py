import pytest
import torch

from imbalance_study.data import auto_augment, operation_layer
from imbalance_study.data.auto_augment import STANDARD, WIDE
from imbalance_study.data.operation_layer import OPERATIONS

POLICIES = [auto_augment.trivial_augment, auto_augment.rand_augment, auto_augment.auto_augment]


def pictures(size, *, tones=64, channels_last=True):
    """Smooth images, some in few tones, some with a channel of one tone."""
    generator = torch.Generator().manual_seed(size)
    coarse = torch.rand((60, 3, 5, 5), generator=generator)
    images = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear") * 255
    images = images.to(torch.uint8)
    images[::3] = images[::3] // tones * tones
    images[::4, 1] = 7
    where = torch.channels_last if channels_last else torch.contiguous_format
    return images.contiguous(memory_format=where)


@pytest.mark.parametrize("space", [STANDARD, WIDE], ids=["standard", "wide"])
@pytest.mark.parametrize("size", [2, 9, 32])
def test_all_operations_on_all_images_are_those_on_the_drawn_ones_to_the_bit(space, size):
    for levels in torch.linspace(-1, 1, 9):
        operations = torch.arange(60) % len(OPERATIONS)
        given = pictures(size), operations, levels.expand(60), space
        everywhere = auto_augment.apply(*given, fill=9, everywhere=True)
        drawn = auto_augment.apply(*given, fill=9, everywhere=False)
        assert torch.equal(everywhere, drawn)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_draws_the_same_on_a_gpu_as_on_a_processor(policy, channels_last, monkeypatch):
    images = pictures(16, channels_last=channels_last)
    found = []
    for on_all in (True, False):
        monkeypatch.setattr(auto_augment, "_on_all", lambda images, on_all=on_all: on_all)
        found.append(policy(images, torch.Generator().manual_seed(3)))
    assert torch.equal(*found)
    assert found[0].stride() == found[1].stride() == images.stride()
    assert not torch.equal(found[0], images)


def test_a_row_holds_what_follows_from_operation_and_level_alone():
    number = operation_layer.NUMBER
    operations = torch.tensor([number["identity"], number["brightness"], number["sharpness"]])
    rows = operation_layer.rows_of(operations, torch.tensor([1.0, 0.5, 0.5]), STANDARD, 8, 8)
    identity, brightness, sharpness = rows.values
    assert identity[:7].tolist() == [1, 0, 0, 0, 1, 0, 1]
    assert identity[7:].tolist() == list(range(256))
    assert brightness[7 + 100] == 145  # 100 * 1.45
    assert brightness[7 + 200] == 255
    assert sharpness[6] == pytest.approx(1.45)
    assert rows.kinds.sum(1).tolist() == [0, 0, 1]
    taken = rows.take(torch.tensor([2, 2]))
    assert torch.equal(taken.values, sharpness.expand(2, -1))
