"""Whether the result that is here is the one that the last commit recorded: `birnn verify`.

    found = verify()
    found.status        # identical, equivalent or different
    found.sentence      # why, with the first stage, file and value that differ

The last commit holds dvc.lock, with the hash of every out, and the small outs themselves.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from birnn import files, lock
from birnn.errors import DataError
from birnn.lock import Recorded

DATA_STAGES = ("generate", "prepare")
VERDICT = "report/verdict.json"
HEADLINES = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "f1_weighted")
TOLERANCE = 0.25
"""Of half of a metric's 95 % interval; see docs/reproducibility.md for what it was measured on."""

Lock = Mapping[str, Recorded]


@dataclass(frozen=True, slots=True)
class Finding:
    """How the result that is here compares with that of the last commit.

    Attributes:
        status: `identical` where every out has the same bytes; `equivalent` where data, splits and
            verdict are the same and every headline metric is within `TOLERANCE`.
        reason: the rest of the sentence.
    """

    status: Literal["identical", "equivalent", "different"]
    reason: str

    @property
    def sentence(self) -> str:
        """The finding in one line."""
        return f"{self.status}: {self.reason}"


def verify() -> Finding:
    """Compare the outs in the working directory with the last commit.

    Raises:
        DataError: there is no `dvc.lock` here, or none in the last commit.
    """
    then, now = committed(), here()
    outs = {path: md5 for stage in then.values() for path, md5 in stage.outs.items()}
    if then.keys() == now.keys() and all(files.md5(path) == md5 for path, md5 in outs.items()):
        return Finding("identical", f"all {len(outs)} outs have the bytes of the last commit")
    different = next(_differences(then, now), None)
    if different:
        return Finding("different", different)
    models = [name.partition("@")[2] for name in then if name.startswith("evaluate@")]
    return Finding("equivalent", _how_close(models))


def committed() -> Lock:
    """Read `dvc.lock` of the last commit.

    Raises:
        DataError: there is none.
    """
    text = lock.committed(lock.PATH)
    if text is None:
        raise DataError(
            f"{lock.PATH}: expected one in the last commit, found none; commit it after `dvc repro`"
        )
    return lock.read(text)


def here() -> Lock:
    """Read `dvc.lock` in the working directory.

    Raises:
        DataError: there is none.
    """
    path = Path(lock.PATH)
    if not path.exists():
        raise DataError(f"{path}: no such file; run `dvc repro` first")
    return lock.read(path.read_text(encoding="utf-8"))


def _differences(then: Lock, now: Lock) -> Iterator[str]:
    """Lines on what makes the results different ones, in the order of the pipeline."""
    for name in [*then, *(now.keys() - then.keys())]:
        if name not in then or name not in now:
            present = ["a stage" if name in one else "no stage" for one in (then, now)]
            yield f"{name}: {_both(*present)}"
            continue
        yield from _other_params(name, then[name].params, now[name].params)
        yield from (
            f"{name}: {path}: no such file here; run `dvc repro`"
            for path in then[name].outs
            if not Path(path).is_file()
        )
        if name in DATA_STAGES:
            yield from _other_data(name, then[name].outs)
    for name in then:
        if name.startswith("evaluate@"):
            yield from _other_metrics(name)
    yield from _other_verdict()


def _both(then: object, now: object) -> str:
    return f"{then} in the last commit, {now} here"


def _other_params(stage: str, then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for key in [*then, *(now.keys() - then.keys())]:
        if then.get(key) != now.get(key):
            values = _both(then.get(key, "not set"), now.get(key, "not set"))
            yield f"{stage}: params.yaml: {key}: {values}"


def _other_data(stage: str, outs: Mapping[str, str]) -> Iterator[str]:
    for path, md5 in outs.items():
        if (found := files.md5(path)) != md5:
            yield f"{stage}: {path}: MD5 {_both(md5, found)}"


def _other_metrics(stage: str) -> Iterator[str]:
    path = _folder(stage.partition("@")[2]) + "metrics.json"
    for name, then, now, share in _gaps(stage.partition("@")[2]):
        if share > TOLERANCE:
            yield (
                f"{stage}: {path}: {name}: {_both(f'{then:.4f}', f'{now:.4f}')}, "
                f"{share:.2f} of half of its interval and at most {TOLERANCE} allowed"
            )


def _other_verdict() -> Iterator[str]:
    then, now = _json_then(VERDICT), _json_now(VERDICT)
    if then["grade"] != now["grade"]:
        yield f"report: {VERDICT}: grade: {_both(then['grade'], now['grade'])}"
    before, after = ({one["name"]: one["status"] for one in tree["checks"]} for tree in (then, now))
    for name in before:
        if before[name] != after.get(name):
            yield f"report: {VERDICT}: {name}: {_both(before[name], after.get(name))}"


def _gaps(model: str) -> Iterator[tuple[str, float, float, float]]:
    """Headline metrics: name, value then and now, and the difference in halves of the interval."""
    path = _folder(model)
    then, now = _json_then(f"{path}metrics.json"), _json_now(f"{path}metrics.json")
    ends = _json_then(f"{path}intervals.json")
    for name in HEADLINES:
        gap, half = abs(now[name] - then[name]), _half(ends.get(name))
        yield name, then[name], now[name], gap / half if half else gap and float("inf")


def _half(ends: Mapping[str, float] | None) -> float:
    return (ends["high"] - ends["low"]) / 2 if ends else 0.0


def _how_close(models: list[str]) -> str:
    gaps = [(gap, model) for model in models for gap in _gaps(model)]
    (name, then, now, share), model = max(gaps, key=lambda gap: gap[0][3])
    equal = min(_equal_answers(model) for model in models)
    return (
        "data, splits and verdict are those of the last commit; the headline metric that differs "
        f"most is the {name} of {model}, {_both(f'{then:.4f}', f'{now:.4f}')} ({share:.2f} of half "
        f"of its interval, {TOLERANCE} allowed); {100 * equal:.1f} % of the answers are equal"
    )


def _equal_answers(model: str) -> float:
    path = f"{_folder(model)}answers.csv"
    then, now = _rows(_text_then(path)), _rows(Path(path).read_text(encoding="utf-8"))
    return sum(before == after for before, after in zip(then, now, strict=True)) / len(then)


def _rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))[1:]


def _folder(model: str) -> str:
    return f"evaluation/{model}/"


def _text_then(path: str) -> str:
    text = lock.committed(path)
    if text is None:
        raise DataError(
            f"{path}: expected it in the last commit, found none; commit it with {lock.PATH}"
        )
    return text


def _json_then(path: str) -> Any:
    return json.loads(_text_then(path))


def _json_now(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))
