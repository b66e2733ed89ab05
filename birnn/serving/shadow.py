"""The shadow record: what the challenger says of recent sequences, beside what the champion says.

    found = compare(champion, challenger, Path("recent.csv"))
    found.sentence

Nobody knows the labels yet, so it does not say which one is better. It says before the challenger
serves by how much the answers will change: how many are others, whether a class is answered more or
less often, and whether the model is surer or less sure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rich.markup import escape
from rich.table import Table

from birnn.errors import DataError
from birnn.evaluation import expected_accuracy, intervals
from birnn.evaluation.expected_accuracy import Calibration, Estimate
from birnn.evaluation.intervals import in_brackets
from birnn.files import addresses, paths, records
from birnn.files.reading import Skipped
from birnn.files.tables import natural_order
from birnn.model import prediction
from birnn.serving import served
from birnn.serving.served import Served
from birnn.sources import ingestion
from birnn.tracking import registry, store
from birnn.tracking.registry import Registry, Version

RECORD = "shadow.json"  # on the challenger's run
CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of both models, and how it changes from the champion to the challenger.

    Attributes:
        name: a class, whose share of all answers it is; or `confidence`, the mean probability of
            what is answered.
        champion: the figure.
        challenger: the figure.
        low: end of the 95 % interval of challenger - champion; None where it rests on one group.
        high: the other end.
    """

    name: str
    champion: float
    challenger: float
    low: float | None
    high: float | None

    @property
    def certain(self) -> bool:
        """Whether there is a change beyond what chance explains."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True)
class Shadow:
    """What two models say of the same sequences.

    Attributes:
        champion: its name.
        challenger: its name.
        file: of the sequences.
        sequences: how many.
        groups: that they belong to.
        rows: labels that were answered.
        others: share of the rows that the two answer in another way.
        low: end of its 95 % interval; None where it rests on one group.
        high: the other end.
        confidence: how sure the two are.
        classes: the share of each class.
        expected: the accuracy that is expected of each, by `champion` and `challenger`, where
            `evaluate` has left what is needed for it.
    """

    champion: str
    challenger: str
    file: str
    sequences: int
    groups: int
    rows: int
    others: float
    low: float | None
    high: float | None
    confidence: Change
    classes: list[Change]
    expected: dict[str, Estimate] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The record in short."""
        said = f"{self.challenger} answers {100 * self.others:.1f} %"
        if self.low is not None and self.high is not None:
            said += f" ({100 * self.low:.1f} to {100 * self.high:.1f} %)"
        said += f" of {self.rows} rows of {self.file} in another way than {self.champion}"
        moved = [one for one in self.classes if one.certain]
        if not moved:
            return f"{said}; no class is answered more or less often beyond chance."
        largest = max(moved, key=lambda one: abs(one.challenger - one.champion))
        how = "more" if largest.challenger > largest.champion else "less"
        shares = f"{100 * largest.challenger:.1f} %, was {100 * largest.champion:.1f} %"
        return f"{said}; {largest.name!r} is answered {how} often: {shares}."


@dataclass(frozen=True, slots=True)
class _Answers:
    """What one model says.

    Attributes:
        ids: (S,) names of the sequences.
        groups: (S,) of each.
        offsets: (S + 1,) the rows of each.
        predicted: (N,) names of classes.
        confidence: (N,) of each answer.
    """

    ids: pa.Array
    groups: pa.Array
    offsets: npt.NDArray[np.int64]
    predicted: pa.Array
    confidence: npt.NDArray[np.float64]


def compare(
    champion: Served,
    challenger: Served,
    file: Path,
    calibrations: Mapping[str, Calibration] = MappingProxyType({}),
) -> Shadow:
    """Let two models answer for the same sequences, each reading them in its own way.

    Args:
        champion: the model that serves.
        challenger: the one that may come to serve.
        file: a sequence table, or a file as in training, here or in a bucket; labels are not looked
            at. Its column `group` says what belongs together.
        calibrations: how the accuracy of each is estimated, by `champion` and `challenger`.

    Raises:
        DataError: the file is not one that both can read, or they answer different questions.
    """
    if champion.encoding.task != challenger.encoding.task:
        raise DataError(
            f"{challenger.name}: expected a model for {champion.encoding.task} as {champion.name}, "
            f"found one for {challenger.encoding.task}"
        )
    file = addresses.place(file)
    with addresses.opened(file) as path:
        both = {CHAMPION: _answers(champion, path), CHALLENGER: _answers(challenger, path)}
    one, other = _common(*both.values())
    expected = {
        name: expected_accuracy.estimate(
            known, both[name].confidence, offsets=both[name].offsets, groups=_numbers(both[name])
        )
        for name, known in calibrations.items()
    }
    groups = _numbers(one)
    same = pa.compute.equal(one.predicted, other.predicted).to_numpy(zero_copy_only=False)
    sure = intervals.of_share(~same, np.ones_like(same), offsets=one.offsets, groups=groups)
    return Shadow(
        champion=str(champion.name),
        challenger=str(challenger.name),
        file=str(file),
        sequences=len(one.ids),
        groups=len(np.unique(groups)),
        rows=len(same),
        others=float((~same).mean()),
        low=sure.low if sure else None,
        high=sure.high if sure else None,
        confidence=_change("confidence", one.confidence, other.confidence, one.offsets, groups),
        classes=_classes(one, other, groups),
        expected=expected,
    )


def _answers(model: Served, file: Path) -> _Answers:
    encoding, ids, groups, lengths = model.encoding, [], [], []
    rows = ingestion.unlabelled(
        file, encoding.reading, encoding.features, Skipped(), form=encoding.form
    )
    predicted, confidence = list[pa.Array](), list[npt.NDArray[np.float64]]()
    names = pa.array(encoding.labels)
    for chunk in prediction.prepared(encoding, rows, where=str(file), also="group"):
        sequences = encoding.encode(*chunk)
        shares = prediction.probabilities(model.network, sequences)
        classes = prediction.decide(shares, encoding, model.thresholds)
        ids.append(sequences.ids)
        groups.append(sequences.groups)
        lengths.append(np.diff(sequences.label_offsets))
        predicted.append(names.take(pa.array(classes)))
        confidence.append(expected_accuracy.confidence(shares, classes).astype(np.float64))
    return _Answers(
        ids=pa.concat_arrays(ids),
        groups=pa.concat_arrays(groups),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]),
        predicted=pa.concat_arrays(predicted),
        confidence=np.concatenate(confidence),
    )


def _common(one: _Answers, other: _Answers) -> tuple[_Answers, _Answers]:
    """The rows that both answer: where one cuts sequences that the other does not, the first."""
    if not one.ids.equals(other.ids):
        raise DataError(
            "expected two models that read the same sequences in a file, found others: give a "
            "sequence table, which all read alike"
        )
    lengths = np.minimum(np.diff(one.offsets), np.diff(other.offsets))
    return _shortened(one, lengths), _shortened(other, lengths)


def _shortened(answers: _Answers, lengths: npt.NDArray[np.int64]) -> _Answers:
    each = np.diff(answers.offsets)
    step = np.arange(len(answers.confidence)) - np.repeat(answers.offsets[:-1], each)
    kept = step < np.repeat(lengths, each)
    return _Answers(
        ids=answers.ids,
        groups=answers.groups,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        predicted=answers.predicted.filter(pa.array(kept)),
        confidence=answers.confidence[kept],
    )


def _numbers(answers: _Answers) -> npt.NDArray[np.int64]:
    return np.asarray(answers.groups.dictionary_encode().indices.to_numpy(), dtype=np.int64)


def _classes(one: _Answers, other: _Answers, groups: npt.NDArray[np.int64]) -> list[Change]:
    occurring = {*one.predicted.unique().to_pylist(), *other.predicted.unique().to_pylist()}
    found = []
    for label in natural_order(occurring):
        before, after = (
            pa.compute.equal(each.predicted, label).to_numpy(zero_copy_only=False).astype(float)
            for each in (one, other)
        )
        found.append(_change(label, before, after, one.offsets, groups))
    return found


def _change(
    name: str,
    champion: npt.NDArray[np.float64],
    challenger: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
) -> Change:
    sure = intervals.of_change(challenger - champion, offsets=offsets, groups=groups)
    return Change(
        name=name,
        champion=float(champion.mean()),
        challenger=float(challenger.mean()),
        low=sure.low if sure else None,
        high=sure.high if sure else None,
    )


def of(champion: str, challenger: str, file: Path) -> Shadow:
    """Compare two models by their addresses; of two registered versions, keep the record.

    It hangs on the challenger's run, and its sentence is a tag of the version.

    Args:
        champion: of the model that serves; see `birnn.serving.served.load`.
        challenger: of the one that may come to serve.
        file: see `compare`.

    Raises:
        DataError: see `compare`.
        RegistryError: MLflow is out of reach, or a model is not the one that was registered.
    """
    one, other = served.load(champion, "auto"), served.load(challenger, "auto")
    versions = {
        CHAMPION: registry.version_of(champion),
        CHALLENGER: registry.version_of(challenger),
    }
    with store.reached():
        known = {name: _calibration(version) for name, version in versions.items()}
        shadow = compare(one, other, file, {k: v for k, v in known.items() if v is not None})
        new = versions[CHALLENGER]
        if new is not None and versions[CHAMPION] is not None:
            _keep(shadow, new, registry.connect(other.name.model))
    return shadow


def _calibration(version: Version | None) -> Calibration | None:
    """How the accuracy of a version is estimated, if `evaluate` has noted it."""
    if version is None:
        return None
    with TemporaryDirectory() as place:
        path = registry.evaluated(version.run_id, paths.EXPECTED_ACCURACY, place)
        return None if path is None else records.read(path, Calibration)


def _keep(shadow: Shadow, version: Version, found: Registry) -> None:
    with TemporaryDirectory() as place:
        records.write(Path(place) / RECORD, shadow)
        found.log(version.run_id, Path(place) / RECORD)
    found.note(version.number, {registry.SHADOW: shadow.sentence})


def table(shadow: Shadow) -> Table:
    """Draw the record."""
    drawn = Table(title=escape(shadow.sentence), title_justify="left", caption_justify="left")
    drawn.add_column("")
    for name in (shadow.champion, shadow.challenger, "change"):
        drawn.add_column(escape(name), justify="right")
    for one in (*shadow.classes, shadow.confidence):
        change = f"{one.challenger - one.champion:+.4f}"
        if one.low is not None:
            change += f" ({one.low:+.4f} to {one.high:+.4f})"
        drawn.add_row(escape(one.name), f"{one.champion:.4f}", f"{one.challenger:.4f}", change)
    drawn.caption = in_brackets(shadow.groups, shadow.sequences)
    return drawn
