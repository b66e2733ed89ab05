"""Arrow files and streams: whole, compressed, cut, and such as expand without end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from birnn.errors import DataError
from birnn.files import arrow

ROWS = pa.table(
    {
        "id": pa.array(["a", "b", "c", "d"]).dictionary_encode(),
        "x": pa.array([[1.5, 2.5], [], [3.5], [4.5] * 40]),
        "label": ["p", None, "p", "q"],
    }
)
ZEROS = pa.table({"x": pa.array([np.zeros(400_000)] * 2, pa.list_(pa.float64()))})
WRITERS: dict[str, Callable[..., Any]] = {
    "file": pa.ipc.new_file,
    "stream": pa.ipc.new_stream,
}


def written(path: Path, form: str, compression: str | None, table: pa.Table = ROWS) -> Path:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with WRITERS[form](path, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=2)
    return path


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("form", WRITERS)
def test_rows_are_those_that_were_written(
    tmp_path: Path, form: str, compression: str | None
) -> None:
    path = written(tmp_path / "t.arrow", form, compression)
    batches = [*arrow.batches(path, rows=1)]
    assert [batch.num_rows for batch in batches] == [1] * 4
    assert pa.Table.from_batches(batches).to_pydict() == ROWS.to_pydict()


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("form", WRITERS)
class TestCompressed:
    def test_out_of_proportion(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, compression: str
    ) -> None:
        """Nothing of it is expanded: 6 MB of zeros."""
        monkeypatch.setattr("birnn.files.bounds.FREE", 1 << 20)
        monkeypatch.setattr("birnn.files.bounds.EXPANSION", 2)
        path, before = (
            written(tmp_path / "t.arrow", form, compression, ZEROS),
            pa.total_allocated_bytes(),
        )
        with pytest.raises(DataError, match=r"t\.arrow: expected a file that holds up to 2 times"):
            list(arrow.batches(path, rows=9))
        assert pa.total_allocated_bytes() - before < 1 << 20

    def test_batches_that_are_too_large(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, compression: str
    ) -> None:
        path = written(tmp_path / "t.arrow", form, compression, ZEROS)
        size = sum(buffer.size for buffer in ZEROS["x"].chunk(0).buffers() if buffer)
        monkeypatch.setattr(arrow, "MOST_BYTES", 1 << 20)
        with pytest.raises(
            DataError, match="expected compressed record batches of up to 1 MB, found one"
        ):
            arrow.check(path, 1 << 20)
        arrow.check(path, size + 64)

    def test_where_nothing_may_be(self, tmp_path: Path, form: str, compression: str) -> None:
        arrow.check(written(tmp_path / "t.arrow", form, None), most=0)
        with pytest.raises(DataError, match=r"of up to 0 MB, found one of 6\.1 MB"):
            arrow.check(written(tmp_path / "t.arrow", form, compression, ZEROS), most=0)


def test_a_long_text_in_a_dictionary(tmp_path: Path) -> None:
    """It stands once in the file, and would stand on each step."""
    table = pa.table({"id": pa.array(["a" * 100_000] * 500).dictionary_encode()})
    with pytest.raises(DataError, match="column `id`: expected texts of up to 65536 bytes"):
        list(arrow.batches(written(tmp_path / "t.arrow", "stream", None, table), rows=500))


def test_offsets_that_lead_out_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "t.arrow", "file", None)
    content = path.read_bytes()
    offsets = np.array([0, 2], np.int32).tobytes() + np.array([2], np.int32).tobytes()
    assert content.count(offsets) == 1
    wrong = np.array([0, 2, 1 << 30], np.int32).tobytes()
    path.write_bytes(content.replace(offsets, wrong))
    with pytest.raises(pa.ArrowInvalid):
        list(arrow.batches(path, rows=9))


def test_an_index_that_hides_a_batch(tmp_path: Path) -> None:
    one, two = (
        written(tmp_path / f"{n}.arrow", "file", None, ROWS.slice(0, 2 * n)).read_bytes()
        for n in (1, 2)
    )
    size = int.from_bytes(one[-10:-6], "little") + 10
    behind = int.from_bytes(two[-10:-6], "little") + 10
    (tmp_path / "t.arrow").write_bytes(two[:-behind] + one[-size:])
    with pytest.raises(DataError, match="expected 1 record batches, found 2"):
        list(arrow.batches(tmp_path / "t.arrow", rows=9))
