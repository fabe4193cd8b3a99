import dataclasses
import math

import numpy as np
import pytest

from imbalance_study.studies.comparison.analyse import compare_outcomes

TABLES = {
    *("summary", "headline", "all_metrics", "best_by_metric", "costs", "per_seed"),
    *("recall_by_class", "trained_models", "ensembles"),
}
FIGURES = {
    *("headline", "differences", "training_curves", "confusion_matrices", "feature_clusters"),
    *("recall_by_frequency", "all_metrics", "radar", "costs"),
}


def runs(outcome, configurations=3, seeds=3, **fields):
    fields = {"images": 60} | fields
    values = {"cost/macs": 1e6, "cost/latency_ms_b1": 3.0}
    return [
        outcome(f"loss=l{index}", seed, values, **fields)
        for index in range(configurations)
        for seed in range(seeds)
    ]


def names(given):
    return {name.removeprefix("comparison/") for name in given}


def check(found):
    """Whatever came in: tables are rectangles, findings sentences, metrics numbers."""
    for table in found.tables.values():
        assert len({len(column) for column in table.values()}) == 1
    assert found.findings
    assert all(text.endswith(".") and "nan" not in text.lower() for text in found.findings)
    assert all(math.isfinite(value) for value in found.metrics.values())
    return found


def test_a_full_comparison_has_every_table_and_every_figure(outcome):
    found = check(compare_outcomes(runs(outcome), baseline="loss=l0"))
    assert names(found.tables) == TABLES
    assert names(found.figures) == FIGURES
    assert found.metrics["comparison/runs"] == 9
    assert found.marks == []


@pytest.mark.parametrize(
    ("shape", "missing"),
    [
        ({"configurations": 1}, {"trained_models", "differences"}),
        ({"seeds": 1, "configurations": 2}, {"ensembles"}),
        ({"configurations": 1, "seeds": 1}, {"trained_models", "ensembles", "differences"}),
        ({"classes": 2, "configurations": 2}, set()),
        ({"classes": 102, "images": 204, "configurations": 2, "seeds": 2}, set()),
        (
            {"tsne": None, "curves": {}, "configurations": 2},
            {"feature_clusters", "training_curves"},
        ),
    ],
)
def test_whatever_is_missing_the_rest_is_there(outcome, shape, missing):
    found = compare_outcomes(runs(outcome, **shape), baseline="loss=l0")
    check(found)
    assert names(found.tables) >= TABLES - missing
    assert names(found.figures) == FIGURES - missing


def test_runs_without_test_predictions_are_compared_by_their_metrics(outcome):
    values = {"balanced_accuracy": 0.5, "macro_f1": 0.4}
    given = [outcome(name, seed, values) for name in "ab" for seed in range(3)]
    found = check(compare_outcomes(given, baseline="a"))
    assert names(found.figures) == {"headline", "differences", "all_metrics"}
    assert not names(found.tables) & {"trained_models", "ensembles", "recall_by_class"}


def test_a_class_that_is_never_predicted_has_a_recall_of_zero(outcome):
    given = runs(outcome, 2)
    for seed in range(3):
        test = given[3 + seed].test
        never = test._replace(probs=test.probs * [1, 1, 0])
        given[3 + seed] = dataclasses.replace(given[3 + seed], test=never)
    found = check(compare_outcomes(given, baseline="loss=l0"))
    assert found.tables["comparison/recall_by_class"]["loss=l1"][2] == 0


def test_a_class_without_test_images_has_no_recall(outcome):
    given = runs(outcome, seeds=2)
    cut = [
        dataclasses.replace(
            one,
            test=one.test._replace(
                indices=one.test.indices[one.test.targets != 1],
                targets=one.test.targets[one.test.targets != 1],
                probs=one.test.probs[one.test.targets != 1],
            ),
        )
        for one in given
    ]
    found = check(compare_outcomes(cut, baseline="loss=l0"))
    assert np.isnan(found.tables["comparison/recall_by_class"]["loss=l1"][1])


def test_a_failed_training_with_nan_metrics_spoils_nothing_else(outcome):
    given = runs(outcome)
    nan = float("nan")
    given[8] = dataclasses.replace(given[8], metrics=dict.fromkeys(given[8].metrics, nan))
    found = check(compare_outcomes(given, baseline="loss=l0"))
    summary = found.tables["comparison/summary"]
    at = summary["configuration"].index("loss=l2")
    assert summary["pairs"][at] == 2
    assert summary["verdict"][at].startswith("no test: 3 seeds are needed")


def test_other_test_images_are_marked_and_not_paired(outcome):
    given = runs(outcome, 2) + [
        outcome("other", seed, images=63, fingerprint="cut otherwise") for seed in range(3)
    ]
    found = check(compare_outcomes(given, baseline="loss=l0"))
    assert found.marks == [
        "other: other data than the baseline's",
        "other: tested on other images, not paired with the baseline",
    ]
    assert set(found.tables["comparison/trained_models"]["configuration"]) == {"loss=l1"}


def test_other_classes_keep_their_numbers_but_not_a_cell_among_the_others(outcome):
    given = runs(outcome, 2) + [
        outcome("dataset=other", seed, images=60, classes=5, fingerprint="x") for seed in range(3)
    ]
    found = check(compare_outcomes(given, baseline="loss=l0"))
    assert "dataset=other" in found.tables["comparison/summary"]["configuration"]
    assert "dataset=other" not in found.tables["comparison/recall_by_class"]
    cells = [one for one in found.figures["comparison/confusion_matrices"].axes if one.images]
    assert len(cells) == 2


def test_the_clusters_show_the_same_images_of_the_seed_that_most_have(outcome):
    given = runs(outcome)
    for at in (0, 4):
        moved = given[at].tsne._replace(indices=given[at].tsne.indices + 1)
        given[at] = dataclasses.replace(given[at], tsne=moved)
    found = compare_outcomes(given, baseline="loss=l0")
    title = found.figures["comparison/feature_clusters"].get_suptitle()
    assert title == "t-SNE of the features of the same 60 test images, seed 2"


def test_another_metric_can_carry_the_claim_and_less_of_a_loss_is_better(outcome):
    given = [
        outcome(name, seed, {"loss": value + seed * step})
        for name, value, step in (("a", 1.0, 0.1), ("b", 0.5, 0.11))
        for seed in range(3)
    ]
    found = compare_outcomes(given, baseline="a", metric="test/loss", draw=False)
    assert found.figures == {}
    assert found.findings[0].startswith("b beats a in loss by 0.490")
    assert found.tables["comparison/summary"]["configuration"] == ["b", "a"]


def test_an_unknown_baseline_is_one_clear_line(outcome):
    with pytest.raises(ValueError, match=r"unknown baseline 'x'; known: loss=l0, loss=l1"):
        compare_outcomes(runs(outcome, 2, 1), baseline="x")
