"""Progress a person can follow: a bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import Any, TextIO

from imbalance_study.training.callback import Callback, EpochState

# Steps between two losses that are shown.
_EVERY = 20


class Progress(Callback):
    """Shows epochs as they pass; `enabled=False` is silent.

    Use as a context manager around the training, so that the bar is closed in every case.
    """

    def __init__(self, epochs: int, *, enabled: bool = True, stream: TextIO | None = None) -> None:
        self._epochs = epochs
        self._stream = stream or sys.stderr
        self._enabled = enabled
        self._bar: Any = None
        self._started = time.perf_counter()
        self._seen = 0
        self._done = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def on_resume(self, state: EpochState) -> None:
        """Note the epochs that were done before this process began."""
        self._done = state.result.epoch

    def on_epoch_begin(self, epoch: int, images: int) -> None:
        """Open the bar of an epoch (counted from 1) of so many images."""
        self._steps = 0
        if self._enabled and self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=images,
                desc=f"epoch {epoch}/{self._epochs}",
                unit="img",
                leave=False,
                file=self._stream,
            )

    def on_batch_end(self, images: int, loss: float) -> None:
        """Note a finished step; `loss` is the newest that has arrived, NaN before one has."""
        self._seen += images
        self._steps += 1
        if self._bar is None:
            return
        if self._steps % _EVERY == 0 and not math.isnan(loss):
            self._bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        self._bar.update(images)

    def on_epoch_end(self, state: EpochState) -> None:
        """Write the line of an epoch: loss, accuracy, validation, speed, time left."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if not self._enabled:
            return
        epoch, metrics = state.result.epoch, state.result.metrics
        spent = time.perf_counter() - self._started
        left = spent / (epoch - self._done) * (self._epochs - epoch)
        parts = [f"epoch {epoch}/{self._epochs}"]
        for name, text in _COLUMNS.items():
            if name in metrics:
                parts.append(f"{text} {metrics[name]:.4g}")
        parts.append(f"{self._seen / spent:.0f} images/s")
        parts.append(f"{_clock(left)} left")
        print("  ".join(parts), file=self._stream, flush=True)


_COLUMNS = {
    "train/loss": "loss",
    "train/accuracy": "train acc",
    "val/accuracy": "val acc",
    "val/balanced_accuracy": "val balanced acc",
}


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
