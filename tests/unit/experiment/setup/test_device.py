import pytest
import torch

from imbalance_study.config.resolve import make
from imbalance_study.experiment.setup.device import (
    CPU,
    kernels_tried,
    resolve_device,
    uses_tf32,
)


def test_a_processor_computes_in_fp32_and_channels_last_unless_told_otherwise():
    found = resolve_device(make(dataset="digits", device="cpu"))
    assert found == (torch.device("cpu"), "fp32", True)
    given = make(dataset="digits", device="cpu", precision="bf16", memory_format="contiguous")
    assert resolve_device(given) == (torch.device("cpu"), "bf16", False)


def test_fp16_on_a_processor_is_refused():
    with pytest.raises(ValueError, match=r"precision=fp16 needs device=cuda, got device=cpu"):
        resolve_device(make(dataset="digits", device="cpu", precision="fp16"))


def test_a_device_that_the_machine_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device=cuda, but this machine has none"):
        resolve_device(make(dataset="digits", device="cuda"))


def test_the_memory_format_is_that_of_torch():
    assert CPU.memory_format is torch.contiguous_format
    assert CPU._replace(channels_last=True).memory_format is torch.channels_last


@pytest.mark.parametrize(
    ("capability", "bf16", "precision", "tf32"),
    [
        ((9, 0), True, "bf16", True),
        ((7, 0), False, "fp16", False),
        ((6, 1), False, "fp32", False),  # Pascal multiplies fp16 at a sixty-fourth of the speed
    ],
)
def test_the_precision_of_a_gpu_is_the_one_that_it_is_fast_in(
    capability, bf16, precision, tf32, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    found = resolve_device(make(dataset="digits", device="cuda"))
    assert (found.device.type, found.precision) == ("cuda", precision)
    assert uses_tf32(found.device) == tf32
    assert not uses_tf32(CPU.device)


def test_cudnn_tries_its_kernels_inside_the_context_alone():
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark
    with kernels_tried(torch.device("cuda")):
        assert cudnn.benchmark
    assert cudnn.benchmark == before
    with kernels_tried(CPU.device):
        assert cudnn.benchmark == before
