"""A model that answers, with its name, and how it comes to be another one while a server runs.

    served = load("models:/tagging@champion")        # or a folder; loads no torch
    following = Following("models:/tagging@champion", every=60)
    with following:                                   # looks again every minute, in a thread
        following.served

Weights and description are read by the installed birnn; no code that lies beside them is run.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from birnn.data.encoding import Encoding
from birnn.errors import BirnnError, DataError
from birnn.files import addresses, console, digests
from birnn.model import exported, onnx_network, saved_model
from birnn.model.prediction import Predicts
from birnn.model.saved_model import Saved
from birnn.tracking import registry, runs

ADDRESSES = ("models:/", "runs:/")


@dataclass(frozen=True, slots=True)
class Name:
    """Which model it is.

    Attributes:
        model: the registered model, or the address or folder that it was read from.
        version: its number; empty where it is none of the registry's.
        sha256: the hash of weights and description.
    """

    model: str
    version: str
    sha256: str

    def __str__(self) -> str:
        if self.version:
            return f"version {self.version} of {self.model}"
        return f"{self.model} ({self.sha256[:12]})"


@dataclass(frozen=True, slots=True)
class Served:
    """A model that answers; never changed, so that whoever holds it has the whole of one model.

    Attributes:
        network: what computes its probabilities.
        encoding: how tables are read for it.
        thresholds: of its critical classes.
        name: which model it is.
        since: when it was loaded (UTC, ISO 8601).
    """

    network: Predicts
    encoding: Encoding
    thresholds: Mapping[str, float]
    name: Name
    since: str


def address(model: str) -> str:
    """What `champion` and `challenger` stand for; another address or a path as it is.

    Raises:
        ParamsError: params.yaml, which names the problem, is missing or wrong.
    """
    if model not in ("champion", "challenger"):
        return model
    from birnn import params

    return f"models:/{params.load().problem}@{model}"


def load(address: str, device: str = "cpu") -> Served:
    """Read a model.

    Args:
        address: a folder, a `.onnx` file, or an address of MLflow's such as
            `models:/NAME@champion`.
        device: where it computes; see `birnn.model.saved_model.predicting`.

    Raises:
        DataError: it is no folder with a model.
        RegistryError: MLflow is out of reach, does not have it, or it was changed since it was
            registered.
    """
    if not address.startswith(ADDRESSES):
        return _read(_here(address), address, "", device)
    version = registry.version_of(address)
    if version is None:
        return _fetched(address, address, "", device)
    return _fetched_version(address, version.number, device)


def saved(address: str) -> Saved:
    """Read a model's weights and description; see `load`.

    Raises:
        DataError: see `load`; or it is an ONNX graph.
        RegistryError: see `load`.
    """
    if not address.startswith(ADDRESSES):
        if _here(address).suffix in (exported.GRAPH, exported.PROGRAM):
            raise DataError(f"{address}: expected a model's folder or address, found an export")
        return saved_model.read(address)
    with TemporaryDirectory() as place:
        return saved_model.read(registry.fetch(address, place))


def _here(path: str) -> Path:
    if addresses.is_address(path):
        raise DataError(
            f"{path}: expected a model's folder here, or an address of MLflow's such as "
            f"{ADDRESSES[0]}NAME/3, found an address in a bucket; copy it here"
        )
    return Path(path)


def _fetched_version(address: str, number: int, device: str = "cpu") -> Served:
    """Read the version that an address means, however the alias moves meanwhile."""
    model = address.removeprefix("models:/").partition("@")[0].partition("/")[0]
    return _fetched(f"models:/{model}/{number}", model, str(number), device)


def _fetched(address: str, model: str, version: str, device: str) -> Served:
    with TemporaryDirectory() as place:
        return _read(registry.fetch(address, place), model, version, device)


def _read(folder: Path, model: str, version: str, device: str) -> Served:
    if folder.suffix == exported.GRAPH:
        return _exported(folder, model)
    if folder.suffix == exported.PROGRAM:
        raise DataError(
            f"{folder}: expected a model's folder, an address or {exported.GRAPH}; a program of "
            "torch.export is for other code, as to load it is to unpickle what it holds"
        )
    saved = saved_model.read(folder)
    return Served(
        network=saved_model.predicting(saved, device),
        encoding=saved.encoding,
        thresholds=saved.thresholds,
        name=Name(model, version, runs.model_sha256(folder)),
        since=_now(),
    )


def _exported(path: Path, model: str) -> Served:
    found = onnx_network.read(path)
    sha256 = digests.sha256(path, exported.description_path(path))
    name = Name(model, "", sha256)
    return Served(found.network, found.encoding, found.thresholds, name, _now())


class Following:
    """The model that an alias of MLflow's names, looked up again and again.

    Attributes:
        served: the model that answers now. To take it is one step, so a request that takes it once
            is answered by one model alone.
        looked: when the alias was looked up last, and MLflow answered (UTC, ISO 8601).
    """

    def __init__(self, address: str, *, every: float) -> None:
        """Read the model.

        Args:
            address: a folder, or an address of MLflow's. What can never name another model is not
                looked up again.
            every: seconds between two looks.

        Raises:
            DataError: see `load`.
            RegistryError: see `load`.
        """
        self.address, self.every = address, every
        self.served = load(address)
        self.looked, self._trouble = self.served.since, ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look_again, daemon=True)

    @property
    def follows(self) -> bool:
        """Whether the address may come to name another model."""
        return self.address.startswith("models:/") and "@" in self.address

    @property
    def trouble(self) -> str:
        """Why the model may be an older one than the alias names; empty if it is not."""
        started = self._thread.ident is not None and not self._end.is_set()
        if started and not self._thread.is_alive():
            return f"nobody looks at {self.address} any more: start the server again"
        return self._trouble

    def __enter__(self) -> Following:
        if self.follows:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()

    def _look_again(self) -> None:
        while not self._end.wait(self.every):
            self.look()

    def look(self) -> None:
        """Look the alias up; if it names another version, let that one answer from now on.

        Where that fails, the model that is here answers on.
        """
        try:
            version = registry.version_of(self.address)
            number = "" if version is None else str(version.number)
            if version is not None and number != self.served.name.version:
                self._take(_fetched_version(self.address, version.number))
        except (BirnnError, OSError) as error:
            self._tell(f"{self.served.name} serves on: {error}")
        else:
            self.looked = _now()
            self._tell("")

    def _take(self, new: Served) -> None:
        old, self.served = self.served, new
        _say(f"{new.name} serves now, in the place of {old.name}")

    def _tell(self, trouble: str) -> None:
        """Say what is new alone: what does not change would fill the log."""
        if trouble and trouble != self._trouble:
            _say(f"warning: {trouble}")
        if self._trouble and not trouble:
            _say("MLflow answers again, and all is in order")
        self._trouble = trouble


def _say(text: str) -> None:
    console.say(f"{_now()} {text}", error=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
