"""The report and the MLflow UI as a person sees them: in Chromium, with names that mean harm."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import Once
from playwright.sync_api import Browser, Page, sync_playwright

from birnn.report import pdf

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
VALIDATOR = Path(sys.prefix) / "node_modules/vnu-jar/build/dist/vnu.jar"
VALIDATOR = Path(os.environ.get("VNU_JAR", VALIDATOR))  # see .ci/run
LABELS = ["<script>alert(1)</script>", "x" * 300, "NA"]
SEQUENCES = 120
pytestmark = pytest.mark.slow
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; see .ci/run")


def write_table(path: Path) -> None:
    """Sequences of 3 to 12 steps, whose hostile labels a feature hints at."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 13, SEQUENCES)
    labels = rng.integers(len(LABELS), size=lengths.sum())
    frame = pd.DataFrame(rng.standard_normal((len(labels), 2)), columns=["<b>", "y"])
    frame["<b>"] += 2 * labels
    frame["label"] = np.array(LABELS)[labels]
    frame["sequence"] = np.repeat([f"<i>{number}" for number in range(SEQUENCES)], lengths)
    path.parent.mkdir(parents=True)
    frame.to_csv(path, index=False)


@pytest.fixture(scope="session")
def place(
    once: Once,
    empty_store: Path,
    stage: Callable[..., None],
    small_params: Callable[[], dict[str, Any]],
) -> Path:
    """Where the pipeline has run on hostile names."""

    def make(folder: Path) -> None:
        shutil.copy(empty_store, folder)
        write_table(folder / "data/external/t.csv")
        tree = small_params()
        tree["data"] = {"source": "table", "task": "tagging", "path": "data/external/t.csv"}
        tree["evaluate"] |= {"critical": {LABELS[0]: {"min_recall": 0.5}}}
        (folder / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("DVC_ROOT", str(folder))
            patch.setenv("MLFLOW_TRACKING_URI", "")
            stage("generate")
            stage("prepare")
            for name in ("bidirectional", "forward"):
                stage("train", name)
                stage("evaluate", name)
            stage("report")

    return once("browser", make)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    own = tmp_path_factory.mktemp("chromium")  # where it leaves what it did not remove in time
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox"],
            env={**os.environ, "TMPDIR": str(own)},
        )
        yield opened
        opened.close()


@contextmanager
def offline(
    browser: Browser, report: Path, width: int = 1440, scheme: Any = "light"
) -> Iterator[Page]:
    """Open the report from disk; nothing may be asked of the network or said on the console."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    said, asked = list[str](), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    yield page
    context.close()
    assert said == []
    assert asked == [report.as_uri()]


@needs_chromium
class TestReport:
    @pytest.fixture
    def report(self, place: Path) -> Path:
        return place / "report/report.html"

    @pytest.mark.parametrize("width", [390, 1440])
    def test_fits_the_screen(self, browser: Browser, report: Path, width: int) -> None:
        with offline(browser, report, width) as page:
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate(OVERFLOWING) == []

    @pytest.mark.parametrize("width", [390, 1440])
    def test_shows_all_pictures(self, browser: Browser, report: Path, width: int) -> None:
        with offline(browser, report, width) as page:
            pictures = page.locator("svg").all()
            assert len(pictures) > 10
            for picture in pictures:
                assert picture.is_visible()
                assert picture.get_attribute("aria-label")

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_has_enough_contrast(self, browser: Browser, report: Path, scheme: str) -> None:
        with offline(browser, report, scheme=scheme) as page:
            ratios: dict[str, float] = page.evaluate(CONTRASTS)
        assert len(ratios) > 50
        assert {text: ratio for text, ratio in ratios.items() if ratio < 4.5} == {}

    def test_follows_the_reader_into_the_dark(self, browser: Browser, report: Path) -> None:
        shades = []
        for scheme in ("light", "dark"):
            with offline(browser, report, scheme=scheme) as page:
                shades.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert shades == ["rgb(255, 255, 255)", "rgb(20, 23, 27)"]

    def test_shows_hostile_names_as_text(self, browser: Browser, report: Path) -> None:
        with offline(browser, report) as page:
            for label in LABELS:
                assert page.get_by_text(label, exact=True).count() > 0
            assert page.locator("script").count() == 0
            assert page.locator("i, b").count() == 0

    def test_prints_what_is_scrolled_on_a_screen(self, browser: Browser, report: Path) -> None:
        with offline(browser, report) as page:
            page.emulate_media(media="print")
            assert page.evaluate(CUT_OFF) == []


@needs_chromium
def test_the_result_is_printed_on_two_pages_that_hold_all_of_it(
    browser: Browser, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    html = pdf.two_pages("browser", ("bidirectional", "forward"), average="macro")
    target = tmp_path / "result.pdf"
    pdf.write(target, html)
    assert len(re.findall(rb"/Type /Page\b", target.read_bytes())) == 2
    page = browser.new_page()
    page.emulate_media(media="print")
    page.set_content(html)
    assert page.locator(".sheet").count() == 2
    assert page.evaluate(CUT_SHEETS) == []
    page.close()


# Elements that reach out of the page, if they are not in a box that scrolls.
OVERFLOWING = """
[...document.querySelectorAll("body *")].filter(element => !element.closest(".scroll, .label"))
  .filter(element => element.getBoundingClientRect().right > innerWidth + 0.5)
  .map(element => element.outerHTML.slice(0, 100))
"""

# Printed pages that are too small for what they show.
CUT_SHEETS = """
[...document.querySelectorAll(".sheet")].map(sheet => [sheet.scrollHeight, sheet.clientHeight,
  sheet.scrollWidth, sheet.clientWidth]).filter(([a, b, c, d]) => a > b + 1 || c > d + 1)
"""

# Boxes that are higher on the screen than what they show.
CUT_OFF = """
[...document.querySelectorAll(".tall")].filter(box => box.scrollHeight > box.clientHeight + 1)
  .map(box => box.getAttribute("aria-label"))
"""

# The contrast of each text with what is painted behind it, as WCAG 2.2 defines it.
CONTRASTS = """
(() => {
  const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const painted = colours => {  // the colours, one over the other, as red, green and blue
    context.clearRect(0, 0, 1, 1);
    for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
    return context.getImageData(0, 0, 1, 1).data;
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = element => element
    ? [...behind(element.parentElement), getComputedStyle(element).backgroundColor] : ["white"];
  const found = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), ground = behind(element);
    const ink = element.closest("svg") ? style.fill : style.color;
    const [one, other] = [painted([...ground, ink]), painted(ground)].map(luminance);
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    found[text] = Math.min(ratio, found[text] ?? Infinity);
  }
  return found;
})()
"""


@pytest.mark.skipif(
    not (VALIDATOR.exists() and shutil.which("java")), reason="no HTML validator here; see .ci/run"
)
def test_the_report_is_valid_html(place: Path) -> None:
    command = ["java", "-jar", str(VALIDATOR), "--stdout", str(place / "report/report.html")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


@contextmanager
def ui(folder: Path) -> Iterator[str]:
    """Start MLflow's UI on a folder's store with the command of `make ui`; give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    recipe = subprocess.run(
        ["make", "--dry-run", "--silent", "ui", f"PORT={port}"],
        cwd=ROOT,
        env=os.environ | {"PORT": str(port)},
        capture_output=True,
        text=True,
        check=True,
    )
    line = recipe.stdout.replace("\\\n", "").splitlines()[-1]
    command = shlex.split(line.replace("${PORT:-5000}", str(port)))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    server = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path, "MLFLOW_TRACKING_URI": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield wait_for(f"http://127.0.0.1:{port}", server)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def wait_for(address: str, server: "subprocess.Popen[bytes]", seconds: float = 90) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/health").close()
        except OSError:
            time.sleep(0.2)
        else:
            return address
    raise AssertionError("MLflow's UI did not start")


@needs_chromium
def test_mlflow_compares_the_models(browser: Browser, place: Path) -> None:
    with ui(place) as address:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(90_000)
        page.route(lambda url: not url.startswith(address), lambda route: route.abort())
        page.goto(f"{address}/#/experiments/1/runs")
        for name in ("bidirectional", "forward"):
            page.get_by_role("link", name=name).wait_for()
        for box in page.get_by_label("Press Space to toggle row selection").all():
            box.click()
        page.get_by_role("button", name="Compare", exact=True).click()
        page.get_by_text("Comparing 2 Runs").first.wait_for()
        metric = page.locator('a[href*="plot_metric_keys"]').first.get_attribute("href") or ""
        name = parse_qs(metric)["metric"][0]  # of whichever comes first in a table that scrolls
        loss = metric.replace(quote(name), quote('"validation_loss"'))
        page.goto(f"{address}/{loss}")
        page.get_by_text("bidirectional (validation_loss)").first.wait_for()
        page.locator(".scatterlayer .trace").nth(1).wait_for(state="attached")
        assert page.get_by_text("forward (validation_loss)").first.is_visible()
        page.close()
