"""What `summary.json` says of a sequence table; `birnn.sources.inspection` counts it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from birnn.files.reading import first_few

NO_LABELS = {"NA", "N/A", "NaN", "nan", "NULL", "null", "None", "<NA>", "?", "-100"}
"""What programs write where a value is missing, and people where they know of none."""


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How often a class occurs: of the steps for tagging, of the sequences for classification."""

    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two identical sequences with different labels: their ids, and the label of the first step."""

    sequences: list[str]
    labels: list[str]


@dataclass(frozen=True, slots=True)
class Groups:
    """What is known of the groups that a table names.

    Attributes:
        count: how many there are.
        largest: name of the one with most labels.
        share: of all labels that it has.
        alike: names that differ in capitals or blanks alone, a few such sets.
    """

    count: int
    largest: str
    share: float
    alike: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What is in a sequence table.

    Attributes:
        task: `tagging` or `classification`.
        sequences: how many there are.
        steps: how many they have together.
        tokens: distinct tokens; 0 where steps have none.
        features: names of the numeric columns.
        lengths: their `mean`, `min`, `q25`, `median`, `q75`, `q95` and `max`, in steps.
        labels: each class, in natural order.
        splits: sequences in each split that the table names.
        groups: those that the table names; None without.
        not_in_test: classes of train that the test split of the table does not hold.
        not_in_train: classes of validation and test that the train split of the table does not
            hold, and how often each occurs there.
        unlabelled: steps (of a tagging task) or sequences without a label.
        missing: how many numbers are missing in which column.
        first_missing: the file, row and column of the first of them.
        rare: classes in fewer groups, or sequences, than there are splits, and in how many; where
            the table names no splits.
        duplicates: sequences that repeat an earlier one.
        conflicts: those of them that have other labels.
        first_conflicts: the first few of these.
        limits: the best accuracies that are possible, where a known process made the data; see
            `birnn.sources.limits.Best`.
        limits_by_length: the same for each length of a sequence, where lengths differ.
        left_out: what readers left out, by the reason.
        changed: what they changed, by what was done.
        noted: what they read in one of several ways that there are, by the way.
        counters: features that seem to count time or rows, by what they seem to be.
        cut_after: how many steps of a sequence are kept; None for all.
        reading: how the files were read; see `birnn.sources.ingestion.reading`.
    """

    task: str
    sequences: int
    steps: int
    tokens: int = 0
    features: list[str] = field(default_factory=list)
    lengths: dict[str, float]
    labels: dict[str, ClassCount]
    splits: dict[str, int]
    groups: Groups | None = None
    not_in_test: list[str]
    not_in_train: dict[str, int] = field(default_factory=dict)
    unlabelled: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    first_missing: str = ""
    rare: dict[str, int] = field(default_factory=dict)
    duplicates: int
    conflicts: int
    first_conflicts: list[Conflict]
    limits: dict[str, float] = field(default_factory=dict)
    limits_by_length: dict[str, dict[int, float]] = field(default_factory=dict)
    left_out: dict[str, int]
    changed: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)
    counters: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    reading: dict[str, object]


def gaps(found: Summary, reads: str = "", *, by_chance: bool = True) -> Iterator[str]:
    """Say what a table lacks, a sentence a kind: classes in some splits, labels, and numbers.

    Args:
        found: what is in the table.
        reads: what is read where a number is missing, as `prepare.missing` says; "" where nobody
            has said it yet.
        by_chance: whether chance alone divides sequences among the splits: `prepare.stratify` is
            off, and `prepare.split_by`, which excludes it, is not set.
    """
    what = "steps" if found.task == "tagging" else "sequences"
    if unseen := found.not_in_train:
        named = first_few(f"{name!r} ({count:,} {what})" for name, count in unseen.items())
        yield (
            f"not in train: labels {named}; no model can learn them, so each of these {what} "
            "counts as answered wrongly"
        )
    if rare := found.rare:
        unit = "groups" if found.groups else "sequences"
        named = first_few(f"{name!r} ({count})" for name, count in rare.items())
        advice = "; prepare.stratify puts the first of each class into train" if by_chance else ""
        yield (
            f"labels in fewer {unit} than there are splits: {named}; of one in train alone nobody "
            "knows how well it is found, and one in another split alone is refused by `prepare`"
            f"{advice}"
        )
    if found.unlabelled:
        yield (
            f"without a label: {found.unlabelled:,} {what}; they go through the model, and count "
            "in no loss and no metric"
        )
    if found.missing:
        named = first_few(f"{name} ({count:,})" for name, count in found.missing.items())
        then = f"prepare.missing says what is read there: {reads}"
        if reads in ("", "refuse"):
            then = "`prepare` refuses them unless prepare.missing says what to read there: mean, "
            then += "zero, last or mask"
        yield f"missing numbers: in {named}, of {found.steps:,} steps; {then}"


def treatment(found: Summary) -> Iterator[str]:
    """Say what readers left out, changed, and read in one of several ways, a sentence a kind.

    The places are left out: those of `birnn check` hold for the files as they lie there.
    """
    kinds = {"left out": found.left_out, "changed": found.changed, "read": found.noted}
    for done, counts in kinds.items():
        for what, count in counts.items():
            yield f"{done}: {what}, {count:,} in all"
