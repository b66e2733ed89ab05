"""Versions and aliases in a store of MLflow's: what serves at every moment, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from birnn.errors import RegistryError
from birnn.files import paths
from birnn.tracking import registry, runs, store
from birnn.tracking.registry import Registry

NOBODY = {"previous": None, "champion": None, "challenger": None}


@pytest.fixture
def run(runs_root: Path, trained: Path) -> str:
    """A run that has logged a model."""
    (runs_root / "test.arrow").touch()
    (runs_root / "encoding.json").touch()
    return runs.run_of_model("problem", "bidirectional", trained, params={}, data=runs_root).id


@pytest.fixture
def found(run: str) -> Registry:
    return registry.connect("problem")


@pytest.fixture
def register(found: Registry, run: str) -> Callable[..., int]:
    """Makes a version and gives its number."""

    def make(**tags: str) -> int:
        return found.register(run, {"attempt": "one", **tags}).number

    return make


class TestVersion:
    def test_keeps_its_tags_and_its_run(
        self, found: Registry, run: str, register: Callable[..., int]
    ) -> None:
        number = register(data_sha256="abc")
        version = found.version(number)
        assert (version.number, version.run_id) == (1, run)
        wanted = {"data_sha256": "abc", "run": run, "decision": "undecided", "attempt": "one"}
        assert dict(version.tags) == wanted
        found.note(number, {"decision": "kept", "reason": "x" * 9000})
        tags = found.version(number).tags
        assert (tags["decision"], len(tags["reason"])) == ("kept", registry.LONGEST_TAG)

    def test_gives_back_the_model(
        self, found: Registry, register: Callable[..., int], trained: Path, tmp_path: Path
    ) -> None:
        folder = found.fetch(register(), tmp_path / "fetched")
        for name in (paths.WEIGHTS, paths.DESCRIPTION):
            assert (folder / name).read_bytes() == (trained / name).read_bytes()

    def test_that_an_attempt_left_undecided_is_discarded(
        self, found: Registry, register: Callable[..., int]
    ) -> None:
        decided, left, other = register(), register(), register(attempt="other")
        found.note(decided, {"decision": "kept"})
        found.discard("one")
        assert [version.number for version in found.versions()] == [other, decided]
        assert left not in (other, decided)

    def test_needs_a_model(self, found: Registry) -> None:
        experiment = store.experiment(found.client, "problem")
        empty = found.client.create_run(experiment).info.run_id
        with pytest.raises(RegistryError, match="expected a logged model, found none"):
            found.register(empty, {})

    def test_that_is_not_there(self, found: Registry) -> None:
        with pytest.raises(RegistryError, match="found none with the number 7"):
            found.version(7)

    def test_keeps_files_with_its_run(self, found: Registry, run: str, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text("{}")
        found.log(run, tmp_path / "a.json")
        assert found.attached(run, "a.json", tmp_path / "back").read_text() == "{}"
        assert found.has(run, "a.json")
        assert not found.has(run, "b.json")

    def test_keeps_folders_with_its_run(self, found: Registry, run: str, tmp_path: Path) -> None:
        (tmp_path / "some/inner").mkdir(parents=True)
        (tmp_path / "some/inner/a.json").write_text("{}")
        assert not found.has(run, "kept")
        found.log(run, tmp_path / "some", "retraining/kept")
        assert found.has(run, "kept")
        back = found.attached(run, "kept", tmp_path / "back")
        assert tmp_path / "back" in back.parents
        assert (back / "inner/a.json").is_file()


class TestFetchedModel:
    """Who can write where artifacts are kept cannot let another model answer."""

    @pytest.mark.parametrize("name", [paths.WEIGHTS, paths.DESCRIPTION])
    @pytest.mark.parametrize("address", ["models:/problem@champion", "models:/problem/latest"])
    def test_is_the_one_that_was_registered(
        self,
        found: Registry,
        register: Callable[..., int],
        runs_root: Path,
        tmp_path: Path,
        name: str,
        address: str,
    ) -> None:
        found.point(NOBODY | {"champion": register()})
        registry.fetch(address, tmp_path / "before")
        (stored,) = (runs_root / "mlartifacts").rglob(name)
        stored.write_bytes(stored.read_bytes().replace(b"e", b"f", 1))
        with pytest.raises(RegistryError, match=r"models:/problem/1: expected the model that was"):
            registry.fetch(address, tmp_path / "after")

    @pytest.mark.parametrize("kind", ["run", "logged model"])
    def test_of_a_run_is_the_one_that_was_logged(
        self, found: Registry, run: str, runs_root: Path, tmp_path: Path, kind: str
    ) -> None:
        (stored,) = (runs_root / "mlartifacts").rglob(paths.WEIGHTS)
        address = f"runs:/{run}/model"
        if kind == "logged model":
            (experiment,) = found.client.search_experiments(filter_string="name = 'problem'")
            (logged,) = found.client.search_logged_models([experiment.experiment_id])
            address = f"models:/{logged.model_id}"
        registry.fetch(address, tmp_path / "before")
        stored.write_bytes(stored.read_bytes()[:-1] + b"!")
        with pytest.raises(RegistryError, match="somebody has changed its files"):
            registry.fetch(address, tmp_path / "after")

    def test_is_the_one_of_the_tag_of_its_version(
        self, found: Registry, register: Callable[..., int], tmp_path: Path
    ) -> None:
        number = register(model_sha256="0" * 64)
        with pytest.raises(RegistryError, match="with the hash 000000000000, found one with"):
            found.fetch(number, tmp_path)

    def test_that_nobody_noted_is_told_with_the_one_to_note(
        self,
        found: Registry,
        register: Callable[..., int],
        run: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        number = register()
        found.fetch(number, tmp_path / "noted")
        assert capsys.readouterr().err == ""
        found.client.delete_tag(run, registry.SHA256)
        folder = found.fetch(number, tmp_path / "not")
        sha256 = runs.model_sha256(folder)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"warning: models:/problem/{number}: no hash of its files was noted")
        assert line.endswith(f"the tag model_sha256: {sha256}")
        found.note(number, {registry.SHA256: sha256})
        found.fetch(number, tmp_path / "again")
        assert capsys.readouterr().err == ""

    def test_without_a_description_is_refused(
        self, found: Registry, register: Callable[..., int], runs_root: Path, tmp_path: Path
    ) -> None:
        (stored,) = (runs_root / "mlartifacts").rglob(paths.DESCRIPTION)
        stored.unlink()
        with pytest.raises(RegistryError, match="found one with none"):
            found.fetch(register(), tmp_path)


@pytest.mark.long
class TestProblem:
    def test_remembers_once_it_has_a_model(
        self, found: Registry, register: Callable[..., int]
    ) -> None:
        found.remember({"a": "1"})
        assert found.remembered() == {}
        register()
        found.remember({"a": "2"})
        assert found.remembered() == {"a": "2"}


@pytest.mark.long
class TestFetch:
    @pytest.mark.parametrize("address", ["models:/problem@champion", "models:/problem/1", "runs:"])
    def test_takes_addresses_of_mlflow(
        self,
        found: Registry,
        register: Callable[..., int],
        run: str,
        trained: Path,
        tmp_path: Path,
        address: str,
    ) -> None:
        found.point(NOBODY | {"champion": register()})
        whole = f"runs:/{run}/model" if address == "runs:" else address
        folder = registry.fetch(whole, tmp_path / "fetched")
        assert runs.model_sha256(folder) == runs.model_sha256(trained)

    @pytest.mark.parametrize("address", ["models:/problem/7", "models:/problem@x", "runs:/a/model"])
    def test_of_what_is_not_there(self, found: Registry, tmp_path: Path, address: str) -> None:
        with pytest.raises(RegistryError, match="expected"):
            registry.fetch(address, tmp_path)

    def test_of_a_run_that_has_another_thing(
        self, found: Registry, run: str, tmp_path: Path
    ) -> None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model/a.json").write_text("{}")
        found.log(run, tmp_path / "model", "other")
        with pytest.raises(RegistryError, match=r"expected a model with weights\.safetensors"):
            registry.fetch(f"runs:/{run}/other", tmp_path / "fetched")

    def test_of_a_champion_where_there_is_none(self, found: Registry, tmp_path: Path) -> None:
        with pytest.raises(RegistryError, match="expected a champion, found none; run `birnn retr"):
            registry.fetch("models:/problem@champion", tmp_path)


class TestAlias:
    def test_names_nobody_at_first(self, found: Registry) -> None:
        assert found.aliases() == NOBODY
        assert found.aliased("champion") is None

    def test_moves_and_goes(self, found: Registry, register: Callable[..., int]) -> None:
        register(), register()
        for wanted in (
            NOBODY | {"champion": 1},
            {"champion": 2, "previous": 1, "challenger": None},
            {"champion": 1, "previous": 2, "challenger": 2},
            NOBODY | {"champion": 1},
        ):
            for _ in range(2):
                found.point(wanted)
                assert found.aliases() == wanted
        champion = found.aliased("champion")
        assert champion is not None
        assert champion.number == 1

    def test_moves_previous_before_champion(
        self, found: Registry, register: Callable[..., int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After each move, which is one call, somebody serves, and there is a way back."""
        register(), register(), register()
        found.point({"champion": 2, "previous": 1, "challenger": 3})
        moves: list[dict[str, int | None]] = []
        for name in ("set_registered_model_alias", "delete_registered_model_alias"):
            monkeypatch.setattr(found.client, name, noting(found, moves, name))
        found.point({"champion": 3, "previous": 2, "challenger": None})
        assert moves == [
            {"champion": 2, "previous": 2, "challenger": 3},
            {"champion": 3, "previous": 2, "challenger": 3},
            {"champion": 3, "previous": 2, "challenger": None},
        ]


def noting(found: Registry, moves: list[dict[str, int | None]], name: str) -> Callable[..., None]:
    call = getattr(found.client, name)

    def move(*arguments: Any) -> None:
        call(*arguments)
        moves.append(found.aliases())

    return move


class TestOutOfReach:
    @pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "http://no.such.host.invalid"])
    def test_is_said_at_once(
        self, runs_root: Path, monkeypatch: pytest.MonkeyPatch, uri: str
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(RegistryError, match=f"{uri}: expected an answer from MLflow"):
            registry.connect("problem")
