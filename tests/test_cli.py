"""The command `birnn`: what it prints and writes, and how it ends."""

import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
import yaml
from conftest import ROOT

from birnn import cli, params
from birnn.evaluation.headlines import Figure
from birnn.files import atomic, records
from birnn.model import prediction, saved_model
from birnn.report import pages
from birnn.report.tested import Compared, Row
from birnn.retraining import schedule, service, steps
from birnn.retraining.recovery import Outcome
from birnn.serving import ledger, server
from birnn.serving.requests import Limits
from birnn.serving.server import Options
from birnn.tracking import registry, runs
from birnn.tracking.registry import Registry

PIPELINE = ("predict", "score", "summary", "report", "backfill")
PROMOTED = "models/bidirectional"
COMMANDS = (*PIPELINE, "retrain", "rollback", "status", "schedule", "serve", "shadow")


class Ended(NamedTuple):
    status: object
    out: str
    err: str


Birnn = Callable[..., Ended]


@pytest.fixture
def birnn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Birnn:
    """Runs the command in this process."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setenv("TERM", "dumb")  # plain text, also where CI asks for colours
        monkeypatch.setattr(sys, "argv", ["birnn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Ended(ended.value.code, *capsys.readouterr())

    return run


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_class_that_the_terminal_cannot_show_is_checked(tmp_path: Path, encoding: str) -> None:
    rows = "sequence,x,label\na,1,caf\u00e9\na,2,\u8a9e\n"
    (tmp_path / "t.csv").write_text(rows, encoding="utf-8")
    command = [sys.executable, "-c", "from birnn.cli import main; main()", "check", "t.csv"]
    settings = os.environ | {"PYTHONIOENCODING": encoding, "TERM": "dumb"}
    ended = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"\\u8a9e" in ended.stdout


ROUND = """
import os
from birnn.cli import main
class Round:
    def __del__(self, write=os.write):
        write(1, b"looked for")
one = Round()
one.itself = one
main()
"""


def test_ends_without_a_last_look_for_garbage() -> None:
    """Among all that a command imports, which would take a second."""
    ended = subprocess.run(
        [sys.executable, "-c", ROUND, "--help"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Usage: birnn" in ended.stdout
    assert "looked for" not in ended.stdout


@pytest.fixture
def place(runs_root: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a model and a table to predict, `new.csv`."""
    monkeypatch.chdir(runs_root)
    shutil.copytree(trained, runs_root / "models/bidirectional")
    drawn().to_csv(runs_root / "new.csv", index=False)
    return runs_root


def drawn() -> pd.DataFrame:
    lengths, rng = [3, 1, 5], np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((sum(lengths), 2)), columns=["x", "y"])
    return frame.assign(sequence=np.repeat(["007", "b", "ü"], lengths))


def directly(folder: Path) -> pd.DataFrame:
    """What the library predicts for the table."""
    batches = pa.Table.from_pandas(drawn(), preserve_index=False).to_batches()
    cpu = torch.device("cpu")
    predicted = prediction.of_table(*saved_model.load(folder), batches, where="here", device=cpu)
    frame: pd.DataFrame = pa.concat_tables(predicted).to_pandas()
    frame.insert(1, "step", frame.groupby("sequence").cumcount())
    return frame


def read_csv(source: Path | io.StringIO) -> pd.DataFrame:
    return pd.read_csv(source, dtype={"sequence": "str", "predicted": "str"})


class TestPredict:
    def test_prints_csv(self, place: Path, birnn: Birnn) -> None:
        ended = birnn("predict", "new.csv", "--device", "cpu")
        assert (ended.status, ended.err) == (0, "")
        predicted = read_csv(io.StringIO(ended.out))
        pd.testing.assert_frame_equal(
            predicted, directly(place / "models/bidirectional"), check_dtype=False
        )
        assert predicted["sequence"].tolist() == ["007"] * 3 + ["b"] + ["ü"] * 5

    @pytest.mark.parametrize("source", ["new.csv", "new.parquet"])
    @pytest.mark.parametrize("output", ["out.csv", "out.parquet", "new/folder/out.parquet"])
    def test_reads_and_writes_files(
        self, place: Path, birnn: Birnn, source: str, output: str
    ) -> None:
        drawn().to_parquet(place / "new.parquet", index=False)
        assert birnn("predict", source, "--output", output) == (0, "", "")
        read = pd.read_parquet if output.endswith("parquet") else read_csv
        expected = directly(place / "models/bidirectional")
        pd.testing.assert_frame_equal(read(place / output), expected, check_dtype=False)

    @pytest.mark.parametrize("output", ["new.csv", "./new.csv", "link.csv"])
    def test_does_not_replace_what_it_reads(self, place: Path, birnn: Birnn, output: str) -> None:
        (place / "link.csv").symlink_to("new.csv")
        before = (place / "new.csv").read_bytes()
        ended = birnn("predict", "new.csv", "--output", output)
        check_one_line(ended, ": expected another place than the input, new.csv, which it would")
        assert (place / "new.csv").read_bytes() == before

    def test_writes_through_a_link(self, place: Path, birnn: Birnn) -> None:
        (place / "out.csv").symlink_to("there.csv")
        assert birnn("predict", "new.csv", "--output", "out.csv") == (0, "", "")
        assert (place / "out.csv").is_symlink()
        assert len(read_csv(place / "there.csv")) == 9

    @pytest.mark.parametrize(
        "arguments",
        [
            ("check", "pipe.csv"),
            ("check", "pipe.fa"),
            ("check", "pipe.yaml"),
            ("check", "folder"),
            ("predict", "pipe.csv"),
            ("predict", "pipe.parquet"),
            ("trace", "pipe.csv"),
            ("score", "pipe.csv"),
            ("score", "pipe.parquet"),
        ],
    )
    def test_waits_for_no_pipe(self, place: Path, birnn: Birnn, arguments: tuple[str, ...]) -> None:
        (place / "folder").mkdir()
        for name in ("pipe.csv", "pipe.fa", "pipe.yaml", "pipe.parquet", "folder/pipe.csv"):
            os.mkfifo(place / name)
        check_one_line(birnn(*arguments), "expected a file, found a pipe or a device")

    @pytest.mark.parametrize("kind", ["csv", "parquet"])
    def test_reads_standard_input(
        self, place: Path, birnn: Birnn, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn().to_parquet(place / "new.parquet", index=False)
        with (place / f"new.{kind}").open("rb") as given:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given))
            ended = birnn("predict", "-")
        assert (ended.status, ended.err) == (0, "")
        expected = directly(place / "models/bidirectional")
        pd.testing.assert_frame_equal(read_csv(io.StringIO(ended.out)), expected, check_dtype=False)

    def test_says_where_standard_input_is_wrong(
        self, place: Path, birnn: Birnn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = io.BytesIO(b"sequence,x,y\na,1,2\na,1,\n")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given))
        check_one_line(birnn("predict", "-"), "error: standard input.csv, row 2, column `y`: exp")

    def test_writes_json_lines(self, place: Path, birnn: Birnn) -> None:
        assert birnn("predict", "new.csv", "--output", "out.jsonl") == (0, "", "")
        lines = (place / "out.jsonl").read_text(encoding="utf-8").splitlines()
        found = pd.DataFrame([json.loads(line) for line in lines])
        expected = directly(place / "models/bidirectional")
        pd.testing.assert_frame_equal(found, expected, check_dtype=False)

    def test_takes_the_model_that_is_named(self, place: Path, birnn: Birnn) -> None:
        shutil.move(place / "models/bidirectional", place / "other")
        assert birnn("predict", "new.csv", "--model", "other").status == 0

    def test_takes_the_model_that_serves(self, place: Path, birnn: Birnn, trained: Path) -> None:
        """From MLflow, by its alias or an address, where `models/` holds nothing."""
        for name in ("test.arrow", "encoding.json"):
            (place / name).touch()
        shutil.copy(ROOT / "params.yaml", place)
        shutil.rmtree(place / "models")
        missing = birnn("predict", "new.csv", "--model", "champion")
        check_one_line(missing, "tagging: expected a champion, found none; run `birnn retrain`")
        run = runs.run_of_model("tagging", "bidirectional", trained, params={}, data=place)
        known = registry.connect("tagging")
        number = known.register(run.id, {}).number
        known.point({"champion": number, "previous": None, "challenger": None})
        for address in ("champion", "models:/tagging@champion"):
            ended = birnn("predict", "new.csv", "--device", "cpu", "--model", address)
            assert (ended.status, ended.err) == (0, "")
            predicted = read_csv(io.StringIO(ended.out))
            pd.testing.assert_frame_equal(predicted, directly(trained), check_dtype=False)
        assert birnn("trace", "new.csv", "--model", "champion").status == 0

    def test_is_recorded_and_scored_when_labels_come(self, place: Path, birnn: Birnn) -> None:
        command = ("predict", "new.csv", "--output", "out.csv", "--device", "cpu")
        assert birnn(*command, "--record") == (0, "", "")
        (part,) = ledger.parts("ledger")
        predicted = read_csv(place / "out.csv")
        assert part.table["sequence"].to_pylist() == predicted["sequence"].tolist()
        assert part.name.sha256 == runs.model_sha256(place / "models/bidirectional")
        labels = predicted[["sequence"]].assign(label=["a"] * 9)
        labels.to_csv(place / "labels.csv", index=False)
        ended = birnn("score", "--recorded", "labels.csv", "--json")
        (period,) = json.loads(ended.out)
        right = (predicted["predicted"] == "a").mean()
        assert (ended.status, period["accuracy"]) == (0, pytest.approx(right))
        ended = birnn("score", "labels.csv", "--recorded", "--ledger", "ledger")
        assert "what was answered, by week" in ended.out
        assert "they would rest on 3 sequences, and need 5." in ended.out

    def test_that_fails_is_not_recorded(self, place: Path, birnn: Birnn) -> None:
        (place / "new.csv").write_text("sequence,x,y\ns,1,2\nt,1,\n")
        ended = birnn("predict", "new.csv", "--output", "out.csv", "--record")
        check_one_line(ended, "expected a finite number")
        assert [*(place / "ledger").iterdir()] == []

    def test_says_what_was_left_out_where_nothing_is_left(self, place: Path, birnn: Birnn) -> None:
        (place / "t.csv").write_text("text,label\n,p\nhi,q\n,p\n")
        ended = birnn("check", "t.csv")
        assert ended.status == 1
        first, last = ended.err.splitlines()
        assert first == "left out: texts without a token, 2 in all, the first in t.csv, line 2"
        assert last.startswith("error: t.csv, column `label`: expected two classes or more")

    @pytest.mark.parametrize(
        "arguments",
        [
            ("check", "folder.yaml"),
            ("check", "x" * 300),
            ("predict", "new.csv", "--output", "new.csv/out.csv"),
            ("predict", "new.csv", "--model", "new.csv"),
        ],
    )
    def test_a_path_that_cannot_be(
        self, place: Path, birnn: Birnn, arguments: tuple[str, ...]
    ) -> None:
        (place / "folder.yaml").mkdir()
        ended = birnn(*arguments)
        assert (ended.status, ended.out) == (1, "")
        assert ended.err.startswith("error: ")
        assert ended.err.count("\n") == 1


class TestScore:
    @pytest.fixture
    def scored(self, place: Path) -> Path:
        frame = pd.DataFrame({"sequence": np.repeat(["007", "b"], 50), "actual": "no"})
        frame.loc[90:, "actual"] = "yes"
        frame.assign(predicted="no").to_csv(place / "scored.tsv", index=False, sep="\t")
        return place / "scored.tsv"

    def test_as_json(self, scored: Path, birnn: Birnn) -> None:
        ended = birnn("score", scored, "--json")
        assert (ended.status, ended.err) == (0, "")
        found = json.loads(ended.out)
        assert (found["accuracy"], found["recall_yes"], found["support_yes"]) == (0.9, 0, 10)

    def test_as_json_for_a_terminal_without_accents(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = "sequence,actual,predicted\na,caf\u00e9,caf\u00e9\nb,\u8a9e,caf\u00e9\n"
        (place / "scored.csv").write_text(rows)
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
        monkeypatch.setattr(sys, "argv", ["birnn", "score", "scored.csv", "--json"])
        with pytest.raises(SystemExit):
            cli.main()
        found = json.loads(raw.getvalue().decode("ascii"))
        assert (found["recall_caf\u00e9"], found["recall_\u8a9e"]) == (1, 0)

    def test_says_what_was_read_as_something_else(self, place: Path, birnn: Birnn) -> None:
        (place / "scored.csv").write_text("sequence,actual,predicted\na,1,1.0\nb,0,1.0\n")
        ended = birnn("score", "scored.csv", "--json")
        assert json.loads(ended.out)["accuracy"] == 0.5
        assert ended.err == "note: classes are equal as numbers: read '1.0' as '1'\n"

    def test_in_tables(self, scored: Path, birnn: Birnn) -> None:
        ended = birnn("score", scored)
        assert (ended.status, ended.err) == (0, "")
        for shown in ("100 rows of 2 sequences", "accuracy", "0.9000", "yes", "by length"):
            assert shown in ended.out

    def test_what_evaluate_has_written(self, place: Path, birnn: Birnn) -> None:
        assert birnn("predict", "new.csv", "--output", "out.parquet").status == 0
        predicted = pd.read_parquet("out.parquet").assign(label="a")
        predicted.to_parquet("out.parquet", index=False)
        found = json.loads(birnn("score", "out.parquet", "--json").out)
        assert found["support_a"] == len(predicted)
        assert found["log_loss"] > 0


class TestHostileNames:
    """Of classes, columns, sequences and files: none reaches the terminal as it is."""

    NAME = "\u202eevil\x1b[2J\x9b[bold]"

    def shown(self, birnn: Birnn, *arguments: object) -> str:
        ended = birnn(*arguments)
        assert not {"\u202e", "\x1b", "\x9b"} & {*(ended.out + ended.err)}
        return ended.out + ended.err

    @pytest.fixture
    def hostile(self, place: Path) -> pd.DataFrame:
        frame = drawn().replace("007", self.NAME).assign(label=["a", self.NAME, "b"] * 3)
        frame.rename(columns={"x": self.NAME}).to_csv(place / "hostile.csv", index=False)
        frame.to_csv(place / f"{self.NAME}.csv", index=False)
        return frame

    def test_in_data_that_are_checked(self, birnn: Birnn, hostile: pd.DataFrame) -> None:
        for file in ("hostile.csv", f"{self.NAME}.csv", f"{self.NAME}.none", f"no {self.NAME}.csv"):
            assert r"\u202eevil\x1b" in self.shown(birnn, "check", file)

    def test_in_data_that_are_wrong(self, birnn: Birnn, place: Path, hostile: pd.DataFrame) -> None:
        wrong = hostile.assign(x=[0.5] * 8 + [np.inf]).rename(columns={"x": self.NAME})
        wrong.to_csv(place / "wrong.csv", index=False)
        assert "expected a finite number" in self.shown(birnn, "check", "wrong.csv")
        again = pd.concat([hostile, hostile.iloc[:1]])
        again.to_csv(place / "wrong.csv", index=False)
        assert "goes on after another one began" in self.shown(birnn, "check", "wrong.csv")

    def test_in_predictions(self, birnn: Birnn, place: Path, hostile: pd.DataFrame) -> None:
        hostile.drop(columns="label").to_csv(place / f"{self.NAME}.csv", index=False)
        assert "1 x 3 x 2" in self.shown(birnn, "trace", f"{self.NAME}.csv")
        named = ("trace", f"{self.NAME}.csv", "--sequence", f"{self.NAME}!")
        assert r"\u202eevil" in self.shown(birnn, *named)
        scored = hostile.assign(actual=hostile["label"], predicted=self.NAME, city=self.NAME)
        scored = scored.rename(columns={"city": self.NAME})
        scored.to_csv(place / "scored.csv", index=False)
        for options in ([], ["--json"], ["--by", self.NAME], ["--by", f"{self.NAME}!"]):
            assert r"\u202eevil" in self.shown(birnn, "score", "scored.csv", *options)
        (place / "scored.csv").write_text(f"sequence,actual,predicted\na,{self.NAME},b\n")
        assert r"\u202eevil" in self.shown(birnn, "score", "scored.csv")


class TestTrace:
    def test_shows_layers_and_answers_of_a_sequence(self, place: Path, birnn: Birnn) -> None:
        ended = birnn("trace", "new.csv", "--sequence", "ü")
        assert (ended.status, ended.err) == (0, "")
        for text in ("1 x 5 x 2", "1 x 5 x 8", "backward states", "past only"):
            assert text in ended.out
        expected = directly(place / "models/bidirectional").iloc[-1]["predicted"]
        step, said, *_ = ended.out.splitlines()[-2].replace("│", " ").split(maxsplit=3)
        assert (step, said) == ("5", expected)

    def test_of_the_first_sequence_and_its_first_steps(self, place: Path, birnn: Birnn) -> None:
        ended = birnn("trace", "new.csv", "--steps", 2)
        assert "1 x 3 x 2" in ended.out
        assert [line.split()[1] for line in ended.out.splitlines()[-3:-1]] == ["1", "2"]

    def test_of_a_batch_shapes_axes_and_slips(self, place: Path, birnn: Birnn) -> None:
        ended = birnn("trace", "new.csv", "--batch", 2)
        assert (ended.status, ended.err) == (0, "")
        for text in ("2 x 3 x 2", "2 x 3 x 8", "2 x 2 x 4", "lengths 3 1;", "softmax(dim=1)"):
            assert text in ended.out

    def test_of_a_batch_or_of_a_sequence(self, place: Path, birnn: Birnn) -> None:
        ended = birnn("trace", "new.csv", "--batch", 2, "--sequence", "ü")
        assert ended.status == 2
        assert "expected --sequence or --batch, found both" in ended.err


class TestSummary:
    def test_puts_what_changed_into_a_copy_of_the_report(
        self, place: Path, birnn: Birnn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = f"<main>{pages.AFTER_VERDICT}</main>"
        atomic.write_text(place / "report/report.html", page)
        records.write(place / "report/comparison.json", Compared([], "", "", None))
        verdict = {"model": "m", "sentence": "good", "checks": []}
        atomic.write_json(place / "report/verdict.json", verdict)
        changes = [("", "last commit", "now"), ("train.seed", "1", "2")]
        monkeypatch.setattr(cli, "_changes", lambda: changes)
        ended = birnn("summary")
        assert ended.out.splitlines()[-1] == "report/changes.html"
        assert "train.seed" in ended.out
        assert "train.seed" in (place / "report/changes.html").read_text()
        assert (place / "report/report.html").read_text() == page
        monkeypatch.setattr(cli, "_changes", list)
        assert birnn("summary").out.splitlines()[-1] == "report/report.html"
        assert not (place / "report/changes.html").exists()

    def test_shows_the_ladder_the_verdict_and_what_is_wrong(
        self, place: Path, birnn: Birnn
    ) -> None:
        row = Row("forward", Figure(0.75, 0.5, 1.0), None, None, None, None)
        checks = [
            {"name": name, "status": status, "sentence": f"About {name}."}
            for name, status in {"leakage": "fail", "overfitting": "warn", "other": "pass"}.items()
        ]
        verdict = {"model": "bidirectional", "sentence": "bad: it is", "checks": checks}
        records.write(
            place / "report/comparison.json", Compared([row], "It helps.", "Intervals.", None)
        )
        atomic.write_json(place / "report/verdict.json", verdict)
        ended = birnn("summary")
        assert ended.status == 0
        assert "0.750 (0.500 to 1.000)" in ended.out
        assert ended.out.splitlines()[-5:] == [
            "It helps.",
            "bidirectional is bad: it is",
            "fail: leakage: About leakage.",
            "warn: overfitting: About overfitting.",
            "report/report.html",
        ]


class TestRetraining:
    @pytest.fixture(autouse=True)
    def in_order(self, place: Path) -> Iterator[None]:
        """In the working directory; signals are handled as before at the end."""
        shutil.copy(ROOT / "params.yaml", place)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        yield
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def test_prints_what_was_decided(self, birnn: Birnn, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = mock.Mock(return_value=Outcome("promoted", "Version 4 serves now.", 4))
        monkeypatch.setattr(steps, "retrain", asked)
        ended = birnn("retrain")
        assert (ended.status, ended.err) == (0, "")
        assert ended.out.startswith(
            "promoted: Version 4 serves now.\nservers: `birnn serve` answers"
        )
        asked.assert_called_once_with(params.load())

    def test_is_approved_with_a_comment(
        self, birnn: Birnn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = mock.Mock(return_value=Outcome("promoted", "Version 4 serves now.", 4))
        monkeypatch.setattr(service, "approve", asked)
        ended = birnn("retrain", "--approve", 4, "--comment", "Seen.")
        said, servers = ended.out.splitlines()
        assert (ended.status, said, ended.err) == (0, "promoted: Version 4 serves now.", "")
        assert "`birnn serve` answers by it within a minute; a running `mlflow models" in servers
        assert "models:/tagging@champion" in servers
        asked.assert_called_once_with(params.load(), 4, comment="Seen.")
        assert birnn("retrain", "--comment", "Seen.").status == 2

    def test_says_what_is_left_to_commit(
        self, birnn: Birnn, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        subprocess.run(["git", "init", "--quiet"], check=True)
        (place / "decisions.jsonl").touch()
        (place / "data/external").mkdir(parents=True)
        (place / "data/external/new data.csv").touch()
        outcome = Outcome("kept", "Version 4 does not serve.", 4)
        monkeypatch.setattr(steps, "retrain", lambda _: outcome)
        said = "left to do: git add data/external/ decisions.jsonl && git commit"
        ended = birnn("retrain")
        assert said in ended.out
        assert "servers:" not in ended.out

    def test_of_which_the_plan_is_shown(
        self, birnn: Birnn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(steps, "plan", lambda _: ["refresh: nothing", "train: now"])
        assert birnn("retrain", "--dry-run") == (0, "refresh: nothing\ntrain: now\n", "")

    def test_is_ended_by_the_first_signal_and_by_no_other(
        self, birnn: Birnn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended = []

        def work(_: object) -> Outcome:
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)
                ended.append("as it should")
            raise AssertionError("it goes on")

        monkeypatch.setattr(steps, "retrain", work)
        assert birnn("retrain").status == 143
        assert ended == ["as it should"]

    def test_is_rolled_back(self, birnn: Birnn, monkeypatch: pytest.MonkeyPatch) -> None:
        outcome = Outcome("rolled back", "Version 1 serves again.", 2)
        asked = mock.Mock(return_value=outcome)
        monkeypatch.setattr(service, "rollback", asked)
        ended = birnn("rollback", "--to", 1, "--comment", "It is bad.")
        said, servers = ended.out.splitlines()
        assert (ended.status, said, ended.err) == (0, "Version 1 serves again.", "")
        assert "until it is started again" in servers
        asked.assert_called_once_with(params.load(), 1, comment="It is bad.")

    def test_of_which_the_way_back_is_shown(
        self, birnn: Birnn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "rollback_plan", lambda _, to: f"to {to}")
        assert birnn("rollback", "--dry-run") == (0, "to None\n", "")

    def test_of_which_the_status_is_shown(
        self, birnn: Birnn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended = birnn("status")
        assert (ended.status, ended.err, ended.out.count("\n")) == (0, "", 5)
        ended = birnn("status", "--hours", 26)
        assert ended.status == 1
        assert ended.out.splitlines()[-1].startswith("alarm: no attempt has ended within 26 hours")

    def test_is_what_the_clock_runs(self, birnn: Birnn, monkeypatch: pytest.MonkeyPatch) -> None:
        run = mock.Mock()
        monkeypatch.setattr(schedule, "run", run)
        assert birnn("schedule", "--cron", "0 3 * * *") == (0, "", "")
        cron, (program, *arguments) = run.call_args.args
        assert (cron, program, arguments[-1]) == ("0 3 * * *", sys.executable, "retrain")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["retrain"], "expected dvc.yaml, found none; go to the checkout"),
            (["retrain", "--approve", "1"], "expected dvc.yaml, found none; go to the checkout"),
            (["rollback"], "expected dvc.yaml, found none; go to the checkout"),
            (["schedule", "--cron", "soon"], "--cron: expected a cron expression, found 'soon'"),
        ],
    )
    def test_needs(self, birnn: Birnn, arguments: list[str], message: str) -> None:
        check_one_line(birnn(*arguments), message)


class TestServe:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
        served = mock.Mock()
        monkeypatch.setattr(server, "serve", served)
        return served

    def test_answers_by_the_last_result_until_there_is_a_champion(
        self, place: Path, birnn: Birnn, asked: mock.Mock
    ) -> None:
        shutil.copy(ROOT / "params.yaml", place)
        assert birnn("serve").status == 0
        asked.assert_called_once_with("models/bidirectional", Options())

    def test_answers_by_the_champion(
        self,
        known: Registry,
        tmp_path: Path,
        birnn: Birnn,
        asked: mock.Mock,
        small_params: Callable[[], dict[str, object]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        tree = small_params() | {"problem": "problem"}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree))
        for arguments in ([], ["champion"], ["models:/problem@champion"]):
            assert birnn("serve", *arguments).status == 0
            assert asked.call_args.args == ("models:/problem@champion", Options())

    def test_takes_options(self, place: Path, birnn: Birnn, asked: mock.Mock) -> None:
        options = ["--host", "0.0.0.0", "--port", 0, "--every", 5, "--allow-host", "a.example"]
        options += ["--limit", "steps=5"]
        assert birnn("serve", "m", *options, "--record", "--ledger", "book").status == 0
        allowed, book = ("a.example",), Path("book")
        expected = Options("0.0.0.0", 0, 5, allowed, Limits(steps=5), book)
        asked.assert_called_once_with("m", expected)
        assert birnn("serve", "m", "--ledger", "book").status == 2

    def test_needs_a_model(self, place: Path, birnn: Birnn) -> None:
        check_one_line(birnn("serve", "absent"), "absent/model.json: no such file")


def test_shadow_says_how_answers_change(place: Path, birnn: Birnn) -> None:
    folder = place / "models/bidirectional"
    shutil.copytree(folder, place / "other")
    network, encoding, thresholds = saved_model.load(folder)
    with torch.no_grad():
        network.linear.bias[2] += 9
    saved_model.save(network, encoding, thresholds, place / "other")
    both = ["--champion", folder, "--challenger", "other"]
    ended = birnn("shadow", "new.csv", *both)
    assert (ended.status, ended.err) == (0, "")
    assert "they would rest on 3 sequences, and need 5." in ended.out
    record = json.loads(birnn("shadow", "new.csv", *both, "--json").out)
    assert record["classes"][-1]["challenger"] == 1
    check_one_line(birnn("shadow", "absent.csv", *both), "absent.csv: no such file")


class TestBucket:
    """What is read from a bucket is what is read here, and called by its address."""

    @pytest.fixture(autouse=True)
    def _files(self, place: Path, bucket: Any, birnn: Birnn) -> None:
        assert birnn("predict", "new.csv", "--output", "out.csv", "--record").status == 0
        scored = read_csv(place / "out.csv").assign(label=["a"] * 9)
        scored.to_csv(place / "scored.csv", index=False)
        scored.to_parquet(place / "scored.parquet", index=False)
        scored.drop(columns="label").to_csv(place / "wrong.csv", index=False)
        for path in place.glob("*.*"):
            bucket.upload_file(str(path), f"asked/{path.name}")

    @pytest.mark.parametrize(
        "arguments",
        [
            ("trace", "new.csv", "--sequence", "ü"),
            ("trace", "new.csv", "--batch", 2),
            ("trace", "wrong.csv"),
            ("trace", "absent.csv"),
            ("score", "scored.csv"),
            ("score", "scored.parquet", "--by", "step"),
            ("score", "wrong.csv"),
            ("score", "absent.csv"),
            ("score", "scored.csv", "--recorded"),
            ("score", "wrong.csv", "--recorded"),
            ("shadow", "new.csv", *("--champion", PROMOTED), *("--challenger", PROMOTED)),
            ("shadow", "wrong.csv", *("--champion", PROMOTED), *("--challenger", PROMOTED)),
        ],
    )
    def test_is_read_as_here(self, birnn: Birnn, arguments: tuple[object, ...]) -> None:
        command, name, *options = arguments
        here = birnn(*arguments)
        there = birnn(command, f"s3://runs/asked/{name}", *options)
        assert there.status == here.status == int(name in ("wrong.csv", "absent.csv"))
        assert there.err == here.err.replace(str(name), f"s3://runs/asked/{name}")
        assert there.out.split() == here.out.replace(str(name), f"s3://runs/asked/{name}").split()

    def test_has_folders(self, birnn: Birnn, bucket: Any) -> None:
        bucket.put_object(Key="asked/f.csv/part.csv", Body=b"sequence,x,y\ns,1,2\n")
        assert "1 x 1 x 2" in birnn("trace", "s3://runs/asked/f.csv").out
        check_one_line(birnn("score", "s3://runs/asked/f.csv"), "expected a file, found a folder")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["predict", "new.csv", "--output", "s3://runs/out.csv"], "found an address; write"),
            (["export", PROMOTED, "s3://runs/m.onnx"], "found an address; write it here, and b"),
            (["predict", "new.csv", "--record", "--ledger", "s3://runs/l"], "found an address; wr"),
            (["predict", "new.csv", "--model", "s3://runs/m"], "found an address in a bucket; co"),
            (["export", "s3://runs/m", "m.onnx"], "found an address in a bucket; copy it here"),
        ],
    )
    def test_takes_no_outputs_and_has_no_models(
        self, place: Path, birnn: Birnn, arguments: list[str], message: str
    ) -> None:
        check_one_line(birnn(*arguments), message)
        assert not (place / "s3:").exists()


class TestMistake:
    """Each ends with status 1 and one line that says what is wrong."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["predict", "absent.csv"], "absent.csv: no such file"),
            (["predict", "new.txt"], "new.txt: expected a name that ends in"),
            (["predict", "new.csv", "--output", "out.xls"], "out.xls: expected a name that ends"),
            (["predict", "new.csv", "--model", "absent"], "absent/model.json: no such file"),
            (["predict", "new.csv", "--device", "tpu"], "expected a machine with tpu, found none"),
            (["trace", "absent.csv"], "absent.csv: no such file"),
            (["trace", "new.csv", "--sequence", "c"], "expected 'c', found no row with it"),
            (["summary"], "report/comparison.json: no such file; run `dvc repro` first"),
            (["backfill"], "params.yaml: no such file"),
            (["report", "--pdf", "result.pdf"], "params.yaml: no such file"),
            (["score", "absent.csv"], "absent.csv: no such file"),
            (["score", "--recorded", "new.csv"], "ledger: expected a ledger, found no file in"),
            (["score", "new.txt"], "new.txt: expected a name that ends in"),
            (["score", "new.csv"], "new.csv: expected a column `actual` or `label`, found x, y"),
        ],
    )
    def test_of_arguments(
        self, place: Path, birnn: Birnn, arguments: list[str], message: str
    ) -> None:
        check_one_line(birnn(*arguments), message)

    def test_of_a_backfill_before_the_pipeline_ran(self, place: Path, birnn: Birnn) -> None:
        shutil.rmtree(place / "models")
        shutil.copy(ROOT / "params.yaml", place)
        message = "models/bidirectional/weights.safetensors: no such file; run `dvc repro` first"
        check_one_line(birnn("backfill"), message)

    def test_in_the_last_row_leaves_no_output(self, place: Path, birnn: Birnn) -> None:
        rows = pd.DataFrame({"sequence": np.arange(200_000) // 10, "x": 1.0, "y": 1.0})
        rows.loc[len(rows) - 1, "y"] = math.inf
        rows.to_parquet(place / "long.parquet", index=False)
        before = set(place.rglob("*"))
        ended = birnn("predict", "long.parquet", "--output", "out.csv")
        check_one_line(ended, "long.parquet, row 200000, column `y`: expected a finite number")
        assert set(place.rglob("*")) == before


def check_one_line(ended: Ended, message: str) -> None:
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
    assert message in ended.err
    assert ended.err.count("\n") == 1


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["absent"],
            ["predict"],
            ["predict", "new.csv", "--spans", "--explain"],
            ["predict", "new.csv", "--absent"],
            ["summary", "more"],
        ],
    )
    def test_that_is_wrong_ends_with_status_2(self, birnn: Birnn, arguments: list[str]) -> None:
        ended = birnn(*arguments)
        assert ended.status == 2
        assert "Usage: birnn" in ended.out + ended.err

    @pytest.mark.parametrize("command", COMMANDS)
    def test_is_explained(self, birnn: Birnn, command: str) -> None:
        assert f" {command} " in birnn("--help").out
        assert f"Usage: birnn {command}" in birnn(command, "--help").out


def test_sweep_says_what_it_lacks(
    birnn: Birnn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_params: Callable[[], dict[str, Any]],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(small_params()), encoding="utf-8")
    for name in ("optuna", "birnn.sweep.search"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr("birnn.sweep.search", raising=False)
    check_one_line(birnn("sweep"), "run `pip install 'birnn[sweep]'`")
