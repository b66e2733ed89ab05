"""What a model is given that `birnn.model.exporting` has written for other programs.

Inputs, of which a model has those that it reads:

`values`          (batch, steps, features) float32, scaled
`lengths`         (batch,) int64, from 1 to steps; nothing past them changes an answer
`tokens`          (batch, steps) int64, a token's place in the vocabulary from 1; 0 for others
`letters`         (distinct, letters) int64, of each distinct token the places of its letters among
                  `characters` from 1; 0 for others and past its end
`letter_lengths`  (distinct,) int64, from 1
`places`          (batch, steps) int64, which of the distinct tokens each step has

The output, `probabilities`, is (batch, steps, classes) for tagging, where what lies past a length
is to be left out, and (batch, classes) for classification.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from birnn.kernel.arrays import Floats, Ints
from birnn.model import inference
from birnn.model.architecture import Architecture
from birnn.model.padded import Padded

GRAPH, PROGRAM = ".onnx", ".pt2"

INPUTS: Final = {
    "values": "(batch, steps, features) float32, scaled",
    "lengths": "(batch,) int64, from 1 to steps",
    "tokens": "(batch, steps) int64, the place of a token in the vocabulary, from 1; else 0",
    "letters": "(distinct, letters) int64, the places of letters in characters, from 1; else 0",
    "letter_lengths": "(distinct,) int64, letters of each distinct token, from 1",
    "places": "(batch, steps) int64, the distinct token of each step",
}


def shapes(a: Architecture) -> dict[str, list[str | int]]:
    """The inputs that a model has, with their sizes, or the names of those that may be any."""
    known: dict[str, list[str | int]] = {
        "values": ["batch", "steps", a.features],
        "lengths": ["batch"],
        "tokens": ["batch", "steps"],
        "letters": ["distinct", "letters"],
        "letter_lengths": ["distinct"],
        "places": ["batch", "steps"],
    }
    return {name: known[name] for name in read_by(a)}


def read_by(a: Architecture) -> list[str]:
    """The names of the inputs that a model has."""
    values = ["values"] if a.features else []
    tokens = ["tokens"] if a.tokens else []
    letters = ["letters", "letter_lengths", "places"] if a.characters else []
    return [*values, "lengths", *tokens, *letters]


def inputs(a: Architecture, batch: Padded) -> dict[str, Floats | Ints]:
    """What an exported model is given for a batch, by name."""
    known: dict[str, Floats | Ints] = {"values": batch.values, "lengths": batch.lengths}
    if batch.tokens is not None:
        known["tokens"] = inference.known_tokens(a, batch.tokens)
    if batch.spelling is not None:
        letters, known["letter_lengths"], known["places"] = batch.spelling
        known["letters"] = inference.known_letters(inference.alphabet(a), letters)
    return {name: known[name] for name in read_by(a)}


def description_path(path: str | Path) -> Path:
    """Where the description of an exported model lies: beside it, with `.json`."""
    return Path(path).with_suffix(".json")
