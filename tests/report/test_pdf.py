"""Printing with the browser that is there, whole or not at all; for what, see test_browser.py."""

from pathlib import Path

import pytest

from birnn.errors import DataError
from birnn.report import pdf


def browser(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program of this name alone on PATH."""
    program = folder / "bin/chromium-browser"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(pdf, "BROWSERS", ("absent", "chromium-browser"))


def test_the_page_is_given_to_the_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's address comes last, and the target in an option."""
    script = """for last; do case $last in --print-to-pdf=*) out=${last#*=};; esac; done
cat "${last#file://}" > "$out\""""
    browser(tmp_path, script, monkeypatch)
    monkeypatch.chdir(tmp_path)
    pdf.write(Path("new/result.pdf"), "<p>é</p>")
    assert (tmp_path / "new/result.pdf").read_text(encoding="utf-8") == "<p>é</p>"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["result.pdf"]


def test_what_the_browser_leaves_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chromium writes `.org.chromium.Chromium.NAME`, and does not remove it if it ends too fast."""
    script = f"""echo "$TMPDIR" > {tmp_path}/told; mktemp -p "$TMPDIR" left-XXXX > {tmp_path}/left
for last; do case $last in --print-to-pdf=*) echo > "${{last#*=}}";; esac; done"""
    browser(tmp_path, script, monkeypatch)
    pdf.write(tmp_path / "result.pdf", "<p>")
    assert "left-" in (tmp_path / "left").read_text()
    assert not Path((tmp_path / "told").read_text().strip()).exists()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo one >&2; echo two >&2; exit 1", "found: two$"),
        ("exit 3", "found: exit status 3$"),
    ],
)
def test_a_browser_that_does_not_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    browser(tmp_path, script, monkeypatch)
    target = tmp_path / "result.pdf"
    target.write_text("before")
    with pytest.raises(DataError, match=message):
        pdf.write(target, "<p>")
    assert target.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "result.pdf"]


def test_a_browser_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser(tmp_path, "exec sleep 60", monkeypatch)
    monkeypatch.setattr(pdf, "SECONDS", 0.2)
    with pytest.raises(DataError, match=r"found: nothing after 0\.2 seconds$"):
        pdf.write(tmp_path / "result.pdf", "<p>")


def test_without_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"result\.pdf: expected Chromium or Chrome on PATH"):
        pdf.write(Path("result.pdf"), "<p>")


def test_another_name() -> None:
    with pytest.raises(DataError, match=r"result\.html: expected a name that ends in \.pdf"):
        pdf.write(Path("result.html"), "<p>")
