import base64
import hashlib
import html
import json
import re

import numpy as np
import pytest
from html_page import Page

from imbalance_study.studies.comparison import analyse, answer, grouping, interactive
from imbalance_study.studies.comparison.outcome import Curve

METRIC = "test/balanced_accuracy"
PLANTED = "</script><script>alert('x')</script> & \"quoted\""


@pytest.fixture
def part(outcome):
    """A function that makes the data of a page: names of configurations, fields of their runs."""

    def make(names, pictures=None, picture_bytes=10**6, **fields):
        given = [
            outcome(name, seed, **({"images": 60} | fields)) for name in names for seed in range(3)
        ]
        grouped = grouping.group_outcomes(given, names[0], METRIC)
        comparison = analyse.compare_grouped(grouped, draw=False)
        found = answer.part(grouped, comparison, {"dataset": PLANTED, "model": "resnet20"})
        subject = {"kind": "comparison", "name": PLANTED, "experiment": "e", "run_id": "r"}
        whole = answer.document(subject | {"link": "http://x/#/1"}, [found], [])
        plain = whole["parts"][0]
        data = interactive.part(plain, grouped, pictures or {}, picture_bytes=picture_bytes)
        return whole, data

    return make


def page_of(whole, *parts):
    return interactive.page(PLANTED, interactive.details(whole), parts)


def data_of(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_holds_its_data_and_loads_nothing(part):
    text = page_of(*part(["ce", "focal"]))
    page = Page(text)
    assert page.tags.count("script") == 2
    assert not re.search(r'(src|href)="(?!http://x/#/1")', text)
    assert "default-src 'none'" in text
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)[-1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    (data,) = data_of(text)["parts"]
    assert data["answer"]["metric"] == METRIC
    assert len(data["curves"]["val/loss"]) == 2


def test_names_that_are_markup_end_no_script_and_are_shown_as_they_are(part):
    whole, data = part(["ce", PLANTED])
    text = page_of(whole, data)
    assert "alert('x')</script>" not in text
    assert PLANTED in Page(text).text
    names = [one["name"] for one in data_of(text)["parts"][0]["answer"]["configurations"]]
    assert PLANTED in names


def test_the_verdict_stands_without_a_script(part):
    whole, data = part(["ce", "focal"])
    text = page_of(whole, data)
    assert html.escape(whole["parts"][0]["verdict"]) in text.partition("<main")[0]


def test_curves_are_thinned_to_their_last_epoch(part):
    steps = np.arange(1, 1001)
    curves = {"val/loss": Curve(steps, np.linspace(1, 0.123456, 1000))}
    _, data = part(["ce"], curves=curves)
    (line,) = data["curves"]["val/loss"]
    assert len(line["x"]) <= 201
    assert line["x"][-1] == 1000
    assert line["mean"][-1] == 0.1235
    assert line["low"] == line["high"] == line["mean"]


def test_a_confusion_matrix_is_in_thousandths_of_the_true_class(part):
    _, data = part(["ce", "focal"], images=60, classes=3)
    first = np.array(data["confusion"]["matrices"][0]["cells"]).reshape(3, 3)
    assert first.sum(1) == pytest.approx([1000] * 3, abs=2)
    assert data["confusion"]["classes"] == ["class 0", "class 1", "class 2"]


def test_too_many_classes_have_no_matrix_and_the_reason_stands_there(part):
    _, data = part(["ce"], images=0, values={"balanced_accuracy": 0.5}, classes=800)
    assert data["confusion"]["left_out"].startswith("800 classes are too many")


def test_images_are_those_of_epochs_that_fit_with_the_last_one(part):
    pictures = {"ce": {epoch: bytes(100) for epoch in range(10)}, "focal": {9: bytes(300)}}
    _, data = part(["ce", "focal"], pictures, picture_bytes=1000)
    epochs = data["pictures"]["epochs"]
    assert epochs[0] == 0
    assert epochs[-1] == 9
    assert 6 <= len(epochs) <= 7
    assert data["pictures"]["of"]["focal"][:-1] == [""] * (len(epochs) - 1)
    assert base64.b64decode(data["pictures"]["of"]["ce"][0]) == bytes(100)
    assert part(["ce"])[1]["pictures"] == {}
