"""What the report and `evaluate` hold in memory hardly grows with the data; what they need of each
step, and of each training sequence, lies in temporary files.
"""

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_models import encoding_for

from birnn.data import chance, fingerprints, near_copies, sequences
from birnn.data.buckets import Packing
from birnn.data.sequences import Sequences
from birnn.evaluation import (
    baselines,
    comparison,
    data_checks,
    intervals,
    outs,
)
from birnn.evaluation.data_checks import Splits
from birnn.evaluation.outs import Predicted
from birnn.files import pieces
from birnn.model.architecture import Architecture
from birnn.model.history import Epoch
from birnn.report import batches

LABELS = ["a", "b", "c"]
FEATURES = 2
PACKING = Packing({}, {}, [1, 2], {}, 0.5, 0.25, 0, 0)
EPOCHS = [Epoch(1, 1.0, 1.0, 0.5, 0.5, 0.01, kept=True)]
CAPS = (  # of what is looked at at a time, or sampled: so low that little data pass them
    (pieces, "ROWS", 1 << 12),
    (fingerprints, "_BLOCK", 1 << 14),
    (sequences, "COUNTED", 1 << 10),
    (near_copies, "FIRST_STEPS", 1 << 12),
    (near_copies, "PAIRS", 60),
    (chance, "PAIRS", 60),
    (intervals, "GROUPS", 1 << 7),
    (outs, "ROW_GROUP", 1 << 10),
    (baselines, "MOST_STEPS", 1 << 9),
    (data_checks, "LOOKED_AT", 1 << 10),
    (batches, "MOST_BATCHED", 1 << 7),
)


def split(lengths: tuple[int, int], number: int, seed: int) -> Sequences:
    """Random sequences, each its own group."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(*lengths, number, endpoint=True))])
    ids = pa.array([f"s{seed}.{place}" for place in range(number)])
    return Sequences(
        values=rng.standard_normal((offsets[-1], FEATURES), np.float32),
        offsets=offsets,
        labels=rng.integers(3, size=offsets[-1], dtype=np.int32),
        ids=ids,
        groups=ids,
        tagging=True,
    )


def report(splits: Splits, folder: Path) -> None:
    """What `stages.report` does with the splits, but for reading them."""
    test, labels = splits.test, LABELS
    floor = baselines.answers(splits.train, test, labels=labels, seed=1, folder=folder)
    rungs = [comparison.rung(name, test, said, labels, folder) for name, said in floor.items()]
    assert len(rungs) == 2
    said = floor["each step alone"]
    names = ["x", "y"]
    data_checks.leakage(
        splits, said, features=names, labels=labels, headline="accuracy", folder=folder
    )
    data_checks.label_shift(splits.train, test, labels=labels, folder=folder)
    batches.preparation(PACKING, splits.train.offsets, batch_size=8, batch_steps=None, seed=1)


def evaluate(splits: Splits, folder: Path) -> None:
    """What `stages.evaluate` does with what a model says of the splits."""
    built = Architecture("tagging", "GRU", FEATURES, 0, 4, 1, 0.0, bidirectional=True, classes=3)
    predicted = []
    for one in (splits.test, splits.validation):
        shares = pieces.empty((len(one.labels), 3), np.float32, folder)
        for some, labels in pieces.of(shares, one.labels):
            some[:] = np.where(labels[:, np.newaxis] % 3 == np.arange(3), 0.5, 0.25)
            some[::2] = [0.2, 0.3, 0.5]
        predicted.append(Predicted(one, encoding_for(built), {}, shares, folder=folder))
    test, validation = predicted
    outs.write(folder, test, EPOCHS, validation=validation)
    outs.write_expected_accuracy(folder, validation, test)
    outs.write_slices(folder, test, ["length"], [])


def held(
    work: Callable[[Splits, Path], None], lengths: tuple[int, int], number: int, folder: Path
) -> tuple[int, int]:
    """How many steps there were, and what was held beside them at most, in bytes."""
    splits = Splits(
        train=split(lengths, 2 * number, 1),
        validation=split(lengths, number, 2),
        test=split(lengths, number, 3),
    )
    gc.collect()
    tracemalloc.start()
    try:
        work(splits, folder)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return sum(len(one.labels) for one in (splits.train, splits.validation, splits.test)), peak


@pytest.mark.parametrize(
    ("lengths", "few", "most_a_step"),
    [((150, 250), 60, 1.5), ((5, 15), 400, 8.0)],  # which is 80 bytes a sequence
    ids=["long", "short"],
)
@pytest.mark.slow
@pytest.mark.parametrize("work", [report, evaluate])
def test_memory_hardly_grows(
    work: Callable[[Splits, Path], None],
    lengths: tuple[int, int],
    few: int,
    most_a_step: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module, name, cap in CAPS:
        monkeypatch.setattr(module, name, cap)
    held(work, lengths, 30, tmp_path)  # what is imported, or kept from one call to the next
    steps, least = held(work, lengths, few, tmp_path)
    more_steps, most = held(work, lengths, 4 * few, tmp_path)
    assert (most - least) / (more_steps - steps) < most_a_step
