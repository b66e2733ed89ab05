"""Columns that waited on disk are what went in."""

from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pyarrow as pa
import pytest

from birnn.errors import DataError
from birnn.files import spools
from birnn.files.spools import Numbers, Texts


@pytest.mark.parametrize("on_disk", [True, False])
def test_numbers_come_back(tmp_path: Path, on_disk: bool) -> None:
    found = Numbers.beside(tmp_path / "folder" if on_disk else None)
    rows = np.arange(20, dtype=np.int32).reshape(10, 2)
    found.take(rows[:3])
    found.take(rows[3:][::1])
    np.testing.assert_array_equal(found.array(np.int32, 2), rows, strict=True)
    assert Numbers.beside(tmp_path if on_disk else None).array(np.int64).tolist() == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_texts_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pa.array(["", "é", "abc", "x" * 50, "", "z"])
    with TemporaryFile() as letters, TemporaryFile() as ends:
        column = Texts(letters, ends)
        for part in (texts.slice(0, 2), texts.slice(2, 0), texts.slice(2, 3), texts.slice(5)):
            column.take(part)
        assert column.array().equals(texts)
        monkeypatch.setattr(spools, "MOST_BYTES", 60)
        with pytest.raises(DataError, match="ids or groups of up to 2 GB"):
            column.take(texts)
