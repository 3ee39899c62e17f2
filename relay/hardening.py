"""Overrides of Hypercorn: each names its fault, and the test that fails without it.

They replace names inside Hypercorn's modules, so they hold for exactly one version of it, which is pinned in
pyproject.toml and checked here. `install` is called once, before the first connection.

1. Compression is negotiated whenever a browser offers it, and cannot be switched off (hypercorn#307). A compressed
   message of 255 KiB grows to 256 MiB. -> PlainHandshake.
   tests/server/test_front_door.py::test_compression_is_never_negotiated
2. Non-ASCII bytes in a Sec-WebSocket or Connection header end the process (UnicodeDecodeError). -> PlainHandshake.
   tests/server/test_front_door.py::test_a_handshake_with_non_ascii_headers_is_refused_and_the_server_lives
3. HTTP/2 is accepted without TLS, by upgrade or by prior knowledge, with all its own faults. -> Http1Only.
   tests/server/test_front_door.py::test_http2_is_refused
4. After its first answer a connection is never idle: the idle task is started from within the request's scope, which is
   cancelled at that moment. It stays open for ever and holds up the end of the process. -> Connection.
   tests/server/test_serve.py::test_an_idle_connection_does_not_hold_up_the_end
5. A client that does not wait for the 101 is answered with 400 while its handshake goes on, which then fails: 8 KiB of
   tracebacks in the log for each such request. -> Http1Only.
   tests/server/test_front_door.py::test_bytes_behind_the_upgrade_request_end_one_connection_and_not_the_server
6. A client that leaves while its answer is written, with more sent already, leaves its connection behind: the reader
   waits for the end of an answer that nobody finishes. Each keeps a file descriptor for ever. -> Connection.
   tests/server/test_front_door.py::test_a_client_that_leaves_in_the_middle_leaves_nothing_behind
7. h11's limit on a head holds only while it is incomplete: one that comes in a single read may be 64 KiB, with
   thousands of headers. Bodies are read on whatever path, in chunks of any number. A target that is no path
   (`?model=x`, `http://[`) is an exception in Quart, with its traceback in the log. -> Http1Only.
   tests/server/test_front_door.py::test_a_request_is_refused_for_its_head_alone
8. A connection that its client has closed waits for its own idle time before it is gone, and keeps its descriptor that
   long: 10 s for each page that was left. -> Connection.
   tests/server/test_front_door.py::test_a_client_that_has_said_its_last_byte_is_not_waited_for
   tests/server/test_connections.py::test_a_flood_of_connections_is_refused_with_503_and_leaves_no_trace
9. A Host that is no host name (two dots in a row, 64 letters without one) fails in Python's idna codec, where Quart
   binds its routes: 500 and a traceback. -> Http1Only.
   tests/server/test_front_door.py::test_a_host_header_that_is_no_host_is_refused
10. A handshake that is none (no key, another version, HTTP/1.0) is answered with 400, and then its connection stays
    open for as long as the client likes: a few addresses could hold all places. -> Http1Only.
    tests/server/test_front_door.py::test_a_handshake_that_is_none_is_refused_and_its_connection_ends
11. A connection that has ended and its protocol hold each other, and so all that they read, until the garbage collector
    looks at what lives long: once in hundreds of connections. -> Connection.
    tests/server/test_hardening.py::test_a_connection_that_has_ended_leaves_nothing_to_the_garbage_collector
12. As many requests are worked on at once as there are connections, a step of each in every turn of the loop: whoever
    asks on 200 connections makes gaps in everybody's audio. They begin one after the other. -> Connection.
    tests/server/test_hardening.py::test_requests_that_come_in_the_same_moment_begin_one_after_the_other
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from importlib.metadata import version
from typing import NoReturn

import h11
import trio
from hypercorn import protocol as hypercorn_protocol
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ws_stream
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer

from relay.turnstile import Turnstile

HEAD_BYTES = 16_384
"""Request line and headers together. Precedents: 8 KiB per line in nginx, 16 KiB in Node."""

HEADERS = 100
"""Precedents: 100 in Apache, 128 in websockets."""

BODY_BYTES = 16_384
PINNED = "0.18.0"

_HOST = re.compile(rb"(?:(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?|\[[0-9A-Fa-f:.]+\])?(?::[0-9]{0,5})?")
"""A name in labels of at most 63 letters, or an IP address; RFC 9110, 7.2 allows none at all."""

_TEXT_HEADERS = frozenset({b"connection", b"sec-websocket-protocol", b"sec-websocket-version", b"sec-websocket-key"})


class ConnectionRefused(Exception):
    """The connection was answered and must end; nothing went wrong on our side."""


class PlainHandshake(ws_stream.Handshake):
    """A WebSocket handshake without extensions, whose headers are ASCII or not there."""

    def __init__(self, headers: list[tuple[bytes, bytes]], http_version: str) -> None:
        self._is_ascii = all(value.isascii() for name, value in headers if name.lower() in _TEXT_HEADERS)
        kept = [(name, value) for name, value in headers if name.lower() != b"sec-websocket-extensions"]
        super().__init__(kept if self._is_ascii else [], http_version)

    def is_valid(self) -> bool:
        """Whether the request may be upgraded."""
        return self._is_ascii and super().is_valid()


class Http1Only(H11Protocol):
    """HTTP/1.1 without a way to HTTP/2, in small requests, that upgrades nobody who speaks before the answer."""

    _is_head = False

    async def _check_protocol(self, event: h11.Request) -> None:
        self._is_head = event.method == b"HEAD"
        status = _refusal(event)
        if status:
            await self._refuse(status, f"a request that deserves {status}")
        if any(name == b"upgrade" for name, _ in event.headers) and self.connection.trailing_data[0]:
            await self._refuse(400, "bytes behind an upgrade request")

    async def handle(self, event: Event) -> None:
        """Take what was read. Behind an upgrade request nothing may come: the session reads for itself (detach.py)."""
        if isinstance(event, RawData) and event.data and isinstance(self.stream, ws_stream.WSStream):
            raise ConnectionRefused("bytes before the 101")
        await super().handle(event)

    async def _create_stream(self, request: h11.Request) -> None:
        await super()._create_stream(request)
        if isinstance(self.stream, ws_stream.WSStream) and self.stream.closed:
            await self.send(Closed())
            raise ConnectionRefused("a handshake that is none")

    async def _send_error_response(self, status_code: int) -> None:
        """Answer as the API does, so that its clients can read it."""
        error = {
            "message": f"relay refuses this request: {HTTPStatus(status_code).phrase}.",
            "type": "invalid_request_error",
        }
        body = json.dumps({"error": {**error, "param": None, "code": f"http_{status_code}"}}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        if not self._is_head:
            await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())

    async def _refuse(self, status: int, why: str) -> NoReturn:
        await self._send_error_response(status)
        await self.send(Closed())
        raise ConnectionRefused(why)


def _refusal(request: h11.Request) -> int | None:
    """Return the status with which a request is refused for its head alone, or None."""
    head_bytes = len(request.target) + sum(len(name) + len(value) for name, value in request.headers)
    lengths = [int(value) for name, value in request.headers if name == b"content-length"]
    body_bytes = lengths[0] if lengths else 0
    if request.http_version not in (b"1.1", b"1.0"):
        return 505
    if any(name == b"host" and not _HOST.fullmatch(value) for name, value in request.headers):
        return 400
    if head_bytes > HEAD_BYTES or len(request.headers) > HEADERS:
        return 431
    if any(name == b"transfer-encoding" for name, _ in request.headers):
        return 411
    if not request.target.startswith(b"/") or (body_bytes and request.method in (b"GET", b"HEAD")):
        return 400
    return 413 if body_bytes > BODY_BYTES else None


_requests = Turnstile()


class Connection(TCPServer):
    """A connection whose idle time runs in its own scope, and that ends when a write fails or the peer has ended."""

    _idle: trio.CancelScope | None = None
    _peer_ended = False

    async def run(self) -> None:
        """Serve until the connection ends. The scope is around Hypercorn's nursery, which lets a Cancelled out."""
        try:
            with trio.CancelScope() as self._alive:
                await super().run()
        finally:
            vars(self).pop("protocol", None)

    async def _read_data(self) -> None:
        """Read to the end; then it is not idle but gone, also if an answer is still to be finished."""
        await super()._read_data()
        self._peer_ended = True
        await self.idle_task.stop()
        if self._idle is not None:
            self._idle.cancel()

    async def protocol_send(self, event: Event) -> None:
        """Write for the protocol, or note that a request ended, without waiting, or began, in its turn: see above."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Updated):
            await self._update(event)
        else:
            await super().protocol_send(event)

    async def _write(self, data: bytes) -> None:
        try:
            async with self.send_lock:
                await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._alive.cancel()  # nobody is left to answer

    async def _update(self, event: Updated) -> None:
        if event.idle:
            self.stream.place.waits()  # a DetachableStream's
        else:
            self.stream.place.works()
        if self._idle is not None:
            self._idle.cancel()
        if event.idle and not self._peer_ended:
            self._idle = trio.CancelScope()
            self._task_group.spawn(self._idle_within, self._idle)
        elif self._idle is None:
            await self.idle_task.stop()  # the one that runs before the first request
        if not event.idle:
            await _requests.turn()

    async def _idle_within(self, scope: trio.CancelScope) -> None:
        with scope:
            await self._idle_timeout()


def install() -> None:
    """Put the overrides in place. Raises RuntimeError for a Hypercorn they were not written for."""
    if version("hypercorn") != PINNED:
        raise RuntimeError(
            f"relay overrides parts of hypercorn {PINNED}, and found {version('hypercorn')}: install that"
        )
    ws_stream.Handshake = PlainHandshake  # type: ignore[misc]  # replacing it is the purpose
    hypercorn_protocol.H11Protocol = Http1Only  # type: ignore[attr-defined]  # imported there, not exported
