"""The loop that ours is measured against: what a first working script looks like.

PIL images through torchvision's transforms in a DataLoader of two workers, contiguous 32-bit
floats, `.item()` after every batch, deterministic cuDNN.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

WORKERS = 2
# Batches that wait, decoded, when a window begins; they are left out of what is measured.
AHEAD = 2 * WORKERS + 1


class Photographs(Dataset[tuple[Tensor, int]]):
    """Images that are opened, or made PIL images of, whenever they are asked for."""

    def __init__(
        self,
        images: npt.NDArray[np.uint8] | Sequence[str],
        labels: npt.NDArray[np.int64],
        look: Any,
    ) -> None:
        self.images, self.labels, self.look = images, labels, look

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        source = self.images[index]
        if isinstance(source, str):
            with Image.open(source) as file:
                image = file.convert("RGB")
        else:
            image = Image.fromarray(source)
        return self.look(image), int(self.labels[index])


def transform(
    size: int, mean: Sequence[float], std: Sequence[float], *, resize: bool, augment: bool = True
) -> Any:
    """Resize to `size` where asked for, crop with a margin of an eighth, flip, normalise."""
    steps: list[Any] = [transforms.Resize((size, size))] if resize else []
    if augment:
        steps += [transforms.RandomCrop(size, padding=size // 8), transforms.RandomHorizontalFlip()]
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(mean, std)])


class Naive:
    """A model and its data, trained a window of batches at a time."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        data: Photographs,
        batch_size: int,
        device: torch.device,
        order: Sequence[int] | None = None,
        schedule: Callable[[int], float] | None = None,
    ) -> None:
        self.model = model.to(device).to(memory_format=torch.contiguous_format)
        self.optimizer = optimizer
        self.device = device
        self.losses: list[float] = []
        self.schedule = schedule  # of the number of updates that are done
        self.loader = DataLoader(
            data,
            batch_size,
            shuffle=order is None,
            sampler=order,
            num_workers=WORKERS,
            drop_last=True,
        )
        self._batches = self._endless()

    def _endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader

    def window(self, batches: int) -> float:
        """Train on that many batches; returns the seconds of those that did not lie ready."""
        with _deterministic():
            self._train(AHEAD)
            begun = time.perf_counter()
            self._train(batches)
            return time.perf_counter() - begun

    def _train(self, batches: int) -> None:
        self.model.train()
        for _ in range(batches):
            images, targets = next(self._batches)
            images, targets = images.to(self.device), targets.to(self.device)
            if self.schedule is not None:
                for group in self.optimizer.param_groups:
                    group["lr"] = self.schedule(len(self.losses))
            self.optimizer.zero_grad()
            logits = self.model(images)
            loss = nn.functional.cross_entropy(logits, targets)
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())
            (logits.argmax(1) == targets).float().mean().item()

    def epochs(self, count: int) -> None:
        """Train whole epochs."""
        with _deterministic():
            self._train(count * len(self.loader))

    def settle(self, seconds: float = 1.0) -> None:
        """Let the workers fill their queue, so that they rest while others are measured."""
        time.sleep(seconds)


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
