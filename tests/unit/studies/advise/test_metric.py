import numpy as np
import pytest

from imbalance_study.evaluation import metrics
from imbalance_study.studies.advise import metric

MATRIX = np.array([[8, 2, 0], [1, 3, 1], [0, 1, 1]])


@pytest.mark.parametrize("name", metric.SHARES)
def test_a_metric_has_the_value_of_a_run(name):
    found = metric.make(name, ["a", "b", "c"])
    expected = metrics.count_metrics(MATRIX, np.array([10, 5, 2]))[name]
    assert found.score(MATRIX) == pytest.approx(expected)
    assert found.score(np.stack([MATRIX, MATRIX])) == pytest.approx([expected] * 2)


def test_a_class_without_test_images_is_left_out():
    matrix = MATRIX.copy()
    matrix[2] = 0
    found = metric.make("balanced_accuracy", ["a", "b", "c"])
    assert found.score(matrix) == pytest.approx((0.8 + 0.6) / 2)


def test_costs_are_read_in_any_order_and_weigh_the_confusions(tmp_path):
    file = tmp_path / "costs.csv"
    file.write_text("true,b,a\na,2,0\nb,0,10\n")
    found = metric.make(f"cost:file={file}", ["a", "b"])
    assert found.costs.tolist() == [[0, 2], [10, 0]]
    assert found.score(np.array([[3, 1], [1, 5]])) == pytest.approx(-(2 + 10) / 10)
    assert found.point == pytest.approx(0.1)
    assert found.change(0.5) == "-0.5"
    assert found.range(0.1, 0.3) == "-0.3 to -0.1"
    assert found.value(-1.2) == "1.2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ("true,a\na,0\n", "a column and a row for each class"),
        ("true,a,b\na,0,1\nb,x,0\n", "must be numbers"),
        ("true,a,b\na,0,1\nb,1\n", "must be numbers"),
        ("true,a,b\na,0,-1\nb,1,0\n", "at least 0"),
        ("true,a,b\na,1,1\nb,1,0\n", "0 where the prediction is right"),
        ("true,a,b\na,0,0\nb,0,0\n", "some above 0"),
        ("true,a,b\na,0,nan\nb,1,0\n", "at least 0"),
    ],
)
def test_costs_that_cannot_be_meant_are_refused_in_one_line(content, message, tmp_path):
    file = tmp_path / "costs.csv"
    file.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        metric.make(f"cost:file={file}", ["a", "b"])
    assert "\n" not in str(error.value)


def test_a_file_of_costs_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.csv cannot be read: No such file"):
        metric.make(f"cost:file={tmp_path / 'nothing.csv'}", ["a", "b"])


@pytest.mark.parametrize("name", ["balanced", "cost", "cost:path=x", "macro_f1:beta=2"])
def test_an_unknown_metric_names_the_known_ones(name):
    with pytest.raises(ValueError, match="unknown metric"):
        metric.make(name, ["a", "b"])


def test_shares_are_written_in_points():
    found = metric.make("macro_f1", ["a"])
    assert found.value(0.7123) == "71.2 %"
    assert found.change(0.0234) == "+2.3 points"
    assert found.range(-0.01, 0.05) == "-1.0 to +5.0"
    assert found.change(-0.0001) == "+0.0 points"
