"""What people hold in Python: every form gives the same rows; what is doubtful is refused."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from birnn.errors import InputError
from birnn.estimators import inputs

A, B = np.array([[1.0, 2], [3, 4], [5, 6]]), np.array([[7.0, 8]])
LONG = pd.DataFrame(
    {"sequence": ["a", "a", "a", "b"], "x1": [1.0, 3, 5, 7], "x2": [2.0, 4, 6, 8]},
    index=[7, 7, 8, 9],
)


def series(*items: Any, index: Any = None) -> pd.Series:
    """Of objects, whatever their lengths are."""
    found = np.empty(len(items), object)
    found[:] = items
    return pd.Series(found, index=index)


FORMS = {
    "a list of arrays": [A, B],
    "a tuple of lists of lists": (A.tolist(), B.tolist()),
    "a Series with an index of its own": series(A, B, index=[5, 3]),
    "an array of objects": series(A, B).to_numpy(),
    "float32 in Fortran's order": [np.asfortranarray(A, np.float32), B.astype(np.float32)],
    "frames": [pd.DataFrame(A), pd.DataFrame(B)],
    "a frame of lists": pd.DataFrame({"x1": [[1, 3, 5], [7]], "x2": [[2, 4, 6], [8]]}),
    "a frame with a row a step": LONG,
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_numbers(form: str) -> None:
    given = inputs.read(FORMS[form])
    assert given.offsets.tolist() == [0, 3, 4]
    assert given.features == 2
    columns = {name: np.asarray(given.columns[name]).tolist() for name in ("x1", "x2")}
    assert columns == {"x1": [1, 3, 5, 7], "x2": [2, 4, 6, 8]}
    assert given.long == (form == "a frame with a row a step")


@pytest.mark.parametrize(
    "given",
    [
        [["a", "b"], ["c"]],
        series(["a", "b"], ["c"]),
        series(np.array(["a", "b"]), np.array(["c"])),
        [("a", "b"), pd.Series(["c"], index=[4])],
        pd.DataFrame({"words": [["a", "b"], ["c"]]}),
        pd.DataFrame({"sequence": [1, 1, 2], "token": ["a", "b", "c"]}),
    ],
    ids=["lists", "a Series", "a Series of arrays", "tuples", "a frame", "a row a step"],
)
def test_forms_of_tokens(given: Any) -> None:
    found = inputs.read(given)
    assert (found.columns["token"].to_pylist(), found.offsets.tolist()) == (
        ["a", "b", "c"],
        [0, 2, 3],
    )
    assert found.features == 0


def test_numbers_of_one_feature_and_of_equal_lengths() -> None:
    assert inputs.read([[1, 2, 3], [4]]).columns["x1"].tolist() == [1, 2, 3, 4]
    given = inputs.read(np.arange(12).reshape(2, 3, 2))
    assert given.offsets.tolist() == [0, 3, 6]
    assert given.columns["x2"].tolist() == [1, 3, 5, 7, 9, 11]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("text", "expected arrays of numbers, (steps, features) or (steps,), or lists of tokens"),
        (["two words"], "X[0]: expected arrays of numbers, .* split it into words or letters"),
        ([A, "x"], "X[1]: expected arrays"),
        ([A, []], "X[1]: expected a step, found none"),
        ([], "X: expected sequences, found none"),
        ([A, np.ones((2, 3))], "X[1]: expected 2 features a step as in X[0], found 3 features a"),
        ([A, ["a"]], "X[1]: expected 2 features a step as in X[0], found tokens"),
        ([["a", 1]], "X[0]: expected tokens that are text, found int"),
        ([["a", ""]], "X[0]: expected tokens that are text, found str ''"),
        ([[1, "a"]], "X[0]: expected arrays of numbers"),
        ([np.ones((2, 2, 2))], r"X[0]: expected arrays of numbers, .* found the shape (2, 2, 2)"),
        (
            pd.DataFrame({"x": [1.0, 2]}),
            "X: expected a column `sequence`, for a row a step, or",
        ),
        (LONG[:0], "X: expected rows, found none"),
        (
            LONG.assign(sequence=series("a", None, "a", "b").to_numpy()),
            "column `sequence`: expected an id on every",
        ),
        (
            pd.DataFrame({"x": [[1, 2], [3]], "y": [[1, 2], [3, 4]]}),
            "X, row 1, column `y`: expected as many steps as before it",
        ),
    ],
)
def test_what_is_doubtful_is_refused(given: Any, found: str) -> None:
    pattern = found.replace("[", r"\[").replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(InputError, match=pattern):
        inputs.read(given)


def test_missing_numbers_are_refused_with_their_place() -> None:
    with pytest.raises(InputError, match=r"X\[1\], step 0: expected a finite number, found NaN"):
        inputs.read([A, B * np.nan], missing=False)
    assert np.isnan(inputs.read([A, B * np.nan]).columns["x1"][3])


def test_labels_of_steps() -> None:
    given = inputs.read([A, B])
    assert inputs.one_a_step([["p", "q", None], ["p"]], given).tolist() == ["p", "q", None, "p"]
    for labels, found in [
        ([["p"], ["p"]], r"y\[0\]: expected 3 labels, one a step, found 1"),
        ([["p"] * 3], "y: expected labels for each of the 2 sequences, found 1"),
        (["pqr", "p"], r"y\[0\]: expected a label for each step, found str 'pqr'"),
    ]:
        with pytest.raises(InputError, match=found):
            inputs.one_a_step(labels, given)


def test_labels_of_sequences_in_a_frame_with_a_row_a_step() -> None:
    given = inputs.read(LONG)
    for values in (["p", "q"], ["p", "p", "p", "q"]):
        assert inputs.one_each(values, given, "y").tolist() == ["p", "q"]
    with pytest.raises(InputError, match="y, row 1: expected one value a sequence, found another"):
        inputs.one_each(["p", "q", "p", "q"], given, "y")
    with pytest.raises(InputError, match=r"y: expected one value for each of the 2 seq.*, found 3"):
        inputs.one_each(["p", "q", "p"], given, "y")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([3, -1, 10], ["-1", "3", "10"]),
        ([True, False], ["False", "True"]),
        (["b", "a"], ["a", "b"]),
    ],
)
def test_classes_keep_their_type_and_order(labels: list[Any], names: list[str]) -> None:
    known = inputs.classes(np.array(labels))
    assert known.tolist() == sorted(labels)
    assert inputs.texts(known) == names
    assert inputs.named(np.array(labels), known).to_pylist() == [str(label) for label in labels]


def test_classes_that_cannot_be_told_apart_are_refused() -> None:
    for labels, found in [
        (np.array(["é", "e\N{COMBINING ACUTE ACCENT}"]), "different names, found two alike"),
        (np.array(["a", ""]), "or an empty one"),
        (np.array([1, "a"], object), "of one type, found text and others"),
        (np.array(["a", "a"]), "two classes or more, found only one class, 'a'"),
        (np.array([None, None]), "two classes or more, found no label"),
    ]:
        with pytest.raises(InputError, match=found):
            inputs.classes(labels)
