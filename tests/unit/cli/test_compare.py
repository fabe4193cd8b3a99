from tiny import TINY, words

from imbalance_study import cli


def test_a_dry_run_tells_the_plan_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = {"vary": "loss=focal|ldam", "seeds": 2}
    cli.main(["compare", *words(TINY | asked), "--dry_run"])
    said = capsys.readouterr().out
    assert "2 configurations x 2 seeds (0, 1): 4 runs" in said
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_compare_is_one_line(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = command("compare", *words(TINY))
    assert done.status == 1
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    assert "vary" in done.err


def test_an_answer_of_a_dry_run_is_refused(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = command("compare", "--vary", "loss=focal|ldam", "--json", "--dry_run", *words(TINY))
    assert done.status == 1
    assert done.out == ""
    assert done.err == "Error: json=true prints an answer, which dry_run=true has not; take one\n"
