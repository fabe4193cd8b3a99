import io

import torch

from imbalance_study.training.callback import EpochState
from imbalance_study.training.procedure import EpochResult
from imbalance_study.training.progress import Progress


def _state(epoch, **metrics):
    return EpochState(EpochResult(epoch, metrics), None, None, None)


def test_elsewhere_than_on_a_terminal_each_epoch_is_a_line():
    stream = io.StringIO()
    with Progress(2, stream=stream) as progress:
        for epoch in (1, 2):
            progress.on_epoch_begin(epoch, 30)
            progress.on_batch_end(30, torch.tensor(0.5))
            progress.on_epoch_end(_state(epoch, **{"train/loss": 0.25, "val/accuracy": 0.5}))
    first, second = stream.getvalue().splitlines()
    assert first.startswith("epoch 1/2  loss 0.25  val acc 0.5  ")
    assert first.endswith("left")
    assert second.endswith("0:00 left")


def test_the_time_left_counts_the_epochs_of_this_process_alone():
    stream = io.StringIO()
    with Progress(100, stream=stream) as progress:
        progress.on_resume(_state(99))
        progress._started -= 60
        progress.on_epoch_end(_state(100))
    assert stream.getvalue().endswith("0:00 left\n")


def test_disabled_it_is_silent():
    stream = io.StringIO()
    with Progress(1, enabled=False, stream=stream) as progress:
        progress.on_epoch_begin(1, 3)
        progress.on_batch_end(3, torch.tensor(0.5))
        progress.on_epoch_end(_state(1))
    assert stream.getvalue() == ""
