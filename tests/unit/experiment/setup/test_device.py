import pytest
import torch

from imbalance_study.config.resolve import make
from imbalance_study.experiment.setup.device import CPU, resolve_device


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
