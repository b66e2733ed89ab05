"""How good was what was answered, once the labels have come: by week, and by model.

    found = join(Path("ledger"), Path("labels.csv"))
    found.periods()                                   # a row a week and model
    Console().print(table(found))

An answer is right or wrong beside the label that came for its sequence. Sequences that were asked
for several times, and sequences of one group, count as one that is independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.markup import escape
from rich.table import Table

from birnn.errors import DataError
from birnn.evaluation import intervals
from birnn.evaluation.scoring import Scored
from birnn.files import addresses
from birnn.files.reading import first_few
from birnn.files.table_checks import text_column
from birnn.files.tables import natural_order
from birnn.serving import ledger
from birnn.serving.ledger import Part
from birnn.sources import table as tables

ALL = "all"


@dataclass(frozen=True, slots=True)
class Period:
    """What a model has answered in a week.

    Attributes:
        week: ISO 8601, as `2026-W48`, of UTC; `all` for all weeks.
        model: its name; `all` for all models.
        answers: how many sequences it has answered.
        labelled: for how many of them labels have come.
        rows: labels of these.
        accuracy: share of them that are right.
        low: end of its 95 % interval; None where it rests on a single group.
        high: the other end.
        f1_macro: of the classes that occur.
        confidence: mean probability of what was answered: the accuracy that the model expects.
    """

    week: str
    model: str
    answers: int
    labelled: int
    rows: int
    accuracy: float
    low: float | None
    high: float | None
    f1_macro: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Joined:
    """Answers beside their labels.

    Attributes:
        scored: the rows with a label, sliced by `week` and `model`.
        confidence: (N,) of each of them.
        answers: how many sequences were answered, by week and model.
        unlike: ids of those whose labels do not fit: another number of them than was answered,
            or several for an answer that is one.
    """

    scored: Scored
    confidence: npt.NDArray[np.float64]
    answers: pd.Series[int]
    unlike: list[str]

    def periods(self) -> list[Period]:
        """Each week and model, in order; then each model, and then all, where there are several."""
        week, model = self.scored.columns["week"], self.scored.columns["model"]
        cells = sorted({*zip(week.tolist(), model.tolist(), strict=True)})
        found = [self._period(one, other) for one, other in cells]
        models = natural_order({*model.tolist()})
        if len(cells) > len(models):
            found += [self._period(ALL, one) for one in models]
        return found + ([self._period(ALL, ALL)] if len(models) > 1 else [])

    def _period(self, week: str, model: str) -> Period:
        columns = self.scored.columns
        chosen = np.ones(len(self.confidence), dtype=bool)
        counts = self.answers
        for name, value in (("week", week), ("model", model)):
            if value != ALL:
                chosen &= columns[name] == value
                counts = counts[counts.index.get_level_values(name) == value]
        some = _taken(self.scored, chosen)
        metrics, sure = some.metrics(), some.intervals().get("accuracy")
        return Period(
            week=week,
            model=model,
            answers=int(counts.sum()),
            labelled=len(some.offsets) - 1,
            rows=len(some.actual),
            accuracy=metrics["accuracy"],
            low=sure.low if sure else None,
            high=sure.high if sure else None,
            f1_macro=metrics["f1_macro"],
            confidence=float(self.confidence[chosen].mean()),
        )

    @property
    def sentences(self) -> Iterator[str]:
        """What a reader should know beside the table."""
        if len({*self.scored.columns["week"].tolist()}) > 1:
            yield self.scored.slices().sentence
        if self.unlike:
            yield (
                f"left out: {len(self.unlike)} sequences that have another number of labels than "
                f"was answered: {first_few(map(repr, self.unlike))}"
            )


def _taken(scored: Scored, chosen: npt.NDArray[np.bool_]) -> Scored:
    """Some of the answers, each whole."""
    whole = chosen[scored.offsets[:-1]]
    lengths = np.diff(scored.offsets)[whole]
    return replace(
        scored,
        actual=scored.actual[chosen],
        predicted=scored.predicted[chosen],
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        groups=scored.groups[whole],
    )


def join(folder: Path, labels: Path) -> Joined:
    """Put labels beside what was answered.

    Args:
        folder: of the ledger.
        labels: a table with `sequence` and `label` (or `actual`), a row a label, in order: the
            file of the sequences themselves will do, here or in a bucket. A column `group` says
            what belongs together.

    Raises:
        DataError: there is no ledger, the table lacks a column, or no answer has a label.
    """
    labels = addresses.place(labels)
    answered = pd.concat([_answered(part) for part in ledger.parts(folder)], ignore_index=True)
    known = _Labels(labels)
    begins = answered["step"] == 0
    answered["answer"] = begins.cumsum()
    counts = answered[begins].groupby(["week", "model"]).size()
    if answered.empty:
        raise DataError(f"{folder}: expected answers, found none yet")
    beside = known.beside(answered)
    unlike = beside.loc[beside["unlike"] & (beside["step"] == 0), "sequence"]
    rows = beside[beside["label"].notna() & ~beside["unlike"]].reset_index(drop=True)
    if rows.empty:
        raise DataError(
            f"{labels}: expected labels that fit to answers in {folder}, found none for "
            f"{len(known.counts)} labelled and {int(begins.sum())} answered sequences"
        )
    return Joined(
        scored=_scored(rows, str(labels)),
        confidence=rows["confidence"].to_numpy(np.float64),
        answers=counts,
        unlike=[*unlike],
    )


def _answered(part: Part) -> pd.DataFrame:
    """The rows of a part with their week, their model, and what to know of the model."""
    frame: pd.DataFrame = part.table.to_pandas()
    calendar = frame.pop("time").dt.isocalendar()
    week = calendar["year"].astype(str) + "-W" + calendar["week"].astype(str).str.zfill(2)
    most = np.inf if part.max_steps is None else part.max_steps
    return frame.assign(week=week, model=str(part.name), task=part.task, most=most)


class _Labels:
    """The labels that have come."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        frame = pd.concat([*self._read(path)], ignore_index=True)
        frame["step"] = frame.groupby("sequence").cumcount().astype(np.int32)
        self.frame = frame
        by_sequence = frame.groupby("sequence")["label"]
        self.counts = by_sequence.size()
        distinct = by_sequence.nunique()
        self.several = distinct.index[distinct > 1]

    def _read(self, path: Path) -> Iterator[pd.DataFrame]:
        before = 0
        for batch in tables.read(path, []):
            names = batch.schema.names
            label = "actual" if "actual" in names else "label"
            for name in ("sequence", label):
                if name not in names:
                    found = ", ".join(names)
                    raise DataError(f"{path}: expected a column `{name}`, found {found}")
            chosen = {"sequence": "sequence", "label": label}
            chosen |= {"group": "group"} if "group" in names else {}
            columns = {
                name: text_column(batch[source], f"column `{source}`", self.where, before)
                for name, source in chosen.items()
            }
            before += batch.num_rows
            yield pd.DataFrame({name: column.to_pandas() for name, column in columns.items()})

    def beside(self, answered: pd.DataFrame) -> pd.DataFrame:
        """Join by sequence and step; `unlike` where labels do not fit to what was answered."""
        joined = answered.merge(self.frame, on=["sequence", "step"], how="left", sort=False)
        came = joined["sequence"].map(self.counts).fillna(0)
        length = joined.groupby("answer")["step"].transform("size")
        other = (came > 0) & (length != np.minimum(came, joined["most"]))
        several = joined["sequence"].isin(self.several)
        tagging = joined["task"] == "tagging"
        return joined.assign(unlike=np.where(tagging, other, several))


def _scored(rows: pd.DataFrame, where: str) -> Scored:
    labels = natural_order({*rows["label"], *rows["predicted"]})
    place: dict[Any, int] = {label: number for number, label in enumerate(labels)}
    starts = np.flatnonzero(np.append(True, np.diff(rows["answer"].to_numpy()) != 0))
    independent = rows["group"] if "group" in rows else rows["sequence"]
    return Scored(
        where=where,
        labels=labels,
        actual=rows["label"].map(place).to_numpy(np.int64),
        predicted=rows["predicted"].map(place).to_numpy(np.int64),
        probabilities=None,
        offsets=np.append(starts, len(rows)),
        groups=pd.factorize(independent.iloc[starts])[0].astype(np.int64),
        columns={name: rows[name].to_numpy(object) for name in ("week", "model")},
    )


def table(found: Joined) -> Table:
    """Draw the periods."""
    drawn = Table(title="what was answered, by week", title_justify="left", caption_justify="left")
    for name in ("week", "model"):
        drawn.add_column(name)
    for name in ("labelled", "rows", "accuracy", "f1_macro", "confidence"):
        drawn.add_column(name, justify="right")
    for one in found.periods():
        ends = "" if one.low is None else f" ({one.low:.4f} to {one.high:.4f})"
        cells = [f"{one.labelled} of {one.answers}", str(one.rows), f"{one.accuracy:.4f}{ends}"]
        cells += [f"{one.f1_macro:.4f}", f"{one.confidence:.4f}"]
        drawn.add_row(one.week, escape(one.model), *cells)
    groups = len(np.unique(found.scored.groups))
    drawn.caption = intervals.in_brackets(groups, len(found.scored.offsets) - 1)
    return drawn
