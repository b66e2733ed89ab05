"""The same tagger in Keras 3 on JAX, with masks: `pip install keras jax` to see it in the table."""

import os
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from birnn.model.batching import Batch

COMPILED_STEPS = 32  # JAX compiles for each number of steps, so it is rounded up to these


def installed() -> bool:
    """Whether there is a Keras with a JAX below it."""
    return all(find_spec(name) is not None for name in ("keras", "jax"))


def epoch(
    batches: Iterable[Batch], *, cell: str, features: int, hidden: int, classes: int
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
    ready = [_arrays(batch) for batch in batches]

    def train() -> None:
        for values, labels, real in ready:
            model.train_on_batch(values, labels, sample_weight=real)

    return train


def _arrays(batch: Batch) -> list[npt.NDArray[np.float32]]:
    """Values, labels and weights, with the sequences and steps that a compiled call expects."""
    steps = batch.values.shape[1]
    extra = -steps % COMPILED_STEPS
    values = np.pad(batch.values.numpy(), ((0, 0), (0, extra), (0, 0)))
    labels = np.pad(batch.labels.clamp(min=0).numpy(), ((0, 0), (0, extra)))
    real = np.arange(steps + extra) < batch.lengths.numpy()[:, None]
    return [values, labels, real.astype(np.float32)]
