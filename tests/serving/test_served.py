"""Which model answers, and how it comes to be another one."""

import time
from pathlib import Path

import pytest
from two_versions import serve

from birnn.errors import DataError, RegistryError
from birnn.files import paths
from birnn.serving import served
from birnn.serving.served import Following, Name
from birnn.tracking import registry, runs
from birnn.tracking.registry import Registry

CHAMPION = "models:/problem@champion"


def sha256(root: Path, number: int) -> str:
    return runs.model_sha256(root / "models" / str(number))


class TestLoad:
    def test_reads_a_folder(self, trained: Path) -> None:
        found = served.load(str(trained))
        assert found.name == Name(str(trained), "", runs.model_sha256(trained))
        assert str(found.name) == f"{trained} ({found.name.sha256[:12]})"
        assert found.encoding.labels == ["a", "b", "c"]

    def test_needs_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no such file"):
            served.load(str(tmp_path))

    def test_reads_what_the_registry_names(self, known: Registry, tmp_path: Path) -> None:
        expected = Name("problem", "2", sha256(tmp_path, 2))
        serve(known, 2)
        for address in (CHAMPION, "models:/problem/2", "models:/problem/latest"):
            assert served.load(address).name == expected
        assert str(expected) == "version 2 of problem"

    def test_reads_a_run(self, known: Registry, tmp_path: Path) -> None:
        address = f"runs:/{known.version(1).run_id}/model"
        assert served.load(address).name == Name(address, "", sha256(tmp_path, 1))

    def test_runs_no_code_of_the_artifacts(self, known: Registry, tmp_path: Path) -> None:
        """MLflow's own server runs `serving.py` and what lies in `code/`."""
        planted = list((tmp_path / "mlartifacts").rglob("*.py"))
        assert {"serving.py", "saved_model.py"} <= {path.name for path in planted}
        for path in planted:
            path.write_text("raise SystemExit('planted')")
        served.load(CHAMPION)


class TestFollowing:
    def test_takes_the_version_that_the_alias_names(
        self, known: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        following = Following(CHAMPION, every=60)
        assert following.served.name.version == "1"
        following.look()
        assert following.served.name.version == "1"
        serve(known, 2)
        following.look()
        assert following.served.name == Name("problem", "2", sha256(tmp_path, 2))
        said = capsys.readouterr().err
        assert "version 2 of problem serves now, in the place of version 1 of problem" in said

    def test_looks_again_and_again(self, known: Registry) -> None:
        with Following(CHAMPION, every=0.02) as following:
            serve(known, 2)
            for _ in range(500):
                if following.served.name.version == "2":
                    break
                time.sleep(0.02)
            assert following.served.name.version == "2"

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_says_where_nobody_looks_any_more(
        self, known: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_: str) -> None:
            raise ZeroDivisionError

        with Following(CHAMPION, every=0.02) as following:
            assert following.trouble == ""
            monkeypatch.setattr(registry, "version_of", fail)
            following._thread.join(30)
            assert "nobody looks at models:/problem@champion any more" in following.trouble
        assert following.trouble == ""

    def test_goes_on_while_mlflow_is_out_of_reach(
        self,
        known: Registry,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        following = Following(CHAMPION, every=60)
        serve(known, 2)
        with monkeypatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
            patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            following.look()
            following.look()
        assert following.served.name.version == "1"
        assert following.trouble.startswith("version 1 of problem serves on: http://127.0.0.1:9")
        assert capsys.readouterr().err.count("warning: version 1 of problem serves on") == 1
        following.look()
        assert (following.served.name.version, following.trouble) == ("2", "")
        assert "MLflow answers again" in capsys.readouterr().err

    @pytest.mark.parametrize("name", [paths.WEIGHTS, paths.DESCRIPTION])
    def test_does_not_take_what_was_changed(
        self, known: Registry, tmp_path: Path, name: str
    ) -> None:
        following = Following(CHAMPION, every=60)
        for stored in (tmp_path / "mlartifacts").rglob(name):
            stored.write_bytes(stored.read_bytes() + b" ")
        serve(known, 2)
        following.look()
        assert following.served.name.version == "1"
        assert "models:/problem/2: expected the model that was registered" in following.trouble

    def test_goes_on_where_nobody_is_champion(self, known: Registry) -> None:
        following = Following(CHAMPION, every=60)
        serve(known, None)
        following.look()
        assert following.served.name.version == "1"
        assert "expected a champion, found none" in following.trouble

    def test_of_a_fixed_model_looks_at_nothing(self, known: Registry, trained: Path) -> None:
        assert not Following("models:/problem/1", every=1).follows
        assert not Following(str(trained), every=1).follows

    def test_needs_a_model_to_begin_with(self, known: Registry) -> None:
        serve(known, None)
        with pytest.raises(RegistryError, match="expected a champion, found none; run `birnn retr"):
            Following(CHAMPION, every=60)
