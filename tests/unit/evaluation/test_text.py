import pytest

from imbalance_study.evaluation.text import number, short_number


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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.6131, "0.613"),
        (0.0, "0"),
        (2.345, "2.35"),
        (23.45, "23.4"),
        (1234.5, "1,234"),
        (23_456, "23.5k"),
        (123_456, "123k"),
        (126_000_513, "126M"),
        (4.1e9, "4.1G"),
        (-0.5, "-0.500"),
        (100, "100"),
        (999.9, "1,000"),
        (999_900, "1M"),
    ],
)
def test_numbers_are_written_in_few_letters(value, text):
    assert short_number(value) == text
