"""Sequences that come from one origin, as `birnn check` tells of them."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from birnn.data import origins
from birnn.files import tables
from birnn.files.tables import Chunk


def windows(step: int, **columns: str) -> Iterator[Chunk]:
    """60 windows of 20 steps of one recording, and other columns by their first letter."""
    long = np.random.default_rng(0).standard_normal(60 * step + 20).astype(np.float32)
    values = np.concatenate([long[start : start + 20] for start in range(0, 60 * step, step)])
    ids = [f"w{number}" for number in range(60) for _ in range(20)]
    more = {name: [f"{letter}{one}" for one in ids] for name, letter in columns.items()}
    batch = pa.record_batch({"sequence": ids, "x": values, "label": ["a"] * len(ids), **more})
    return tables.whole_sequences([batch])


def test_windows_that_overlap_are_told_of() -> None:
    (line,) = origins.notes(windows(5))
    assert "of 2" in line or "of 3" in line
    assert "'w" in line
    assert "a column `group`" in line


def test_windows_that_do_not_are_no_matter() -> None:
    assert list(origins.notes(windows(20))) == []


def test_groups_say_it_themselves() -> None:
    assert list(origins.notes(windows(5, group="g"))) == []


def test_a_split_column_does_not_decide_what_is_looked_up() -> None:
    found = origins.related(windows(5, split="s"))
    assert 20 <= found.sequences <= 40
    assert found.found > found.sequences / 2
