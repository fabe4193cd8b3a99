import math

import pytest

from imbalance_study.studies import pictures, records, space
from imbalance_study.studies.settings import objectives

ONE = objectives("val/balanced_accuracy")
TWO = objectives("val/balanced_accuracy|macs")
SPACE = space.build("loss", {"dataset": "digits"})
SHARES = {"loss": 0.6, "margin": 0.3}


def trial(number, state="complete", values=(0.5,), **dimensions):
    return records.Trial(number, state, values, dimensions, {1: 0.3, 2: math.nan}, {}, 0.01, 1.0,
                         "", math.nan)  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_few_trials_leave_figures_out_and_break_none(count):
    trials = [trial(i, values=(0.5 + i / 10,), loss="ldam", margin=0.1 + i) for i in range(count)]
    trials.append(trial(count, "pruned", ()))
    found = pictures.of_study(trials, ONE, SPACE, SHARES if count > 2 else {})
    names = {name.removeprefix("study_") for name in found}
    wanted = {"history", "intermediate"} if count else set()
    wanted |= {"slices", "parallel"} if count > 1 else set()
    wanted |= {"importances"} if count > 2 else set()
    assert names == wanted


def test_two_objectives_have_a_front():
    trials = [trial(i, values=(0.5, float(i)), loss=loss) for i, loss in enumerate(("vs", "ldam"))]
    assert "study_pareto" in pictures.of_study(trials, TWO, SPACE, {})
