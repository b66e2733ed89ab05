"""Who may ask, and how much at once: what is too much is refused at once, in words.

    admission = Admission(Limits(), hosts={"localhost"}, token=None)
    with admission.place(request) as place:           # or Refused
        body = await place.body()                     # or Refused

The host that a client names is checked, since a web page that is open on the same machine can send
requests to localhost under a name of its own (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from urllib.parse import urlsplit

from starlette.requests import Request

from birnn.errors import ServingError
from birnn.serving.requests import WHERE, Limits

BODIES = 8  # of the largest allowed that are held at one time
DRAINED = 8  # of the largest allowed that are read and thrown away, so that a client hears why
RETRY_AFTER = MappingProxyType({"Retry-After": "1"})  # in seconds


class Refused(ServingError):  # noqa: N818  # a client's matter, and no failure of the server
    """A request is not taken.

    Attributes:
        status: of HTTP.
        headers: that go with it.
    """

    def __init__(
        self, message: str, status: int, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


class Admission:
    """What is under way; all in one thread, so nothing here needs a lock."""

    def __init__(self, limits: Limits, *, hosts: Collection[str], token: str | None) -> None:
        """Take nothing yet.

        Args:
            limits: what is too much.
            hosts: names by which clients may call the server; any if there are none.
            token: that clients must bring, if any.
        """
        self.limits, self.hosts, self.token = limits, hosts, token
        self.waiting = self.held = 0

    @contextmanager
    def place(self, request: Request) -> Iterator[Place]:
        """Hold a place for as long as a request is read, waits, is answered and takes its answer.

        Raises:
            Refused: all are taken, or this client may not ask.
        """
        self._check_client(request)
        if self.waiting >= self.limits.waiting:
            raise busy(f"{self.waiting} requests are under way")
        self.waiting += 1
        place = Place(self, request)
        try:
            yield place
        finally:
            self.waiting -= 1
            self.held -= place.size

    def _check_client(self, request: Request) -> None:
        if self.hosts and _host(request) not in self.hosts:
            expected = f"expected one for {' or '.join(sorted(self.hosts))}"
            raise Refused(f"{WHERE}: {expected}, found another host; see --allow-host", 400)
        given = request.headers.get("authorization", "").encode("latin-1")  # as it came
        wanted = f"Bearer {self.token}".encode()
        if self.token is not None and not hmac.compare_digest(given, wanted):
            expected = "expected the header `Authorization: Bearer TOKEN`"
            headers = {"WWW-Authenticate": "Bearer"}
            raise Refused(f"{WHERE}: {expected}, found another or none", 401, headers)


def _host(request: Request) -> str | None:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:  # of a name in brackets that is no address
        return None


class Place:
    """One of the requests that are under way."""

    def __init__(self, admission: Admission, request: Request) -> None:
        self.admission, self.request, self.size = admission, request, 0

    async def body(self) -> bytes:
        """Read the body.

        Raises:
            Refused: it is too large, no JSON, does not come, or others take all memory for them.
        """
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        parts = list[bytes]()
        try:
            async with asyncio.timeout(self.admission.limits.seconds):
                refused = None if kind == "application/json" else _other_kind(kind)
                async for part in self.request.stream():
                    self._count(part)
                    refused = refused or self._too_much()
                    if refused is None:
                        parts.append(part)
                    elif self.size > DRAINED * self.admission.limits.body:
                        break
        except TimeoutError:
            raise Refused(f"{WHERE}: expected a whole body, found a part of one", 408) from None
        if refused is not None:
            raise refused
        return b"".join(parts)

    def _count(self, part: bytes) -> None:
        self.size += len(part)
        self.admission.held += len(part)

    def _too_much(self) -> Refused | None:
        most = self.admission.limits.body
        if self.size > most:
            return Refused(f"{WHERE}: expected up to {most} bytes, found more; send parts", 413)
        if self.admission.held > BODIES * most:
            return busy("the bodies of others take all memory that there is for them")
        return None


def busy(why: str) -> Refused:
    """What is said where a request would have to wait too long."""
    return Refused(f"the server is busy: {why}; try again in a second", 503, RETRY_AFTER)


def _other_kind(kind: str) -> Refused:
    expected = "expected the header `Content-Type: application/json`"
    return Refused(f"{WHERE}: {expected}, found {kind[:60]!r}", 415)
