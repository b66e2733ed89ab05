"""Whether the result that is here is the one that the last commit recorded: `birnn verify`.

    found = verify()
    found.status        # identical, equivalent or different
    found.sentence      # why, with the first stage, file and value that differ

The last commit holds dvc.lock, with the hash of every out, and the small outs themselves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from birnn.errors import DataError
from birnn.files import digests, parts, paths
from birnn.params import lock
from birnn.params.lock import Recorded

DATA_STAGES = ("generate", "prepare")
VERDICT = (paths.REPORT / paths.VERDICT).as_posix()
TOLERANCE = 0.25
"""Of the width of a metric's 95 % interval: twice what was measured; docs/reproducibility.md."""

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
        DataError: there is no `dvc.lock` here, or none in the last commit; or a store lacks a part.
    """
    then, now = committed(), here()
    _check_stored(now)
    outs = {path: md5 for stage in then.values() for path, md5 in stage.outs.items()}
    if then.keys() == now.keys() and all(digests.md5(path) == md5 for path, md5 in outs.items()):
        return Finding("identical", f"all {len(outs)} outs have the bytes of the last commit")
    different = next(_differences(then, now), None)
    if different:
        return Finding("different", different)
    models = [name.partition("@")[2] for name in then if name.startswith("evaluate@")]
    return Finding("equivalent", _how_close(models))


def _check_stored(found: Lock) -> None:
    """Compare parts in a store with their hashes, since the outs hold no more than these.

    Raises:
        DataError: one is missing, or has other bytes.
    """
    outs = [path for name in DATA_STAGES if name in found for path in found[name].outs]
    for path in filter(parts.is_parted, outs):
        for place in parts.of(path):
            if place.store:
                place.check()


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
            if not Path(path).exists()
        )
        if name in DATA_STAGES:
            yield from _other_data(name, then[name].outs)
    yield from _other_metrics()
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
        if (found := digests.md5(path)) != md5:
            yield f"{stage}: {path}: MD5 {_both(md5, found)}"


def _other_metrics() -> Iterator[str]:
    for gap in _gaps():
        if gap.share > TOLERANCE:
            yield (
                f"evaluate@{gap.model}: evaluation/{gap.model}/metrics.json: {gap.metric}: "
                f"{gap.both}, {gap.share:.2f} of the width of its interval and at most "
                f"{TOLERANCE} allowed"
            )


def _other_verdict() -> Iterator[str]:
    then, now = _json_then(VERDICT), _json_now(VERDICT)
    if then["grade"] != now["grade"]:
        yield f"report: {VERDICT}: grade: {_both(then['grade'], now['grade'])}"
    before, after = ({one["name"]: one["status"] for one in tree["checks"]} for tree in (then, now))
    for name in before:
        if before[name] != after.get(name):
            yield f"report: {VERDICT}: {name}: {_both(before[name], after.get(name))}"


class _Gap(NamedTuple):
    """How far a headline metric is from that of the last commit."""

    model: str
    metric: str
    both: str
    share: float  # of the width of its interval there


def _gaps() -> list[_Gap]:
    now = {(one["model"], one["metric"]): one["value"] for one in _json_now(VERDICT)["headlines"]}
    gaps = []
    for one in _json_then(VERDICT)["headlines"]:
        model, metric, value = one["model"], one["metric"], one["value"]
        other, width = now[model, metric], one["high"] - one["low"]
        share = abs(other - value) / width if width else math.inf if other != value else 0.0
        gaps.append(_Gap(model, metric, _both(f"{value:.4f}", f"{other:.4f}"), share))
    return gaps


def _how_close(models: list[str]) -> str:
    most = max(_gaps(), key=lambda gap: gap.share, default=None)
    closest = "no headline metric has an interval to compare by"
    if most is not None:
        closest = (
            f"the headline metric that differs most is the {most.metric} of {most.model}, "
            f"{most.both} ({most.share:.2f} of the width of its interval, {TOLERANCE} allowed)"
        )
    equal = min(_equal_answers(model) for model in models)
    return (
        f"data, splits and verdict are those of the last commit; {closest}; "
        f"{100 * equal:.1f} % of the answers are equal"
    )


def _equal_answers(model: str) -> float:
    path = (paths.EVALUATION / model / paths.ANSWERS).as_posix()
    then, now = (" ".join(tree["sample"]).split() for tree in (_json_then(path), _json_now(path)))
    return sum(before == after for before, after in zip(then, now, strict=True)) / len(then)


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
