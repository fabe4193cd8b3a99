"""Lack of memory on a device, in all the words that torch and its libraries have for it."""

from __future__ import annotations

import re

import torch

# cuDNN and cuBLAS report it as plain errors, cuDNN also as having found no way to compute.
_WORDS = re.compile(
    r"(CUDNN|CUBLAS)_STATUS_ALLOC_FAILED|out of memory|unable to find an engine",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that the memory of the device does not suffice."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_WORDS.search(str(error)))
