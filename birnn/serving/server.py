"""The server: HTTP in, JSON out; thin over Starlette and uvicorn, which MLflow's server stands on.

    serve("models:/tagging@champion", Options())

| path           | what                                                                   |
| -------------- | ---------------------------------------------------------------------- |
| `/invocations` | POST: predictions of JSON in a form of `birnn.serving.requests`         |
| `/ping`        | whether the process lives                                              |
| `/health`      | whether a model answers, and whether it is the one that it should be   |
| `/version`     | which model answers, since when, and the version of birnn              |

What is wrong with a request is one sentence, with a status of 400 to 499. Small and large requests
are answered by a thread each, so that the small ones do not wait for the large.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from birnn.errors import DataError, ServingError
from birnn.files import console
from birnn.files.reading import one_line
from birnn.model import prediction, threads
from birnn.serving import answers
from birnn.serving.admission import Admission, Place, Refused, busy
from birnn.serving.answers import Reply
from birnn.serving.ledger import Ledger
from birnn.serving.requests import WHERE, Limits, TooLargeError
from birnn.serving.served import Following, Served

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
TOKEN = "BIRNN_SERVE_TOKEN"  # noqa: S105  # the name of the variable
SMALL = 1 << 16  # bytes of a body up to which a request is answered beside large ones
LONGEST_MESSAGE = 600  # letters
SWITCH = 0.0005  # seconds for which a large request may hold Python, when a small one wants it
GRACE = 10  # seconds that requests have to end when the server does
STATUS = {400: "BAD_REQUEST", 401: "UNAUTHENTICATED", 503: "TEMPORARILY_UNAVAILABLE"}


@dataclass(frozen=True, slots=True)
class Options:
    """How to serve.

    Attributes:
        host: the address to listen on.
        port: of it; 0 for a free one.
        every: seconds between two looks at the alias.
        allowed: further names by which clients may call the server.
        limits: what is too much.
        ledger: the folder to record answers in, if any.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    every: float = 60.0
    allowed: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    ledger: Path | None = None


class CalledOff(Exception):  # noqa: N818
    """Nobody waits for the answer any more."""


def serve(address: str, options: Options) -> None:
    """Answer until SIGTERM or Ctrl-C; what is under way then is answered first.

    Args:
        address: of the model; see `birnn.serving.served.load`.
        options: how.

    Raises:
        ServingError: the port cannot be listened on.
        DataError: see `birnn.serving.served.load`.
        RegistryError: see `birnn.serving.served.load`.
    """
    following = Following(address, every=options.every)
    network = following.served.network
    threads.limit(prediction.BATCH_SIZE * network.architecture.sums)
    sys.setswitchinterval(SWITCH)
    with _listening(options) as listener, ExitStack() as stack:
        ledger = None if options.ledger is None else stack.enter_context(Ledger(options.ledger))
        stack.enter_context(following)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        console.say(f"{following.served.name} answers on http://{shown}:{port}/invocations")
        config = uvicorn.Config(
            application(following, options, ledger),
            access_log=False,
            log_level="warning",
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
        uvicorn.Server(config).run(sockets=[listener])


def _listening(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=1024)
    except OSError as error:
        place = f"{options.host}, port {options.port}"
        raise ServingError(
            f"{place}: expected a free port, found: {error.strerror}; choose another with --port"
        ) from None


def application(following: Following, options: Options, ledger: Ledger | None = None) -> Starlette:
    """Make what answers requests; see the table above."""
    invocations = Invocations(following, options, ledger)

    async def ping(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def health(_: Request) -> Response:
        trouble = list(filter(None, [following.trouble, ledger.trouble if ledger else ""]))
        said = {"model": str(following.served.name), "looked": following.looked}
        return JSONResponse({"status": "ok", **said, **({"trouble": trouble} if trouble else {})})

    async def shown_version(_: Request) -> Response:
        return JSONResponse(_version(following.served))

    return Starlette(
        routes=[
            Route("/ping", ping),
            Route("/health", health),
            Route("/version", shown_version),
            Route("/invocations", invocations, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _no_such_path},
    )


def _version(served: Served) -> dict[str, object]:
    name = served.name
    model = {"model": name.model, "version": name.version or None, "sha256": name.sha256}
    return {"birnn": version("birnn"), **model, "since": served.since}


async def _no_such_path(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    expected = "expected POST /invocations, or GET /ping, /health or /version"
    return refusal(f"{WHERE}: {expected}", error.status_code, dict(error.headers or {}))


def refusal(message: str, status: int, headers: dict[str, str] | None = None) -> Response:
    """Say in one sentence why there is no answer, in the form of MLflow's server."""
    content = {
        "error_code": STATUS.get(status, STATUS[400]),
        "message": one_line(message)[:LONGEST_MESSAGE],
    }
    return JSONResponse(content, status, headers)


class Invocations:
    """Answers requests for predictions."""

    def __init__(self, following: Following, options: Options, ledger: Ledger | None) -> None:
        self.following, self.limits, self.ledger = following, options.limits, ledger
        local = options.host in LOCAL
        hosts = {*LOCAL, *options.allowed} if local or options.allowed else set()
        self.admission = Admission(options.limits, hosts=hosts, token=os.environ.get(TOKEN) or None)
        self.lanes = {name: ThreadPoolExecutor(1, name) for name in ("small", "large")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and hold its place until the client has the answer."""
        request = Request(scope, receive)
        with suppress(ClientDisconnect, TimeoutError):
            try:
                with self.admission.place(request) as place:
                    response = await self._response(place)
                    async with asyncio.timeout(self.limits.seconds):
                        await response(scope, receive, send)
            except Refused as error:
                response = refusal(str(error), error.status, dict(error.headers))
                await response(scope, receive, send)

    async def _response(self, place: Place) -> Response:
        body = await place.body()
        try:
            served, reply = await self._answered(place.request, body)
        except CalledOff:
            raise ClientDisconnect from None
        except TooLargeError as error:
            return refusal(str(error), 413)
        except DataError as error:
            return refusal(str(error), 400)
        headers = {
            "birnn-model": quote(served.name.model),
            "birnn-model-version": served.name.version,
            "birnn-model-sha256": served.name.sha256,
        }
        return Response(reply.content, media_type="application/json", headers=headers)

    async def _answered(self, request: Request, body: bytes) -> tuple[Served, Reply]:
        """Let a thread answer, as long as somebody waits for it.

        Raises:
            Refused: it takes too long.
            CalledOff: the client has gone.
            DataError: see `birnn.serving.answers.answer`.
        """
        gone, left = threading.Event(), asyncio.create_task(_left(request))
        lane = self.lanes["small" if len(body) <= SMALL else "large"]
        work = asyncio.get_running_loop().run_in_executor(lane, self._work, body, gone)
        either: set[asyncio.Future[Any]] = {work, left}
        try:
            await asyncio.wait(
                either, timeout=self.limits.seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if work.done():
                return work.result()
            if left.done():
                raise CalledOff
            raise busy(f"no answer within {self.limits.seconds:g} seconds")
        finally:
            gone.set()
            work.cancel()
            left.cancel()
            del work, either  # an error in it holds this frame, and with it the body

    def _work(self, body: bytes, gone: threading.Event) -> tuple[Served, Reply]:
        """Answer by the model that serves when the work begins, and by it alone."""

        def go_on() -> None:
            if gone.is_set():
                raise CalledOff

        go_on()
        served = self.following.served
        unnamed = f"{uuid.uuid4().hex}-" if self.ledger else ""
        reply = answers.answer(served, body, self.limits, go_on, unnamed=unnamed)
        if self.ledger:
            self.ledger.add(served, reply.table, reply.offsets)
        return served, reply


async def _left(request: Request) -> None:
    """Wait until the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
