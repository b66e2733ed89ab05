"""The estimators as scikit-learn and its users call them."""

import copy
import io
import os
import pickle
import pickletools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from birnn import SequenceClassifier, SequenceTagger
from birnn.data import splits
from birnn.errors import InputError
from birnn.estimators.inputs import Given
from birnn.kernel import library
from birnn.model import prediction, saved_model

SMALL: dict[str, Any] = {
    "hidden_size": 6,
    "cell": "GRU",
    "max_epochs": 12,
    "learning_rate": 0.05,
    "random_state": 0,
    "device": "cpu",
}


def drawn(count: int = 48, seed: int = 0) -> tuple[list[Any], Any]:
    """Series of two features, of which the first says the class."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(["no", "yes"], size=count)
    lengths = rng.integers(2, 8, size=count)
    series = [rng.standard_normal((length, 2)) for length in lengths]
    for one, label in zip(series, labels, strict=True):
        one[:, 0] += 2 if label == "yes" else -2
    return series, labels


def tags(series: list[Any]) -> list[Any]:
    """A label for each step: whether its second feature is above zero."""
    return [np.where(one[:, 1] > 0, 7, -3) for one in series]


SERIES, LABELS = drawn()


@pytest.fixture(scope="module", name="classifier")
def _classifier() -> SequenceClassifier:
    return SequenceClassifier(**SMALL).fit(SERIES, LABELS)


@pytest.fixture(scope="module", name="tagger")
def _tagger() -> SequenceTagger:
    return SequenceTagger(**SMALL).fit(SERIES, tags(SERIES))


class TestClassifier:
    def test_learns(self, classifier: SequenceClassifier) -> None:
        series, labels = drawn(seed=1)
        shares = classifier.predict_proba(series)
        assert shares.shape == (48, 2)
        assert shares.sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert (classifier.predict(series) == classifier.classes_[shares.argmax(axis=1)]).all()
        assert classifier.score(series, labels) > 0.9
        assert classifier.classes_.tolist() == ["no", "yes"]
        assert classifier.n_features_in_ == 2
        assert classifier.history_[0].keys() >= {"epoch", "validation_loss", "kept"}

    def test_tokens(self) -> None:
        words = [["good"] * 3, ["bad", "film"], ["good", "film"], ["bad"]] * 8
        classifier = SequenceClassifier(**SMALL).fit(words, [True, False] * 16)
        assert classifier.predict([["good"], ["bad", "bad"]]).tolist() == [True, False]

    def test_a_frame_with_a_row_a_step(self, classifier: SequenceClassifier) -> None:
        frame = long(SERIES)
        frame["label"] = np.repeat(LABELS, [len(one) for one in SERIES])
        other = SequenceClassifier(**SMALL).fit(frame)
        assert (other.predict_proba(frame) == classifier.predict_proba(SERIES)).all()
        assert other.score(frame, LABELS) == classifier.score(SERIES, LABELS)

    def test_an_answer_does_not_depend_on_others(self, classifier: SequenceClassifier) -> None:
        together = classifier.predict_proba(SERIES)
        backward = classifier.predict_proba(SERIES[::-1])[::-1]
        alone = np.concatenate([classifier.predict_proba([one]) for one in SERIES[:8]])
        np.testing.assert_array_equal(together, backward)
        np.testing.assert_array_equal(together[:8], alone)

    def test_weights_of_classes(self) -> None:
        noise = [np.random.default_rng(n).standard_normal((3, 2)) for n in range(60)]
        labels = np.array([0] * 50 + [1] * 10)
        called = {}
        for name, weight in {"none": None, "balanced": "balanced", "own": {1: 50}}.items():
            classifier = SequenceClassifier(**SMALL | {"max_epochs": 3}, class_weight=weight)
            called[name] = int(classifier.fit(noise, labels).predict(noise).sum())
        assert called["none"] < called["balanced"] < called["own"]

    @pytest.mark.parametrize(
        ("changes", "found"),
        [
            ({"cell": "gru"}, "cell: expected 'RNN', 'GRU' or 'LSTM', found 'gru'"),
            ({"hidden_size": 0}, "hidden_size: expected greater than or equal to 1, found 0"),
            ({"validation_fraction": 1.0}, "validation_fraction: expected 0 or more and below 1"),
            ({"class_weight": {"maybe": 1}}, "class_weight: expected classes of y, found 'maybe'"),
            ({"class_weight": "even"}, "class_weight: expected None, 'balanced' or a number for"),
            ({"characters": True}, "characters: expected false without tokens, found true"),
        ],
    )
    def test_arguments_are_checked_in_fit(self, changes: dict[str, Any], found: str) -> None:
        with pytest.raises(ValueError, match=found):
            SequenceClassifier(**SMALL | changes).fit(SERIES, LABELS)

    @pytest.mark.parametrize(
        ("labels", "found"),
        [
            (None, "requires y to be passed, but the target y is None"),
            (LABELS[1:], "one value for each of the 48 sequences, found 47"),
            (["no"] * 48, "y: expected two classes or more, found only one class"),
            ([None, *LABELS[1:]], "y: expected a label for each sequence, found none for some"),
            (np.linspace(0, 1, 48), "Unknown label type: continuous"),
        ],
    )
    def test_labels_are_checked(self, labels: Any, found: str) -> None:
        with pytest.raises(ValueError, match=found):
            SequenceClassifier(**SMALL).fit(SERIES, labels)

    def test_other_features_are_refused(self, classifier: SequenceClassifier) -> None:
        with pytest.raises(
            ValueError, match="X has 1 features, but SequenceClassifier is expecting"
        ):
            classifier.predict([one[:, :1] for one in SERIES])
        with pytest.raises(ValueError, match="X has 0 features"):
            classifier.predict([["a", "b"]])
        with pytest.raises(NotFittedError):
            SequenceClassifier().predict(SERIES)

    def test_missing_numbers(self) -> None:
        holes = [one.copy() for one in SERIES]
        for one in holes:
            one[0, 1] = np.nan
        with pytest.raises(InputError, match="found NaN; fill it in, or set missing"):
            SequenceClassifier(**SMALL).fit(holes, LABELS)
        classifier = SequenceClassifier(**SMALL, missing="mean").fit(holes, LABELS)
        assert classifier.score(holes, LABELS) > 0.9

    def test_a_loss_that_is_far_too_high_is_told(self) -> None:
        with pytest.warns(ConvergenceWarning, match="lower learning_rate"):
            SequenceClassifier(**SMALL | {"learning_rate": 1e3, "max_epochs": 2}).fit(
                SERIES, LABELS
            )


def long(series: list[Any]) -> pd.DataFrame:
    """A row a step."""
    flat = np.concatenate(series)
    ids = np.repeat(np.arange(len(series)), [len(one) for one in series])
    return pd.DataFrame({"sequence": ids, "x1": flat[:, 0], "x2": flat[:, 1]})


class TestTagger:
    def test_learns(self, tagger: SequenceTagger) -> None:
        series, _ = drawn(seed=1)
        said, shares = tagger.predict(series), tagger.predict_proba(series)
        assert [len(one) for one in said] == [len(one) for one in series]
        assert {one.shape[1] for one in shares} == {2}
        assert tagger.score(series, tags(series)) > 0.9
        assert tagger.classes_.tolist() == [-3, 7]
        assert said[0].dtype.kind == "i"

    def test_a_frame_with_a_row_a_step(self, tagger: SequenceTagger) -> None:
        frame, flat = long(SERIES), np.concatenate(tags(SERIES))
        other = SequenceTagger(**SMALL).fit(frame, flat)
        assert (other.predict(frame) == np.concatenate(tagger.predict(SERIES))).all()
        assert other.predict_proba(frame).shape == (len(frame), 2)
        assert other.score(frame, flat) == tagger.score(SERIES, tags(SERIES))

    def test_steps_without_a_label(self) -> None:
        some = [[None, *one[1:].tolist()] for one in tags(SERIES)]
        tagger = SequenceTagger(**SMALL).fit(SERIES, some)
        assert tagger.classes_.tolist() == [-3, 7]
        said, known = np.concatenate(tagger.predict(SERIES)), np.concatenate(some) != np.array(None)
        right = said[known] == np.concatenate(tags(SERIES))[known]
        assert tagger.score(SERIES, some) == pytest.approx(right.mean())

    def test_a_head_is_refused(self) -> None:
        with pytest.raises(ValueError, match="head: expected last for tagging, found mean"):
            SequenceTagger(**SMALL, head="mean").fit(SERIES, tags(SERIES))


class TestScikitLearn:
    def test_clones_and_copies(self, classifier: SequenceClassifier) -> None:
        again = clone(classifier)
        assert again.get_params() == classifier.get_params()
        with pytest.raises(NotFittedError):
            again.predict(SERIES)
        same = copy.deepcopy(classifier).predict_proba(SERIES)
        assert (same == classifier.predict_proba(SERIES)).all()

    def test_the_seed_decides(self, classifier: SequenceClassifier) -> None:
        same = SequenceClassifier(**SMALL).fit(SERIES, LABELS).predict_proba(SERIES)
        other = SequenceClassifier(**SMALL | {"random_state": 1}).fit(SERIES, LABELS)
        assert (same == classifier.predict_proba(SERIES)).all()
        assert (other.predict_proba(SERIES) != same).any()

    def test_the_program_is_left_as_it_was(self) -> None:
        before = torch.get_rng_state()
        threads = torch.get_num_threads(), library.chosen_threads()
        SequenceClassifier(**SMALL | {"max_epochs": 1}).fit(SERIES, LABELS)
        assert torch.equal(torch.get_rng_state(), before)
        assert (torch.get_num_threads(), library.chosen_threads()) == threads

    def test_scores_of_folds(self) -> None:
        scores = cross_val_score(SequenceClassifier(**SMALL), SERIES, LABELS, cv=2)
        assert scores.min() > 0.8
        tagger, groups = SequenceTagger(**SMALL), np.arange(48) // 4
        scores = cross_val_score(
            tagger, SERIES, tags(SERIES), cv=GroupKFold(2), groups=groups, params=None
        )
        assert scores.min() > 0.8

    def test_a_search_within_a_pipeline(self) -> None:
        steps = [("double", FunctionTransformer(doubled)), ("model", SequenceClassifier(**SMALL))]
        grid = {"model__hidden_size": [6], "model__max_epochs": np.array([1, 12])}
        search = GridSearchCV(Pipeline(steps), grid, cv=2)
        search.fit(SERIES, LABELS)
        assert search.best_params_["model__max_epochs"] == 12
        assert search.score(SERIES, LABELS) > 0.9
        assert search.best_estimator_["model"].classes_.tolist() == ["no", "yes"]

    def test_threads_that_search_at_once_do_not_draw_from_one_another(self) -> None:
        """Torch has one generator for all of them."""
        expected = searched().fit(SERIES, LABELS).cv_results_["mean_test_score"]
        before = torch.get_num_threads(), library.chosen_threads()
        with parallel_config("threading", n_jobs=3):
            found = searched().fit(SERIES, LABELS).cv_results_["mean_test_score"]
        assert found.tolist() == expected.tolist()
        assert (torch.get_num_threads(), library.chosen_threads()) == before

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "backend", [pytest.param("loky", marks=pytest.mark.long), "multiprocessing"]
    )
    def test_processes_that_search_at_once_end(self, backend: str) -> None:
        """The second are forked from a process that has computed in several threads."""
        command = [sys.executable, "-W", "error", __file__, backend]
        here = {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            command, env=os.environ | here, capture_output=True, text=True, timeout=300
        )
        assert done.stdout == "the same\n", done.stderr

    @pytest.mark.slow
    def test_nothing_heavy_is_imported_in_a_training(self) -> None:
        """Processes of a search would each do it; torch's compiler takes longer than a training."""
        code = (
            "import sys; from birnn import SequenceClassifier; "
            "classifier = SequenceClassifier(max_epochs=1, device='cpu'); "
            "classifier.fit([[number % 2, 1.0] for number in range(20)], [0, 1] * 10); "
            "print({'mlflow', 'torch._dynamo'} & sys.modules.keys())"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"


def searched(**changes: Any) -> GridSearchCV:
    grid = {"hidden_size": [2, 6], "max_epochs": [1, 3]}
    return GridSearchCV(SequenceClassifier(**SMALL | changes), grid, cv=2)


def search_in(backend: str) -> None:
    """Search in processes, after a training and a prediction in three threads."""
    torch.set_num_threads(3)
    series, labels = drawn(seed=1)
    long = [np.tile(one, (100, 1)) for one in series]  # so that torch shares its work too
    wide = {"hidden_size": 32, "num_layers": 2, "head": "all", "max_epochs": 1}
    SequenceClassifier(**SMALL | wide).fit(long, labels).predict(long)
    expected = cross_val_score(SequenceClassifier(**SMALL | wide), long, labels, cv=2)
    with parallel_config(backend, n_jobs=2):
        found = cross_val_score(SequenceClassifier(**SMALL | wide), long, labels, cv=2)
    print("the same" if found.tolist() == expected.tolist() else f"{found}, not {expected}")


def doubled(series: list[Any]) -> list[Any]:
    return [2 * one for one in series]


class TestKeeping:
    def test_a_pickle_names_nothing_but_the_class_and_arrays(
        self, classifier: SequenceClassifier
    ) -> None:
        """So it holds no code; a model lies in it as the bytes of two files."""
        for estimator in (SequenceClassifier(**SMALL), classifier):
            text = pickle.dumps(estimator, protocol=2)
            named = {arg for op, arg, _ in pickletools.genops(text) if op.name == "GLOBAL"}
            modules = {str(one).split(" ")[0].split(".")[0] for one in named}
            assert modules <= {"birnn", "numpy", "copy_reg", "copyreg", "_codecs", "__builtin__"}
            assert not [one for one in named if "torch" in str(one)]
        assert (pickle.loads(text).predict_proba(SERIES) == classifier.predict_proba(SERIES)).all()

    def test_a_changed_model_in_a_pickle_is_refused(self, classifier: SequenceClassifier) -> None:
        state = classifier.__getstate__()
        state["_learned"]["model.json"] = state["_learned"]["model.json"].replace(
            b'"GRU"', b'"RNN"'
        )
        with pytest.raises(Exception, match=r"expected .* as in model\.json, found"):
            SequenceClassifier().__setstate__(state)

    def test_saved_as_the_stages_save(self, classifier: SequenceClassifier, tmp_path: Path) -> None:
        classifier.save(tmp_path / "model")
        model, encoding, thresholds = saved_model.load(tmp_path / "model")
        assert (encoding.task, encoding.labels, thresholds) == ("classification", ["no", "yes"], {})
        given = Given({"sequence": [1, 1], "x1": [1.0, 2], "x2": [0.5, 1]}, np.array([0, 2]))
        (chunk,) = prediction.prepared(encoding, [given.batch()], where="X")
        shares = prediction.probabilities(
            model, encoding.encode(*chunk), device=torch.device("cpu")
        )
        assert (shares == classifier.predict_proba([np.array([[1.0, 0.5], [2, 1]])])).all()
        names = {path.name for path in (tmp_path / "model").iterdir()}
        assert names == {"weights.safetensors", "model.json", "history.csv"}
        with pytest.raises(NotFittedError):
            SequenceClassifier().save(tmp_path)


class TestHeldOut:
    def test_groups_stay_together_and_each_class_is_learned(self) -> None:
        groups, labels = np.arange(60) // 3, np.array(["a", "b", "c"])[np.arange(60) % 3]
        labels[:3] = "rare"
        given = Given(
            {
                "sequence": np.arange(60),
                "x": np.ones(60),
                "label": labels,
                "group": groups.astype(str),
            },
            np.arange(61),
        )
        rows = given.checked("tagging", missing=False)
        for seed in range(20):
            held = splits.held_out(rows, given.offsets, 0.2, seed)
            assert not {*groups[held]} & {*groups[~held]}
            assert {*labels[~held]} == {*labels}
            assert 6 <= held.sum() <= 18

    def test_one_group_of_few_is_held_out_if_it_can_be_spared(self) -> None:
        columns = {"sequence": np.arange(4), "x": np.ones(4), "label": ["a", "b", "a", "b"]}
        for groups, spared in (["1", "1", "2", "2"], True), (["1", "2", "3", "3"], True):
            given = Given(columns | {"group": groups}, np.arange(5))
            rows = given.checked("tagging", missing=False)
            found = [splits.held_out(rows, given.offsets, 1e-6, seed) for seed in range(9)]
            assert {held.any() for held in found} == {spared}
        rows = Given(columns | {"group": ["1"] * 4}, given.offsets).checked(
            "tagging", missing=False
        )
        assert not splits.held_out(rows, given.offsets, 0.5, 0).any()
        with pytest.raises(InputError, match="validation_fraction: expected a sequence to"):
            SequenceClassifier(**SMALL).fit(SERIES, LABELS, groups=["1"] * 48)

    def test_none_where_none_is_wanted(self) -> None:
        classifier = SequenceClassifier(**SMALL | {"max_epochs": 3}, validation_fraction=0.0)
        classifier.fit(SERIES, LABELS)
        assert [one["kept"] for one in classifier.history_] == [False, False, True]

    def test_groups_are_read(self) -> None:
        groups = [f"speaker {number // 12}" for number in range(48)]
        SequenceClassifier(**SMALL | {"max_epochs": 1}).fit(SERIES, LABELS, groups=groups)
        with pytest.raises(InputError, match="groups: expected one value for each of the 48"):
            SequenceClassifier(**SMALL).fit(SERIES, LABELS, groups=groups[:3])


def test_a_state_is_plain(classifier: SequenceClassifier) -> None:
    """Bytes, numbers and text: nothing in it has code of its own."""
    file = io.BytesIO(classifier.__getstate__()["_learned"]["model.json"])
    assert file.read(1) == b"{"


if __name__ == "__main__":
    search_in(sys.argv[1])
