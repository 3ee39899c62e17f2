"""The client's handshake: what it asks, whom it believes, and that it always ends with no stream left open."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from relay.wire import HandshakeFailed, HandshakeRefused, WebSocket, connect
from tests.peers import TEXT, FakeUpstream, FaultyStream, frame
from tests.wire.link import LIMITS

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ANSWER = (
    "HTTP/1.1 101 Switching Protocols\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {accept}\r\n"
)


async def open_socket(stream: trio.abc.Stream, **changes: Any) -> WebSocket:
    """`connect` with what matters to no test filled in."""
    asked: dict[str, Any] = {
        "host": "api.test",
        "target": "/v1/realtime",
        "headers": [],
        "limits": LIMITS,
        "deadline_s": 5,
    }
    return await connect(stream, **(asked | changes))


async def read_request(far: trio.abc.Stream) -> str:
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += await far.receive_some()
    return request.decode("ascii")


def accept_for(request: str) -> str:
    found = re.search(r"Sec-WebSocket-Key: (\S+)\r\n", request)
    assert found
    return base64.b64encode(hashlib.sha1((found[1] + GUID).encode()).digest()).decode()


class Server:
    """Reads a request and sends the answers as one piece; {accept} stands for the right token. Then it stays."""

    def __init__(self, *answers: str | bytes, hang_up: bool = False) -> None:
        self.answers = answers
        self.hang_up = hang_up
        self.request = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FaultyStream]:
        near, self.far = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve)
            yield FaultyStream(near)
            nursery.cancel_scope.cancel()

    async def _serve(self) -> None:
        self.request = await read_request(self.far)
        with contextlib.suppress(trio.BrokenResourceError):
            accept = accept_for(self.request)
            parts = [part if isinstance(part, bytes) else part.format(accept=accept).encode() for part in self.answers]
            await self.far.send_all(b"".join(parts))
            if self.hang_up:
                await self.far.aclose()


async def test_the_request_says_who_and_what_and_nothing_of_extensions() -> None:
    near, far = trio.testing.memory_stream_pair()
    sockets: list[WebSocket] = []

    async def dial() -> None:
        headers = [("Authorization", "Bearer k"), ("OpenAI-Safety-Identifier", "a b")]
        sockets.append(
            await open_socket(
                near,
                host="api.test:8443",
                target="/v1/realtime?model=m",
                headers=headers,
                subprotocols=["realtime", "x"],
            )
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        upstream = await FakeUpstream.accept(far, subprotocol="realtime")
    assert upstream.request is not None
    assert upstream.request.host == "api.test:8443"
    assert upstream.request.target == "/v1/realtime?model=m"
    assert upstream.request.subprotocols == ["realtime", "x"]
    assert upstream.request.extensions == []
    assert upstream.header("authorization") == "Bearer k"
    assert sockets[0].subprotocol == "realtime"
    await sockets[0].send("hello")
    assert await upstream.receive() == "hello"


async def test_each_handshake_has_a_key_of_its_own() -> None:
    keys = set()
    for _ in range(3):
        async with (server := Server(ANSWER + "\r\n")).serving() as stream:
            await open_socket(stream)
            keys.add(accept_for(server.request))
    assert len(keys) == 3


async def test_a_server_may_choose_no_subprotocol() -> None:
    async with Server(ANSWER + "\r\n").serving() as stream:
        assert (await open_socket(stream, subprotocols=["realtime"])).subprotocol is None


@pytest.mark.parametrize(
    "chosen",
    ["Sec-WebSocket-Protocol: other\r\n", "Sec-WebSocket-Protocol: a\r\n" * 2, "Sec-WebSocket-Protocol: a, b\r\n"],
)
async def test_a_subprotocol_that_was_not_offered_fails_the_handshake(chosen: str) -> None:
    async with Server(ANSWER + chosen + "\r\n").serving() as stream:
        with pytest.raises(HandshakeFailed, match="subprotocol"):
            await open_socket(stream, subprotocols=["a", "b"])
        assert stream.closed


BAD_101 = {
    "no upgrade": ANSWER.replace("Upgrade: websocket\r\n", ""),
    "another upgrade": ANSWER.replace("websocket", "h2c"),
    "no connection": ANSWER.replace("Connection: Upgrade\r\n", ""),
    "another connection": ANSWER.replace("Connection: Upgrade", "Connection: close"),
    "no accept": ANSWER.replace("Sec-WebSocket-Accept: {accept}\r\n", ""),
    "wrong accept": ANSWER.replace("{accept}", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    "two accepts": ANSWER + "Sec-WebSocket-Accept: {accept}\r\n",
    "an extension": ANSWER + "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    "not HTTP": "SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/0.9": "hello\r\n",
    "a header in two lines of which one is none": ANSWER + "nonsense\r\n",
    "NUL in a value": ANSWER + "X: \x00\r\n",
}


@pytest.mark.parametrize("answer", BAD_101.values(), ids=BAD_101.keys())
async def test_an_answer_that_is_not_a_101_to_our_key_fails_and_closes(answer: str) -> None:
    async with Server(answer + "\r\n").serving() as stream:
        with pytest.raises(HandshakeFailed) as failure:
            await open_socket(stream)
        assert not isinstance(failure.value, HandshakeRefused)
        assert stream.closed


async def test_names_in_the_answer_may_be_written_in_any_case() -> None:
    answer = ANSWER.replace("Upgrade: websocket", "UPGRADE: WebSocket").replace(
        "Connection: Upgrade", "connection: keep-alive, upgrade"
    )
    async with Server(answer + "\r\n").serving() as stream:
        await open_socket(stream)


async def test_an_answer_that_drips_in_is_understood() -> None:
    async with Server("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", ANSWER + "\r\n").serving() as stream:
        with stream.dripping():
            await open_socket(stream)


async def test_a_message_in_the_same_chunk_as_the_101_is_kept() -> None:
    async with Server(ANSWER + "\r\n", frame(TEXT, b"early"), frame(TEXT, b"bird")).serving() as stream:
        ws = await open_socket(stream)
        assert [await ws.receive(), await ws.receive()] == ["early", "bird"]


@pytest.mark.parametrize("status", [200, 301, 302, 307, 400, 401, 403, 404, 426, 429, 500, 503])
async def test_any_other_status_is_a_refusal_redirects_included(status: int) -> None:
    answer = f"HTTP/1.1 {status} X\r\nLocation: ws://elsewhere.test/\r\nContent-Length: 2\r\n\r\nno"
    async with Server(answer).serving() as stream:
        with pytest.raises(HandshakeRefused) as refusal:
            await open_socket(stream)
        assert (refusal.value.status, refusal.value.body, refusal.value.retry_after_s) == (status, b"no", None)
        assert stream.closed


async def test_a_chunked_body_is_decoded() -> None:
    async with Server(
        "HTTP/1.1 429 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nslo\r\n1\r\nw\r\n0\r\n\r\n"
    ).serving() as stream:
        with pytest.raises(HandshakeRefused) as refusal:
            await open_socket(stream)
        assert refusal.value.body == b"slow"


async def test_a_body_that_never_ends_is_cut_at_4_kib() -> None:
    async with Server("HTTP/1.1 500 X\r\n\r\n", b"x" * 100_000).serving() as stream:
        with pytest.raises(HandshakeRefused) as refusal:
            await open_socket(stream)
        assert refusal.value.body == b"x" * 4096
        assert stream.received_bytes < 16 * 1024


async def test_a_chunk_header_that_never_ends_is_given_up_after_16_kib() -> None:
    head = "HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with Server(head, b"1;" + b"x" * 100_000).serving() as stream:
        with pytest.raises(HandshakeRefused):
            await open_socket(stream)
        assert stream.received_bytes < 24 * 1024


@pytest.mark.parametrize("length", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
async def test_a_429_with_an_unfinished_body_is_reported_within_a_second(
    autojump_clock: MockClock, length: str
) -> None:
    async with Server(f"HTTP/1.1 429 X\r\n{length}\r\nRetry-After: 7\r\n\r\n", b"5\r\nslow ").serving() as stream:
        with pytest.raises(HandshakeRefused) as refusal:
            await open_socket(stream)
        assert (refusal.value.status, refusal.value.retry_after_s) == (429, 7.0)
        assert b"slow" in refusal.value.body
        assert trio.current_time() <= 1.0


async def test_a_refusal_is_reported_though_the_deadline_ends_its_body(autojump_clock: MockClock) -> None:
    async with Server("HTTP/1.1 429 X\r\nContent-Length: 1000\r\n\r\n").serving() as stream:
        with pytest.raises(HandshakeRefused):
            await open_socket(stream, deadline_s=0.5)
        assert trio.current_time() == pytest.approx(0.5)


@pytest.mark.parametrize("tail", [b"garbage instead of a chunk\r\n", b"5\r\nhel"])
async def test_a_broken_body_does_not_hide_the_status(tail: bytes) -> None:
    async with Server("HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n", tail, hang_up=True).serving() as stream:
        with pytest.raises(HandshakeRefused) as refusal:
            await open_socket(stream)
        assert refusal.value.status == 503


def in_90_s() -> str:
    return email.utils.formatdate(time.time() + 90, usegmt=True)


RETRY_AFTER: dict[str, tuple[Callable[[], str], float | None]] = {
    "seconds": (lambda: "120", 120.0),
    "zero": (lambda: "0", 0.0),
    "a date to come": (in_90_s, 90.0),
    "a date gone by": (lambda: "Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
    "a fraction": (lambda: "1.5", None),
    "negative": (lambda: "-1", None),
    "words": (lambda: "soon", None),
    "digits without end": (lambda: "9" * 5000, None),
    "a date that is none": (lambda: "Sun, 99 Nov 99999 99:99:99 GMT", None),
}


@pytest.mark.parametrize(("value", "expected_s"), RETRY_AFTER.values(), ids=RETRY_AFTER.keys())
async def test_retry_after_is_understood_in_both_forms_or_ignored(
    value: Callable[[], str], expected_s: float | None
) -> None:
    async with Server(f"HTTP/1.1 503 X\r\nRetry-After: {value()}\r\nContent-Length: 0\r\n\r\n").serving() as stream:
        with pytest.raises(HandshakeRefused) as refusal:
            await open_socket(stream)
        assert refusal.value.retry_after_s == (expected_s if expected_s is None else pytest.approx(expected_s, abs=5))


async def test_a_server_that_never_answers_ends_at_the_deadline(autojump_clock: MockClock) -> None:
    async with Server().serving() as stream:
        with pytest.raises(HandshakeFailed, match="no answer within 5 s"):
            await open_socket(stream)
        assert stream.closed
        assert trio.current_time() == pytest.approx(5.0)


async def test_a_server_that_never_reads_ends_at_the_deadline(autojump_clock: MockClock) -> None:
    near, _far = trio.testing.lockstep_stream_pair()
    with pytest.raises(HandshakeFailed):
        await open_socket(stream := FaultyStream(near))
    assert stream.closed
    assert trio.current_time() == pytest.approx(5.0)


async def test_a_server_that_drips_its_head_ends_at_the_deadline(autojump_clock: MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()

    async def drip() -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            for byte in ("HTTP/1.1 101 X\r\nX: " + "x" * 100).encode():
                await far.send_all(bytes([byte]))
                await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        with pytest.raises(HandshakeFailed):
            await open_socket(near)
        assert trio.current_time() == pytest.approx(5.0)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("answer", ["", "HTTP/1.1 101 Switch"])
async def test_a_server_that_hangs_up_fails_the_handshake_at_once(autojump_clock: MockClock, answer: str) -> None:
    async with Server(answer, hang_up=True).serving() as stream:
        with pytest.raises(HandshakeFailed):
            await open_socket(stream)
        assert stream.closed
        assert trio.current_time() == 0


async def test_a_stream_that_is_already_dead_fails_the_handshake() -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.aclose()
    with pytest.raises(HandshakeFailed):
        await open_socket(near)


HEADS = {
    "one long line": (b"HTTP/1.1 101 X\r\nX: ", b"x" * 1000),
    "many lines": (b"HTTP/1.1 101 X\r\n", b"X: y\r\n" * 100),
    "many early hints": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 40),
}


@pytest.mark.parametrize(("start", "more"), HEADS.values(), ids=HEADS.keys())
async def test_a_head_without_end_is_given_up_after_16_kib(
    autojump_clock: MockClock, start: bytes, more: bytes
) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    taken = 0

    async def pour() -> None:
        nonlocal taken
        await read_request(far)
        await far.send_all(start)
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await far.send_all(more)
                taken += len(more)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pour)
        with pytest.raises(HandshakeFailed):
            await open_socket(stream := FaultyStream(near))
    assert stream.closed
    assert taken <= 24 * 1024


BAD_REQUESTS: dict[str, dict[str, Any]] = {
    "line break in a value": {"headers": [("X", "a\r\nEvil: 1")]},
    "line feed in a value": {"headers": [("X", "a\nb")]},
    "NUL in a value": {"headers": [("X", "a\0b")]},
    "space around a value": {"headers": [("X", " a")]},
    "value that is not ASCII": {"headers": [("X", "schön")]},
    "line break in a name": {"headers": [("X\r\nEvil", "1")]},
    "empty name": {"headers": [("", "1")]},
    "header of the handshake": {"headers": [("sec-websocket-EXTENSIONS", "permessage-deflate")]},
    "second host": {"headers": [("Host", "elsewhere.test")]},
    "body": {"headers": [("Content-Length", "5")]},
    "space in the target": {"target": "/a HTTP/1.1\r\nEvil: 1"},
    "target that is not ASCII": {"target": "/é"},
    "target of another host": {"target": "http://elsewhere.test/"},
    "line break in the host": {"host": "a\r\nEvil: 1"},
    "empty host": {"host": ""},
    "two subprotocols in one": {"subprotocols": ["a, b"]},
    "line break in a subprotocol": {"subprotocols": ["a\r\nEvil: 1"]},
}


@pytest.mark.parametrize("changes", BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
async def test_a_request_that_could_be_two_is_never_sent(changes: dict[str, Any]) -> None:
    near, _far = trio.testing.memory_stream_pair()
    with pytest.raises(ValueError, match=r"must|own"):
        await open_socket(stream := FaultyStream(near), **changes)
    assert stream.sent == b""
    assert stream.closed


async def test_no_error_repeats_a_headers_value() -> None:
    near, _far = trio.testing.memory_stream_pair()
    with pytest.raises(ValueError, match="Authorization") as error:
        await open_socket(near, headers=[("Authorization", "Bearer sk-canary\n")])
    assert "canary" not in repr(error.value)
    assert error.value.__context__ is None
