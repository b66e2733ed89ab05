"""The ledger: what writers leave, also when they are killed or several."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from answered import predicted

from birnn.errors import DataError
from birnn.serving import ledger, served
from birnn.serving.ledger import Ledger
from birnn.serving.served import Name, Served

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture
def model(trained: Path) -> Served:
    return replace(served.load(str(trained)), name=Name("problem", "3", "abc"))


def names(folder: Path) -> list[str]:
    """The ids of all answers."""
    rows = [row for part in ledger.parts(folder) for row in part.table.to_pylist()]
    return [row["sequence"] for row in rows if row["step"] == 0]


class TestRows:
    def test_say_what_was_answered_and_how_surely(self) -> None:
        found = ledger.rows(*predicted("s", "t"), NOW).to_pydict()
        assert found == {
            "time": [NOW] * 4,
            "sequence": ["s", "s", "t", "t"],
            "step": [0, 1, 0, 1],
            "predicted": ["b"] * 4,
            "confidence": [0.25] * 4,
        }


class TestRecorded:
    def test_holds_all_that_was_passed_on(self, model: Served, tmp_path: Path) -> None:
        tables = [predicted("s", "t")[0], predicted("u")[0]]
        assert [*ledger.recorded(tmp_path / "new", model, iter(tables))] == tables
        (part,) = ledger.parts(tmp_path / "new")
        assert (part.name, part.task, part.max_steps) == (model.name, "tagging", None)
        assert names(tmp_path / "new") == ["s", "t", "u"]

    def test_holds_nothing_of_what_failed(self, model: Served, tmp_path: Path) -> None:
        def failing() -> Iterator[pa.Table]:
            yield predicted("s")[0]
            raise DataError("row 3")

        with pytest.raises(DataError):
            list(ledger.recorded(tmp_path, model, failing()))
        assert [*tmp_path.iterdir()] == []


class TestLedger:
    def test_keeps_models_apart(self, model: Served, tmp_path: Path) -> None:
        other = replace(model, name=Name("problem", "4", "def"))
        with Ledger(tmp_path) as book:
            for who, name in ((model, "s"), (other, "t"), (other, "u"), (model, "v")):
                book.add(who, *predicted(name))
        found = {(part.name.version, len(part.table)) for part in ledger.parts(tmp_path)}
        assert found == {("3", 2), ("4", 4)}
        assert sorted(names(tmp_path)) == ["s", "t", "u", "v"]

    def test_loses_nothing_of_several_writers(self, model: Served, tmp_path: Path) -> None:
        start = threading.Barrier(4)

        def write(number: int) -> None:
            start.wait()
            for turn in range(25):
                (one if number % 2 else two).add(model, *predicted(f"{number}-{turn}"))

        with Ledger(tmp_path) as one, Ledger(tmp_path) as two, ThreadPoolExecutor(4) as writers:
            list(writers.map(write, range(4)))
        assert len(names(tmp_path)) == len({*names(tmp_path)}) == 100

    def test_is_read_while_it_is_written(self, model: Served, tmp_path: Path) -> None:
        with Ledger(tmp_path) as book:
            for number in range(3):
                book.add(model, *predicted(f"s{number}"))
                assert names(tmp_path) == [f"s{n}" for n in range(number + 1)]

    def test_of_a_killed_writer_has_all_whole_answers(self, model: Served, tmp_path: Path) -> None:
        """Whatever the byte at which it ended."""
        with Ledger(tmp_path / "whole") as book:
            for number in range(3):
                book.add(model, *predicted(f"s{number}"))
        (whole,) = (tmp_path / "whole").iterdir()
        content, found = whole.read_bytes(), []
        (tmp_path / "torn").mkdir()
        for end in range(0, len(content) + 1, 7):
            (tmp_path / "torn" / whole.name).write_bytes(content[:end])
            found.append(len(names(tmp_path / "torn")))
        assert found == sorted(found)
        assert {*found} == {0, 1, 2, 3}


@pytest.mark.slow
def test_two_processes_lose_nothing(tmp_path: Path, trained: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from birnn.serving import ledger, served\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from answered import predicted\n"
        f"model = served.load({str(trained)!r})\n"
        "with ledger.Ledger(Path('ledger')) as book:\n"
        "    for n in range(200): book.add(model, *predicted(f'{sys.argv[1]}-{n}'))\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, name], cwd=tmp_path) for name in ("a", "b")
    ]
    assert [one.wait() for one in both] == [0, 0]
    assert sorted(names(tmp_path / "ledger")) == sorted(
        f"{x}-{n}" for x in "ab" for n in range(200)
    )


class TestParts:
    def test_needs_a_ledger(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"expected a ledger, found no file in \.arrows"):
            list(ledger.parts(tmp_path / "none"))

    def test_refuses_another_table(self, tmp_path: Path) -> None:
        table = pa.table({"x": [1]})
        with pa.ipc.new_stream(tmp_path / "a.arrows", table.schema) as writer:
            writer.write_table(table)
        with pytest.raises(DataError, match=r"a\.arrows: expected a part of a ledger, found anoth"):
            list(ledger.parts(tmp_path))
