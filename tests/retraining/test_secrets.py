"""Nothing that a retraining writes, prints or sends holds a secret of its environment."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import checkout
import pytest
from test_errors import SECRETS
from test_notifications import Sink, serving

from birnn import cli
from birnn.retraining import recovery, workspace

# Of a library that one of the plugins of Apprise loads.
pytestmark = pytest.mark.filterwarnings("ignore:.imghdr. is deprecated:DeprecationWarning")

TOKEN = "--token=r3freshT0ken"


@pytest.fixture
def sink() -> Iterator[Sink]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """They are handled as before at the end."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sink: Sink) -> Path:
    """A checkout whose refreshing takes a token and fails, and tells people so."""
    place = tmp_path / "checkout"
    for name in ("dvc.yaml", "data/external/steps.csv"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    checkout.write_params(place, refresh=[sys.executable, "-c", "raise SystemExit(3)", TOKEN])
    checkout.enter(place, monkeypatch)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("BIRNN_NOTIFY", f"{sink.place}/p4thT0ken {sink.place}/refuse/p4thT0ken")
    monkeypatch.setattr(workspace, "changed", lambda _: True)  # no DVC is needed to fail
    return place


@pytest.mark.parametrize("uri", SECRETS)
def test_of_a_retraining_that_fails(
    place: Path,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    uri: str,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for command in (["retrain", "--dry-run"], ["retrain"], ["status"]):
        monkeypatch.setattr(sys, "argv", ["birnn", *command])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 1
    out, err = capfd.readouterr()
    assert "retrain.refresh: expected `python" in err
    assert "promotion will wait: " in out
    assert len(sink.received) == 1
    records = (place / "decisions.jsonl").read_text()
    assert "retrain.refresh: expected `python" in records
    kept = [path.read_bytes().decode(errors="replace") for path in files(place)]
    everything = "\n".join([out, err, *kept, str(sink.received)])
    secrets = {*SECRETS[uri], "r3freshT0ken", "p4thT0ken", "secret@"} - {"bob"}
    assert not [secret for secret in secrets if secret in everything]


def files(place: Path) -> list[Path]:
    """All that the retraining has written."""
    given = {place / "params.yaml"}
    return [path for path in place.rglob("*") if path.is_file() and path not in given]


@pytest.mark.parametrize("uri", ["http://bob:S3cr/3tpw@127.0.0.1:9"])
def test_of_what_waits_for_mlflow(place: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    """The record, its page and the sentence name the server by scheme, host and port."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    record = {"problem": "small", "decision": "postponed", "reason": str(recovery.out_of_reach())}
    outcome = recovery.settle({**record, "comment": f"{uri} is down"}, None)
    kept = [path.read_text() for path in (Path("decisions.jsonl"), Path("report/retraining.html"))]
    for text in (outcome.sentence, *kept):
        assert "http://127.0.0.1:9" in text
        assert "S3cr" not in text
        assert "3tpw" not in text
