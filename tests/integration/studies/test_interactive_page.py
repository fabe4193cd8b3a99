"""The interactive page of a comparison in a real browser, on a desk and on a phone."""

import os
import shutil

import numpy as np
import pytest

from imbalance_study.studies.comparison import analyse, answer, grouping, interactive
from imbalance_study.studies.comparison.outcome import Curve, Outcome, StoredPredictions

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (os.path.exists("/usr/bin/chromium") and shutil.which("chromedriver")),
        reason="needs Debian's chromium and chromium-driver",
    ),
]
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1280,1000"),
)
NAMES = ("cross_entropy", "focal:gamma=2, <b>weights</b>", "balanced_softmax")
CLASSES = ("cat", "dog", "bird")


def _outcome(name, seed, skill):
    generator = np.random.default_rng([seed, *name.encode()])
    targets = np.arange(90) % 3
    probs = generator.random((90, 3))
    probs[np.arange(90), targets] += skill
    probs /= probs.sum(1, keepdims=True)
    steps = np.arange(1, 31)
    curve = Curve(steps, skill * (1 - np.exp(-steps / 9)) + 0.01 * generator.normal(size=30))
    value = float((probs.argmax(1) == targets).mean())
    return Outcome(
        f"run-{name}-{seed}",
        name,
        seed,
        {"test/balanced_accuracy": value, "test/macro_f1": value - 0.01},
        {"val/balanced_accuracy": curve, "val/loss": curve},
        CLASSES,
        np.array([50, 20, 5]),
        *("same", 30, 1000, 50),
        test=StoredPredictions(np.arange(90), targets, probs),
        seconds=10.0 + seed,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The address of a page of three configurations over three seeds."""
    given = [
        _outcome(name, seed, skill)
        for name, skill in zip(NAMES, (0.2, 0.5, 0.9), strict=True)
        for seed in range(3)
    ]
    grouped = grouping.group_outcomes(given, NAMES[0], "test/balanced_accuracy")
    comparison = analyse.compare_grouped(grouped, draw=False)
    part = answer.part(grouped, comparison, {"dataset": "digits", "model": "resnet20"})
    subject = {"kind": "comparison", "name": "mine", "experiment": "e", "run_id": "r", "link": ""}
    found = answer.document(subject, [part], ["again"])
    pictures = {name: {epoch: _picture(epoch) for epoch in (1, 15, 30)} for name in NAMES[:2]}
    data = interactive.part(found["parts"][0], grouped, pictures)
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(interactive.page("mine", interactive.details(found), [data]), "utf-8")
    return path.as_uri()


def _picture(epoch):
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (epoch + 10, 20)).save(stream, format="webp")
    return stream.getvalue()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = "/usr/bin/chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def opened(browser, page):
    """The page as it was never touched; at the end nothing has gone wrong in it."""
    browser.get(page)
    assert browser.execute_script("return document.documentElement.dataset.ready") == "true"
    yield browser
    wrong = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [entry for entry in wrong if "favicon" not in entry["message"]]


def _all(browser, selector):
    return browser.find_elements("css selector", selector)


def _first_cells(browser):
    return [cell.text for cell in _all(browser, "tbody tr td:first-child")]


def test_the_verdict_is_on_the_first_screen_and_names_stay_text(opened):
    (verdict,) = _all(opened, ".verdict")
    assert "balanced_softmax beats cross_entropy by" in verdict.text
    assert verdict.rect["y"] + verdict.rect["height"] < 600
    assert not _all(opened, "td b")
    assert NAMES[1] in _first_cells(opened)


def test_the_table_sorts_both_ways_and_folds_its_seeds(opened):
    assert _first_cells(opened)[0] == "balanced_softmax"
    (accuracy,) = [b for b in _all(opened, "th button") if b.text == "balanced accuracy"]
    accuracy.click()
    assert _first_cells(opened)[0] == "balanced_softmax"
    accuracy.click()
    assert _first_cells(opened)[0] == "cross_entropy"
    assert accuracy.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    _all(opened, "tbody button")[0].click()
    assert _first_cells(opened)[:5] == ["cross_entropy", "seed 0", "seed 1", "seed 2", NAMES[1]]
    _all(opened, "button.fold")[0].click()
    assert len(_first_cells(opened)) == 12
    _all(opened, "button.fold")[0].click()
    assert len(_first_cells(opened)) == 3


def test_a_configuration_is_switched_off_in_the_curves(opened):
    assert len(_all(opened, "svg path")) == len(_all(opened, "svg polygon")) == 3
    _all(opened, ".chips input")[0].click()
    left = [path.get_attribute("data-of") for path in _all(opened, "svg path")]
    assert sorted(left) == sorted(NAMES[:2])
    opened.execute_script(
        "const choice = document.querySelector('select'); choice.value = 'val/loss';"
        "choice.dispatchEvent(new Event('change'))"
    )
    assert len(_all(opened, "svg path")) == 2


def test_the_curves_and_the_matrices_are_read_where_one_points(opened):
    from selenium.webdriver import ActionChains

    (svg,) = _all(opened, "svg")
    ActionChains(opened).move_to_element(svg).perform()
    reading = [one.text for one in _all(opened, ".reading")]
    assert reading[0].startswith("epoch 1")
    assert "balanced_softmax 0." in reading[0]
    canvases = _all(opened, "canvas")
    assert len(canvases) == 2
    ActionChains(opened).move_to_element(canvases[0]).perform()
    text = _all(opened, ".reading")[1].text
    assert text.startswith("dog taken for ")
    assert "cross_entropy" in text
    assert "balanced_softmax" in text


def test_the_slider_shows_the_images_of_another_epoch(opened):
    images = _all(opened, "figure img")
    assert len(images) == 2
    width = "return arguments[0].decode().then(() => arguments[0].naturalWidth)"
    assert opened.execute_script(width, images[0]) == 40
    opened.execute_script(
        "const slider = document.querySelector('input[type=range]'); slider.value = 0;"
        "slider.dispatchEvent(new Event('input'))"
    )
    assert "after epoch 1" in [one.text for one in _all(opened, ".reading")]
    assert opened.execute_script(width, images[0]) == 11


def test_a_phone_shows_it_without_scrolling_sideways(opened, page):
    metrics = {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        opened.get(page)
        wide = "return [document.documentElement.scrollWidth, window.innerWidth]"
        assert opened.execute_script(wide) == [390, 390]
        assert len(_all(opened, "svg path")) == 3
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
