import pytest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "there is no store"),
        (("--experiment", "a", "--run", "b"), "either experiment or run, got both"),
        (("--run", "abc"), "there is no store"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(words, message, command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = command("report", *words)
    assert done.status == 1
    assert message in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
