"""The comparison views of a study, opened in Chromium from a real MLflow server: charts by strategy, and pictures."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from small_runs import write_run

from rilbench.contracts.result import RunResult
from rilbench.store.results import load_result
from rilbench_mlflow.fetch import find
from rilbench_mlflow.upload import sync_study

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
START_SECONDS, PAGE_SECONDS = 120, 90
STRATEGIES = ("baseline", "joint", "rid")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*"),
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium with chromedriver on this machine"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[str]:
    """The address of an MLflow server with an empty SQLite store, which is about to start."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(migrated, folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *store]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


@pytest.fixture(scope="module")
def browser(server: str) -> Iterator[Chrome]:
    """Starts while the server does."""
    options = ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1600,2000"):
        options.add_argument(argument)
    driver = Chrome(options, ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def study(
    browser: Chrome, server: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str], list[RunResult]]:
    """The lines of a study of three strategies and two seeds, sent to the server, and its results."""
    store = tmp_path_factory.mktemp("work") / "colours"
    folders = [write_run(store, strategy, seed) for strategy in STRATEGIES for seed in (0, 1)]
    WebDriverWait(browser, START_SECONDS, ignored_exceptions=[OSError]).until(
        lambda _: urllib.request.urlopen(f"{server}/health", timeout=5).close() or True,
        "the MLflow server did not start",
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_URI", server)
        patched.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
        return sync_study([store]), [load_result(folder) for folder in folders]


def opened(browser: Chrome, link: str, drawn: str, count: int) -> str:
    """The text of the page behind a link, once so many elements `drawn` are there."""
    browser.get("about:blank")
    browser.get(link)
    WebDriverWait(browser, PAGE_SECONDS).until(
        lambda _: len(browser.find_elements(By.CSS_SELECTOR, drawn)) >= count, f"{count} {drawn} in {link}"
    )
    return browser.find_element(By.TAG_NAME, "body").text


def test_the_final_view_has_a_bar_a_strategy_for_every_metric(
    browser: Chrome, study: tuple[dict[str, str], list[RunResult]]
) -> None:
    text = opened(browser, study[0]["mlflow final"], ".barlayer .point path", 8 * len(STRATEGIES))
    assert all(
        title in text
        for title in (
            "Base model (start)",
            "start/red x100",
            "final/red x100",
            "final/kb kB - lower",
            "gain/red x100",
        )
    )
    assert all(f"Group: {name}" in text for name in STRATEGIES)
    assert "train/loss" not in text, "a chart nobody asked for"
    assert [text.splitlines().count(name) for name in STRATEGIES] == [8] * 3, "a legend a chart"
    bars = [bar.size["width"] for bar in browser.find_elements(By.CSS_SELECTOR, ".barlayer .point path")]
    assert min(bars) > 0


def test_the_table_has_columns_of_settings_and_of_final_values(
    browser: Chrome, study: tuple[dict[str, str], list[RunResult]]
) -> None:
    text = opened(browser, study[0]["mlflow table"], "[role=row]", 2 * len(STRATEGIES))
    assert all(title in text for title in ("Metrics", "final/red x100"))
    assert text.count("red-blue-seed") == 2 * len(STRATEGIES)


def test_the_forgetting_view_has_bars_and_curves(
    browser: Chrome, study: tuple[dict[str, str], list[RunResult]]
) -> None:
    text = opened(browser, study[0]["mlflow stages"], ".scatterlayer .js-line", len(STRATEGIES))
    assert "Value after each stage" in text
    assert all(f"{name} (eval/red x100" in text for name in STRATEGIES)
    text = opened(browser, study[0]["mlflow forgetting"], ".scatterlayer .js-line", len(STRATEGIES))
    assert all(title in text for title in ("Forgetting at the end", "final_forgetting/red x100 - lower is better"))
    assert "final_forgetting/blue" not in text, "blue was trained last, a table masks it"
    assert len(browser.find_elements(By.CSS_SELECTOR, ".barlayer .point path")) >= 2 * len(STRATEGIES)


def test_the_pictures_are_drawn(browser: Chrome, study: tuple[dict[str, str], list[RunResult]]) -> None:
    prompts = ("1 a red circle small", "2 a blue square")
    text = opened(browser, study[0]["mlflow pictures"], ".rc-image img", 2 * len(prompts) * len(STRATEGIES))
    assert all(f"pictures after the last stage/{prompt}" in text for prompt in prompts)
    assert all(f"{name}-red-blue-seed0" in text for name in STRATEGIES)
    assert "No image logged at this step" not in text
    images = browser.find_elements(By.CSS_SELECTOR, ".rc-image img")
    WebDriverWait(browser, PAGE_SECONDS).until(lambda _: all(image.get_property("complete") for image in images))
    assert {image.get_property("naturalWidth") for image in images} == {256}
    colours = [browser.execute_script(COLOUR, image) for image in images]
    after_last, after_first = colours[: len(colours) // 2], colours[len(colours) // 2 :]
    assert all(blue > 200 > red for red, _, blue in after_last), "the last stage's pictures are blue"
    assert all(red > 200 > blue for red, _, blue in after_first), "the first stage's pictures are red"


COLOUR = """
const canvas = document.createElement('canvas'), context = canvas.getContext('2d');
context.drawImage(arguments[0], 0, 0);
return Array.from(context.getImageData(5, 5, 1, 1).data.slice(0, 3));
"""


def test_the_links_lead_back_to_the_results(server: str, study: tuple[dict[str, str], list[RunResult]]) -> None:
    lines, results = study
    local = {result.name: result for result in results}
    assert {result.name: result for result in find(lines["mlflow final"]) or []} == local
    assert {result.name: result for result in find(server) or []} == local
