"""Which model serves: MLflow's model registry, one registered model a problem.

    registry = connect("tagging")
    version = registry.register(run_id, {"data_sha256": ...})
    registry.point({"champion": version.number, "previous": 3, "challenger": None})
    folder = registry.fetch(version.number, "somewhere")       # weights and description
    folder = fetch("models:/tagging@champion", "somewhere")    # the same, by an MLflow address

Three aliases name versions: `champion` serves, `previous` is the one that a rollback would bring
back, and `challenger` was judged last and does not serve. Each moves in one transaction, `previous`
before `champion`, so that at every moment there is one champion, and a way back from it.

What was decided about a version, when, why and by whom is in its tags, so that every checkout that
uses the server knows it; the whole record lies with the version's run.

A model that is fetched is compared with the hash that was noted when it was logged: whoever can
write where artifacts are kept cannot put another model in its place. Its data files alone are read,
never the code beside them. Of a model that was logged by hand no hash is known: a line says so, and
which one to note.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birnn.errors import RegistryError
from birnn.files import console, digests, paths
from birnn.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient

PREVIOUS, CHAMPION, CHALLENGER = "previous", "champion", "challenger"
DECISION, UNDECIDED = "decision", "undecided"
EVALUATED = "evaluation"  # of a run, where what `evaluate` wrote is attached
RECORDS = "retraining/decisions"  # of a run, where each decision is a file
LONGEST_TAG = 5000  # what a tag says is cut there, which all of MLflow's stores take
SHADOW = "shadow"  # a tag of versions: how they would change the answers
SHA256 = "model_sha256"  # a tag of versions and of runs: weights and description
NAMED = re.compile(r"models:/(?P<name>[^@/]+)(?:@(?P<alias>[^/]+)|/(?P<number>\d+|latest))")
LOGGED, OF_RUN = re.compile(r"models:/(m-[^@/]+)"), re.compile(r"runs:/([^/]+)/.+")


@dataclass(frozen=True, slots=True)
class Version:
    """A registered model's version.

    Attributes:
        number: counts from 1; no number is given twice.
        run_id: the run that trained it.
        tags: hashes of data, params, code and model, the run, and the decision.
    """

    number: int
    run_id: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Registry:
    """The registered model of a problem."""

    client: MlflowClient
    problem: str

    def versions(self) -> list[Version]:
        """All versions, the newest first."""
        found = self.client.search_model_versions(f"name = '{self.problem}'")
        return sorted(map(_version, found), key=lambda version: -version.number)

    def newest(self) -> Version:
        """The version that was registered last.

        Raises:
            RegistryError: there is none.
        """
        if found := self.versions():
            return found[0]
        raise RegistryError(f"{self.problem}: expected a registered version, found none")

    def version(self, number: int) -> Version:
        """Look up a version by its number.

        Raises:
            RegistryError: there is none.
        """
        for version in self.versions():
            if version.number == number:
                return version
        raise RegistryError(
            f"{self.problem}: expected a registered version, found none with the number {number}; "
            "`mlflow` shows those that are there"
        )

    def aliased(self, alias: str) -> Version | None:
        """Look up the version that an alias names, if it names one."""
        found = self._aliases().get(alias)
        return None if found is None else self.version(found)

    def bearing(self, alias: str) -> Version:
        """Look up the version that an alias names.

        Raises:
            RegistryError: it names none.
        """
        if (found := self.aliased(alias)) is not None:
            return found
        raise RegistryError(f"{self.problem}: expected a {alias}, found none; run `birnn retrain`")

    def aliases(self) -> dict[str, int | None]:
        """The number of the version that each of the three aliases names, or None."""
        found = self._aliases()
        return {alias: found.get(alias) for alias in (PREVIOUS, CHAMPION, CHALLENGER)}

    def register(self, run_id: str, tags: Mapping[str, str]) -> Version:
        """Make a version of the model that a run has logged; it is undecided and bears no alias.

        Raises:
            RegistryError: the run has no model.
        """
        if not self._exists():
            self.client.create_registered_model(self.problem)
        experiment = self.client.get_run(run_id).info.experiment_id
        logged = self.client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
        if not logged:
            raise RegistryError(f"run {run_id}: expected a logged model, found none")
        made = self.client.create_model_version(
            self.problem,
            source=f"models:/{logged[0].model_id}",
            run_id=run_id,
            tags={**tags, "run": run_id, DECISION: UNDECIDED},
            model_id=logged[0].model_id,
        )
        return _version(made)

    def note(self, number: int, tags: Mapping[str, str]) -> None:
        """Note something about a version. To do it again changes nothing."""
        for name, text in tags.items():
            cut = text[:LONGEST_TAG]
            self.client.set_model_version_tag(self.problem, str(number), name, cut)

    def point(self, aliases: Mapping[str, int | None]) -> None:
        """Move the three aliases; None takes one away. To do it again changes nothing."""
        now = self._aliases()
        for alias in (PREVIOUS, CHAMPION, CHALLENGER):
            number = aliases[alias]
            if number is not None and number != now.get(alias):
                self.client.set_registered_model_alias(self.problem, alias, str(number))
            elif number is None and alias in now:
                self.client.delete_registered_model_alias(self.problem, alias)

    def discard(self, attempt: str) -> None:
        """Delete the versions that an attempt has registered and not decided about."""
        for version in self.versions():
            undecided = version.tags.get(DECISION) == UNDECIDED
            if undecided and version.tags.get("attempt") == attempt:
                self.client.delete_model_version(self.problem, str(version.number))

    def fetch(self, number: int, folder: str | Path) -> Path:
        """Download a version, and return the folder with its weights and its description."""
        return fetch(f"models:/{self.problem}/{number}", folder)

    def log(self, run_id: str, path: str | Path, folder: str = "retraining") -> None:
        """Attach a file, or all that is in a folder, to a run, under `folder`."""
        attach = self.client.log_artifacts if Path(path).is_dir() else self.client.log_artifact
        attach(run_id, str(path), folder)

    def attached(self, run_id: str, name: str, folder: str | Path) -> Path:
        """Download a file or a folder that `log` has attached under `retraining/`."""
        return Path(self.client.download_artifacts(run_id, f"retraining/{name}", str(folder)))

    def has(self, run_id: str, name: str) -> bool:
        """Say whether `log` has attached that under `retraining/`."""
        wanted = f"retraining/{name}"
        return any(one.path == wanted for one in self.client.list_artifacts(run_id, "retraining"))

    def records(self, run_id: str) -> list[str]:
        """Name the attempts whose decisions lie with a run: `decisions/NAME.json`."""
        return [Path(one.path).stem for one in self.client.list_artifacts(run_id, RECORDS)]

    def remember(self, tags: Mapping[str, str]) -> None:
        """Note something about the problem, where it has a registered model."""
        for name, text in tags.items() if self._exists() else ():
            self.client.set_registered_model_tag(self.problem, name, text[:LONGEST_TAG])

    def remembered(self) -> dict[str, str]:
        """What `remember` has noted."""
        if not self._exists():
            return {}
        return dict(self.client.get_registered_model(self.problem).tags)

    def _exists(self) -> bool:
        return bool(self.client.search_registered_models(f"name = '{self.problem}'"))

    def _aliases(self) -> dict[str, int]:
        if not self._exists():
            return {}
        found = self.client.get_registered_model(self.problem).aliases
        return {alias: int(number) for alias, number in found.items()}


def fetch(address: str, folder: str | Path) -> Path:
    """Download a model by an address of MLflow's.

    Args:
        address: `models:/NAME@champion`, `models:/NAME/3`, `runs:/RUN/model` and so on.
        folder: where to.

    Returns:
        The folder with its weights and its description.

    Raises:
        RegistryError: it is not there, not a model that `train` has made, not what was logged under
            that address, or MLflow is out of reach.
    """
    with store.reached():
        client = store.connect()
        import mlflow

        address, logged = _logged_as(client, address)
        place = Path(mlflow.artifacts.download_artifacts(address, dst_path=str(folder)))
    found = next((place / "artifacts").rglob(paths.WEIGHTS), None)
    if found is None:
        raise RegistryError(f"{address}: expected a model with {paths.WEIGHTS}, found none")
    _check_hash(found.parent, logged, address)
    return found.parent


def evaluated(run_id: str, name: str, folder: str | Path) -> Path | None:
    """Download a file that `evaluate` wrote about the model of a run, if the run has it."""
    client, wanted = store.connect(), f"{EVALUATED}/{name}"
    if not any(one.path == wanted for one in client.list_artifacts(run_id, EVALUATED)):
        return None
    return Path(client.download_artifacts(run_id, wanted, str(folder)))


def version_of(address: str) -> Version | None:
    """Find the registered version that an address of MLflow's means now; None where it means none.

    Raises:
        RegistryError: the model or the version is not there, or MLflow is out of reach.
    """
    named = NAMED.fullmatch(address)
    if named is None:
        return None
    with store.reached():
        return _version_named(store.connect(), **named.groupdict())


def _version_named(
    client: MlflowClient, name: str, alias: str | None, number: str | None
) -> Version:
    if alias is not None:
        return Registry(client, name).bearing(alias)
    if number is None or number == "latest":
        return Registry(client, name).newest()
    return _version(client.get_model_version(name, number))


def _logged_as(client: MlflowClient, address: str) -> tuple[str, str | None]:
    """An address that always means the same model, and the hash with which that was logged."""
    if (named := NAMED.fullmatch(address)) is not None:
        version = _version_named(client, **named.groupdict())
        noted = version.tags.get(SHA256) or _hash_of_run(client, version.run_id)
        return f"models:/{named['name']}/{version.number}", noted
    run_id = None
    if (logged := LOGGED.fullmatch(address)) is not None:
        run_id = client.get_logged_model(logged[1]).source_run_id
    elif (of_run := OF_RUN.fullmatch(address)) is not None:
        run_id = of_run[1]
    return address, _hash_of_run(client, run_id)


def _hash_of_run(client: MlflowClient, run_id: str | None) -> str | None:
    """What a run says of its model; None of one that was logged by hand."""
    return client.get_run(run_id).data.tags.get(SHA256) if run_id else None


def _check_hash(folder: Path, logged: str | None, address: str) -> None:
    """Refuse files that are not those that were logged; say so where nobody has noted which.

    Raises:
        RegistryError: weights or description are missing, or others.
    """
    files = [folder / name for name in (paths.WEIGHTS, paths.DESCRIPTION)]
    found = digests.sha256(*files) if all(file.is_file() for file in files) else "none"
    if logged is not None and found != logged:
        raise RegistryError(
            f"{address}: expected the model that was registered, with the hash {logged[:12]}, "
            f"found one with {found[:12]}: somebody has changed its files; `birnn rollback` goes "
            "to the version before, and `birnn retrain` trains a new one"
        )
    if logged is None and found != "none":
        console.say(
            f"warning: {address}: no hash of its files was noted, so a change of them is not seen; "
            f"if you trust them, give the version (or its run) the tag {SHA256}: {found}",
            error=True,
        )


def connect(problem: str) -> Registry:
    """Open the registry of the store that `birnn.tracking` uses.

    Raises:
        RegistryError: MLflow is out of reach.
    """
    with store.reached():
        return Registry(store.connect(), problem)


def _version(found: Any) -> Version:
    """What is of use in MLflow's own description of a version."""
    return Version(int(found.version), found.run_id, dict(found.tags))
