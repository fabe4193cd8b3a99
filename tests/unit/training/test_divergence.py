import math

import pytest
import torch

from imbalance_study.training.distributed import ALONE
from imbalance_study.training.divergence import EVERY, FiniteWatch

CPU = torch.device("cpu")


def _stops_at(watch, losses):
    """The step at which the watch stops, and what it says."""
    for step, loss in enumerate(losses, start=1):
        try:
            watch.add(torch.tensor(loss), 0.1 * step, step, epoch=3)
        except ValueError as error:
            return step, str(error)
    try:
        watch.finish(len(losses), epoch=3)
    except ValueError as error:
        return "end", str(error)
    return None, ""


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_on_a_processor_the_very_step_is_the_last_one(bad):
    step, said = _stops_at(FiniteWatch(CPU, ALONE), [1.0, 2.0, bad, 3.0])
    assert step == 3
    assert said.startswith("the loss is not finite in epoch 3 (step 3, lr 0.3); try a smaller lr")
    assert _stops_at(FiniteWatch(CPU, ALONE), [1e30, -5.0, 0.0]) == (None, "")


@pytest.mark.parametrize("at", [1, 5, EVERY, EVERY + 1, 3 * EVERY, 50, 70])
def test_on_a_device_it_stops_within_two_looks_and_names_the_step(at):
    losses = [1.0] * 70
    losses[at - 1 :] = [math.nan] * (71 - at)
    step, said = _stops_at(FiniteWatch(torch.device("mps"), ALONE), losses)
    assert f"(step {at}, lr {0.1 * at:.3g})" in said
    assert step == "end" or at <= step < at + EVERY


def test_steps_count_on_over_epochs():
    watch = FiniteWatch(torch.device("mps"), ALONE)
    for step in range(101, 120):
        watch.add(torch.tensor(1.0), 0.1, step, epoch=7)
    watch.add(torch.tensor(math.nan), 0.1, 120, epoch=7)
    with pytest.raises(ValueError, match=r"epoch 7 \(step 120,"):
        watch.finish(120, epoch=7)
