import numpy as np
import pytest

from imbalance_study.evaluation import metrics
from imbalance_study.experiment.analyses import classification


def test_the_prediction_columns_name_each_image_and_its_probabilities(make_context):
    context = make_context()
    columns = classification.predictions(context).frames["predictions/test"]
    assert columns["index"].tolist() == context.data.split.test.tolist()
    assert columns["class"] == ["oak"] * 4 + ["ash"] * 4 + ["elm"] * 4
    probs = np.stack([columns[f"p_{name}"] for name in ("oak", "ash", "elm")], axis=1)
    np.testing.assert_allclose(probs, context.probs, rtol=1e-6)


def test_errors_are_counted_and_the_surest_are_tabulated(make_context):
    context = make_context()
    wrong = context.predictions != context.test.targets
    found = classification.mistakes(context)
    assert found.metrics["test_errors/count"] == wrong.sum() > 0
    assert found.metrics["test_errors/rate"] == pytest.approx(wrong.mean())
    surest = found.tables["most_confident_errors"]
    assert len(surest["file"]) == wrong.sum()
    assert surest["confidence"] == sorted(surest["confidence"], reverse=True)
    assert "recall_over_epochs" in found.figures


def test_the_table_of_classes_is_that_of_the_confusion_matrix(make_context):
    context = make_context()
    found = classification.confusion(context)
    recall = np.diag(context.confusion) / context.confusion.sum(1)
    assert found.tables["per_class"]["recall"] == pytest.approx(recall.tolist())
    assert set(found.figures) == {"confusion_matrix", "recall_by_frequency"}


def test_the_table_of_classes_is_to_be_had_without_figures(make_context):
    alone, drawn = (
        classification.per_class(make_context()),
        classification.confusion(make_context()),
    )
    assert alone.tables == drawn.tables
    assert not alone.figures


def test_quick_intervals_are_the_same_without_those_of_areas(make_context):
    quick = classification.quick_intervals(make_context())
    full = classification.confidence_intervals(make_context())
    assert full.intervals.keys() - quick.intervals.keys() == {*metrics.AUC_NAMES}
    assert quick.intervals == {name: full.intervals[name] for name in quick.intervals}
    assert quick.metrics == full.metrics
    for column in quick.tables["intervals"]:
        kept = zip(
            full.tables["intervals"]["metric"], full.tables["intervals"][column], strict=True
        )
        wanted = [value for name, value in kept if name in quick.intervals]
        assert quick.tables["intervals"][column] == wanted
