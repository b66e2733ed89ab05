"""scikit-learn's own checks of estimators, as far as sequences allow.

They give tables. `SequenceClassifier` reads a row of a table as a sequence of one number a step,
and so is checked as it is. What then cannot hold is checked once more by `OneStep`, which makes of
each row a sequence of one step. So is the tagger.
"""

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from birnn import SequenceClassifier, SequenceTagger

STEPS = "rows of a table are sequences, which may have any number of steps"
AS_THEY_ARE = {
    "check_n_features_in": STEPS,
    "check_n_features_in_after_fitting": STEPS,
    "check_classifier_data_not_an_array": "a frame of numbers needs a column `sequence`",
    "check_classifiers_train": f"it asks for an error where rows are longer; {STEPS}",
}
"""Checks that `SequenceClassifier` fails as it is, and why; `OneStep` passes them."""


def steps(table: Any) -> Any:
    """Each row as a sequence of one step; what is no table as it is."""
    found = table if hasattr(table, "toarray") else np.asarray(table)
    return found[:, None, :] if isinstance(found, np.ndarray) and found.ndim == 2 else table


class OneStep(SequenceClassifier):
    """A classifier of rows."""

    def fit(self, X: Any, y: Any = None) -> Any:  # type: ignore[override]  # noqa: N803
        return super().fit(steps(X), y)

    def predict(self, X: Any) -> Any:  # noqa: N803
        return super().predict(steps(X))

    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        return super().predict_proba(steps(X))


class OneStepTagger(SequenceTagger):
    """A tagger of rows."""

    def fit(self, X: Any, y: Any = None) -> Any:  # type: ignore[override]  # noqa: N803
        return super().fit(steps(X), None if y is None else np.asarray(y)[:, None])

    def predict(self, X: Any) -> Any:  # noqa: N803
        return np.concatenate(super().predict(steps(X)))

    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        return np.concatenate(super().predict_proba(steps(X)))

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803
        return float(np.mean(self.predict(X) == np.asarray(y)))


def expected(estimator: Any) -> dict[str, str]:
    return AS_THEY_ARE if type(estimator) is SequenceClassifier else {}


SMALL: dict[str, Any] = {"hidden_size": 4, "cell": "RNN", "bidirectional": False, "batch_size": 64}
QUICK = SMALL | {"max_epochs": 10, "learning_rate": 0.1}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [
        SequenceClassifier(**QUICK),
        OneStep(**QUICK),
        OneStepTagger(**SMALL, max_epochs=2),
    ],
    expected_failed_checks=expected,
)
def test_check(estimator: Any, check: Any) -> None:
    check(estimator)
