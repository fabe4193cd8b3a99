"""What a person sees: the real UI in a real browser."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request

import pytest
from mlflow import MlflowClient
from servers import free_port
from tiny import train

from imbalance_study.tracking import experiment_page, ui_view

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (os.path.exists("/usr/bin/chromium") and shutil.which("chromedriver")),
        reason="needs Debian's chromium and chromium-driver",
    ),
]
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--window-size=2600,1400",
)
PATIENCE = 60


@pytest.fixture(scope="module")
def served(tmp_path_factory, make_store):
    """A server with two tiny runs: its address, its client and the experiment."""
    folder = tmp_path_factory.mktemp("store")
    store = make_store(folder)
    analyses = "intervals+confusion+errors+gradcam"
    for loss in ("cross_entropy", "focal"):
        train(store, folder, loss=loss, analyses=analyses, figure_every="1")
    port = free_port()
    options = (f"--backend-store-uri={store}", "--host=127.0.0.1", f"--port={port}", "--workers=1")
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *options],
        cwd=folder,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for_server(server, address)
        yield address, MlflowClient(store)
    finally:
        server.terminate()
        server.wait(30)


def _wait_for_server(server, address):
    for _ in range(PATIENCE):
        assert server.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except OSError:
            time.sleep(1)
    pytest.fail("the server does not answer")


@pytest.fixture
def browser(tmp_path):
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = "/usr/bin/chromium"
    for option in (*OPTIONS, f"--user-data-dir={tmp_path}"):
        options.add_argument(option)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def _wait_for(browser, *texts):
    """Wait until the page shows all of the texts."""
    end = time.monotonic() + PATIENCE
    missing = list(texts)
    while time.monotonic() < end:
        shown = browser.execute_script("return document.body.innerText")
        missing = [text for text in texts if text not in shown]
        if not missing:
            return shown
        time.sleep(0.5)
    pytest.fail(f"the page never showed {missing}")


def _runs(client):
    experiment = client.get_experiment_by_name("Default").experiment_id
    return experiment, client.search_runs([experiment])


def test_the_prepared_view_shows_both_runs_with_the_columns_that_matter(served, browser):
    address, client = served
    experiment, runs = _runs(client)
    browser.get(ui_view.view_url(address, experiment, experiment_page.data_key("digits")))
    names = [record.info.run_name for record in runs]
    value = str(max(r.data.metrics["test/balanced_accuracy"] for r in runs))[:5]
    _wait_for(browser, *names, "balanced_accuracy", "tail_recall", "focal", "resnet20", value)


def test_the_page_of_a_run_shows_its_result_and_its_metrics(served, browser):
    address, client = served
    experiment, (record, *_) = _runs(client)
    browser.get(ui_view.run_url(address, experiment, record.info.run_id))
    shown = _wait_for(browser, record.info.run_name, "balanced accuracy", "test/balanced_accuracy")
    assert "FINISHED" in shown.upper()


def test_the_page_of_a_run_shows_an_image_of_its_artifacts(served, browser):
    address, client = served
    experiment, (record, *_) = _runs(client)
    page = ui_view.run_url(address, experiment, record.info.run_id)
    browser.get(page.replace("?", "/artifacts/figures/misclassified.png?"))
    assert _largest_image(browser, 400) > 400


def test_the_charts_are_bars_images_and_curves_with_all_else_folded(served, browser):
    address, client = served
    experiment, _ = _runs(client)
    browser.get(
        ui_view.view_url(address, experiment, experiment_page.data_key("digits"))
        + "&compareRunsMode=CHART"
    )
    shown = _wait_for(browser, "test/tail_recall", "result", "images")
    assert "test/g_mean" not in shown
    _scroll_to(browser, "images/misclassified")
    assert _largest_image(browser, 200) > 200  # a thumbnail


def _scroll_to(browser, title):
    script = """
        const found = [...document.querySelectorAll('*')].filter(
            e => !e.children.length && e.textContent.trim() == arguments[0]);
        if (found.length) found[0].scrollIntoView();
        return found.length;"""
    end = time.monotonic() + PATIENCE
    while not browser.execute_script(script, title):
        assert time.monotonic() < end, f"there is no {title}"
        time.sleep(0.5)


def _largest_image(browser, wanted):
    """Wait for a loaded picture of the page; the width of the largest in its own pixels."""
    script = """
        const loaded = [...document.images].filter(i => i.complete);
        return Math.max(0, ...loaded.map(i => i.naturalWidth));"""
    end = time.monotonic() + PATIENCE
    width = 0
    while width <= wanted and time.monotonic() < end:
        time.sleep(0.5)
        width = browser.execute_script(script)
    return width
