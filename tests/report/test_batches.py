"""What the report shows of batches: to scale, true of the data, and said where it is invented."""

import re
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import pytest

from birnn.data import buckets
from birnn.report import batches
from birnn.report.batches import Preparation

LENGTHS = np.random.default_rng(0).integers(3, 30, 50)


def prepare(lengths: npt.NDArray[np.int64], batch_size: int = 16) -> Preparation:
    knobs = {"batch_size": batch_size, "batch_steps": None, "seed": 1}
    split = {"train": lengths, "validation": lengths[:9], "test": lengths[:5]}
    packing = buckets.packing(split, **knobs, duplicates=0, conflicts=0)  # type: ignore[arg-type]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    found = batches.preparation(packing, offsets, **knobs)  # type: ignore[arg-type]
    if not found.invented:
        assert found.padding_at_random == packing.padding_at_random
        assert found.padding_as_batched == packing.padding_as_batched
    return found


def rows(picture: str) -> list[float]:
    """How far each row of a picture reaches, as a share of the longest."""
    paths = [path.get("d", "") for path in ET.fromstring(picture).iter("path")]
    ends = [float(end) for path in paths for end in re.findall(r"H([\d.]+)v", path)]
    return [(end - 1) / (max(ends) - 1) for end in ends]


class TestPreparation:
    def test_the_first_random_batches_are_drawn_to_scale(self) -> None:
        both = buckets.both_ways(LENGTHS, batch_size=16, batch_steps=None, seed=1)
        found = prepare(LENGTHS)
        shown = np.concatenate([LENGTHS[batch] for batch in both.at_random[:3]])
        assert rows(found.pictures["at_random"]) == pytest.approx(shown / shown.max(), abs=1e-3)
        assert not found.invented

    def test_the_packed_order_is_sorted_and_counts_all_steps(self) -> None:
        both = buckets.both_ways(LENGTHS, batch_size=16, batch_steps=None, seed=1)
        found, first = prepare(LENGTHS), np.sort(LENGTHS[both.at_random[0]])[::-1]
        assert rows(found.pictures["packed"]) == pytest.approx(first / first[0], abs=1e-3)
        assert (found.sequences, found.steps) == (16, first.sum())
        assert found.padded == 16 * first[0]
        assert found.first_sizes.startswith(f"[{found.sizes[0]}, {found.sizes[1]}, ")

    def test_both_ways_are_to_one_scale(self) -> None:
        pictures = prepare(np.array([2] * 8 + [20] * 8), batch_size=8).pictures
        widths = [
            [float(box.attrib["width"]) for box in ET.fromstring(pictures[name]).iter("rect")]
            for name in ("at_random", "as_batched")
        ]
        assert widths[0][0] == widths[0][1] == max(widths[1])
        assert min(widths[1]) == pytest.approx(max(widths[1]) / 10, abs=0.1)

    def test_a_large_batch_is_drawn_in_part_with_its_longest(self) -> None:
        lengths = np.arange(1, 501)
        found = rows(prepare(lengths, batch_size=500).pictures["packed"])
        assert len(found) == batches.ROWS
        assert found[0] == 1
        assert found[-1] == pytest.approx(1 / 500, abs=1e-3)

    def test_equal_lengths_are_replaced_by_others_from_the_seed(self) -> None:
        found = prepare(np.full(200, 10))
        assert found.invented
        assert found.padding_at_random > 0.3
        assert found.padding_as_batched < found.padding_at_random
        assert len(found.sizes) <= batches.LONGEST
        assert "lengths" not in found.pictures
        assert found == prepare(np.full(200, 10))

    def test_the_histogram_has_a_line_for_each_split(self) -> None:
        label = ET.fromstring(prepare(LENGTHS).pictures["lengths"]).attrib["aria-label"]
        assert all(f"{split}: " in label for split in ("train", "validation", "test"))
