"""The schema of params.yaml: what each key may be, and what goes with what."""

from __future__ import annotations

import re
import unicodedata
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """What every part of params.yaml shares: no unknown keys, no silent conversion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class HMMData(Section):
    """Sequences drawn from a hidden Markov chain; see `birnn.sources.hmm`."""

    source: Literal["hmm"]
    task: Literal["tagging", "classification"]
    seed: Seed = 1
    sequences: Count
    min_steps: Count
    max_steps: Count
    mean_steps: Positive | None = None
    features: Count
    classes: Annotated[int, Field(ge=2)]
    states: Annotated[int, Field(ge=2)] | None = None
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
    """Sequences of more than `max_steps` steps are refused, or cut there."""

    max_steps: Count | None = None
    longer: Literal["refuse", "cut"] = "refuse"


class FileData(Bounded):
    """One file, whose sequences `prepare` splits, or one for each official split."""

    path: Name | None = None
    train: Name | None = None
    validation: Name | None = None
    test: Name | None = None

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


def _composed(label: str) -> str:
    return unicodedata.normalize("NFC", label)


Label = Annotated[str, AfterValidator(_composed)]
"""The name of a class, in the form of Unicode in which labels are read."""


def _name_of_folder(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError("expected a name of letters, digits, `_` and `-`")
    return name


Encoding = Annotated[str, AfterValidator(_known_encoding)]
Pattern = Annotated[str, AfterValidator(_regular_expression)]
ModelName = Annotated[str, AfterValidator(_name_of_folder)]


class TableData(FileData):
    """The user's own sequence table: CSV, TSV or Parquet, a row a step; `birnn.sources.table`."""

    source: Literal["table"]
    task: Literal["tagging", "classification"]


class TextData(FileData):
    """Labelled texts: columns of a CSV, TSV or JSONL file, or a file for each class with one text a
    line; see `birnn.sources.text`.
    """

    source: Literal["text"]
    task: Literal["classification"] = "classification"
    classes: Annotated[dict[Name, Name], Field(min_length=1)] | None = None
    text: Name = "text"
    label: Name = "label"
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


class ConllData(FileData):
    """Tagged sentences in CoNLL-U or column files; see `birnn.sources.conll`."""

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
    """Letters of DNA, RNA or proteins; see `birnn.sources.fasta`."""

    source: Literal["fasta"]
    task: Literal["classification"] = "classification"
    label_pattern: Pattern | None = None
    labels: Name | None = None
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
    """Padded or flat arrays in `.npz` files; see `birnn.sources.arrays`."""

    source: Literal["arrays"]
    task: Literal["tagging", "classification"]


class SktimeData(FileData):
    """Labelled series in `.ts` files, or a data set inside sktime; see `birnn.sources.sktime`."""

    source: Literal["sktime"]
    task: Literal["classification"] = "classification"
    name: Name | None = None

    def _ways_in(self) -> tuple[str, ...]:
        return ("name", "path", "train")


Data = Annotated[
    HMMData | TableData | TextData | ConllData | FastaData | ArraysData | SktimeData,
    Field(discriminator="source"),
]


class Split(Section):
    """Shares of the sequences that are held out; the rest is for training."""

    validation: Share = 0.15
    test: Share = 0.15

    @model_validator(mode="after")
    def _leaves_training_data(self) -> Split:
        if self.validation + self.test >= 1:
            raise ValueError("expected validation + test below 1; training needs a share")
        return self


class Prepare(Section):
    """Splitting and encoding; see `splits`, `scaling` and `vectors` in `birnn.data`."""

    split: Split = Split()
    folds: Annotated[int, Field(ge=2)] | None = None
    fold: Count | None = None
    scale: Literal["none", "global", "per_sequence", "asinh"] = "global"
    frame: Count | None = None
    min_count: Count = 1
    lowercase: bool = False
    vectors: Name | None = None

    @model_validator(mode="after")
    def _one_fold_of_several(self) -> Prepare:
        if (self.folds is None) != (self.fold is None):
            raise ValueError("expected both `folds` and `fold`, or null for both")
        if self.folds is not None and self.fold is not None and self.fold > self.folds:
            raise ValueError("expected `fold` from 1 up to `folds`")
        return self


class Model(Section):
    """The network; `model` holds what all models share."""

    bidirectional: bool = True
    cell: Literal["RNN", "GRU", "LSTM"] = "LSTM"
    hidden_size: Count = 32
    num_layers: Count = 1
    dropout: Share = 0.0
    input_dropout: Share = 0.0
    head: Literal["last", "mean", "max", "all"] = "last"
    embedding_size: Count = 64
    word_dropout: NotNegative = 0.0
    characters: bool = False
    character_size: Count = 32
    character_hidden_size: Count = 32


class Train(Section):
    """The training loop."""

    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    seed: Seed = 1
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
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


class Entry(Model, Train):
    """One of `models`: what it is, and how it is trained.

    What it leaves out comes from `model` and `train`.
    """


class Bar(Section):
    """A model is bad if a metric is below the first, and good only if it is above the second."""

    bad_below: Fraction
    good_above: Fraction

    @model_validator(mode="after")
    def _in_order(self) -> Bar:
        if self.bad_below > self.good_above:
            raise ValueError("expected bad_below up to good_above")
        return self


class Bars(Section):
    """The bars of the verdict; see `birnn.evaluation.verdict`."""

    accuracy: Bar = Bar(bad_below=0.60, good_above=0.85)
    precision: Bar = Bar(bad_below=0.50, good_above=0.80)
    recall: Bar = Bar(bad_below=0.50, good_above=0.80)
    f1: Bar = Bar(bad_below=0.50, good_above=0.80)


class Critical(Section):
    """What a critical class must reach on the test sequences.

    `margin` is how much more its threshold is to reach on validation: one that just reaches what is
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
    """What errors about a critical class cost, in any unit: one that is missed, a false alarm."""

    missed: NotNegative
    false_alarm: NotNegative


class Evaluate(Section):
    """How models are judged."""

    average: Literal["macro", "weighted"] = "macro"
    seed: Seed = 1
    bars: Bars = Bars()
    critical: dict[Label, Critical] = {}
    costs: dict[Label, Cost] = {}
    slices: list[Literal["group", "length"]] = ["group", "length"]

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

    `groups` of test sequences, or sequences where there are no groups; groups with each class; and
    with which chance each fall that matters must be seen.
    """

    groups: Count = 30
    of_each_class: Annotated[int, Field(ge=0)] = 0
    power: Share = 0.0


class Retrain(Section):
    """When to train again, and what a new model must show to serve; see `birnn.retraining.gate`.

    `model` is the one of `models` that is to serve, the candidate; without it, the first. Margins
    say by how much a figure may be worse than the champion's: `margin` the headline, where the aim
    is not to be inferior; the others the F1 of a class, the accuracy in a bucket of lengths, and
    the calibration error. `fall` is one that matters, of the recall of a class or the accuracy in a
    bucket of lengths: the checks say with which chance it would be seen. `refresh` is a command, as
    a list of its words.
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


class Params(Section):
    """The whole of params.yaml."""

    problem: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    data: Data
    prepare: Prepare = Prepare()
    model: Model = Model()
    models: Annotated[dict[ModelName, Entry], Field(min_length=1)]
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    retrain: Retrain = Retrain()

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
