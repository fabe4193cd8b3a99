import pytest

from imbalance_study.evaluation.text import number


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.5, ".4f", "0.5000"),
        (0.123, ".1%", "12.3%"),
        (-0.5, "+.2f", "-0.50"),
        (float("nan"), "7.2%", "-"),
        (float("inf"), ".3f", "-"),
    ],
)
def test_a_number_is_written_as_asked_for_and_a_dash_where_it_is_undefined(value, form, text):
    assert number(value, form) == text
