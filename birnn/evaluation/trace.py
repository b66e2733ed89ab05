"""What goes through a trained model, layer by layer, and what each half of it says of a sequence.

    found = explain(model, encoding, thresholds, test.select([telling(model, test)]), labelled=True)
    found.flow       # input, forward states, backward states, ..., with shapes and values
    found.answers    # what both halves, each half alone, and the past alone say
    for table in on_terminal(found): console.print(table)

**A half alone**: the other direction's states are set to zero wherever the part above the recurrent
layers reads them (every step's output of the top layer, and its last state), and the linear layer
answers from what is left, with the weights and the bias that it learned for both. Of several
layers the top one alone is halved: its states still rest on both directions of the layer below.

**The future cut off**: the prediction for the sequence's first t steps, as if it ended there.

Everything is read off the running network with hooks on `model.rnn` and `model.linear`, so that a
trace shows what a prediction computes, not what this module believes that it computes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor, nn

from birnn.data.encoding import Encoding, class_names
from birnn.data.sequences import Sequences
from birnn.errors import DataError
from birnn.evaluation import cuts as cut_off
from birnn.files import tables
from birnn.files.reading import Skipped
from birnn.model import prediction
from birnn.model.networks import SequenceModel
from birnn.model.recurrent import VariableLengthRNN

Half = Literal["forward", "backward"]
Shares = npt.NDArray[np.float32]

CPU = torch.device("cpu")
MOST_STEPS = 40  # of a trace that people look at
CANDIDATES = 200  # test sequences among which a telling one is looked for
SHOWN_UNITS = 32
DIGITS = 4


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer gives for one sequence.

    Attributes:
        name: what it is, such as `forward states`.
        shape: (steps, width), or (width,) where there is one row for the sequence.
        low: the least of its values.
        high: the greatest of them.
        values: its first rows and units.
    """

    name: str
    shape: tuple[int, ...]
    low: float
    high: float
    values: list[list[float]]


@dataclass(frozen=True, slots=True)
class Said:
    """A class and its probability."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said after a step, or of it.

    Attributes:
        step: counted from 1. For classification, the sequence is taken to end here.
        word: the token at this step, where steps have tokens.
        actual: the true class, where it is known.
        both: what the model says.
        forward: what its forward half says.
        backward: what its backward half says; None where it has none.
        cut_off: what the model says without the steps that come later.
        turned_at: the later step that changed the probability of the model's answer the most when
            it was read; for classification, 0 or this step where it is that one. 0 without any.
        turned_by: by how much.
    """

    step: int
    word: str | None
    actual: str | None
    both: Said
    forward: Said
    backward: Said | None
    cut_off: Said
    turned_at: int
    turned_by: float


@dataclass(frozen=True, slots=True)
class Trace:
    """A sequence on its way through a model.

    Attributes:
        sequence: its id.
        steps: how many it has.
        task: `tagging` or `classification`.
        flow: what each layer gives.
        answers: one for each of the first steps.
        cuts: after which steps the sequence was cut off; the last is its end.
        after_cut: for each answer (for classification, for the one answer) the probability of what
            the model says in the end, after each cut; None before the step was read.
    """

    sequence: str
    steps: int
    task: str
    flow: list[Layer]
    answers: list[Answer]
    cuts: list[int]
    after_cut: list[list[float | None]]


def telling(model: SequenceModel, test: Sequences) -> int:
    """Find a sequence that shows what the second direction is for.

    It is the one of the first `CANDIDATES` of at most `MOST_STEPS` steps on which most answers of
    the forward half are put right by the backward half; the shortest where all are longer.
    """
    short = np.flatnonzero(test.lengths <= MOST_STEPS)[:CANDIDATES]
    if not len(short):
        return int(test.lengths.argmin())
    some = test.select(short)
    both = prediction.probabilities(model, some, device=CPU).argmax(axis=1)
    with half_of(model, "forward"):
        alone = prediction.probabilities(model, some, device=CPU).argmax(axis=1)
    gained = ((both == some.labels) & (alone != some.labels)).astype(np.int64)
    return int(short[np.add.reduceat(gained, some.label_offsets[:-1]).argmax()])


def explain(
    model: SequenceModel,
    encoding: Encoding,
    thresholds: Mapping[str, float],
    one: Sequences,
    *,
    labelled: bool,
    most_steps: int = MOST_STEPS,
) -> Trace:
    """Follow one sequence through a model.

    Args:
        model: a trained model, on the CPU.
        encoding: the one that it was trained with.
        thresholds: of its critical classes; see `birnn.model.prediction.decide`.
        one: a single sequence.
        labelled: whether its labels are the true ones.
        most_steps: answers to give at most; each costs a prediction of all the steps before it.
    """
    length = int(one.lengths[0])
    shown = min(length, most_steps)
    cuts = list(dict.fromkeys([*range(1, shown + 1), length]))
    begun = cut_off.prefixes(one, cuts)
    after = prediction.probabilities(model, begun, device=CPU)
    halves: tuple[Half, ...] = ("forward", "backward")
    shares: dict[str, Shares] = {
        half: _half_says(model, one if one.tagging else begun, half)
        for half in halves[: 1 + model.architecture.bidirectional]
    }
    shares["both"] = after[-length:] if one.tagging else after
    shares["cut_off"] = after[begun.offsets[1:] - 1] if one.tagging else after
    said = {name: _named(rows[:shown], encoding, thresholds) for name, rows in shares.items()}
    after_cut = cut_off.of_final_answers(after, begun, cuts, shown, encoding, thresholds)
    return Trace(
        sequence=one.ids[0].as_py(),
        steps=length,
        task=encoding.task,
        flow=flow(model, one),
        answers=list(_answers(one, encoding, said, after_cut, cuts, labelled=labelled)),
        cuts=cuts,
        after_cut=[[_rounded(value) for value in row] for row in after_cut.tolist()],
    )


@contextmanager
def half_of(model: SequenceModel, half: Half) -> Iterator[None]:
    """Set the states of the other direction to zero in all that is read from the top layer."""
    size = model.architecture.hidden_size
    start, place = (0, 0) if half == "forward" else (size, 1)
    directions = 1 + model.architecture.bidirectional

    def silence(_: nn.Module, __: Any, found: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        output, last = (torch.zeros_like(states) for states in found)
        output[..., start : start + size] = found[0][..., start : start + size]
        last[place::directions] = found[1][place::directions]
        return output, last

    handle = model.rnn.register_forward_hook(silence)
    try:
        yield
    finally:
        handle.remove()


def flow(model: SequenceModel, one: Sequences) -> list[Layer]:
    """Record what each layer gives for one sequence."""
    seen: dict[str, Tensor] = {}

    def note_steps(_: nn.Module, given: tuple[Tensor, ...], __: Any) -> None:
        seen["steps"] = given[0][0]

    def note_logits(_: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> None:
        seen["read"], seen["logits"] = given[0][0], found[0]

    handles = [
        model.rnn.register_forward_hook(note_steps),
        model.linear.register_forward_hook(note_logits),
    ]
    try:
        shares = prediction.probabilities(model, one, device=CPU)
    finally:
        for handle in handles:
            handle.remove()
    layers = {"input": seen["steps"], **_states(model.rnn, seen["steps"])}
    if not one.tagging:
        head = model.architecture.head
        layers["last states" if head == "last" else f"summary ({head})"] = seen["read"]
    layers |= {"logits": seen["logits"]}
    layers |= {"probabilities": torch.from_numpy(shares if one.tagging else shares[0])}
    return [_layer(name, values) for name, values in layers.items()]


@torch.inference_mode()
def _states(rnn: VariableLengthRNN, steps: Tensor) -> dict[str, Tensor]:
    """What each recurrent layer gives, (steps, width): each direction, then both together."""
    found = {}
    for number in range(1, rnn.num_layers + 1):
        output = _lowest_layers(rnn, number)(steps[None], torch.tensor([len(steps)]))[0][0]
        prefix = f"layer {number}, " if rnn.num_layers > 1 else ""
        found[f"{prefix}forward states"] = output[:, : rnn.hidden_size]
        if rnn.bidirectional:
            found[f"{prefix}backward states"] = output[:, rnn.hidden_size :]
            found[f"{prefix}both together"] = output
    return found


def _lowest_layers(rnn: VariableLengthRNN, number: int) -> VariableLengthRNN:
    lowest = VariableLengthRNN(
        rnn.input_size,
        rnn.hidden_size,
        cell=rnn.cell,
        num_layers=number,
        bidirectional=rnn.bidirectional,
    )
    weights = rnn.state_dict()
    lowest.load_state_dict({name: weights[name] for name in lowest.state_dict()})
    return lowest.eval()


def _layer(name: str, values: Tensor) -> Layer:
    rows = values.reshape(-1, values.shape[-1])[:MOST_STEPS, :SHOWN_UNITS].tolist()
    low, high = (float(end) for end in values.aminmax())
    shown = [[round(value, DIGITS) for value in row] for row in rows]
    return Layer(name, tuple(values.shape), round(low, DIGITS), round(high, DIGITS), shown)


def _half_says(model: SequenceModel, sequences: Sequences, half: Half) -> Shares:
    with half_of(model, half):
        return prediction.probabilities(model, sequences, device=CPU)


def _named(shares: Shares, encoding: Encoding, thresholds: Mapping[str, float]) -> list[Said]:
    classes = prediction.decide(shares, encoding, thresholds)
    return [
        Said(encoding.labels[index], round(float(row[index]), DIGITS))
        for index, row in zip(classes, shares, strict=True)
    ]


def _answers(
    one: Sequences,
    encoding: Encoding,
    said: Mapping[str, list[Said]],
    after_cut: npt.NDArray[np.float64],
    cuts: Sequence[int],
    *,
    labelled: bool,
) -> Iterator[Answer]:
    spelled = words(one, np.arange(int(one.lengths[0])))
    names = class_names(one.labels, encoding.names).to_pylist()
    for index, both in enumerate(said["both"]):
        label = names[index if one.tagging else 0]
        turned_at, turned_by = _turn(after_cut, cuts, index, tagging=one.tagging)
        yield Answer(
            step=index + 1,
            word=spelled[index] if spelled else None,
            actual=label if labelled else None,
            both=both,
            forward=said["forward"][index],
            backward=said["backward"][index] if "backward" in said else None,
            cut_off=said["cut_off"][index],
            turned_at=turned_at,
            turned_by=round(turned_by, DIGITS),
        )


def _turn(
    after_cut: npt.NDArray[np.float64], cuts: Sequence[int], index: int, *, tagging: bool
) -> tuple[int, float]:
    """Which later step changed an answer the most; for classification, what this step changed."""
    if not tagging:
        return (cuts[index], float(np.diff(after_cut[0])[index - 1])) if index else (0, 0.0)
    changes = np.diff(after_cut[index, index:])
    if not changes.any():
        return 0, 0.0
    most = int(np.abs(changes).argmax())
    return cuts[index + 1 + most], float(changes[most])


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, DIGITS)


def words(sequences: Sequences, steps: npt.NDArray[np.int64]) -> list[str] | None:
    """Spell the tokens at some steps, given as rows of `sequences`; None without tokens."""
    if sequences.tokens is None or sequences.dictionary is None:
        return None
    spelled: list[str] = sequences.dictionary.take(pa.array(sequences.tokens[steps])).to_pylist()
    return spelled


def find(
    batches: Iterable[pa.RecordBatch],
    encoding: Encoding,
    sequence: str | None,
    *,
    where: str,
    skipped: Skipped | None = None,
) -> tuple[Sequences, bool]:
    """Look a sequence up in a table.

    Args:
        batches: consecutive rows of a sequence table, as `birnn.sources.table.read` gives them.
        encoding: the one that the model was trained with.
        sequence: its id; None for the first one.
        where: what to call the table in messages, such as the file's name.
        skipped: see `birnn.model.prediction.prepared`.

    Returns:
        The sequence, and whether the table says its labels.

    Raises:
        DataError: there is no such sequence, or the table is not one that the model can read.
    """
    rows = prediction.prepared(encoding, batches, where=where, skipped=skipped, also="label")
    for chunk, offsets in rows:
        heads = chunk["sequence"].take(pa.array(offsets[:-1])).to_pylist()
        if sequence is None or sequence in heads:
            number = heads.index(sequence) if sequence is not None else 0
            start, end = offsets[number : number + 2]
            found = encoding.encode(chunk.slice(start, end - start), np.array([0, end - start]))
            return found, "label" in chunk.schema.names
    raise DataError(f"{where}, column `sequence`: expected {sequence!r}, found no row with it")


def first(
    batches: Iterable[pa.RecordBatch], encoding: Encoding, count: int, *, where: str
) -> Sequences:
    """Take the first sequences of a table, all of them where it has no more; see `find`."""
    parts: list[pa.Table] = []
    for chunk, offsets in prediction.prepared(encoding, batches, where=where):
        taken = min(count, len(offsets) - 1)
        parts.append(chunk.slice(0, offsets[taken]))
        count -= taken
        if count == 0:
            break
    rows = pa.concat_tables(parts).combine_chunks()
    starts = tables.sequence_starts(rows["sequence"].chunk(0))
    return encoding.encode(rows, np.append(starts, rows.num_rows))


def shape(sequences: int, of_one: Sequence[int]) -> str:
    """The shape of what a layer gives for some sequences, such as `1000 x 10 x 8`."""
    return " x ".join(str(size) for size in (sequences, *of_one))
