import pytest

from imbalance_study.studies.comparison import analyse, grouping
from imbalance_study.studies.report import sections
from imbalance_study.studies.report.document import Items, Paragraph, Report, Table

METRIC = "test/balanced_accuracy"


@pytest.fixture
def make_sections(outcome):
    """A function that makes the sections for runs of some configurations, three seeds each."""

    def make(names, **fields):
        fields = {"images": 60} | fields
        given = [outcome(name, seed, **fields) for name in names for seed in range(3)]
        comparison = analyse.compare_outcomes(given, baseline=names[0], metric=METRIC, draw=False)
        grouped = grouping.group_outcomes(given, names[0], METRIC)
        return comparison, sections.comparison_sections(comparison, grouped)

    return make


def test_a_comparison_answers_four_questions_with_its_tables(make_sections):
    comparison, made = make_sections(["a", "b"])
    titles = [one.title for one in made]
    assert titles == ["Which remedy", "How sure", "At what cost", "Where a fails", "More"]
    tables = {one.name: one for one in Report("r", made).all(Table)}
    assert set(tables) == {
        *("summary", "best_by_metric", "headline", "trained_models", "per_seed", "costs"),
        *("recall_by_class", "confused_pairs", "ensembles"),
    }
    assert (
        list(tables["summary"].columns["configuration"])
        == (comparison.tables["comparison/summary"]["configuration"])
    )
    assert Items(comparison.findings) in made[0].blocks


def test_a_single_configuration_has_no_column_of_differences(make_sections):
    _, made = make_sections(["a"])
    tables = {one.name: one for one in Report("r", made).all(Table)}
    assert "difference" not in tables["summary"].columns
    assert "headline" not in tables


def test_marks_are_listed(outcome):
    given = [outcome(name, 0, images=60, fingerprint=name) for name in ("a", "b")]
    comparison = analyse.compare_outcomes(given, baseline="a", draw=False)
    made = sections.comparison_sections(comparison, grouping.group_outcomes(given, "a", METRIC))
    assert Items(comparison.marks) in made[0].blocks
    assert comparison.marks[0] == "b: other data than the baseline's"


def test_runs_without_predictions_have_no_confused_pairs(make_sections):
    _, made = make_sections(["a", "b"], images=0, values={"balanced_accuracy": 0.5})
    assert Paragraph("Its runs kept no test predictions.") in made[3].blocks
