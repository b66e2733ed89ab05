"""The server: in a thread for what takes no time, as a process of its own for what users do."""

import gc
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest
import torch
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from two_versions import serve

from birnn.errors import ServingError
from birnn.model import prediction, saved_model
from birnn.serving import answers, ledger, server
from birnn.serving.ledger import Ledger
from birnn.serving.requests import Limits
from birnn.serving.served import Following
from birnn.serving.server import Options
from birnn.tracking.registry import Registry

JSON = {"Content-Type": "application/json"}
STEPS = [[1.0, 2.0], [0.5, -1.0], [0.0, 0.0]]
ONE = {"sequences": [STEPS]}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def tree(self) -> Any:
        return json.loads(self.text)


def ask(
    port: int,
    tree: Any = None,
    *,
    path: str = "/invocations",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """One request; a GET where there is no body."""
    sent = json.dumps(tree).encode() if tree is not None else body
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        method = "GET" if sent is None else "POST"
        connection.request(method, path, sent, {**JSON, **(headers or {})})
        found = connection.getresponse()
        return Answer(
            found.status, {k.lower(): v for k, v in found.getheaders()}, found.read().decode()
        )
    finally:
        connection.close()


def check_sentence(answer: Answer, status: int, said: str) -> None:
    """It is one sentence of ours."""
    assert answer.status == status, answer
    assert answer.tree.keys() == {"error_code", "message"}
    assert said in answer.tree["message"]
    assert "\n" not in answer.tree["message"]


@contextmanager
def in_thread(
    address: str | Path, options: Options | None = None, book: Ledger | None = None
) -> Iterator[int]:
    """The server in a thread of this process; gives its port."""
    options = options or Options()
    following = Following(str(address), every=60)
    app = server.application(following, options, book)
    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=5)
    running, listener = uvicorn.Server(config), server._listening(Options(port=0))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        running.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def slow_answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Answers wait until the event is set."""
    go, answered = threading.Event(), answers.answer

    def wait(*args: Any, **options: Any) -> Any:
        go.wait(60)
        return answered(*args, **options)

    monkeypatch.setattr(answers, "answer", wait)
    yield go
    go.set()


class TestPaths:
    def test_say_that_it_lives_and_which_model_answers(self, trained: Path) -> None:
        with in_thread(trained) as port:
            assert ask(port, path="/ping").tree == {"status": "ok"}
            health, version = ask(port, path="/health").tree, ask(port, path="/version").tree
            assert (health["status"], "trouble" in health) == ("ok", False)
            assert (version["model"], version["version"]) == (str(trained), None)
            assert version["since"] <= health["looked"]
            assert len(version["sha256"]) == 64
            check_sentence(ask(port, path="/else"), 404, "expected POST /invocations, or GET /ping")
            check_sentence(ask(port, path="/invocations"), 405, "expected POST /invocations")

    def test_name_the_model_of_an_answer(self, known: Registry, tmp_path: Path) -> None:
        with in_thread("models:/problem@champion") as port:
            answer = ask(port, ONE)
            assert (answer.status, answer.tree["predictions"][0]["predicted"]) == (200, ["b"] * 3)
            named = {name: answer.headers[f"birnn-model{name}"] for name in ("", "-version")}
            assert named == {"": "problem", "-version": "1"}
            assert answer.headers["birnn-model-sha256"] == ask(port, path="/version").tree["sha256"]

    def test_take_names_in_any_script(self, trained: Path, tmp_path: Path) -> None:
        (tmp_path / "é 模型").symlink_to(trained)
        with in_thread(tmp_path / "é 模型") as port:
            assert ask(port, ONE).status == 200
            assert ask(port, path="/version").tree["model"].endswith("é 模型")


class TestLimits:
    def test_of_the_body(self, trained: Path) -> None:
        limits = Limits(body=1000)
        with in_thread(trained, Options(limits=limits)) as port:
            for size in (1001, 7000):
                answer = ask(port, body=b" " * size)
                check_sentence(answer, 413, "the request: expected up to 1000 bytes, found more")
            assert ask(port, ONE).status == 200

    def test_of_rows_and_steps(self, trained: Path) -> None:
        with in_thread(trained, Options(limits=Limits(rows=5, steps=4))) as port:
            check_sentence(ask(port, {"sequences": [STEPS] * 2}), 413, "up to 5 rows, found 6")
            check_sentence(ask(port, {"sequences": [[[1, 2]] * 5]}), 413, "up to 4 steps, found 5")

    def test_of_requests_under_way(self, trained: Path, slow_answers: threading.Event) -> None:
        """What is more is told to come again at once, and what was taken is answered."""
        options = Options(limits=Limits(waiting=3))
        with in_thread(trained, options) as port, ThreadPoolExecutor(10) as clients:
            asked = [clients.submit(ask, port, ONE) for _ in range(10)]
            for _ in range(1000):
                if sum(one.done() for one in asked) == 7:
                    break
                time.sleep(0.01)
            slow_answers.set()
            found = [one.result() for one in asked]
            assert sorted(one.status for one in found) == [200] * 3 + [503] * 7
            for one in found:
                if one.status == 503:
                    check_sentence(one, 503, "the server is busy: 3 requests are under way")
                    assert one.headers["retry-after"] == "1"
            assert ask(port, ONE).status == 200

    def test_of_the_bodies_that_are_held(
        self, trained: Path, slow_answers: threading.Event
    ) -> None:
        limits = Limits(body=1000)
        body = json.dumps(ONE).encode().ljust(900)
        with in_thread(trained, Options(limits=limits)) as port, ThreadPoolExecutor(12) as clients:
            asked = [clients.submit(ask, port, body=body) for _ in range(12)]
            for _ in range(1000):
                if sum(one.done() for one in asked) == 4:
                    break
                time.sleep(0.01)
            slow_answers.set()
            statuses = sorted(one.result().status for one in asked)
            assert statuses == [200] * 8 + [503] * 4
            assert ask(port, body=body).status == 200

    def test_of_time(self, trained: Path, slow_answers: threading.Event) -> None:
        with in_thread(trained, Options(limits=Limits(seconds=0.2))) as port:
            answer = ask(port, ONE)
            check_sentence(answer, 503, "the server is busy: no answer within 0.2 seconds")
            assert answer.headers["retry-after"] == "1"

    def test_of_time_for_the_body(self, trained: Path) -> None:
        with in_thread(trained, Options(limits=Limits(seconds=0.2))) as port:
            answer = ask(port, body=b"{", headers={"Content-Length": "100"})
            check_sentence(answer, 408, "expected a whole body, found a part of one")

    def test_a_small_request_does_not_wait_for_a_large_one(
        self, trained: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        go, answered = threading.Event(), answers.answer

        def wait(served: Any, body: bytes, *args: Any, **options: Any) -> Any:
            if len(body) > server.SMALL:
                go.wait(60)
            return answered(served, body, *args, **options)

        monkeypatch.setattr(answers, "answer", wait)
        with in_thread(trained) as port, ThreadPoolExecutor() as clients:
            large = clients.submit(ask, port, body=json.dumps(ONE).encode().ljust(server.SMALL + 1))
            time.sleep(0.1)
            assert ask(port, ONE).status == 200
            assert not large.done()
            go.set()
            assert large.result().status == 200


def test_what_nobody_waits_for_is_called_off(
    trained: Path, slow_answers: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def work(*args: Any, **options: Any) -> Any:
        _, _, _, go_on = args
        for _ in range(1000):
            try:
                go_on()
            except server.CalledOff:
                ended.set()
                raise
            time.sleep(0.01)

    monkeypatch.setattr(answers, "answer", work)
    with in_thread(trained) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/invocations", json.dumps(ONE), JSON)
        time.sleep(0.2)
        connection.close()
        assert ended.wait(10)
        assert ask(port, path="/ping").status == 200


def test_a_refused_body_is_not_held(trained: Path) -> None:
    """Not even until Python looks for objects that hold one another."""
    body = json.dumps({"dataframe_records": [], "sequences": "a" * (4 << 20)}).encode()
    this = psutil.Process()
    with in_thread(trained) as port:
        for _ in range(3):
            assert ask(port, body=body).status == 400
        gc.collect()
        gc.disable()
        try:
            before = this.memory_info().rss
            for _ in range(30):
                assert ask(port, body=body).status == 400
            assert this.memory_info().rss - before < 40 << 20
        finally:
            gc.enable()


class TestClients:
    def test_call_it_by_its_name(self, trained: Path) -> None:
        """A page in a browser of the same machine may have a name that leads to it."""
        with in_thread(trained, Options(allowed=("model.example",))) as port:
            for host in ("localhost", f"127.0.0.1:{port}", "[::1]:80", "model.example"):
                assert ask(port, ONE, headers={"Host": host}).status == 200
            for host in ("evil.example", "[::", "127.0.0.1.evil.example"):
                answer = ask(port, ONE, headers={"Host": host})
                check_sentence(answer, 400, "found another host; see --allow-host")

    def test_bring_the_token(self, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BIRNN_SERVE_TOKEN", "sécret")
        with in_thread(trained) as port:
            given = {"Authorization": "Bearer sécret".encode().decode("latin-1")}
            assert ask(port, ONE, headers=given).status == 200
            for wrong in ({}, {"Authorization": "Bearer secret"}):
                check_sentence(ask(port, ONE, headers=wrong), 401, "expected the header `Authoriz")
            assert ask(port, path="/ping").status == 200

    def test_send_json(self, trained: Path) -> None:
        with in_thread(trained) as port:
            answer = ask(port, ONE, headers={"Content-Type": "text/csv"})
            check_sentence(answer, 415, "`Content-Type: application/json`, found 'text/csv'")
            answer = ask(port, ONE, headers={"Content-Type": "Application/JSON; charset=utf-8"})
            assert answer.status == 200


def test_a_port_that_is_taken(trained: Path) -> None:
    with in_thread(trained) as port, pytest.raises(ServingError, match="expected a free port, fou"):
        server.serve(str(trained), Options(port=port))


class TestRecord:
    def test_holds_each_answer_with_the_id_of_the_reply(
        self, trained: Path, tmp_path: Path
    ) -> None:
        with Ledger(tmp_path / "ledger") as book, in_thread(trained, book=book) as port:
            replies = [ask(port, ONE).tree["predictions"][0] for _ in range(3)]
            (named,) = ask(port, {"sequences": [{"sequence": "s", "steps": STEPS}]}).tree[
                "predictions"
            ]
        frame = pd.concat([part.table.to_pandas() for part in ledger.parts(tmp_path / "ledger")])
        assert len({one["sequence"] for one in replies}) == 3
        for one in (*replies, named):
            rows = frame[frame["sequence"] == one["sequence"]]
            assert rows["predicted"].tolist() == one["predicted"]
            assert rows["step"].tolist() == [0, 1, 2]
            assert rows["confidence"].tolist() == pytest.approx(
                np.max(one["probabilities"], axis=1)
            )

    def test_that_cannot_be_written_is_said_and_answers_go_on(
        self, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Ledger(tmp_path / "ledger") as book, in_thread(trained, book=book) as port:
            (tmp_path / "ledger").rmdir()
            (tmp_path / "ledger").touch()
            assert [ask(port, ONE).status for _ in range(2)] == [200, 200]
            (trouble,) = ask(port, path="/health").tree["trouble"]
            assert "answers are not recorded" in trouble
            (tmp_path / "ledger").unlink()
            assert ask(port, ONE).status == 200
            assert "trouble" not in ask(port, path="/health").tree
        assert capsys.readouterr().err.count("answers are not recorded") == 1
        assert sum(len(part.table) for part in ledger.parts(tmp_path / "ledger")) == 3


class Process(NamedTuple):
    port: int
    process: "subprocess.Popen[str]"


@contextmanager
def process(root: Path, *arguments: object) -> Iterator[Process]:
    """`birnn serve` as a user starts it."""
    command = [sys.executable, "-c", "from birnn.cli import main; main()", "serve"]
    started = subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=root,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout is not None
        line = started.stdout.readline()
        if not line:
            raise AssertionError(started.communicate())
        yield Process(int(line.rpartition(":")[2].split("/")[0]), started)
    finally:
        started.kill()
        started.communicate()


@pytest.fixture(scope="module")
def running(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with process(tmp_path_factory.mktemp("running"), trained, "--port", 0) as started:
        yield started.port


def drawn(lengths: list[int], seed: int = 0) -> pd.DataFrame:
    frame = pd.DataFrame(np.random.default_rng(seed).standard_normal((sum(lengths), 2)))
    frame.columns = pd.Index(["x", "y"])
    return frame.assign(sequence=np.repeat([f"s{n}" for n in range(len(lengths))], lengths))


def directly(folder: Path, request: pd.DataFrame) -> pd.DataFrame:
    batches = pa.Table.from_pandas(request, preserve_index=False).to_batches()
    cpu = torch.device("cpu")
    parts = prediction.of_table(*saved_model.load(folder), batches, where="here", device=cpu)
    frame: pd.DataFrame = pa.concat_tables(parts).to_pandas()
    return frame


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
STEP = st.lists(st.floats() | st.integers() | ANYTHING, max_size=3) | ANYTHING
COLUMNS = st.lists(st.sampled_from(["sequence", "x", "y", "label", ""]) | ANYTHING, max_size=4)
RECORD = st.fixed_dictionaries({}, optional={"sequence": ANYTHING, "x": ANYTHING, "y": st.floats()})
REQUESTS = st.one_of(
    ANYTHING,
    st.fixed_dictionaries({"sequences": st.lists(st.lists(STEP, max_size=4), max_size=3)}),
    st.fixed_dictionaries({"sequences": ANYTHING}),
    st.fixed_dictionaries({"dataframe_records": st.lists(RECORD, max_size=4)}),
    st.fixed_dictionaries(
        {"dataframe_split": st.fixed_dictionaries({"columns": COLUMNS, "data": ANYTHING})}
    ),
).map(lambda tree: json.dumps(tree).encode())


@pytest.mark.slow
class TestProcess:
    def test_answers_as_the_library_does(self, running: int, trained: Path) -> None:
        request = drawn([5, 1, 40, 300, 2])
        expected = directly(trained, request)
        for form, tree in (
            ("dataframe_split", request.to_dict("split")),
            ("dataframe_records", request.to_dict("records")),
        ):
            answer = ask(running, {form: tree})
            found = pd.DataFrame(answer.tree["predictions"]).astype(expected.dtypes.to_dict())
            pd.testing.assert_frame_equal(found, expected, check_exact=True)

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(body=REQUESTS | st.binary(max_size=40))
    def test_never_fails_on_what_is_sent(self, running: int, body: bytes) -> None:
        answer = ask(running, body=body)
        if answer.status == 200:
            assert answer.tree["predictions"]
        else:
            check_sentence(answer, 400, "the request")

    def test_fifty_clients_lose_nothing(self, running: int, trained: Path) -> None:
        lengths = [[1 + (7 * client + n) % 30 for n in range(5)] for client in range(50)]
        start = threading.Barrier(50)

        def client(number: int) -> None:
            request = drawn(lengths[number], seed=number)
            expected = directly(trained, request)
            start.wait()
            for _ in range(4):
                answer = ask(running, {"dataframe_split": request.to_dict("split")})
                assert answer.status == 200
                found = pd.DataFrame(answer.tree["predictions"]).astype(expected.dtypes.to_dict())
                pd.testing.assert_frame_equal(found, expected, check_exact=True)

        with ThreadPoolExecutor(50) as clients:
            for done in [clients.submit(client, number) for number in range(50)]:
                done.result()

    def test_is_killed_and_starts_again(self, trained: Path, tmp_path: Path) -> None:
        """On the same port, at once; each answer that a client has seen is in the ledger."""
        with process(tmp_path, trained, "--port", 0, "--record") as first:
            seen = [ask(first.port, ONE).tree["predictions"][0]["sequence"] for _ in range(5)]
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
            with pytest.raises(OSError, match=r"refused|reset"):
                ask(first.port, ONE)
        with process(tmp_path, trained, "--port", first.port, "--record") as second:
            seen.append(ask(second.port, ONE).tree["predictions"][0]["sequence"])
        parts = [*ledger.parts(tmp_path / "ledger")]
        assert len(parts) == 2
        kept = [name for part in parts for name in part.table["sequence"].to_pylist()]
        assert kept == [name for name in seen for _ in STEPS]

    def test_ends_when_it_is_told_to(self, trained: Path, tmp_path: Path) -> None:
        for told, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            with process(tmp_path, trained, "--port", 0) as started:
                assert ask(started.port, ONE).status == 200
                started.process.send_signal(told)
                out, err = started.process.communicate(timeout=30)
                assert (started.process.returncode, out, err) == (status, "", "")

    def test_follows_the_alias_between_two_requests(self, known: Registry, tmp_path: Path) -> None:
        """Each answer is wholly one version's, and none is lost while the alias moves."""
        address, ended = "models:/problem@champion", threading.Event()
        many = {"sequences": [STEPS] * 30}

        def client() -> list[tuple[str, set[str]]]:
            found = []
            while not ended.is_set():
                answer = ask(started.port, many)
                assert answer.status == 200
                said = {label for one in answer.tree["predictions"] for label in one["predicted"]}
                found.append((answer.headers["birnn-model-version"], said))
            return found

        with (
            process(tmp_path, address, "--port", 0, "--every", 0.1) as started,
            ThreadPoolExecutor(4) as clients,
        ):
            asked = [clients.submit(client) for _ in range(4)]
            try:
                for number in (2, 1, 2):
                    serve(known, number)
                    wait_for_version(started.port, str(number))
            finally:
                ended.set()
            answers = [one for client in asked for one in client.result()]
        assert {version for version, _ in answers} == {"1", "2"}
        assert all(said == {"b" if version == "1" else "c"} for version, said in answers)


def wait_for_version(port: int, number: str) -> None:
    for _ in range(600):
        if ask(port, path="/version").tree["version"] == number:
            return
        time.sleep(0.1)
    raise TimeoutError(number)
