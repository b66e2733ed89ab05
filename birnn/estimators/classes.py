"""scikit-learn's estimators on sequences of different lengths.

classifier = SequenceClassifier(hidden_size=16, random_state=0).fit(series, labels)
tagger = SequenceTagger(cell="GRU").fit(sentences, tags)
"""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, assert_all_finite, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from birnn.errors import InputError
from birnn.estimators import inputs, learning
from birnn.estimators.inputs import Given
from birnn.estimators.learning import Chosen, Learned
from birnn.files import paths
from birnn.model import history, training
from birnn.model.history import Epoch
from birnn.params import Entry, Prepare

Array = npt.NDArray[Any]
OF_PREPARE = ("scale", "missing", "min_count", "lowercase")
OWN = ("validation_fraction", "class_weight", "random_state")


class SequenceEstimator(BaseEstimator):  # type: ignore[misc]  # it has no types
    """What the two estimators share; see them."""

    task: ClassVar[str]

    def __init__(
        self,
        *,
        cell: str = "LSTM",
        hidden_size: int = 32,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        head: str = "last",
        embedding_size: int = 64,
        word_dropout: float = 0.0,
        characters: bool = False,
        scale: str = "global",
        missing: str = "refuse",
        min_count: int = 1,
        lowercase: bool = False,
        validation_fraction: float = 0.15,
        class_weight: Any = None,
        batch_size: int = 32,
        max_epochs: int = 50,
        patience: int = 5,
        learning_rate: float = 0.01,
        weight_decay: float = 0.0,
        clip_norm: float = 1.0,
        schedule: str = "constant",
        keep: str = "loss",
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.head = head
        self.embedding_size = embedding_size
        self.word_dropout = word_dropout
        self.characters = characters
        self.scale = scale
        self.missing = missing
        self.min_count = min_count
        self.lowercase = lowercase
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.schedule = schedule
        self.keep = keep
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> Self:  # noqa: N803
        """Train, and keep the epoch that is best on a part that is held out.

        Args:
            X: sequences; see `birnn.estimators.inputs`.
            y: labels; of a frame with a row a step they may stand in its column `label`.
            groups: a group of each sequence, such as its speaker: none is divided between what is
                learned from and what is held out. A frame may have a column `group`.

        Raises:
            InputError: sequences, labels or arguments that cannot be trained on; a ValueError.
        """
        given = inputs.read(X, missing=self.missing != "refuse")
        labels = self._labels(y, given)
        known = inputs.classes(labels)
        columns = given.columns | {"label": self._by_step(inputs.named(labels, known), given)}
        if groups is not None:
            columns["group"] = given.repeated(inputs.one_each(groups, given, "groups").astype(str))
        chosen = self._chosen(known)
        with inputs.explained():
            rows = Given(columns, given.offsets).checked(
                self.task, missing=self.missing != "refuse"
            )
            learned, epochs = learning.learn(rows, given.offsets, chosen)
        if chosen.class_weights is None:  # which are factors of the loss
            self._warn(epochs, len(known))
        self._learned = learned
        self.classes_ = known
        self.n_features_in_ = given.features
        self.history_ = [asdict(epoch) for epoch in epochs]
        return self

    def predict(self, X: Any) -> Any:  # noqa: N803
        """Give the most probable class of each sequence or step, in the form of `y`."""
        given, shares = self._shares(X)
        return self._answered(self.classes_[shares.argmax(axis=1)], given)

    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        """Give the probability of each class, in the order of `classes_`."""
        given, shares = self._shares(X)
        return self._answered(shares, given)

    def save(self, folder: str | Path) -> None:
        """Write the model as `birnn.load` and `birnn predict --model` read it.

        Raises:
            NotFittedError: there is none yet.
        """
        check_is_fitted(self)
        self._learned.save(folder)
        epochs = [Epoch(**one) for one in self.history_]
        history.write(epochs, Path(folder) / paths.HISTORY)

    def _shares(self, X: Any) -> tuple[Given, Array]:  # noqa: N803
        """Probabilities, (labels, classes)."""
        check_is_fitted(self)
        given = inputs.read(X, missing=self.missing != "refuse")
        if given.features != self.n_features_in_:
            raise InputError(
                f"X has {given.features} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input; give a step as many as in training"
            )
        with inputs.explained():
            shares = self._learned.probabilities(given, self.device)
        order = [self._learned.encoding.labels.index(name) for name in inputs.texts(self.classes_)]
        return given, shares[:, order]

    def _chosen(self, known: Array) -> Chosen:
        """What the arguments come to.

        Raises:
            InputError: one of them is not allowed.
        """
        given = self.get_params(deep=False)
        prepare = learning.section(Prepare, {name: given[name] for name in OF_PREPARE})
        entry = {name: given[name] for name in given if name not in (*OF_PREPARE, *OWN)}
        entry["seed"] = int(check_random_state(self.random_state).randint(2**31 - 1))
        if self.class_weight == "balanced":
            entry["class_weights"] = "balanced"
        share = self.validation_fraction
        if not isinstance(share, int | float) or not 0 <= share < 1:
            raise InputError(
                f"validation_fraction: expected 0 or more and below 1, found {share!r}"
            )
        if share == 0:
            entry["keep"], entry["patience"] = "last", self.max_epochs
        checked = learning.section(Entry, entry)
        return Chosen(self.task, checked, prepare, float(share), self._weights(known))

    def _weights(self, known: Array) -> dict[str, float] | None:
        """What each class counts, by its name in the model."""
        if self.class_weight is None or self.class_weight == "balanced":
            return None
        if not isinstance(self.class_weight, dict):
            raise InputError(
                "class_weight: expected None, 'balanced' or a number for each class, found "
                f"{self.class_weight!r}"
            )
        found = dict.fromkeys(inputs.texts(known), 1.0)
        for label, weight in self.class_weight.items():
            if label not in known.tolist():
                raise InputError(f"class_weight: expected classes of y, found {label!r}")
            found[inputs.texts(np.array([label]))[0]] = float(weight)
        return found

    def _warn(self, epochs: list[Epoch], classes: int) -> None:
        """Say once where the loss has been far above that of a guess."""
        if found := next(filter(None, (training.complaint(one, classes) for one in epochs)), ""):
            warnings.warn(found.replace("train.", ""), ConvergenceWarning, stacklevel=3)

    def _labels(self, y: Any, given: Given) -> Array:
        """The labels, one a sequence or one a step."""
        raise NotImplementedError

    def _by_step(self, labels: Any, given: Given) -> Any:
        """The labels as the table has them."""
        raise NotImplementedError

    def _answered(self, values: Array, given: Given) -> Any:
        """Answers in the form of `y`."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """Give plain values, and a model as the bytes of its files: no object that runs code."""
        state: dict[str, Any] = super().__getstate__()
        if "_learned" in state:
            state = state | {"_learned": state["_learned"].files()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Read a model from the bytes of its files, with all checks of `birnn.load`."""
        if "_learned" in state:
            state = state | {"_learned": Learned.of_files(state["_learned"])}
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Tags:
        """Say what is read."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = self.missing != "refuse"
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        return tags


class SequenceClassifier(ClassifierMixin, SequenceEstimator):  # type: ignore[misc]
    """One class for each sequence, by a recurrent network in one or two directions.

    The arguments are keys of params.yaml under their own names (`birnn params model`, `train` and
    `prepare` describe them), but for these three.

    Args:
        validation_fraction: share of the sequences, or groups, that decides which epoch is kept; 0
            for none: then all epochs run, and the last one is kept.
        class_weight: None, "balanced", or a number for each class.
        random_state: decides weights, batches, dropout and what is held out.

    Attributes:
        classes_: (classes,) in order, in the type of `y`.
        n_features_in_: numbers of a step.
        history_: for each epoch its losses and accuracies.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(2, size=60)
        >>> series = [rng.standard_normal((rng.integers(3, 9), 2)) + label for label in labels]
        >>> classifier = SequenceClassifier(hidden_size=8, random_state=0).fit(series, labels)
        >>> classifier.predict(series[:3]).shape, classifier.predict_proba(series[:3]).shape
        ((3,), (3, 2))
        >>> classifier.score(series, labels) > 0.9
        True
    """

    task: ClassVar[str] = "classification"

    def _labels(self, y: Any, given: Given) -> Array:
        if y is None and "label" not in given.columns:
            raise InputError("requires y to be passed, but the target y is None; give the labels")
        values = given.columns["label"].to_pylist() if y is None else y
        values = column_or_1d(np.asarray(values), warn=True)
        labels = inputs.one_each(values, given, "y")
        assert_all_finite(labels, input_name="y")
        if inputs.absent(labels).any():
            raise InputError("y: expected a label for each sequence, found none for some")
        check_classification_targets(labels)
        return labels

    def _by_step(self, labels: Any, given: Given) -> Any:
        return labels.take(given.repeated(np.arange(len(given))))

    def _answered(self, values: Array, given: Given) -> Any:  # noqa: ARG002
        return values


class SequenceTagger(SequenceEstimator):
    """One class for each step, by a recurrent network in one or two directions.

    `y` is a list of labels for each sequence; None and NaN stand for a step without one. `predict`
    and `predict_proba` give a list of arrays, (steps,) and (steps, classes). For a frame with a row
    a step, all three have a row a step too.

    The arguments are those of `SequenceClassifier`, where `head` must be "last".

    Attributes:
        classes_: (classes,) in order, in the type of the labels.
        n_features_in_: numbers of a step.
        history_: for each epoch its losses and accuracies.

    Example:
        >>> sentences = [["the", "cat", "sat"], ["a", "dog", "ran", "off"]] * 20
        >>> tags = [["D", "N", "V"], ["D", "N", "V", "P"]] * 20
        >>> tagger = SequenceTagger(cell="GRU", random_state=0).fit(sentences, tags)
        >>> tagger.predict([["the", "dog", "sat"]])
        [array(['D', 'N', 'V'], dtype='<U1')]
    """

    task: ClassVar[str] = "tagging"

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803
        """Give the accuracy over all steps that have a label."""
        given = inputs.read(X, missing=self.missing != "refuse")
        labels = self._labels(y, given)
        said = self.predict(X)
        called = said if given.long else np.concatenate(said)
        known = ~inputs.absent(labels)
        if not known.any():
            raise InputError("y: expected a label, found none")
        return float(np.mean(called[known] == labels[known]))

    def _labels(self, y: Any, given: Given) -> Array:
        if y is None and "label" not in given.columns:
            raise InputError("requires y to be passed, but the target y is None; give the labels")
        return inputs.one_a_step(given.columns["label"].to_pylist() if y is None else y, given)

    def _by_step(self, labels: Any, given: Given) -> Any:  # noqa: ARG002
        return labels

    def _answered(self, values: Array, given: Given) -> Any:
        return inputs.parted(values, given)
