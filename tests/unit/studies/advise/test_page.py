from imbalance_study.evaluation.figures import style
from imbalance_study.studies.advise import metric, page, record
from imbalance_study.studies.report import html, markdown

METRIC = metric.Metric("balanced_accuracy", "balanced accuracy")
PICTURE = record.pictures({"one": style.empty_figure("title", "reason")})["one"]
ABOUT = {"name": "my <images>", "model": "net", "command": "imbalance-study advise",
         "report": "class  training", "seen": "All images took part."}  # fmt: skip


def _page(advice, judged, compared, **fields):
    made = advice(**fields)
    return page.make(made, compared, judged, METRIC, {"remedies": PICTURE}, ABOUT)


def test_the_page_has_verdict_tables_and_commands_and_runs_no_script(advice, judged, compared):
    text = html.page(_page(advice, judged(), compared))
    assert "Use" not in text.split("<body>")[0]
    for part in ("Verdict", "imbalance-study compare", "my &lt;images&gt;", "+2.0 to +18.0"):
        assert part in text
    assert "<script" not in text
    assert "<b>" not in text
    assert "Left out: smote on features: too few." in text
    assert "best with" in text


def test_an_early_page_is_marked_and_has_no_probabilities(advice, judged, compared):
    report = _page(advice, judged(probabilities=False), compared, early=True)
    text = markdown.text(report)
    assert "An early answer" in text
    assert "best with" not in text


def test_a_page_without_suspects_or_curves_says_so(advice, judged, compared):
    made = advice()
    images = made.images.assign(gain_100=float("nan"))
    report = _page(advice, judged(), compared, suspects=made.suspects.head(0), images=images)
    text = markdown.text(report)
    assert "No label looks wrong" in text
    assert "was not estimated" in text


def test_a_class_in_every_set_is_marked_and_an_open_gain_is_a_dash(advice, judged, compared):
    text = markdown.text(_page(advice, judged(), compared))
    assert "| b | 9 |  |  | yes |" in text
    assert "| a | 5 | – | – |" in text
