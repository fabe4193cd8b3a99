import pytest

from imbalance_study.studies.comparison import analyse, text
from imbalance_study.studies.comparison.configurations import ComparisonSettings, Configuration
from imbalance_study.studies.comparison.plan import ComparisonPlan

METRIC = "test/balanced_accuracy"


@pytest.fixture
def comparison(outcome):
    """Two configurations over three seeds, and one over a single seed."""
    values = {"ce": [0.5, 0.52, 0.51], "focal": [0.6, 0.621, 0.612], "ldam": [0.7]}
    outcomes = [
        outcome(name, seed, {"balanced_accuracy": value})
        for name, row in values.items()
        for seed, value in enumerate(row)
    ]
    return analyse.compare_outcomes(outcomes, baseline="ce", metric=METRIC, draw=False)


def test_a_row_has_mean_deviation_interval_and_test(comparison):
    head, *rows = text.table_rows(comparison, METRIC)
    assert head[:3] == ("configuration", "seeds", "mean")
    by_name = {row[0]: row for row in rows}
    assert by_name["focal"][1:4] == ("3", "0.6110", "0.0105")
    assert by_name["focal"][5] == "+0.1010"
    assert by_name["focal"][-1] == "better"
    assert by_name["ce"][5:] == ("", "", "10 ± 0", "baseline")
    assert head[5:] == ("to baseline", "p (Holm)", "training, s", "")
    assert by_name["ldam *"][1:5] == ("1", "0.7000", "", "")


def test_the_columns_of_the_table_are_aligned(comparison):
    title, head, rule, *rows = text.table(comparison, METRIC)
    comparison.inference = "All are the same."
    assert text.table(comparison, METRIC)[-1] == "All are the same."
    assert title == f"{METRIC} (* the best)"
    assert set(rule) == {"-"}
    place = head.index("mean") + len("mean")
    assert {row[:place].split()[-1] for row in rows} == {"0.7000", "0.6110", "0.5100"}


def test_the_description_has_findings_table_failures_and_the_command(comparison):
    configurations = [Configuration(name, {"loss": name}) for name in ("ce", "focal", "ldam")]
    settings = ComparisonSettings(vary="loss=ce|focal|ldam")
    plan = ComparisonPlan(settings, configurations, [], "ce", {}, {}, ["one *note*"])
    problems = {("id", "data"): "ldam, seed 1: out of memory"}
    made = text.description(plan, comparison, problems, "http://x", "imbalance-study compare")
    assert made.startswith("**focal beats ce by 10.1 points of balanced accuracy (")
    assert f"- {comparison.findings[0]}" in made
    assert "| focal | &emsp;3 |" in made
    assert "ldam, seed 1: out of memory" in made
    assert "- one \\*note\\*" in made
    assert "[prepared view](http://x)" in made
    assert made.endswith("Repeat: `imbalance-study compare`")
