"""The command `birnn init`: a params.yaml for somebody's data, and where the data go."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import services
import yaml

from birnn import cli, params
from birnn.files import listing, tables
from birnn.files.reading import Skipped
from birnn.project import beginning
from birnn.sources import ingestion

Run = Callable[..., tuple[object, str, str]]
EXPORT = "Seriennr;Zeit;Alter;Druck;Zustand\n" + "".join(
    f"{row // 5};10:{row % 60:02};{'jung' if row // 5 % 2 else 'alt'};{row % 7},5;{'ab'[row % 2]}\n"
    for row in range(300)
)


@pytest.fixture
def birnn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs a command in what looks like a checkout of birnn: its status, and what it prints."""
    for name in ("birnn/cli.py", "stages/generate.py"):
        (tmp_path / "checkout" / name).parent.mkdir(parents=True)
        (tmp_path / "checkout" / name).touch()
    (tmp_path / "export.csv").write_bytes(EXPORT.encode("latin-1"))
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setenv("TERM", "dumb")

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["birnn", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code or 0, *capsys.readouterr())

    return run


@pytest.mark.parametrize(
    ("sequences", "last", "stratify"), [(100, "ab", False), (99, "ab", True), (150, "ac", True)]
)
def test_classes_are_divided_where_chance_may_leave_a_split_without(
    birnn: Run, sequences: int, last: str, stratify: bool
) -> None:
    rows = [f"{row // 2},{row},{'ab'[row % 2]}" for row in range(2 * sequences)]
    rows[-2:] = [f"{sequences - 1},{row},{label}" for row, label in enumerate(last)]
    Path("t.csv").write_text("sequence,x,label\n" + "\n".join(rows) + "\n")
    status, said, warned = birnn("init", "t.csv")
    assert status == 0
    assert params.load().prepare.stratify == stratify
    assert "prepare.stratify" not in said + warned  # no advice to do what is done


def test_params_are_complete_and_read_the_data(birnn: Run) -> None:
    status, out, err = birnn("init", "../export.csv")
    assert (status, err) == (0, "")
    assert "params.yaml: tagging of data/external/export.csv; look at `data`, then run" in out
    chosen = params.load()
    assert chosen.problem == "export"
    assert chosen.evaluate.slices == ["group", "length", "Alter"]
    assert [*chosen.models] == ["bidirectional", "forward"]
    tree = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    known = yaml.safe_load(Path(__file__).parents[2].joinpath("params.yaml").read_text("utf-8"))
    assert [*tree] == [name for name in known if name != "sweep"]  # nobody has to search
    for section in ("prepare", "model", "train"):
        assert tree[section].keys() >= known[section].keys()
    (found, *_) = ingestion.rows(chosen.data, Skipped())
    assert tables.feature_names(found.schema) == ["Druck"]
    assert found["Druck"].to_pylist()[:2] == [0.5, 1.5]
    assert tables.kept_names(found.schema) == ["keep:Zeit", "keep:Alter"]


def test_check_shows_the_section_that_it_used(birnn: Run) -> None:
    status, out, _ = birnn("check", "../export.csv")
    assert status == 0
    start = out.index("data:\n")
    section = yaml.safe_load(out[start : out.index("\n\n", start)])["data"]
    assert section == {
        "source": "table",
        "task": "tagging",
        "path": "../export.csv",
        "columns": {"sequence": "Seriennr", "label": "Zustand"},
        "decimal": ",",
        "keep": ["Zeit", "Alter"],
    }
    assert params.data(section)


class TestParams:
    def test_that_nothing_else_holds_are_left(self, birnn: Run) -> None:
        Path("params.yaml").write_text("mine: 1\n", encoding="utf-8")
        status, _, err = birnn("init", "../export.csv")
        assert status == 1
        assert err == (
            "error: params.yaml: expected none, or one that git has, found changes; commit it, or "
            "say --force\n"
        )
        assert not Path("data").exists()
        assert birnn("init", "../export.csv", "--force", "--problem", "mine")[0] == 0
        assert params.load().problem == "mine"

    def test_that_git_has_are_replaced(self, birnn: Run) -> None:
        Path("params.yaml").write_text("mine: 1\n", encoding="utf-8")
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "a"]):
            subprocess.run(["git", *command], check=True)
        assert birnn("init", "../export.csv")[0] == 0

    @pytest.mark.parametrize("heavy", [False, True])
    def test_scale_by_the_tails(self, birnn: Run, heavy: bool) -> None:
        values = np.random.default_rng(0).normal(size=300)
        values[17] *= 1e4 if heavy else 1
        frame = pd.DataFrame({"sequence": np.arange(300) // 5, "x": values, "label": values > 0})
        frame.to_csv("../t.csv", index=False)
        assert birnn("init", "../t.csv", "--task", "tagging")[0] == 0
        assert params.load().prepare.scale == ("asinh" if heavy else "global")


class TestPlace:
    def test_in_the_folder_for_data_it_stays(self, birnn: Run) -> None:
        Path("data/external").mkdir(parents=True)
        Path("data/external/mine.csv").write_bytes(EXPORT.encode())
        assert birnn("init", "data/external/mine.csv")[0] == 0
        assert [path.name for path in Path("data/external").iterdir()] == ["mine.csv"]

    def test_a_folder_is_copied_whole(self, birnn: Run) -> None:
        Path("../parts").mkdir()
        Path("../parts/1.csv").write_bytes(EXPORT.encode())
        assert birnn("init", "../parts")[0] == 0
        assert params.load().data.task == "tagging"
        assert Path("data/external/parts/1.csv").read_bytes() == EXPORT.encode()

    def test_another_file_is_not_replaced(self, birnn: Run) -> None:
        Path("data/external").mkdir(parents=True)
        Path("data/external/export.csv").write_text("another", encoding="utf-8")
        status, _, err = birnn("init", "../export.csv")
        assert (status, err.count("\n")) == (1, 1)
        assert "data/external/export.csv: expected nothing, found another file" in err
        assert not Path("params.yaml").exists()

    @pytest.mark.parametrize("name", ["absent.csv", "absent", "t.xlsx"])
    def test_what_cannot_be_read_changes_nothing(self, birnn: Run, name: str) -> None:
        status, _, err = birnn("init", name)
        assert (status, err.count("\n")) == (1, 1)
        assert {path.name for path in Path().iterdir()} == {"birnn", "stages"}

    @pytest.mark.slow
    def test_dvc_tracks_it(self, birnn: Run) -> None:
        for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
            subprocess.run(command, check=True)
        status, out, _ = birnn("init", "../export.csv")
        assert status == 0
        left = "data/external/export.csv.dvc data/external/.gitignore params.yaml"
        assert f"left to do: git add {left} && git commit" in out
        assert Path("data/external/export.csv.dvc").exists()
        assert "/export.csv" in Path("data/external/.gitignore").read_text(encoding="utf-8")
        assert birnn("init", "data/external/export.csv", "--force")[0] == 0


def test_data_are_wanted_where_the_pipeline_is(birnn: Run) -> None:
    status, _, err = birnn("init")
    assert status == 2
    assert "expected a FILE with data" in err


@pytest.mark.parametrize(
    ("name", "problem"),
    [("my data.v2.csv", "my-data"), ("Größe.csv", "Gr-e"), ("_.csv", "my-problem")],
)
def test_a_name_for_the_problem(name: str, problem: str) -> None:
    assert beginning.problem_of(Path(name)) == problem


class TestBucket:
    """Data in a bucket stay there; a list of them is what DVC compares."""

    @pytest.fixture(autouse=True)
    def _files(self, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in services.keys(s3).items():
            monkeypatch.setenv(name, value)
        services.bucket(s3).put_object(Key="begun/export.csv", Body=EXPORT.encode("latin-1"))

    def test_params_are_those_of_a_file_here(self, birnn: Run) -> None:
        assert birnn("init", "../export.csv")[0] == 0
        expected = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
        for path in (Path("params.yaml"), Path("data/external/export.csv")):
            path.unlink()
        address = "s3://runs/begun/export.csv"
        status, out, err = birnn("init", address)
        assert (status, err) == (0, "")
        assert f"params.yaml: tagging of {address}; look at `data`, then run" in out
        found = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
        assert found.pop("retrain") == {"refresh": ["birnn", "objects"]}
        expected["data"]["path"] = address
        assert found == expected
        assert {one.name for one in Path("data/external").iterdir()} == {"dvc.yaml", "objects.csv"}

    def test_list_is_made_whenever_the_pipeline_runs(self, birnn: Run) -> None:
        assert birnn("init", "s3://runs/begun/export.csv")[0] == 0
        status, out, err = birnn("objects")
        assert (status, err) == (0, "")
        assert out == "data/external/objects.csv: what lies at 1 address\n"
        (stage,) = yaml.safe_load(beginning.LISTING.read_text("utf-8"))["stages"].values()
        assert stage["cmd"] == "birnn objects"
        assert stage["always_changed"]
        assert [*stage["outs"][0]] == ["data/external/objects.csv"]
        assert Path("data/external", stage["wdir"]).resolve() == Path.cwd()

    def test_another_pipeline_is_left_as_it_is(self, birnn: Run) -> None:
        assert birnn("init", "s3://runs/begun/export.csv")[0] == 0
        beginning.LISTING.write_text("stages: {}\n")
        status, _, err = birnn("objects")
        assert status == 1
        assert "dvc.yaml: expected a stage with `cmd: birnn objects`, found others" in err
        assert beginning.LISTING.read_text() == "stages: {}\n"

    def test_list_has_the_vectors_too(self, birnn: Run, s3: str) -> None:
        assert birnn("init", "../export.csv")[0] == 0
        services.bucket(s3).put_object(Key="begun/v.txt", Body=b"a 1 2")
        text = Path("params.yaml").read_text("utf-8")
        assert "vectors: null" in text
        Path("params.yaml").write_text(
            text.replace("vectors: null", "vectors: s3://runs/begun/v.txt"), "utf-8"
        )
        status, out, err = birnn("objects")
        assert (status, err) == (0, "")
        assert out == "data/external/objects.csv: what lies at 1 address\n"
        (_, line) = listing.PATH.read_text("utf-8").splitlines()
        assert line.startswith("s3://runs/begun/v.txt,")

    @pytest.mark.slow
    def test_dvc_runs_again_what_reads_them_when_they_change(self, birnn: Run, s3: str) -> None:
        def reproduced() -> bytes:
            beginning.dvc("repro")
            return Path("seen.csv").read_bytes()

        assert birnn("init", "s3://runs/begun/export.csv")[0] == 0
        Path("dvc.yaml").write_text(
            "stages: {generate: {cmd: cp data/external/objects.csv seen.csv, "
            "deps: [data/external], outs: [seen.csv]}}\n"
        )
        beginning.dvc("init", "--no-scm", "-q")
        before = reproduced()
        assert before.startswith(b"address,version\ns3://runs/begun/export.csv,")
        assert reproduced() == before
        another = services.bucket(s3).put_object(Key="begun/export.csv", Body=EXPORT[:-9].encode())
        assert another.e_tag.strip('"').encode() in reproduced()
