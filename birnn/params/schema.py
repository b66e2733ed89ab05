"""The schema of params.yaml: what each key may be, and what goes with what."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

Count = Annotated[int, Field(ge=1, lt=2**31)]
Units = Annotated[int, Field(ge=1, le=65_536)]
"""Numbers of a vector, of which there is a matrix for each two."""
Share = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
ADDRESS = re.compile(r"[a-z0-9+]+://[^\s@]*[^\s@/]")
IN_BUCKET = re.compile(r"s3://[^/\s@:]+(/.*)?")


class Section(BaseModel):
    """What every part of params.yaml shares: no unknown keys, no silent conversion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class HMMData(Section):
    """Sequences drawn from a hidden Markov chain; see `birnn.sources.hmm`.

    Attributes:
        source: `hmm`.
        task: one label a step (`tagging`), or one a sequence.
        seed: decides what is drawn.
        sequences: how many to draw.
        min_steps: steps of the shortest sequence.
        max_steps: steps of the longest.
        mean_steps: of the lengths, which are drawn between the two; needed where they differ.
        features: numbers of a step.
        classes: labels that there are.
        states: of the chain, for classification; for tagging there is one for each class.
        stay: chance that a state stays as it is from one step to the next.
        separation: distance of two states, in standard deviations of the noise.
        lookalikes: pairs of classes that look the same, so that only their context tells them
            apart.
        shares: how frequent the classes are; equally where null.
    """

    source: Literal["hmm"]
    task: Literal["tagging", "classification"]
    seed: Seed = 1
    sequences: Count
    min_steps: Count
    max_steps: Count
    mean_steps: Positive | None = None
    features: Units
    classes: Annotated[int, Field(ge=2, le=10_000)]
    states: Annotated[int, Field(ge=2, le=10_000)] | None = None
    stay: Share
    separation: Positive
    lookalikes: Annotated[int, Field(ge=0)] = 0
    shares: Annotated[list[Positive], Field(min_length=2)] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> HMMData:
        if self.min_steps > self.max_steps:
            raise ValueError("expected min_steps up to max_steps")
        if self.min_steps < self.max_steps and self.mean_steps is None:
            raise ValueError("expected mean_steps where min_steps and max_steps differ")
        if (self.task == "classification") != (self.states is not None):
            raise ValueError("expected `states` for classification, and for nothing else")
        if self.task == "classification" and self.lookalikes:
            raise ValueError("expected `lookalikes` for tagging only")
        return self


class Bounded(Section):
    """Sequences of more than `max_steps` steps are refused, or cut there.

    Attributes:
        max_steps: steps that a sequence may have; any number where null.
        longer: what becomes of longer ones: `refuse` them all, or `cut` each there.
    """

    max_steps: Count | None = None
    longer: Literal["refuse", "cut"] = "refuse"


class Columns(Section):
    """What a table calls its columns, where not by the names of the sequence table.

    Attributes:
        sequence: the column with the sequence's id.
        label: that of the label.
        group: that of the group, which is never divided.
        split: that of the split.
        token: that of the token.
        time: the one that `data.time` turns into seconds.
        features: those with numbers to learn from; all others with numbers where null.
    """

    sequence: Name | None = None
    label: Name | None = None
    group: Name | None = None
    split: Name | None = None
    token: Name | None = None
    time: Name | None = None
    features: Annotated[list[Name], Field(min_length=1)] | None = None


def _composed(label: str) -> str:
    return unicodedata.normalize("NFC", label)


Label = Annotated[str, AfterValidator(_composed)]
"""The name of a class, in the form of Unicode in which labels are read."""


def _as_names(found: object) -> object:
    """Take one name for a list of one, and a class number for its name."""
    listed = found if isinstance(found, list) else [] if found is None else [found]
    return [str(one) if type(one) is int else one for one in listed]


Labels = Annotated[list[Label], BeforeValidator(_as_names)]
"""Names of classes; one alone needs no list, and a whole number no quotes."""


def _as_list(found: object) -> object:
    """Take one number for a list of one."""
    return [found] if type(found) in (int, float) else found


Marks = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], BeforeValidator(_as_list)]
"""Numbers that stand for a missing one; one alone needs no list."""


def _readable(path: str) -> str:
    """Refuse an address that nobody can read, or that holds keys, which others would read here."""
    if "://" in path and not IN_BUCKET.fullmatch(path):
        raise ValueError("expected a path, or an address such as s3://bucket/folder, without keys")
    return path


Readable = Annotated[Name, AfterValidator(_readable)]
"""A file or folder, by its path from here or its address in a bucket."""


class FileData(Bounded):
    """One file, whose sequences `prepare` splits, or one for each official split.

    Attributes:
        path: a file, or a folder of parts, that `prepare` divides into splits; here, or in a bucket
            of S3, such as `s3://bucket/folder`, as all files of this section may be.
        train: the file of an official training split, in the place of `path`.
        validation: that of the validation split; a share of train where null.
        test: that of the test split.
        unlabelled: labels that stand for none, such as -100; an empty one always does.
        absent: numbers that stand for a missing one, such as -999: of all features, or those of
            each by its name.
        keep: columns that travel with the rows into predictions, whether the model reads them or
            not.
    """

    unlabelled: Labels = []
    absent: Marks | dict[Name, Marks] = []
    keep: list[Name] = []
    path: Readable | None = None
    train: Readable | None = None
    validation: Readable | None = None
    test: Readable | None = None

    @property
    def files(self) -> dict[str, str]:
        """The path of each split; of the split `""`, where there is one path for all."""
        named = {split: getattr(self, split) for split in ("train", "validation", "test")}
        chosen = {"": self.path} if self.path else named
        return {split: path for split, path in chosen.items() if path}

    @model_validator(mode="after")
    def _one_way_in(self) -> FileData:
        ways = self._ways_in()
        if sum(getattr(self, way) is not None for way in ways) != 1:
            raise ValueError("expected one of " + ", ".join(f"`{way}`" for way in ways))
        if (self.train is None) != (self.test is None):
            raise ValueError("expected `train` and `test` together; one file alone is `path`")
        if self.validation is not None and self.train is None:
            raise ValueError("expected `train` and `test` beside `validation`")
        if len(set(self.files.values())) < len(self.files):
            raise ValueError("expected a file of its own for each split")
        for name in self.keep:
            if name == "predicted" or name.startswith("probability_"):
                raise ValueError(f"expected `keep` of other columns than {name!r} of predictions")
        return self

    def _ways_in(self) -> tuple[str, ...]:
        return ("path", "train")


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError:
        raise ValueError("expected an encoding that Python knows, such as latin-1") from None
    return name


def _regular_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"expected a regular expression ({error})") from None
    return pattern


def _names_of(columns: Columns) -> list[str | None]:
    """Every column that is named; each has one part in the table."""
    single = columns.model_dump(exclude={"features"}).values()
    return [*single, *(columns.features or [])]


def _name_of_folder(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError("expected a name of letters, digits, `_` and `-`")
    return name


Encoding = Annotated[str, AfterValidator(_known_encoding)]
Pattern = Annotated[str, AfterValidator(_regular_expression)]
ModelName = Annotated[str, AfterValidator(_name_of_folder)]


class TableData(FileData):
    """The user's own sequence table: CSV, TSV or Parquet, a row a step; `birnn.sources.table`.

    Attributes:
        source: `table`.
        task: one label a step (`tagging`), or one a sequence.
        columns: what its columns are called, where not as in a sequence table.
        ignore: columns to leave out.
        file: what each file of a folder is: a `part` of the table, one `sequence`, or the sequences
            of one `group`; a sequence or group has the file's name.
        folders: what the names of folders within a folder are, such as `walking/001.csv`: each is
            the `label`, or the `group`, of the sequences in its files, and a part of their ids.
        joined: whether a sequence may begin in one file of a folder and go on in the next.
        fill_down: whether names stand on the first row of what they are for, and then no more.
        time: turns the column `columns.time` into `seconds` since the sequence's start.
        delimiter: between the fields of CSV; found in each file where null.
        decimal: the decimal sign; found in each file where null.
        encoding: of the files, by a name that Python knows; found in each file where null.
    """

    source: Literal["table"]
    task: Literal["tagging", "classification"]
    columns: Columns = Columns()
    ignore: list[Name] = []
    file: Literal["part", "sequence", "group"] = "part"
    folders: Literal["label", "group"] | None = None
    joined: bool = False
    fill_down: bool = False
    time: Literal["seconds"] | None = None
    delimiter: Literal[",", ";", "|", "tab"] | None = None
    decimal: Literal[".", ","] | None = None
    encoding: Encoding | None = None

    @model_validator(mode="after")
    def _each_column_once(self) -> TableData:
        named = [name for name in _names_of(self.columns) if name is not None]
        for name in self.ignore:
            if name in (*named, *self.keep):
                raise ValueError(f"expected a column in `ignore` alone, found {name!r} elsewhere")
        if self.file != "part" and getattr(self.columns, self.file) is not None:
            raise ValueError(f"expected no `columns.{self.file}` beside `file: {self.file}`")
        if self.folders and getattr(self.columns, self.folders) is not None:
            raise ValueError(
                f"expected no `columns.{self.folders}` beside `folders: {self.folders}`"
            )
        if self.folders == self.file:
            raise ValueError("expected the names of files and those of folders to be two things")
        if self.folders == "label" and self.task == "tagging":
            raise ValueError("expected `task: classification` with `folders: label`")
        return self


class ListsData(FileData):
    """One sequence a row, its steps in lists: JSON Lines, JSON, Parquet or Arrow files, or a folder
    of them, as Hugging Face writes them; `birnn.sources.lists`.

    Attributes:
        source: `lists`.
        task: one label a step (`tagging`), or one a sequence.
        columns: what its columns are called, where not as in a sequence table.
        ignore: columns to leave out.
        names: of the classes, from 0, where labels are their numbers.
    """

    source: Literal["lists"]
    task: Literal["tagging", "classification"]
    columns: Columns = Columns()
    ignore: list[Name] = []
    names: Annotated[list[Label], Field(min_length=2)] | None = None

    @model_validator(mode="after")
    def _has_no_times(self) -> ListsData:
        if self.columns.time is not None:
            raise ValueError("expected no `columns.time` for lists; keep it, or leave it out")
        return self


class TextData(FileData):
    """Labelled texts: columns of a CSV, TSV or JSONL file, a file for each class with one text a
    line, or a folder for each class with one text a file; see `birnn.sources.text`.

    Attributes:
        source: `text`.
        task: one label a text.
        classes: a file with one text a line for each class, in the place of `path`.
        folders: `label` where each file in a folder's folders is one text, and the name of its
            folder its class, such as `pos/1.txt`.
        text: the column of the text.
        label: the column of the class.
        group: the column of who or what texts belong to, such as an author; a group is in one
            split.
        split: the column that says which texts to train on, to validate on and to test on.
        quotes: whether quotes may enclose a field; else they are plain characters.
        encoding: of the files, by a name that Python knows.
        tokens: how to cut texts: at white space, or by a `pattern`.
        pattern: a regular expression that matches one token.
    """

    source: Literal["text"]
    task: Literal["classification"] = "classification"
    classes: Annotated[dict[Name, Readable], Field(min_length=1)] | None = None
    folders: Literal["label"] | None = None
    text: Name = "text"
    label: Name = "label"
    group: Name | None = None
    split: Name | None = None
    quotes: bool = True
    encoding: Encoding = "utf-8"
    tokens: Literal["whitespace", "pattern"] = "whitespace"
    pattern: Pattern | None = None

    def _ways_in(self) -> tuple[str, ...]:
        return ("path", "train", "classes")

    @model_validator(mode="after")
    def _tokens_are_found(self) -> TextData:
        if (self.tokens == "pattern") != (self.pattern is not None):
            raise ValueError("expected `pattern` with `tokens: pattern`, and with nothing else")
        return self

    @model_validator(mode="after")
    def _folders_have_no_columns(self) -> TextData:
        if self.folders and (self.classes or self.group or self.split):
            raise ValueError("expected no `classes`, `group` or `split` beside `folders`")
        return self


class ConllData(FileData):
    """Tagged sentences in CoNLL-U or column files; see `birnn.sources.conll`.

    Attributes:
        source: `conll`.
        task: one label a token.
        format: `conllu`, or `columns` with an empty line between sentences; by the file's name
            where null.
        token: the number of the token's column, from 1.
        label: the number of the label's column.
        separator: of the columns; found where null.
        comments: whether lines that begin with # are passed over; found where null.
        group: whether `document` marks begin a new group.
        encoding: of the files.
    """

    source: Literal["conll"]
    task: Literal["tagging"] = "tagging"
    format: Literal["conllu", "columns"] | None = None
    token: Count | None = None
    label: Count | None = None
    separator: Literal["tab", "whitespace"] | None = None
    comments: bool | None = None
    group: Literal["document"] | None = None
    encoding: Encoding = "utf-8"


class FastaData(FileData):
    """Letters of DNA, RNA or proteins; see `birnn.sources.fasta`.

    Attributes:
        source: `fasta`.
        task: one label a sequence.
        label_pattern: a regular expression with one group, the class in a record's header.
        labels: a table of ids and classes, in the place of `label_pattern`.
        kmer: letters of a token.
        stride: letters from one token to the next.
    """

    source: Literal["fasta"]
    task: Literal["classification"] = "classification"
    label_pattern: Pattern | None = None
    labels: Readable | None = None
    kmer: Count = 1
    stride: Count = 1

    @model_validator(mode="after")
    def _labels_are_found(self) -> FastaData:
        if self.label_pattern is not None and self.labels is not None:
            raise ValueError("expected `label_pattern` or `labels`, not both")
        if self.label_pattern is not None and re.compile(self.label_pattern).groups != 1:
            raise ValueError("expected one group in `label_pattern`, around the class")
        return self


class ArraysData(FileData):
    """Padded or flat arrays in `.npz` files; see `birnn.sources.arrays`.

    Attributes:
        source: `arrays`.
        task: one label a step (`tagging`), or one a sequence.
    """

    source: Literal["arrays"]
    task: Literal["tagging", "classification"]


class SktimeData(FileData):
    """Labelled series in `.ts` files, or a data set inside sktime; see `birnn.sources.sktime`.

    Attributes:
        source: `sktime`.
        task: one label a series.
        name: a data set that ships inside sktime, in the place of `path`.
    """

    source: Literal["sktime"]
    task: Literal["classification"] = "classification"
    name: Name | None = None

    def _ways_in(self) -> tuple[str, ...]:
        return ("name", "path", "train")


Data = Annotated[
    HMMData | TableData | ListsData | TextData | ConllData | FastaData | ArraysData | SktimeData,
    Field(discriminator="source"),
]


class Split(Section):
    """Shares of the sequences that are held out; the rest is for training.

    Attributes:
        validation: share of the groups, or sequences, to validate on.
        test: share of them to test on.
    """

    validation: Share = 0.15
    test: Share = 0.15

    @model_validator(mode="after")
    def _leaves_training_data(self) -> Split:
        if self.validation + self.test >= 1:
            raise ValueError("expected validation + test below 1; training needs a share")
        return self


class Prepare(Section):
    """Splitting and encoding; see `splits`, `scaling` and `vectors` in `birnn.data`.

    Attributes:
        split: shares that are held out, where the data do not name their splits.
        folds: parts that are tested on in turn, in the place of `split.test`.
        fold: whose turn it is, from 1.
        stratify: whether each class is divided in these shares; a sequence stays where it is as
            long as new ones come behind it.
        split_by: a column of numbers or times: the later sequences validate and test; the model
            does not read it.
        scale: of numbers: by the mean and spread of train (`global`), of each sequence, by the
            median and the middle half (`asinh`, for heavy tails), or not at all.
        missing: what to read where a number is missing: nothing (`refuse`), the `mean` of train,
            `zero`, the `last` number of the sequence, or the mean and a `mask` feature beside it.
        frame: steps that become one, for classification; null for each step alone.
        min_count: how often a token must occur in train; others are unknown.
        lowercase: whether tokens are read in small letters.
        vectors: a file of pretrained vectors of tokens (`.txt`, `.vec`, `.gz`, `.npz`), here or in
            a bucket, whose width takes the place of `model.embedding_size`.
    """

    split: Split = Split()
    folds: Annotated[int, Field(ge=2)] | None = None
    fold: Count | None = None
    stratify: bool = False
    split_by: Name | None = None
    scale: Literal["none", "global", "per_sequence", "asinh"] = "global"
    missing: Literal["refuse", "mean", "zero", "last", "mask"] = "refuse"
    frame: Count | None = None
    min_count: Count = 1
    lowercase: bool = False
    vectors: Readable | None = None

    @model_validator(mode="after")
    def _one_fold_of_several(self) -> Prepare:
        if (self.folds is None) != (self.fold is None):
            raise ValueError("expected both `folds` and `fold`, or null for both")
        if self.folds is not None and self.fold is not None and self.fold > self.folds:
            raise ValueError("expected `fold` from 1 up to `folds`")
        if self.split_by is not None and (self.stratify or self.folds is not None):
            raise ValueError("expected `split_by` without `stratify` and `folds`")
        return self

    @property
    def by_chance(self) -> bool:
        """Whether chance alone divides sequences among the splits that the data do not name."""
        return not self.stratify and self.split_by is None


class Model(Section):
    """The network; `model` holds what all models share.

    Attributes:
        bidirectional: whether there is a second direction, which reads from the end.
        cell: the kind of the recurrence.
        hidden_size: units of each direction.
        num_layers: layers, one on top of the other.
        dropout: share of units that are left out between layers, in training.
        input_dropout: share of inputs that are left out, in training.
        head: what a classifier reads: the last states, their mean or maximum over the steps, or all
            of these.
        embedding_size: numbers of a token's vector.
        word_dropout: how readily training takes rare tokens for unknown; 0 for never.
        characters: whether tokens are read by their letters as well.
        character_size: numbers of a letter's vector.
        character_hidden_size: units of each direction over letters.
    """

    bidirectional: bool = True
    cell: Literal["RNN", "GRU", "LSTM"] = "LSTM"
    hidden_size: Units = 32
    num_layers: Annotated[int, Field(ge=1, le=256)] = 1
    dropout: Share = 0.0
    input_dropout: Share = 0.0
    head: Literal["last", "mean", "max", "all"] = "last"
    embedding_size: Units = 64
    word_dropout: NotNegative = 0.0
    characters: bool = False
    character_size: Units = 32
    character_hidden_size: Units = 32


class Train(Section):
    """The training loop.

    Attributes:
        device: where to compute; `auto` takes what is there.
        seed: of weights, batches and dropout.
        precision: of products. `fp32` is exact float32; on a GPU, `tf32` is faster, with three
            digits instead of seven; `bf16` is bfloat16; `auto` takes bf16 where the device has it.
        batch_size: sequences of a batch, at most.
        batch_steps: steps of a batch, at most, padding included; any number where null.
        max_epochs: passes over the training sequences, at most.
        patience: epochs without a better one after which training stops.
        learning_rate: of Adam, in the first epoch.
        schedule: how it goes on: `constant`, or `linear` down to 0.
        keep: which epoch is the best: by the validation `loss`, by the validation `accuracy`, or
            the `last`.
        weight_decay: times the weights, it is added to the gradient.
        clip_norm: longer gradients are shortened to it.
        loss_average: what counts the same: each of the `steps`, or each of the `sequences`.
        class_weights: `balanced` lets rare classes count as much as frequent ones.
        focal_gamma: exponent of the focal loss; 0 for cross entropy.
        workers: processes that divide each batch; another number rounds sums otherwise.
    """

    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    seed: Seed = 1
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "fp32"
    batch_size: Count = 32
    batch_steps: Count | None = None
    max_epochs: Count = 50
    patience: Count = 5
    learning_rate: Positive = 0.001
    schedule: Literal["constant", "linear"] = "constant"
    keep: Literal["loss", "accuracy", "last"] = "loss"
    weight_decay: NotNegative = 0.0
    clip_norm: Positive = 1.0
    loss_average: Literal["steps", "sequences"] = "steps"
    class_weights: Literal["none", "balanced"] = "none"
    focal_gamma: NotNegative = 0.0
    workers: Annotated[int, Field(ge=1, le=4096)] = 1


class Entry(Model, Train):
    """One of `models`: what it is, and how it is trained.

    What it leaves out comes from `model` and `train`.
    """


class Bar(Section):
    """A model is bad if a metric is below the first, and good only if it is above the second.

    Attributes:
        bad_below: a model is bad below it.
        good_above: a model is good only above it.
    """

    bad_below: Fraction
    good_above: Fraction

    @model_validator(mode="after")
    def _in_order(self) -> Bar:
        if self.bad_below > self.good_above:
            raise ValueError("expected bad_below up to good_above")
        return self


class Bars(Section):
    """The bars of the verdict; see `birnn.evaluation.verdict`.

    Attributes:
        accuracy: bars of the accuracy.
        precision: of the precision, of averages and of each class.
        recall: of the recall, of averages and of each class.
        f1: of the F1.
    """

    accuracy: Bar = Bar(bad_below=0.60, good_above=0.85)
    precision: Bar = Bar(bad_below=0.50, good_above=0.80)
    recall: Bar = Bar(bad_below=0.50, good_above=0.80)
    f1: Bar = Bar(bad_below=0.50, good_above=0.80)


class Critical(Section):
    """What a critical class must reach on the test sequences.

    Attributes:
        min_recall: share of the class that must be found.
        min_precision: share of the calls that must be right, in the place of `min_recall`.
        margin: how much more its threshold is to reach on validation: one that just reaches what is
            wanted there misses it on new sequences every second time.
    """

    min_recall: Fraction | None = None
    min_precision: Fraction | None = None
    margin: Share = 0.0

    @model_validator(mode="after")
    def _one_aim(self) -> Critical:
        if (self.min_recall is None) == (self.min_precision is None):
            raise ValueError("expected either `min_recall` or `min_precision`")
        return self


class Cost(Section):
    """What errors about a critical class cost, in any unit: one that is missed, a false alarm.

    Attributes:
        missed: what it costs to miss one, in any unit.
        false_alarm: what a false alarm costs.
    """

    missed: NotNegative
    false_alarm: NotNegative


class Evaluate(Section):
    """How models are judged.

    Attributes:
        average: of precision, recall and F1 over the classes: each the same (`macro`), or by
            frequency.
        seed: of what is drawn for checks.
        bars: what a model must reach, by metric.
        critical: classes that matter more than others, by name, and what each must reach.
        costs: of errors about critical classes, by name.
        slices: by what test rows are divided.
    """

    average: Literal["macro", "weighted"] = "macro"
    seed: Seed = 1
    bars: Bars = Bars()
    critical: dict[Label, Critical] = {}
    costs: dict[Label, Cost] = {}
    slices: list[Name] = ["group", "length"]

    @model_validator(mode="after")
    def _costs_of_critical_classes(self) -> Evaluate:
        if others := sorted(self.costs.keys() - self.critical.keys()):
            known = ", ".join(self.critical) or "none"
            raise ValueError(
                f"expected `costs` of classes in `critical` ({known}), found {others[0]!r}"
            )
        return self


class Least(Section):
    """How much there must be to decide on; see `birnn.retraining.gate`.

    Attributes:
        groups: of test sequences, or sequences where there are no groups.
        of_each_class: groups, or sequences, that hold each class.
        power: with which chance each fall that matters must be seen.
    """

    groups: Count = 30
    of_each_class: Annotated[int, Field(ge=0)] = 0
    power: Share = 0.0


class Retrain(Section):
    """When to train again, and what a new model must show to serve; see `birnn.retraining.gate`.

    Attributes:
        model: the one of `models` that is to serve; the first where null.
        when: to train: at each call (`schedule`), on new `data`, or on `drift`.
        refresh: a command that brings new data, as a list of its words.
        aim: `superior` to the champion, or `not_inferior` by more than `margin`.
        margin: by how much the headline may be worse, where the aim is not to be inferior.
        class_margin: by how much the F1 of a class may be worse.
        length_margin: by how much the accuracy in a bucket of lengths may be worse.
        calibration_margin: by how much the calibration error may be worse.
        latency_ratio: times the champion's time that the new model may take.
        fall: one that matters, of the recall of a class or the accuracy in a bucket of lengths: the
            checks say with which chance it would be seen.
        least: how much there must be to decide on.
        psi_limit: the population stability index above which a change of the data is large.
        approval: whether a model that has passed serves at once, or waits for `birnn retrain
            --approve`.
        shadow: a file of recent sequences without labels, here or in a bucket; see
            `birnn.serving.shadow`.
    """

    model: Name | None = None
    when: Literal["schedule", "data", "drift"] = "schedule"
    refresh: Annotated[list[Name], Field(min_length=1)] | None = None
    aim: Literal["superior", "not_inferior"] = "superior"
    margin: Share = 0.01
    class_margin: Share = 0.05
    length_margin: Share = 0.05
    calibration_margin: Share = 0.05
    latency_ratio: Positive = 1.5
    fall: Positive = 0.2
    least: Least = Least()
    psi_limit: Positive = 0.2
    approval: Literal["automatic", "manual"] = "automatic"
    shadow: Readable | None = None


class Axis(Section):
    """The values of one key that a search may try: all between two ends, or those of a list.

    Attributes:
        low: the lowest number.
        high: the highest number.
        log: whether numbers are drawn by their size: as many from 1 to 10 as from 10 to 100.
        step: distance of two numbers that may be tried; any number where null.
        choices: the values, in the place of `low` and `high`.
    """

    low: Annotated[float, Field(allow_inf_nan=False)] | None = None
    high: Annotated[float, Field(allow_inf_nan=False)] | None = None
    log: bool = False
    step: Positive | None = None
    choices: Annotated[list[bool | int | float | str | None], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Axis:
        ends = [end for end in (self.low, self.high) if end is not None]
        if len(ends) != (2 if self.choices is None else 0):
            raise ValueError("expected `low` and `high`, or `choices`")
        if self.choices is not None and (self.log or self.step is not None):
            raise ValueError("expected `log` and `step` beside `low` and `high` alone")
        if ends != sorted(ends):
            raise ValueError("expected low up to high")
        if self.log and (ends[0] <= 0 or self.step is not None):
            raise ValueError("expected `log` with a low above 0, and without `step`")
        return self

    @property
    def values(self) -> list[bool | int | float | str | None]:
        """The ends, or all of the list; ends without a fraction are whole numbers."""
        if self.choices is not None:
            return self.choices
        ends = [end for end in (self.low, self.high) if end is not None]
        return [int(end) if end.is_integer() else end for end in ends]


UNSEARCHED = ("seed", "device", "precision", "workers")
"""Keys of a training that say nothing of how good it can be."""
OWN_LOSS = ("class_weights", "focal_gamma", "loss_average")
"""Keys that change what the loss is, so that losses cannot be compared."""


def _searched(space: dict[str, Axis]) -> dict[str, Axis]:
    """Check that a search tries keys that there are, with values that they may have.

    Raises:
        ValueError: it does not.
    """
    known = [name for name in Entry.model_fields if name not in UNSEARCHED]
    for key, axis in space.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(
                "expected keys of `model` and `train` other than "
                f"{', '.join(UNSEARCHED)}, not {key!r}{hint}"
            )
        for value in axis.values:
            _check_value(key, value)
        if axis.step is not None and not axis.step.is_integer() and is_whole(key):
            raise ValueError(f"expected a whole step of {key}")
    return space


def _check_value(key: str, value: object) -> None:
    try:
        Entry.model_validate({key: value})
    except ValidationError as error:
        said = error.errors()[0]["msg"].replace("Input should be", "expected")
        raise ValueError(f"of {key}, {value!r}: {said}") from None


def is_whole(key: str) -> bool:
    """Say whether a key of `model` and `train` takes whole numbers."""
    schema: Mapping[str, Any] = Entry.model_json_schema()["properties"][key]
    return "integer" in {one.get("type") for one in schema.get("anyOf", [schema])}


class Sweep(Section):
    """The search for better settings, `birnn sweep`; see `birnn.sweep`.

    Attributes:
        model: the one of `models` to search for; the candidate where null.
        trials: settings to try, with those of this file among them.
        seed: of what is tried.
        metric: of the validation split, by which settings are judged.
        seeds: of weights and batches; each setting is trained with each of them, and judged by the
            mean. `train.seed` alone where empty.
        prune_after: epochs after which a training that is worse than the median of the others is
            stopped; none is where null.
        space: keys of `model` and `train`, and which values of each to try.
    """

    model: Name | None = None
    trials: Count = 20
    seed: Seed = 1
    metric: Literal["loss", "accuracy"] = "loss"
    seeds: list[Seed] = []
    prune_after: Count | None = 5
    space: Annotated[dict[Name, Axis], AfterValidator(_searched)] = {}

    @model_validator(mode="after")
    def _comparable(self) -> Sweep:
        own = [key for key in OWN_LOSS if key in self.space]
        if own and self.metric == "loss":
            raise ValueError(f"expected `metric: accuracy` where {own[0]} changes what the loss is")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("expected each of `seeds` once")
        return self


def _address(store: str) -> str:
    """Refuse what is no address, or holds keys, which would come into files that others read."""
    if not ADDRESS.fullmatch(store):
        raise ValueError("expected an address such as s3://bucket/prefix, without keys")
    return store


class Run(Section):
    """Where and how the stages work, whatever the data.

    Attributes:
        engine: `local`, this machine, or `ray`, the cluster that RAY_ADDRESS names; no byte of what
            is made depends on it. See docs/ray.md.
        part_steps: into parts of how many steps raw and prepared data are divided; each is one file
            where null.
        store: where the bytes of the parts lie, such as `s3://bucket/prefix`; here where null.
    """

    engine: Literal["local", "ray"] = "local"
    part_steps: Count | None = None
    store: Annotated[str, AfterValidator(_address)] | None = None

    @model_validator(mode="after")
    def _store_of_parts(self) -> Run:
        if self.store is not None and self.part_steps is None:
            raise ValueError("expected part_steps beside store, which holds parts")
        return self


class Params(Section):
    """The whole of params.yaml.

    Attributes:
        problem: a name for the experiment and the registered model.
        data: what to read.
        prepare: how to split and encode it.
        model: the network, for all `models`.
        models: those to train and compare, by name; each says what sets it apart from `model` and
            `train`.
        train: how to train, for all `models`.
        evaluate: how models are judged.
        retrain: when to train again, and what a new model must show.
        sweep: which settings a search tries.
        run: where and how the stages work.
    """

    problem: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    data: Data
    prepare: Prepare = Prepare()
    model: Model = Model()
    models: Annotated[dict[ModelName, Entry], Field(min_length=1)]
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    retrain: Retrain = Retrain()
    sweep: Sweep = Sweep()
    run: Run = Run()

    @model_validator(mode="after")
    def _splits_of_a_known_process(self) -> Params:
        """Its sequences are drawn one like the other; its limits are those of a split by hash."""
        if self.data.source == "hmm" and (self.prepare.stratify or self.prepare.split_by):
            raise ValueError("expected no prepare.stratify or split_by for data.source hmm")
        return self

    @property
    def candidate(self) -> str:
        """The name of the model that is judged, and that is to serve."""
        return self.retrain.model or next(iter(self.models))

    @property
    def candidate_first(self) -> list[str]:
        """The names of all models, the candidate before the others."""
        return sorted(self.models, key=lambda name: name != self.candidate)

    @model_validator(mode="before")
    @classmethod
    def _fill_models(cls, tree: Any) -> Any:
        """Each entry of `models` says only what sets it apart from `model` and `train`."""
        match tree:
            case {"models": dict(models)}:
                sections = [tree.get(name) for name in ("model", "train")]
                shared = [section for section in sections if isinstance(section, dict)]
                filled = {
                    name: reduce(or_, [*shared, own]) if isinstance(own, dict) else own
                    for name, own in models.items()
                }
                return {**tree, "models": filled}
        return tree
