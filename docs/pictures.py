"""Take the README's pictures of the last `make repro`: the report, and two runs in MLflow.

make picture

Needs Chromium. Writes docs/report.png and docs/mlflow.png.
"""

import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, quote

from playwright.sync_api import Browser, sync_playwright

DOCS = Path(__file__).parent
PORT = 5099
ADDRESS = f"http://127.0.0.1:{PORT}"
WAIT = 90.0  # seconds at most for MLflow


def main() -> None:
    """Take both."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("error: expected chromium on PATH, found none; see .ci/run")
    server = subprocess.Popen(["make", "ui", f"PORT={PORT}"], start_new_session=True)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            take_report(browser)
            wait_for_mlflow()
            take_mlflow(browser)
            browser.close()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def take_report(browser: Browser) -> None:
    """The top of the report."""
    page = browser.new_page(viewport={"width": 1120, "height": 1000})
    page.goto((DOCS.parent / "report/report.html").as_uri())
    page.screenshot(path=DOCS / "report.png")


def wait_for_mlflow() -> None:
    """Wait until it answers."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{ADDRESS}/health").close()  # noqa: S310
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit("error: MLflow's UI did not start")


def take_mlflow(browser: Browser) -> None:
    """The loss curves of the two latest runs of the first experiment, one over the other."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(1000 * WAIT)
    page.route(lambda url: not url.startswith(ADDRESS), lambda route: route.abort())
    page.goto(f"{ADDRESS}/#/experiments/1/runs")
    page.get_by_role("link", name="bidirectional").first.wait_for()
    for box in page.get_by_label("Press Space to toggle row selection").all()[:2]:
        box.click()
    page.get_by_role("button", name="Compare", exact=True).click()
    metric = page.locator('a[href*="plot_metric_keys"]').first.get_attribute("href") or ""
    first = parse_qs(metric)["metric"][0]
    both = metric.replace(quote(f"[{first}]"), quote('["train_loss","validation_loss"]'))
    page.goto(f"{ADDRESS}/{both}")
    page.get_by_text("bidirectional (validation_loss)").first.wait_for()
    page.get_by_label("Close").first.click()  # the assistant
    page.wait_for_timeout(3000)
    page.screenshot(path=DOCS / "mlflow.png")


if __name__ == "__main__":
    main()
