"""The knobs of params.yaml, typed and checked; the only module that reads YAML.

    params = load()                 # params.yaml in the working directory
    params.train.learning_rate

A key that is not declared here is a mistake, and the message names the nearest one that is.
"""

from __future__ import annotations

import difflib
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from birnn.errors import ParamsError

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


Encoding = Annotated[str, AfterValidator(_known_encoding)]
Pattern = Annotated[str, AfterValidator(_regular_expression)]


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
    """Splitting and encoding; see `birnn.data.splits`, `birnn.data.scaling` and `birnn.data.vectors`."""

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

    @property
    def splitting(self) -> dict[str, Any]:
        """What decides which sequences test; see `birnn.data.splits.assign`."""
        return {**self.split.model_dump(), "folds": self.folds, "fold": self.fold}


class Model(Section):
    """The network; `model` holds what all models of the matrix share."""

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
    class_weights: Literal["none", "balanced"] = "none"
    focal_gamma: NotNegative = 0.0


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

    @property
    def wanted(self) -> Literal["recall", "precision"]:
        """Which of the two must be reached."""
        return "precision" if self.min_recall is None else "recall"

    @property
    def at_least(self) -> float:
        """How much of it."""
        return self.min_recall or self.min_precision or 0.0


class Evaluate(Section):
    """How models are judged."""

    average: Literal["macro", "weighted"] = "macro"
    resamples: Annotated[int, Field(ge=100)] = 1000
    seed: Seed = 1
    bars: Bars = Bars()
    critical: dict[str, Critical] = {}


class Retrain(Section):
    """When to train again, and what a new model must show to serve; see `birnn.promotion`.

    Margins say by how much a figure may be worse than the champion's: `margin` the headline, where
    the aim is not to be inferior; the others the F1 of a class, the accuracy in a bucket of
    lengths, and the calibration error. `refresh` is a command, as a list of its words.
    """

    when: Literal["schedule", "data", "drift"] = "schedule"
    refresh: Annotated[list[Name], Field(min_length=1)] | None = None
    aim: Literal["superior", "not_inferior"] = "superior"
    margin: Share = 0.01
    class_margin: Share = 0.05
    length_margin: Share = 0.05
    calibration_margin: Share = 0.05
    latency_ratio: Positive = 1.5
    psi_limit: Positive = 0.2
    approval: Literal["automatic", "manual"] = "automatic"


class Params(Section):
    """The whole of params.yaml."""

    problem: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    data: Data
    prepare: Prepare = Prepare()
    model: Model = Model()
    models: Annotated[dict[str, Model], Field(min_length=1)]
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    retrain: Retrain = Retrain()

    @model_validator(mode="before")
    @classmethod
    def _fill_models(cls, tree: Any) -> Any:
        """Each entry of `models` says only what sets it apart; the rest comes from `model`."""
        match tree:
            case {"model": dict(shared), "models": dict(models)}:
                filled = {
                    name: {**shared, **own} if isinstance(own, dict) else own
                    for name, own in models.items()
                }
                return {**tree, "models": filled}
        return tree


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check a params file.

    Raises:
        ParamsError: the file is missing, is not YAML, or holds a value that is not allowed; the
            message names the key, what was expected, and what was found.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return Params.model_validate(tree)
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; copy one from examples/") from None
    except OSError as error:
        raise ParamsError(f"{path}: expected a file of params, found: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: expected YAML, found {_one_line(error)}") from None
    except ValidationError as error:
        raise ParamsError(f"{path}: " + "; ".join(_complaints(error))) from None


def data(section: dict[str, Any]) -> Data:
    """Check a `data` section that does not come from a file.

    Raises:
        ParamsError: names each key that is wrong.
    """
    try:
        found: Data = TypeAdapter(Data).validate_python(section)
    except ValidationError as error:
        complaints = (
            _complaint({**details, "loc": ("data", *details["loc"])})
            for details in error.errors(include_url=False)
        )
        raise ParamsError("; ".join(complaints)) from None
    return found


def architecture(params: Params, model: str) -> Model:
    """Look up a model of the matrix by its name.

    Raises:
        ParamsError: params.yaml does not describe it.
    """
    if model not in params.models:
        known = ", ".join(params.models)
        raise ParamsError(
            f"models: expected one of {known}, found {model!r}; add it to params.yaml"
        )
    return params.models[model]


def of_run(params: Params, model: str) -> dict[str, str | int | float | bool | None]:
    """The flat knobs by which people look for a run of `model`."""
    return {
        "source": params.data.source,
        "task": params.data.task,
        **architecture(params, model).model_dump(),
        **params.train.model_dump(),
    }


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _complaints(error: ValidationError) -> list[str]:
    """What is wrong, each thing once: a fault in `model` would come back in each of `models`."""
    findings = error.errors(include_url=False)
    places = {details["loc"] for details in findings}
    return [
        _complaint(dict(details))
        for details in findings
        if not (details["loc"][:1] == ("models",) and ("model", *details["loc"][2:]) in places)
    ]


def _complaint(details: dict[str, Any]) -> str:
    """One line for one of pydantic's findings, in the words of params.yaml."""
    path = _path(details["loc"])
    key = ".".join(path) or "the file"
    if details["type"] == "extra_forbidden":
        return f"{key}: unknown key{_suggestion(path[-1])}"
    if details["type"] == "missing":
        return f"{key}: expected a value, found none; add the key"
    if details["type"] == "union_tag_not_found":
        return f"{key}.source: expected a value, found none; add the key"
    if details["type"] == "union_tag_invalid":
        expected, found = details["ctx"]["expected_tags"], details["ctx"]["tag"]
        return f"{key}.source: expected one of {expected}, found {found!r}"
    message = details["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "expected", 1)
    quotes = " (put the name into quotes)" if details["loc"][-1:] == ("[key]",) else ""
    return f"{key}: {message}, found {_found(details['input'])}{quotes}"


def _path(place: tuple[str | int, ...]) -> list[str]:
    """The keys that lead to a place; pydantic adds the source after `data`, and `[key]`."""
    parts = [str(part) for part in place if part != "[key]"]
    sources = {name for section in get_args(get_args(Data)[0]) for name in _source_names(section)}
    if parts[:1] == ["data"] and not sources.isdisjoint(parts[1:2]):
        del parts[1]
    return parts


def _found(value: object) -> str:
    """A value as a person wrote it; a number that YAML 1.1 took for text gets a word of help."""
    if isinstance(value, str) and "e" in value.lower() and _is_number(value):
        return f"the text {value!r} (YAML needs {Decimal(value):f} here)"
    if isinstance(value, BaseModel):
        value = value.model_dump()
    return repr(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _source_names(section: type[BaseModel]) -> tuple[str, ...]:
    return get_args(section.model_fields["source"].annotation)


def _suggestion(key: str) -> str:
    """The declared key that is nearest to a misspelt one, if any is near."""
    declared = _declared_keys(Params)
    if key in declared:
        return " here; remove it, or move it to its own section"
    near = difflib.get_close_matches(key, declared, n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else "; remove it"


def _declared_keys(annotation: Any) -> set[str]:
    """All keys that may stand in a section, or in the sections below it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields
        return set(fields).union(*(_declared_keys(field.annotation) for field in fields.values()))
    return set().union(*(_declared_keys(part) for part in get_args(annotation)))
