import os
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from imbalance_study.training.cpu import winograd
from imbalance_study.training.cpu.convolutions import CpuConv2d, enabled


def layer_and_images(count=4, channels=(128, 128), side=16, dtype=torch.float32, **options):
    torch.manual_seed(0)
    layer = nn.Conv2d(*channels, 3, **{"padding": 1} | options)
    images = torch.randn(count, channels[0], side, side, dtype=dtype)
    last = torch.channels_last
    return layer.to(dtype, memory_format=last), images.to(memory_format=last)


def maps_and_gradients(function, images, weight, bias):
    leaves = [x.detach().clone().requires_grad_() for x in (images, weight, bias)]
    maps = function(*leaves)
    torch.manual_seed(1)
    return [maps, *torch.autograd.grad(maps, leaves, torch.randn(maps.shape).to(maps.dtype))]


def direct(images, weight, bias):
    return F.conv2d(images, weight, bias, padding=1)


@pytest.mark.parametrize("side", [(4, 4), (8, 4), (4, 12), (16, 16), (64, 36)])
@pytest.mark.parametrize("channels", [(2, 3), (5, 1)])
@pytest.mark.parametrize("count", [1, 3])
def test_maps_and_gradients_are_those_of_the_direct_sum(side, channels, count):
    torch.manual_seed(0)
    images = torch.randn(count, channels[0], *side, dtype=torch.float64)
    weight = torch.randn(channels[1], channels[0], 3, 3, dtype=torch.float64)
    bias = torch.randn(channels[1], dtype=torch.float64)
    found = maps_and_gradients(winograd.convolve, images, weight, bias)
    for got, wanted in zip(found, maps_and_gradients(direct, images, weight, bias), strict=True):
        torch.testing.assert_close(got, wanted)


def test_the_tile_of_an_impulse_is_the_kernel_turned_round():
    images = torch.zeros(1, 1, 8, 8)
    images[0, 0, 3, 4] = 1  # rows 2 to 4: over the seam of two tiles
    kernel = torch.arange(9.0).reshape(1, 1, 3, 3)
    maps = winograd.convolve(images, kernel, None)
    torch.testing.assert_close(maps[0, 0, 2:5, 3:6], kernel[0, 0].flip(0, 1))
    assert maps.abs().sum() == pytest.approx(36, abs=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_the_error_in_32_bits_stays_below_1e_5_of_the_largest_value(scale):
    layer, images = layer_and_images(count=8)
    parts = [scale * images, layer.weight.detach(), layer.bias.detach()]
    found = maps_and_gradients(winograd.convolve, *parts)
    exact = maps_and_gradients(direct, *(part.double() for part in parts))
    for got, wanted in zip(found, exact, strict=True):
        assert (got - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_what_needs_no_gradient_gets_none():
    layer, images = layer_and_images()
    layer.weight.requires_grad_(False)
    images.requires_grad_()
    winograd.convolve(images, layer.weight, layer.bias).sum().backward()
    assert layer.weight.grad is None
    assert images.grad is not None
    layer.weight.requires_grad_(True)
    images = images.detach()
    winograd.convolve(images, layer.weight, layer.bias).sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.threads(1)
def test_wide_layers_use_this_filtering_where_the_kernels_are_enabled():
    plain, images = layer_and_images()
    layer = CpuConv2d.of(plain)
    with torch.profiler.profile() as profile, enabled(layer):
        maps = layer(images)
    assert "aten::bmm" in [event.key for event in profile.key_averages()]
    assert maps.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(maps, layer(images))
    torch.testing.assert_close(maps, layer(images), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"side": 14},
        {"channels": (64, 128)},
        {"count": 1, "side": 8},  # 4 tiles
        {"stride": 2},
        {"groups": 2},
        {"padding": 0},
        {"padding": 2, "dilation": 2},
        {"padding_mode": "reflect"},
        {"dtype": torch.bfloat16},
    ],
)
def test_other_layers_and_sizes_are_left_to_torch(options):
    plain, images = layer_and_images(**options)
    layer = CpuConv2d.of(plain)
    with enabled(layer):
        assert torch.equal(layer(images), plain(images))


@pytest.mark.threads(2)
def test_one_image_is_not_shared():
    layer, images = layer_and_images(count=1, side=64, channels=(4, 4))
    maps = winograd.convolve(images, layer.weight, None)
    wanted = direct(images, layer.weight, None)
    torch.testing.assert_close(maps, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.threads(2)
def test_it_keeps_to_channels_last_and_away_from_autocast():
    layer, images = layer_and_images(count=8)
    assert winograd.pays(layer, images)
    assert not winograd.pays(layer, images.contiguous())
    with torch.autocast("cpu", torch.bfloat16):
        assert not winograd.pays(layer, images)


@pytest.mark.threads(2)
@pytest.mark.parametrize(("count", "side"), [(33, 16), (2, 64), (3, 48)])
def test_threads_share_the_images_and_agree_with_themselves_and_one(monkeypatch, count, side):
    threads, both = set(), threading.Barrier(2)
    forwards = winograd._forwards

    def seen(*given):
        if len(threads) < 2:  # on a busy machine one thread could take both shares
            threads.add(threading.current_thread().name)
            both.wait(60)
        return forwards(*given)

    monkeypatch.setattr(winograd, "_forwards", seen)
    layer, images = layer_and_images(count=count, side=side, channels=(8, 8), dtype=torch.float64)
    parts = [images, layer.weight.detach(), layer.bias.detach()]
    shared = maps_and_gradients(winograd.convolve, *parts)
    shares = len(threads)
    again = maps_and_gradients(winograd.convolve, *parts)
    assert shares == 2
    torch.set_num_threads(1)
    for a, b, c in zip(shared, again, maps_and_gradients(winograd.convolve, *parts), strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, c)


@pytest.mark.threads(2)
def test_threads_leave_the_number_of_threads_and_work_while_nothing_is_recorded():
    layer, images = layer_and_images(count=32, channels=(8, 8))
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            maps = winograd.convolve(images, layer.weight, layer.bias)
        assert not maps.requires_grad
        torch.testing.assert_close(maps, direct(images, layer.weight, layer.bias).detach())
    assert torch.get_num_threads() == 2
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.threads(2)
def test_a_forked_process_makes_threads_of_its_own():
    layer, images = layer_and_images(count=32, channels=(8, 8))
    winograd.convolve(images, layer.weight, None)
    pid = os.fork()
    if pid == 0:
        os._exit(winograd._pool.cache_info().currsize)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert winograd._pool.cache_info().currsize > 0
