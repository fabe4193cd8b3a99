import math

import pytest

from imbalance_study.studies.search import figures, records, space
from imbalance_study.studies.search.settings import objectives

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
    found = figures.draw_figures(trials, ONE, SPACE, SHARES if count > 2 else {})
    names = {name.removeprefix("study_") for name in found}
    wanted = {"history", "intermediate"} if count else set()
    wanted |= {"slices", "parallel"} if count > 1 else set()
    wanted |= {"importances"} if count > 2 else set()
    assert names == wanted


def test_two_objectives_have_a_front():
    trials = [trial(i, values=(0.5, float(i)), loss=loss) for i, loss in enumerate(("vs", "ldam"))]
    assert "study_pareto" in figures.draw_figures(trials, TWO, SPACE, {})


def test_dimensions_are_shown_as_the_options_that_a_reader_knows():
    searched = space.build("loss|optimizer", {"dataset": "digits"})
    names = {"lr_factor": 0.5, "log2_batch_size": 0.3, "log10_one_minus_beta": 0.1, "margin": 0.1}
    shares = figures.label_importances(names, searched)
    assert list(shares) == ["lr / default", "batch_size", "1 - beta", "margin"]
    trials = [
        trial(i, values=(0.5 + i / 10,), log2_batch_size=5 + i, log10_one_minus_beta=-1 - i)
        for i in range(2)
    ]
    axes = figures.draw_figures(trials, ONE, searched, names)["study_slices"].axes
    shown = {one.get_title(): one for one in axes if one.get_visible()}
    assert [text.get_text() for text in shown["batch_size"].get_xticklabels()] == ["32", "64"]
    beta = shown["1 - beta"].collections[0].get_offsets()[:, 0]
    assert beta.tolist() == pytest.approx([0.1, 0.01])
