import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from imbalance_study.studies.comparison import findings, grouping

METRIC = "test/balanced_accuracy"


def said(outcome, columns, baseline="K0", **fields):
    """The sentences about configurations given as rows of values, or of metric to values."""
    runs = []
    for name, row in columns.items():
        of = row if isinstance(row, dict) else {"balanced_accuracy": row}
        for seed in range(len(next(iter(of.values())))):
            values = {metric: values[seed] for metric, values in of.items()}
            runs.append(outcome(name, seed, values, **fields.get(name, {})))
    return findings.findings(grouping.group_outcomes(runs, baseline, METRIC))


def claimed(sentences):
    """Names that are said to beat the baseline, and those said to be worse."""
    better, worse = set(), set()
    for text in sentences:
        if match := re.match(r"(K\d+) beats K0 in", text):
            better.add(match[1])
        elif "it too. The" in text:
            better |= set(re.findall(r"K\d+", text.split(" beat")[0]))
        elif text.startswith("Worse than K0"):
            worse |= set(re.findall(r"K\d+", text.partition(":")[2]))
    return better, worse


def significant(columns):
    """Sign of each configuration whose p stands after Holm's step-down procedure, by SciPy."""
    base = np.array(columns["K0"])
    tests = {name: stats.ttest_rel(row, base) for name, row in columns.items() if name != "K0"}
    left = sorted(tests, key=lambda name: tests[name].pvalue)
    found = {}
    for rank, name in enumerate(left):
        if not tests[name].pvalue * (len(left) - rank) < 0.05:
            break
        found[name] = np.sign(tests[name].statistic)
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(2, 6),
    seeds=st.integers(3, 6),
    effect=st.sampled_from([0.0, 0.02, 0.1, 0.3]),
    seed=st.integers(0, 10**6),
)
def test_a_winner_is_claimed_only_where_the_corrected_test_bears_it_out(
    outcome, count, seeds, effect, seed
):
    generator = np.random.default_rng(seed)
    columns = {
        f"K{index}": list(0.5 + effect * index * (-1) ** index + generator.normal(0, 0.02, seeds))
        for index in range(count)
    }
    better, worse = claimed(said(outcome, columns))
    shown = significant(columns)
    assert better == {name for name, sign in shown.items() if sign > 0}
    assert worse == {name for name, sign in shown.items() if sign < 0}


@given(count=st.integers(2, 5), seeds=st.integers(1, 2), seed=st.integers(0, 10**6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_with_fewer_than_three_seeds_nothing_is_claimed(outcome, count, seeds, seed):
    generator = np.random.default_rng(seed)
    columns = {f"K{index}": list(generator.random(seeds)) for index in range(count)}
    sentences = said(outcome, columns)
    assert claimed(sentences) == (set(), set())
    assert sentences[0].startswith("There is no test of K1")
    assert f"there {'is' if seeds == 1 else 'are'} {seeds}" in sentences[0]
    assert not any("p = " in text or "p <" in text for text in sentences)


CLEAR = {"K0": [0.50, 0.52, 0.51], "K1": [0.60, 0.621, 0.612]}
CLEAR_WITH_TAIL = {
    name: {"balanced_accuracy": row, "tail_recall": [0.1, 0.12, 0.11]}
    for name, row in CLEAR.items()
}


def test_the_first_sentence_has_the_difference_its_interval_and_its_p(outcome):
    test = stats.ttest_rel(CLEAR["K1"], CLEAR["K0"])
    low, high = test.confidence_interval()
    assert said(outcome, CLEAR)[0] == (
        f"K1 beats K0 in balanced accuracy by 0.101 (95 % interval {low:+.3f} to {high:+.3f}, "
        f"Holm-corrected p < 0.001, 3 seeds)."
    )


def test_no_difference_is_said_where_none_is_shown(outcome):
    sentences = said(outcome, {"K0": [0.5, 0.6, 0.55], "K1": [0.58, 0.55, 0.56]})
    assert sentences[0].startswith("No difference to K0 is shown for K1 (+0.013, p = ")
    # Differences .08, -.05, .01: deviation .0651, times 3.26 for three seeds and one test.
    assert sentences[0].endswith("3 seeds show a difference with 80 % power from 0.212 on.")


def test_the_power_of_several_is_that_of_the_most_and_the_least_certain(outcome):
    columns = {"K0": [0.5, 0.6, 0.55], "K1": [0.58, 0.55, 0.56], "K2": [0.51, 0.6, 0.54]}
    text = said(outcome, columns)[0]
    assert text.endswith("with 80 % power from 0.046 (K2) to 0.301 (K1) on.")


def test_what_cannot_be_compared_is_no_winner_and_the_reason_is_given(outcome):
    sentences = said(outcome, CLEAR, K1={"images_seen": 4000})
    assert claimed(sentences) == (set(), set())
    assert sentences[0] == (
        "K1 (+0.101) is not ranked: 4,000 images seen where the baseline has 1,000. The "
        "effect of the configuration cannot be separated from this difference."
    )


def test_a_gain_for_the_tail_comes_with_what_the_head_pays(outcome):
    columns = {
        "K0": {"tail_recall": [0.1, 0.12, 0.11], "head_recall": [0.9, 0.91, 0.89]},
        "K1": {"tail_recall": [0.4, 0.43, 0.42], "head_recall": [0.8, 0.812, 0.788]},
    }
    for row in columns.values():
        row["balanced_accuracy"] = row["tail_recall"]
    text = next(text for text in said(outcome, columns) if text.startswith("The rarest third"))
    assert "gains most with K1" in text
    assert "the most frequent third pays for it with 0.100" in text
    columns["K1"]["head_recall"] = [0.95, 0.85, 0.9]
    text = next(text for text in said(outcome, columns) if text.startswith("The rarest third"))
    assert "for the most frequent third (+0.000) no difference is shown" in text


def test_a_gain_for_the_tail_that_is_not_shown_is_not_claimed(outcome):
    columns = CLEAR_WITH_TAIL | {"K1": CLEAR_WITH_TAIL["K1"] | {"tail_recall": [0.4, 0.2, 0.3]}}
    sentences = said(outcome, columns)
    assert claimed(sentences) == ({"K1"}, set())
    assert "For the rarest third of the classes no gain in recall is shown." in sentences
    assert not any("The rarest third" in text for text in sentences)


def test_a_gain_for_the_tail_needs_a_configuration_that_is_better(outcome):
    """The sentence is part of the family: it never stands where nothing else is claimed."""
    columns = CLEAR_WITH_TAIL | {
        "K1": {"balanced_accuracy": [0.49, 0.53, 0.51], "tail_recall": [0.41, 0.42, 0.43]}
    }
    sentences = said(outcome, columns)
    assert claimed(sentences) == (set(), set())
    assert not any("The rarest third" in text for text in sentences)
    assert (
        "For the rarest third of the classes no gain in recall is claimed: that needs a "
        "configuration that beats K0 in balanced accuracy. On average K1 changes it by +0.310."
    ) in sentences


def test_validation_that_chooses_otherwise_is_told(outcome):
    columns = {
        "K0": {"selected_val/balanced_accuracy": [0.6] * 3, "balanced_accuracy": [0.5] * 3},
        "K1": {"selected_val/balanced_accuracy": [0.5] * 3, "balanced_accuracy": [0.6] * 3},
    }
    assert (
        "Validation chooses K0 (balanced accuracy 0.500 on the test set); K1 has the highest "
        "mean there (0.600), which is no reason to choose it."
    ) in said(outcome, columns)


@pytest.mark.parametrize(("ratio", "told"), [(1.05, False), (2.5, True)])
def test_costs_are_told_where_they_are_notable(outcome, ratio, told):
    columns = {
        "K0": {"balanced_accuracy": [0.5], "cost/macs": [1e6]},
        "K1": {"balanced_accuracy": [0.5], "cost/macs": [1e6 * ratio]},
    }
    sentence = "Costs reach, against K0: 2.5 times the multiply-accumulates with K1."
    assert (sentence in said(outcome, columns)) is told


def test_a_time_that_varies_from_run_to_run_is_told_only_where_a_test_shows_it(outcome):
    def told(times):
        columns = {
            "K0": {"balanced_accuracy": [0.5] * 3, "cost/latency_ms_b1": [1.0, 1.1, 1.05]},
            "K1": {"balanced_accuracy": [0.5] * 3, "cost/latency_ms_b1": times},
        }
        return [text for text in said(outcome, columns) if text.startswith("Costs")]

    assert told([1.0, 1.9, 1.2]) == []
    assert told([2.0, 2.2, 2.1]) == ["Costs reach, against K0: 2.0 times the latency with K1."]
    assert told([0.5, 0.6, 0.55]) == []


def test_a_single_configuration_is_compared_with_nothing(outcome):
    assert said(outcome, {"K0": [0.4, 0.6]}) == [
        "K0 is the only configuration, so there is nothing to compare it with: balanced accuracy "
        "0.500 over 2 seeds."
    ]


def test_the_family_of_the_correction_is_stated(outcome):
    columns = CLEAR | {"K2": [0.5, 0.55, 0.6], "K3": [0.9]}
    assert said(outcome, columns)[-1] == (
        "p values are two-sided, of paired t-tests over seeds against K0, Holm-corrected over the "
        "2 configurations tested on balanced accuracy, on which the claims are; each other metric "
        "of the tables is a family of its own. The intervals are not corrected."
    )


def test_the_ensemble_that_helps_most_is_named_without_a_claim(outcome):
    runs = [outcome(name, seed, images=60) for name in ("K0", "K1") for seed in range(3)]
    text = findings.findings(grouping.group_outcomes(runs, "K0", METRIC))
    assert any(one.startswith("Of the ensembles, K") and "without a test" in one for one in text)
