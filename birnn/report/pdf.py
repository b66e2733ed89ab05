"""The result for others, on two pages that Chromium prints.

    write("result.pdf", two_pages("speech", ["bidirectional", "forward"], average="macro"))

All is read from the files of the last `dvc repro`; nothing is computed anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from birnn.errors import DataError
from birnn.evaluation import headlines
from birnn.files import named, paths, records
from birnn.files.paths import EVALUATION, MODELS, RAW, REPORT
from birnn.files.summary import Summary
from birnn.report import drawings, figures, pages, tested
from birnn.report.conclusions import Conclusion
from birnn.report.tested import Compared

BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    *("microsoft-edge", "msedge"),
)
SECONDS = 120  # that printing may take


def two_pages(problem: str, models: Iterable[str], *, average: str) -> str:
    """Fill in the page that is printed.

    Args:
        problem: its name in params.yaml.
        models: the names of the models; the first is judged.
        average: which F1 to show.

    Raises:
        DataError: a file is missing; the pipeline has not run.
    """
    results = [tested.read(name, MODELS, EVALUATION) for name in models]
    compared = records.read(REPORT / paths.COMPARISON, Compared)
    return pages.render(
        "two_pages.html.j2",
        problem=problem,
        average=headlines.averaged_over(results[0].metrics, average),
        results=results,
        compared=compared,
        verdict=records.read(REPORT / paths.VERDICT, Conclusion),
        summary=records.read(RAW / paths.SUMMARY, Summary),
        accents={result.name: number % figures.ACCENTS for number, result in enumerate(results)},
        pictures=drawings.pictures(results, compared.ladder),
    )


def write(path: Path, page: str) -> None:
    """Print a page to a PDF file, whole or not at all.

    Args:
        path: where to.
        page: HTML that loads nothing from elsewhere.

    Raises:
        DataError: the name is none of a PDF, there is no browser, or it does not print.
    """
    if path.suffix.lower() != ".pdf":
        raise DataError(f"{path}: expected a name that ends in .pdf")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise DataError(
            f"{path}: expected Chromium or Chrome on PATH to print with, found none; install "
            f"Chromium, or print {REPORT / paths.PAGE} in a browser"
        )
    with TemporaryDirectory() as folder, named.output(path) as partial:
        source = Path(folder) / "page.html"
        source.write_text(page, encoding="utf-8")
        said = _print(browser, source, partial, own=Path(folder))
        if not partial.exists():
            raise DataError(f"{path}: expected a PDF from {browser}, found: {said}")


def _print(browser: str, source: Path, target: Path, *, own: Path) -> str:
    """Run the browser with a folder of its own, for it may leave files; return its last line."""
    command = [
        browser,
        *("--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-pdf-header-footer"),
        *(["--no-sandbox"] if getattr(os, "geteuid", int)() == 0 else []),  # root has none
        *(f"--user-data-dir={own / 'profile'}", f"--print-to-pdf={target}", source.as_uri()),
    ]
    environment = {**os.environ, "TMPDIR": str(own)}
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return f"nothing after {SECONDS} seconds"
    return (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1]
