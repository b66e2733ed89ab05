"""The same tagger in Keras 3 on JAX, with masks: `pip install keras jax` to see it in the table."""

import os
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec

from benchmarks.padded import Padded


def installed() -> bool:
    """Whether there is a Keras with a JAX below it."""
    return all(find_spec(name) is not None for name in ("keras", "jax"))


def epoch(
    batches: Iterable[Padded], *, cell: str, features: int, hidden: int, classes: int
) -> Callable[[], object]:
    """Prepare the batches; what comes back trains on them once."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = import_module("keras")
    layer = getattr(keras.layers, "SimpleRNN" if cell == "RNN" else cell)
    model = keras.Sequential(
        [
            keras.Input((None, features)),
            keras.layers.Masking(0.0),
            keras.layers.Bidirectional(layer(hidden, return_sequences=True)),
            keras.layers.Dense(classes),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss)
    ready = list(batches)

    def train() -> None:
        for one in ready:
            model.train_on_batch(one.values, one.labels, sample_weight=one.real)

    return train
