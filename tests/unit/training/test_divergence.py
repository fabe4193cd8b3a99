import math

import pytest
import torch

from imbalance_study.training.distributed import ALONE
from imbalance_study.training.divergence import EVERY, FiniteWatch

CPU = torch.device("cpu")
HITS = torch.tensor([True, False, True])


def _stops_at(watch, losses):
    """The step at which the watch stops, and what it says."""
    for step, loss in enumerate(losses, start=1):
        try:
            watch.add(torch.tensor(loss), HITS, 3, 0.1 * step, step, epoch=3)
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
        watch.add(torch.tensor(1.0), HITS, 3, 0.1, step, epoch=7)
    watch.add(torch.tensor(math.nan), HITS, 3, 0.1, 120, epoch=7)
    with pytest.raises(ValueError, match=r"epoch 7 \(step 120,"):
        watch.finish(120, epoch=7)


@pytest.mark.parametrize("device", ["cpu", "mps"])  # checked at once, and sixteen together
def test_losses_and_hits_of_all_steps_are_summed(device):
    watch = FiniteWatch(torch.device(device), ALONE)
    assert math.isnan(watch.latest)
    for step in range(1, 20):
        watch.add(torch.tensor(float(step)), HITS, 3, 0.1, step, epoch=1)
    watch.add(torch.tensor(0.5), HITS[:1], 1, 0.1, 20, epoch=1)  # a smaller last batch
    watch.finish(20, epoch=1)
    assert watch.loss_sum == 3 * 190 + 0.5
    assert (watch.images, watch.hits, watch.latest) == (58, 39, 0.5)


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_with_patience_a_single_faulty_step_is_left_out_and_two_in_a_row_are_not(device):
    def watch():
        return FiniteWatch(torch.device(device), ALONE, patience=2)

    single = watch()
    assert _stops_at(single, [1.0, math.inf, 2.0, math.nan, 3.0]) == (None, "")
    assert (single.loss_sum, single.images, single.hits) == (18.0, 9, 10)
    step, said = _stops_at(watch(), [1.0, math.inf, math.inf, 2.0])
    assert "(step 3, " in said
    assert step == (3 if device == "cpu" else "end")
