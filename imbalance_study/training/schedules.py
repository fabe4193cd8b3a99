"""Learning-rate schedules and early stopping.

Both are pure functions: they recompute their state from the history of the validation metric, so
that a resumed run decides as an uninterrupted one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

Schedule = Callable[[float, int, Sequence[float]], float]


def constant(epoch: float, epochs: int, history: Sequence[float], *, warmup: float = 0.0) -> float:
    """Keep the learning rate throughout, after `warmup` epochs of linear rise.

    All schedules return a factor on the base learning rate. The first `warmup` epochs multiply it
    by ``epoch / warmup`` (Goyal et al. 2017, arXiv:1706.02677, sec. 2.2). The warm-up is at most
    half of the training: a training of one epoch reaches the full rate, too.

    Args:
        epoch: Epochs done, with fractions. Use the middle of an update,
            ``(update + 0.5) / updates_per_epoch``, so that neither the first nor the last is 0.
        epochs: Epochs in all.
        history: Monitored validation metric of each epoch done; higher is better.
        warmup: Epochs of warm-up, with fractions.

    Raises:
        ValueError: `warmup` is negative, `epoch` negative or `epochs` below 1.
    """
    return _ramp(epoch, epochs, warmup)


def cosine(
    epoch: float,
    epochs: int,
    history: Sequence[float],
    *,
    warmup: float = 0.0,
    floor: float = 0.0,
) -> float:
    """Follow half a cosine from 1 down to `floor`, over the epochs after the warm-up.

    ``floor + (1 - floor) (1 + cos(pi t)) / 2``, t from 0 to 1 (Loshchilov and Hutter 2017,
    arXiv:1608.03983, without restarts).

    Raises:
        ValueError: `floor` is outside [0, 1], or as for `constant`.
    """
    ramp = _ramp(epoch, epochs, warmup)
    return ramp * _half_cosine(_after_warmup(epoch, epochs, warmup), floor)


def cosine_restarts(
    epoch: float,
    epochs: int,
    history: Sequence[float],
    *,
    warmup: float = 0.0,
    floor: float = 0.0,
    cycles: int = 3,
    multiplier: float = 2.0,
) -> float:
    """Follow several half cosines, each `multiplier` times as long as the one before.

    SGDR (Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5). The first length follows from the
    number of cycles, so that the last cycle ends with the training: 3 cycles and multiplier 2
    restart at 1/7 and 3/7 of it.

    Raises:
        ValueError: `cycles` is outside 1 to 100, `multiplier` outside 1 to 10, or as for `cosine`.
    """
    if not 1 <= cycles <= 100:
        raise ValueError(f"cycles must be between 1 and 100, got {cycles}")
    if not 1 <= multiplier <= 10:
        raise ValueError(f"multiplier must be between 1 and 10, got {multiplier:g}")
    ramp = _ramp(epoch, epochs, warmup)
    lengths = [multiplier**cycle for cycle in range(cycles)]
    starts = [start / sum(lengths) for start in itertools.accumulate(lengths, initial=0.0)]
    position = _after_warmup(epoch, epochs, warmup)
    cycle = max(index for index in range(cycles) if starts[index] <= position)
    within = (position - starts[cycle]) / (starts[cycle + 1] - starts[cycle])
    return ramp * _half_cosine(min(within, 1.0), floor)


def step(
    epoch: float,
    epochs: int,
    history: Sequence[float],
    *,
    warmup: float = 0.0,
    milestones: str = "0.8/0.9",
    gamma: float = 0.01,
) -> float:
    """Multiply by `gamma` at each milestone, a fraction of the training.

    The defaults are those of the long-tail papers (Cao et al. 2019 and their code): times 0.01 from
    epoch 160 of 200 on, times 0.0001 from 180 on.

    Raises:
        ValueError: A milestone is no number in (0, 1), they do not rise, `gamma` is outside
            (0, 1], or as for `constant`.
    """
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma must be in (0, 1], got {gamma:g}")
    passed = sum(epoch / epochs >= milestone for milestone in _milestones(milestones))
    return _ramp(epoch, epochs, warmup) * gamma**passed


def plateau(
    epoch: float,
    epochs: int,
    history: Sequence[float],
    *,
    warmup: float = 0.0,
    factor: float = 0.1,
    patience: int = 5,
    min_delta: float = 0.0,
) -> float:
    """Multiply by `factor` when the metric has not risen by more than `min_delta` for a while.

    As torch's ReduceLROnPlateau(mode="max", threshold_mode="abs"): the rate falls with epoch
    number `patience` + 1 without a new best, and the count starts anew.

    Raises:
        ValueError: `factor` is outside (0, 1), `patience` or `min_delta` negative, or as for
            `constant`.
    """
    if not 0 < factor < 1:
        raise ValueError(f"factor must be larger than 0 and smaller than 1, got {factor:g}")
    _check_waiting(patience, 0, min_delta)
    best, waited, drops = -math.inf, 0, 0
    for value in history:
        best, waited = (value, 0) if value > best + min_delta else (best, waited + 1)
        if waited > patience:
            drops, waited = drops + 1, 0
    return _ramp(epoch, epochs, warmup) * factor**drops


def learning_rate(
    schedule: Schedule, base_lr: float, epoch: float, epochs: int, history: Sequence[float]
) -> float:
    """Return the learning rate at a point of the training: `base_lr` times the factor."""
    return base_lr * schedule(epoch, epochs, history)


def should_stop(history: Sequence[float], *, patience: int = 10, min_delta: float = 0.0) -> bool:
    """Return whether the last `patience` epochs brought no new best.

    A new best exceeds the old one by more than `min_delta`; NaN never does.

    Args:
        history: Monitored validation metric of each epoch done; higher is better.
        patience: Epochs to wait, at least 1.
        min_delta: In units of the metric.

    Raises:
        ValueError: `patience` is below 1, or `min_delta` negative.
    """
    _check_waiting(patience, 1, min_delta)
    best, waited = -math.inf, 0
    for value in history:
        best, waited = (value, 0) if value > best + min_delta else (best, waited + 1)
        if waited >= patience:
            return True
    return False


def _ramp(epoch: float, epochs: int, warmup: float) -> float:
    if not 0 <= warmup < math.inf:
        raise ValueError(f"warmup must be at least 0 epochs, got {warmup:g}")
    if epoch < 0 or epochs < 1:
        raise ValueError(f"epoch must be at least 0 and epochs 1, got {epoch:g} and {epochs}")
    rise = min(warmup, epochs / 2)
    return epoch / rise if epoch < rise else 1.0


def _after_warmup(epoch: float, epochs: int, warmup: float) -> float:
    rise = min(warmup, epochs / 2)
    return min((epoch - rise) / (epochs - rise), 1.0) if epoch > rise else 0.0


def _half_cosine(position: float, floor: float) -> float:
    if not 0 <= floor <= 1:
        raise ValueError(f"floor must be in [0, 1], got {floor:g}")
    return floor + (1 - floor) * (1 + math.cos(math.pi * position)) / 2


def _milestones(text: str) -> list[float]:
    rule = "milestones must be rising fractions of the training between 0 and 1, as in 0.8/0.9"
    try:
        values = [float(part) for part in str(text).split("/")]
    except ValueError:
        raise ValueError(f"{rule}; got {text!r}") from None
    rising = all(a < b for a, b in itertools.pairwise(values))
    if not rising or not all(0 < value < 1 for value in values):
        raise ValueError(f"{rule}; got {text!r}")
    return values


def _check_waiting(patience: int, least: int, min_delta: float) -> None:
    if patience < least:
        raise ValueError(f"patience must be at least {least} epochs, got {patience}")
    if not 0 <= min_delta < math.inf:
        raise ValueError(f"min_delta must be at least 0, got {min_delta:g}")
