"""The record of decisions: whole lines, whatever happens to the one who writes."""

import json
import os
import resource
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birnn.errors import DataError
from birnn.files import hashing
from birnn.files.hashing import Hashes
from birnn.retraining import decisions

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
RECORDS = st.lists(st.dictionaries(st.text(), VALUES, max_size=3), min_size=1, max_size=4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some" / "decisions.jsonl"


class TestAppend:
    def test_what_is_written_is_read(self, path: Path) -> None:
        first = decisions.append(path, {"decision": "promoted", "version": 3})
        second = decisions.append(path, {"decision": "kept", "checks": [{"name": "ä\u2028\n"}]})
        assert decisions.read(path) == [first, second]
        assert path.read_bytes().count(b"\n") == 2

    def test_the_time_is_added_in_utc(self, path: Path) -> None:
        written = decisions.append(path, {})["time"]
        assert written.endswith("+00:00")
        past = datetime.now(UTC) - datetime.fromisoformat(written)
        assert timedelta(0) <= past < timedelta(minutes=1)

    def test_a_time_that_is_given_stays(self, path: Path) -> None:
        assert decisions.append(path, {"time": "2026-01-01T00:00:00+00:00"})["time"][:4] == "2026"

    @pytest.mark.parametrize("value", [float("nan"), float("-inf"), object()])
    def test_what_json_cannot_hold_is_refused(self, path: Path, value: Any) -> None:
        decisions.append(path, {"a": 1})
        before = path.read_bytes()
        with pytest.raises((ValueError, TypeError)):
            decisions.append(path, {"figure": value})
        assert path.read_bytes() == before

    def test_a_full_disk_names_the_record_and_spoils_none(self, path: Path) -> None:
        decisions.append(path, {"a": 1})
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
        try:
            with pytest.raises(OSError, match="File too large") as full:
                decisions.append(path, {"a": 2})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert full.value.filename == str(path)
        decisions.append(path, {"a": 3})
        assert [record["a"] for record in decisions.read(path)] == [1, 3]

    def test_no_secret_is_kept(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
        record = {"reason": "t0ken!", "checks": [{"sentence": "a t0ken"}], "version": 3}
        written = decisions.append(path, record)
        assert written["checks"] == [{"sentence": "a ..."}]
        assert "t0ken" not in path.read_text()

    def test_it_is_on_the_disk_before_the_call_returns(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced = []
        sync = os.fsync

        def spy(number: int) -> None:
            synced.append((os.fstat(number).st_ino, path.read_bytes()))
            sync(number)

        monkeypatch.setattr(os, "fsync", spy)
        decisions.append(path, {"a": 1})
        assert synced[0] == (path.stat().st_ino, path.read_bytes())
        assert synced[1][0] == path.parent.stat().st_ino

    def test_writers_take_turns(self, path: Path) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: decisions.append(path, {"n": n, "x": "y" * n}), range(64)))
        assert sorted(record["n"] for record in decisions.read(path)) == list(range(64))


def hashes(first: int, last: int) -> Hashes:
    """Of the sequences with these numbers."""
    return hashing.mixed(np.arange(first, last))


class TestUses:
    def uses(self, now: Hashes, *before: Hashes) -> float:
        records: list[dict[str, Any]] = [{"test_sample": decisions.sample(one)} for one in before]
        return decisions.uses([{"decision": "skipped"}, *records], "x", decisions.sample(now))

    def test_of_records_that_name_the_hash_alone(self) -> None:
        records = [{"test_sha256": "x"}, {"decision": "rolled back"}, {"test_sha256": "y"}] * 2
        assert decisions.uses(records, "x", decisions.sample(hashes(0, 9))) == 2

    def test_the_same_set_counts_whole(self) -> None:
        assert self.uses(hashes(0, 100)) == 0
        assert self.uses(hashes(0, 100), hashes(0, 100), hashes(0, 100)) == 2
        assert self.uses(hashes(0, 9000), hashes(0, 9000)) == 1

    def test_one_more_sequence_makes_no_fresh_set(self) -> None:
        assert self.uses(hashes(0, 101), hashes(0, 100)) == pytest.approx(100 / 101)
        assert self.uses(hashes(0, 9001), hashes(0, 9000)) == pytest.approx(1, abs=0.01)

    def test_other_sequences_do_not_count(self) -> None:
        assert self.uses(hashes(0, 100), hashes(100, 200)) == 0
        assert self.uses(hashes(0, 9000), hashes(9000, 99000)) == 0

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_the_share_of_large_sets_is_estimated(self, share: float) -> None:
        size, found = 5000, []
        for start in range(0, 200_000, 10_000):
            first = start + int(size * (1 - share))
            found.append(self.uses(hashes(start, start + size), hashes(first, first + size)))
        assert np.mean(found) == pytest.approx(share, abs=0.03)
        assert np.quantile(np.abs(np.array(found) - share), 0.9) < 0.06

    def test_from_eight_on_it_is_said_that_they_are_not_fresh(self) -> None:
        assert decisions.staleness(7.9) == ""
        assert decisions.staleness(8) == (
            " The test sequences are no longer fresh: they have served 8 decisions, of which a "
            "model that should not serve passes one with a chance of up to 20 %. "
            "Bring new test sequences."
        )

    def test_chances_add_up(self) -> None:
        """Models that are no better, judged on one set: how often at least one of eight passes."""
        rng = np.random.default_rng(0)
        passes = rng.standard_normal((20_000, 8)) > 1.959964  # the upper end of a 95 % interval
        assert passes.any(axis=1).mean() <= 8 * decisions.ERROR


class TestTornLines:
    @given(RECORDS, st.data())
    def test_a_record_is_whole_or_not_there(
        self, records: list[dict[str, Any]], data: st.DataObject
    ) -> None:
        """Cut the file anywhere: the records before the cut are left, and writing goes on."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "decisions.jsonl"
            lines = [json.dumps(record).encode() + b"\n" for record in records]
            content = b"".join(lines)
            cut = data.draw(st.integers(0, len(content)))
            path.write_bytes(content[:cut])
            whole = [
                record
                for number, record in enumerate(records, start=1)
                if len(b"".join(lines[:number])) <= cut
            ]
            assert decisions.read(path) == whole
            added = decisions.append(path, {"decision": "kept"})
            assert decisions.read(path) == [*whole, added]

    @pytest.mark.parametrize("before", [b"", b'{"a": 1}\n'])
    @pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 200_000])
    def test_a_long_one_is_cut_off_too(self, path: Path, before: bytes, size: int) -> None:
        path.parent.mkdir()
        path.write_bytes(before + b"x" * size)
        added = decisions.append(path, {"b": 2})
        assert path.read_bytes() == before + json.dumps(added).encode() + b"\n"


class TestRead:
    def test_nothing_was_decided_yet(self, path: Path) -> None:
        assert decisions.read(path) == []

    @pytest.mark.parametrize(
        ("line", "found"),
        [("{", "expected JSON, found Expecting"), ("[1]", "expected a record, found [1]")],
    )
    def test_a_line_that_was_changed(self, tmp_path: Path, line: str, found: str) -> None:
        path = tmp_path / "decisions.jsonl"
        path.write_text(f'{{"a": 1}}\n{line}\n{{"b": 2}}\n')
        with pytest.raises(DataError) as refused:
            decisions.read(path)
        assert str(refused.value).startswith(f"{path}, line 2: {found}")
        assert "\n" not in str(refused.value)

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        path = tmp_path / "decisions.jsonl"
        path.write_bytes(b"\xff\x00\n")
        with pytest.raises(DataError, match="line 1: expected JSON"):
            decisions.read(path)
