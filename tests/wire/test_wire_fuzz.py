"""Whatever bytes arrive, `receive` returns a message or raises a WireError, never anything else; and so does `connect`.

Every input is fed whole and byte by byte, and both must make the same of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.wire import Closed, HandshakeFailed, HandshakeRefused, WebSocket, WireError, WireLimits, connect
from tests.peers import FaultyStream, Role, frame, unframe
from tests.wire.link import receive_all

LIMITS = WireLimits(message_bytes=300, fragments=8)
QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no finding

frames = st.builds(
    frame,
    st.sampled_from([0, 0, 1, 1, 2, 8, 9, 10]) | st.integers(0, 15),
    st.binary(max_size=140) | st.text(max_size=40).map(str.encode),
    fin=st.booleans(),
    rsv=st.sampled_from([0] * 9 + [4]),
    mask=st.none() | st.binary(min_size=4, max_size=4),
    length=st.none() | st.none() | st.sampled_from([0, 125, 126, 300, 301, 65_536, 1 << 40, (1 << 64) - 1]),
)
good_frames = st.builds(
    frame,
    st.sampled_from([0, 0, 0, 1, 2, 9, 10]),
    st.binary(max_size=20) | st.text(max_size=20).map(str.encode),
    fin=st.booleans(),
    mask=st.just(b"abcd"),
)
streams = (
    st.binary(max_size=200)
    | st.lists(frames, max_size=8).map(b"".join)
    | st.lists(good_frames, max_size=12).map(b"".join)
)


def run(body: Callable[[], Awaitable[None]]) -> None:
    """Run one example on a clock of its own: hypothesis and pytest-trio do not share a loop."""

    async def main() -> None:
        with trio.fail_after(60):
            await body()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def receive_stream(data: bytes, role: Role, dripped: bool) -> tuple[list[str | bytes], str, bytes]:
    """Feed `data` to a WebSocket; the messages, the error and the bytes that we sent."""
    near, far = trio.testing.memory_stream_pair()
    stream = FaultyStream(near)
    ws = WebSocket(stream, role=role, limits=LIMITS)
    await far.send_all(data)
    await far.send_eof()
    with stream.dripping() if dripped else contextlib.nullcontext():
        messages, error = await receive_all(ws)
    assert isinstance(error, WireError)
    await ws.aclose(getattr(error, "close_code", 1000))
    assert stream.closed
    return messages, f"{type(error).__name__} {error}", bytes(stream.sent)


@settings(QUIET, max_examples=400)
@given(data=streams, role=st.sampled_from(["server", "client"]))
def test_any_bytes_end_in_messages_and_one_wire_error_however_they_are_cut(data: bytes, role: Role) -> None:
    async def body() -> None:
        whole = await receive_stream(data, role, dripped=False)
        dripped = await receive_stream(data, role, dripped=True)
        assert whole[:2] == dripped[:2]
        masked = role == "client"
        assert unframe(whole[2], masked=masked) == unframe(dripped[2], masked=masked)

    run(body)


messages_strategy = st.lists(st.text(max_size=60) | st.binary(max_size=100), max_size=6)


@settings(QUIET, max_examples=100)
@given(messages=messages_strategy, role=st.sampled_from(["server", "client"]))
def test_what_one_side_sends_the_other_receives(messages: list[str | bytes], role: Role) -> None:
    async def body() -> None:
        one, other = trio.testing.memory_stream_pair()
        sender = WebSocket(one, role=role, limits=LIMITS)
        receiver = WebSocket(other, role="client" if role == "server" else "server", limits=LIMITS)
        for message in messages:
            await sender.send(message)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.aclose, 4999, "that is all")
            received, error = await receive_all(receiver)
            await receiver.aclose()
        assert received == messages
        assert isinstance(error, Closed)
        assert (error.code, error.reason) == (4999, "that is all")

    run(body)


HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
heads = st.binary(max_size=200) | st.lists(
    st.sampled_from(
        [
            HEAD,
            b"HTTP/1.1 429 Too Many Requests\r\n",
            b"HTTP/1.1 100 Continue\r\n",
            b"\r\n",
            b"Retry-After: ",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Length: 5\r\n",
            b"Sec-WebSocket-Accept: x\r\n",
        ]
    )
    | st.binary(max_size=20),
    max_size=10,
).map(b"".join)


@settings(QUIET, max_examples=200)
@given(answer=heads, dripped=st.booleans())
def test_any_answer_to_a_handshake_ends_in_a_handshake_error_and_a_closed_stream(answer: bytes, dripped: bool) -> None:
    async def body() -> None:
        near, far = trio.testing.memory_stream_pair()
        stream = FaultyStream(near)
        await far.send_all(answer)
        await far.send_eof()
        with stream.dripping() if dripped else contextlib.nullcontext(), pytest.raises(HandshakeFailed) as error:
            await connect(stream, host="h", target="/", headers=[], limits=LIMITS, deadline_s=5)
        if isinstance(error.value, HandshakeRefused):
            assert 200 <= error.value.status <= 999
            assert len(error.value.body) <= 4096
        assert stream.closed

    run(body)
