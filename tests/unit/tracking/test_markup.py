import pytest

from imbalance_study.tracking import markup


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b>", "&lt;b&gt;"),
        ("a|b", "a\\|b"),
        ("`x` *y* [z]", "\\`x\\` \\*y\\* \\[z\\]"),
        ("two\n lines", "two lines"),
        ("größe 1", "größe 1"),
    ],
)
def test_html_and_marks_of_markdown_are_shown_as_they_are(text, shown):
    assert markup.escape_markdown(text) == shown


def test_the_columns_of_a_table_have_a_gap_in_the_ui():
    assert markup.markdown_row(["a|b", "1", ""]) == "| a\\|b | &emsp;1 | &emsp; |"
