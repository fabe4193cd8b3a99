import pytest
from tiny import TINY, words


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"search": "nothing"}, "nothing"),
        ({"trials": "0"}, "trials must be at least 1, got 0"),
        ({"objective": "test/accuracy"}, "objective"),
        ({"validation": "none"}, "needs validation images"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(asked, message, command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = command("study", *words(TINY | {"search": "loss"} | asked))
    assert done.status == 1
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    assert message in done.err
    assert list(tmp_path.iterdir()) == []
