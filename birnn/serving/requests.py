"""What a client asks: JSON in one of three forms, as the rows of a sequence table.

    asked = read(body, encoding, Limits())
    for batch in asked.batches: ...

The forms: `dataframe_split` and `dataframe_records`, as MLflow has them, one row a step; and
`sequences`, a list of sequences, each a list of steps:

    {"sequences": [[[0.1, 2.0], [0.3, 1.5]], [["the"], ["dog"]]]}       features, then the token
    {"sequences": [["the", "dog"]]}                                     where a step is one thing
    {"sequences": [{"sequence": "s1", "steps": [{"x": 0.1, "y": 2.0}]}]}

Columns may have the names of the training data (`data.columns`) or those of the sequence table.

Nothing of a request is trusted: its size, the number of rows, of steps and of letters have limits,
and what is wrong with it is one line.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic_core import from_json

from birnn.data.encoding import Encoding
from birnn.errors import DataError, ServingError
from birnn.files import table_checks, tables
from birnn.files.reading import first_few, one_line

WHERE = "the request"
FORMS = ("dataframe_split", "dataframe_records", "sequences")
BATCH_ROWS = 1 << 14  # between two of which a request can be called off
BRACKETS = 8  # a row: those of its step and of its sequence, and some in texts
SHOWN = 40  # letters of a value in a message

Place = Callable[[int], str]
"""What to call a row, which are counted from 1, in messages."""


class TooLargeError(DataError):
    """A request is larger than the server allows."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes.

    Attributes:
        body: bytes of a request.
        rows: steps of all its sequences together.
        steps: of one sequence.
        letters: of an id, and of a token.
        waiting: requests that are read, wait or are answered at one time.
        seconds: until a request is given up.
    """

    body: int = 8 << 20
    rows: int = 100_000
    steps: int = 10_000
    letters: int = 1_000
    waiting: int = 128
    seconds: float = 60.0

    @staticmethod
    def of(said: Sequence[str]) -> Limits:
        """Read limits such as `steps=50000`; those that are not named stay as they are.

        Raises:
            ServingError: there is no such limit, or it is not a number above 0.
        """
        known = {one.name: int if one.type == "int" else float for one in fields(Limits)}
        found: dict[str, Any] = {}
        for text in said:
            name, _, value = text.partition("=")
            with suppress(KeyError, ValueError):
                found[name] = known[name](value)
            if not found.get(name, 0) > 0:
                names = "=, ".join(known)
                raise ServingError(
                    f"--limit: expected {names}= with a number above 0, found {text!r}"
                )
        return Limits(**found)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        batches: the rows of a sequence table.
        ids: where the form is `sequences`, what the client calls each of them, or None where it has
            no name; in `batches` they are called by their numbers.
    """

    batches: list[pa.RecordBatch]
    ids: list[str | None] | None = None


def read(body: bytes, encoding: Encoding, limits: Limits) -> Asked:
    """Read the body of a request.

    Args:
        body: JSON.
        encoding: of the model that answers; columns that it does not read are ignored.
        limits: what is too large.

    Raises:
        TooLargeError: there are too many rows or steps, or a name or a token is too long.
        DataError: it is not JSON, in none of the forms, or a value is missing or of a wrong type.
    """
    _check_size(body, limits)
    try:
        tree = from_json(body)
    except ValueError as error:
        raise DataError(f"{WHERE}: expected JSON, found: {one_line(error)}") from None
    form, content = _form(tree)
    needed = _needed(encoding)
    match form:
        case "dataframe_split":
            columns = _split(content, needed, limits)
        case "dataframe_records":
            columns = _records(content, needed, limits)
        case _:
            return _sequences(content, encoding, limits)
    ids = _texts(columns["sequence"], "sequence", limits, _row)
    starts = tables.sequence_starts(ids) if len(ids) else np.zeros(0, np.int64)
    lengths = np.diff(np.append(starts, len(ids))).tolist()
    _check_steps(lengths, limits)
    return Asked(_batches({**_typed(columns, encoding, limits, _row), "sequence": ids}, "row"))


def _needed(encoding: Encoding) -> dict[str, str]:
    """The columns that a model reads, and what each was called in the data of its training."""
    named = encoding.reading.get("columns")
    own = named if isinstance(named, dict) else {}
    return {name: own.get(name) or name for name in encoding.columns}


def _spelled(needed: Mapping[str, str], found: Container[str]) -> list[str]:
    """What the columns are called here: as in the data of the training, or as in a sequence table.

    One that is there under neither name has the first.
    """
    return [name if own not in found and name in found else own for name, own in needed.items()]


def _check_size(body: bytes, limits: Limits) -> None:
    """Refuse what would take far more memory and time to read than the largest request does.

    Brackets within texts count too, so there is room for some.
    """
    opened = body.count(b"[") + body.count(b"{")
    if opened > BRACKETS * limits.rows + BRACKETS:
        most = BRACKETS * limits.rows
        raise TooLargeError(f"{WHERE}: expected up to {most} lists and objects, found {opened}")


def _form(tree: Any) -> tuple[str, Any]:
    found = _keys(tree) if isinstance(tree, dict) else _shown(tree)
    present = [form for form in FORMS if isinstance(tree, dict) and form in tree]
    if len(present) != 1:
        raise DataError(f"{WHERE}: expected one of {', '.join(FORMS)}, found {found}")
    return present[0], tree[present[0]]


def _split(content: Any, needed: Mapping[str, str], limits: Limits) -> dict[str, list[Any]]:
    """Columns of `{"columns": [...], "data": [[...], ...]}`."""
    names, rows = (
        (content.get("columns"), content.get("data")) if isinstance(content, dict) else (None, None)
    )
    if not isinstance(names, list) or not isinstance(rows, list):
        found = _keys(content) if isinstance(content, dict) else _shown(content)
        expected = "expected dataframe_split to hold lists `columns` and `data`"
        raise DataError(f"{WHERE}: {expected}, found {found}")
    _check_rows(len(rows), limits)
    texts = [name for name in names if isinstance(name, str)]
    if len(set(texts)) < len(names):
        raise DataError(f"{WHERE}: expected texts as names of columns, each once")
    wanted = _spelled(needed, texts)
    _check_columns(texts, wanted)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != len(names):
            found = f"{len(row)}" if isinstance(row, list) else _shown(row)
            raise DataError(
                f"{_row(number)}: expected a list of {len(names)} values, found {found}"
            )
    places = [names.index(name) for name in wanted]
    return {name: [row[place] for row in rows] for name, place in zip(needed, places, strict=True)}


def _records(content: Any, needed: Mapping[str, str], limits: Limits) -> dict[str, list[Any]]:
    """Columns of `[{"sequence": "s1", "x": 0.1}, ...]`."""
    if not isinstance(content, list):
        expected = "expected dataframe_records to be a list of rows"
        raise DataError(f"{WHERE}: {expected}, found {_shown(content)}")
    _check_rows(len(content), limits)
    for number, row in enumerate(content, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{_row(number)}: expected an object, found {_shown(row)}")
    rows = [_values(row, needed, number, _row) for number, row in enumerate(content, start=1)]
    return {name: [row[at] for row in rows] for at, name in enumerate(needed)}


def _values(tree: dict[str, Any], needed: Mapping[str, str], row: int, place: Place) -> list[Any]:
    wanted = _spelled(needed, tree)
    for name in wanted:
        if name not in tree:
            raise DataError(f"{place(row)}: expected a value for `{name}`, found {_keys(tree)}")
    return [tree[name] for name in wanted]


def _sequences(content: Any, encoding: Encoding, limits: Limits) -> Asked:
    """Rows of a list of sequences, which are called by their number while they are answered."""
    if not isinstance(content, list):
        raise DataError(f"{WHERE}: expected sequences to be a list, found {_shown(content)}")
    named = [_sequence(one, number) for number, one in enumerate(content, start=1)]
    lengths = [len(steps) for _, steps in named]
    _check_rows(sum(lengths), limits)
    _check_steps(lengths, limits)
    _texts(
        [number if name is None else name for number, (name, _) in enumerate(named)],
        "sequence",
        limits,
        _sequence_place,
    )
    needed = _needed(encoding)
    del needed["sequence"]
    numbers = np.repeat(np.arange(1, len(lengths) + 1), lengths)
    begins = np.repeat(np.cumsum(lengths) - lengths, lengths) if lengths else numbers

    def place(row: int) -> str:
        return f"{_sequence_place(numbers[row - 1])}, step {row - begins[row - 1]}"

    steps = [step for _, steps in named for step in steps]
    rows = [_step(step, needed, row, place) for row, step in enumerate(steps, start=1)]
    columns = {name: [row[at] for row in rows] for at, name in enumerate(needed)}
    typed = {"sequence": pa.array(numbers), **_typed(columns, encoding, limits, place)}
    ids = [None if name is None else str(name) for name, _ in named]
    return Asked(_batches(typed, "step"), ids)


def _sequence(one: Any, number: int) -> tuple[Any, list[Any]]:
    """Its name, where it has one, and its steps."""
    name, steps = None, one
    if isinstance(one, dict):
        name, steps = one.get("sequence"), one.get("steps")
    if not isinstance(steps, list) or not steps:
        expected = 'a list of steps, or {"sequence": ID, "steps": [...]}'
        found = "one without steps" if steps == [] else _shown(one)
        raise DataError(f"{_sequence_place(number)}: expected {expected}, found {found}")
    return name, steps


def _step(step: Any, needed: Mapping[str, str], row: int, place: Place) -> list[Any]:
    """The values of a step in the order of the columns."""
    if isinstance(step, dict):
        return _values(step, needed, row, place)
    values = step if isinstance(step, list) else [step]
    if len(values) != len(needed):
        expected = f"{len(needed)} value{'s' * (len(needed) > 1)} ({first_few(needed.values())})"
        raise DataError(f"{place(row)}: expected {expected}, found {len(values)}")
    return values


def _typed(
    columns: dict[str, list[Any]], encoding: Encoding, limits: Limits, place: Place
) -> dict[str, pa.Array]:
    typed = {name: _numbers(columns[name], name, place) for name in encoding.features}
    if encoding.tokens:
        typed["token"] = _texts(columns["token"], "token", limits, place)
    return typed


def _numbers(values: list[Any], name: str, place: Place) -> pa.Array:
    for row, value in enumerate(values, start=1):
        if not isinstance(value, (int, float)):
            found = f"expected a number, found {_shown(value)}"
            raise DataError(f"{place(row)}, column `{name}`: {found}")
    try:
        return pa.array(values)
    except (OverflowError, pa.ArrowException):  # whole numbers beyond int64, or of several types
        return pa.array([_float(value) for value in values])


def _float(value: float) -> float:
    """Infinite where it is too large, which is refused later, with its row."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _texts(values: list[Any], name: str, limits: Limits, place: Place) -> pa.StringArray:
    """Texts, or whole numbers as texts."""
    texts = list[str]()
    for row, value in enumerate(values, start=1):
        if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
            found = f"expected text, found {_shown(value)}"
            raise DataError(f"{place(row)}, column `{name}`: {found}")
        texts.append(str(value))
        if len(texts[-1]) > limits.letters:
            found = f"expected up to {limits.letters} letters, found {len(texts[-1])}"
            raise TooLargeError(f"{place(row)}, column `{name}`: {found}")
    return pa.array(texts, pa.string())


def _batches(columns: dict[str, pa.Array], unit: str) -> list[pa.RecordBatch]:
    batch = table_checks.from_file(pa.RecordBatch.from_pydict(columns), WHERE, unit)
    return list(_slices(batch))


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, BATCH_ROWS):
        yield batch.slice(start, BATCH_ROWS)


def _check_columns(found: Sequence[str], needed: Sequence[str]) -> None:
    for name in needed:
        if name not in found:
            raise DataError(
                f"{WHERE}: expected a column `{name}` as in training, found {_names(found)}"
            )


def _check_rows(rows: int, limits: Limits) -> None:
    if rows > limits.rows:
        raise TooLargeError(
            f"{WHERE}: expected up to {limits.rows} rows, found {rows}; send them in parts"
        )


def _check_steps(lengths: Sequence[int], limits: Limits) -> None:
    longest = max(lengths, default=0)
    if longest > limits.steps:
        raise TooLargeError(
            f"{_sequence_place(lengths.index(longest) + 1)}: expected up to {limits.steps} steps, "
            f"found {longest}"
        )


def _row(number: int) -> str:
    return f"{WHERE}, row {number}"


def _sequence_place(number: int) -> str:
    return f"{WHERE}, sequence {number}"


def _keys(tree: dict[str, Any]) -> str:
    return _names(list(tree))


def _names(found: Sequence[str]) -> str:
    return first_few(_shown(name) for name in found) or "nothing"


def _shown(value: Any) -> str:
    """A value in a message: text with its line ends and quotes shown, the others by their kind."""
    if isinstance(value, (str, int, float)) or value is None:
        text = "null" if value is None else repr(value)
        return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return "a list" if isinstance(value, list) else "an object"
