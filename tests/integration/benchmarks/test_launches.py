"""Launches of an update: exact numbers, so that the bounds are bounds and no guesses."""

import gpu_sharing
import launches
import meta_updates
import pytest
import torch


@pytest.mark.parametrize(
    ("augmentation", "most"),
    [
        ("crop+flip", 12),
        ("cutout", 10),
        ("trivial_augment", 60),
        ("rand_augment", 120),
        ("auto_augment", 130),
        ("trivial", 75),
    ],
)
def test_an_augmentation_launches_few_operations(augmentation, most):
    assert launches.of_augmentation(augmentation) <= most


def test_augmentation_and_mixture_of_strong_launch_few_operations():
    augment, mix = launches.STRONG["augment"], launches.STRONG["mix"]
    assert launches.of_augmentation(augment) + launches.of_mix(mix) <= 120


def test_the_moving_average_is_four_launches_at_the_most():
    assert launches.of_average(model="resnet20") <= 4


def test_losses_and_hits_are_three_launches_a_step_at_the_most():
    assert launches.of_bookkeeping() <= 3


def test_an_update_launches_what_network_and_optimizer_need_and_little_else():
    found = launches.of_step(model="resnet20", augment="crop+flip", optimizer="sgd")
    assert found["_fused_sgd_"] == 1
    assert found["convolution_backward"] == found["convolution"] == 19
    assert found.total() <= 196


def test_views_and_reserved_memory_launch_nothing_and_mixed_lists_one_for_each_tensor():
    with launches.Launches() as found:
        values = torch.empty(4, 4).t()[:2].detach()
        values + 1
        torch._foreach_add_([torch.zeros(2), torch.zeros(3, dtype=torch.int64)], 1)
        torch._foreach_add_([torch.zeros(2), torch.zeros(3)], 1)
    assert dict(found.names) == {"add": 1, "zeros": 4, "_foreach_add_": 3}


@pytest.mark.parametrize("name", meta_updates.VARIANTS)
def test_no_update_waits_for_the_device_or_leaves_it(name):
    meta_updates.update(meta_updates.VARIANTS[name])


def test_an_update_that_reads_a_value_is_found(monkeypatch):
    monkeypatch.setattr(
        meta_updates.Update, "_backward", lambda self, loss: loss.item() or loss.backward()
    )
    with pytest.raises(RuntimeError, match="meta"):
        meta_updates.update({})


def test_without_its_daemon_mps_is_off_and_nothing_is_left_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with gpu_sharing.mps() as on:
        assert not on
    (tmp_path / gpu_sharing._CONTROL).write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / gpu_sharing._CONTROL).chmod(0o755)
    with gpu_sharing.mps() as on:
        assert not on
        assert "CUDA_MPS_PIPE_DIRECTORY" not in gpu_sharing.os.environ
