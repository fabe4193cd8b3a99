from imbalance_study.studies.advise.bar import Bar


def test_a_bar_counts_heads_and_begins_anew(capsys):
    bar = Bar(10.0)
    for what in ("comparing", "fewer images"):
        bar.begin(what, 10)
        bar.trained(5)
        bar.trained(5)
        assert bar._bar.n == 10 or bar._bar.disable
        bar.end()
    assert capsys.readouterr().out == ""
