"""The simulator over a real loopback socket, with trio-websocket's client.

Rules: every test has a hard end (the `alive` fixture's deadline). Nothing sleeps; what must take time is waited for by
an event of the protocol. Deadlines of seconds are tested on memory streams, where the clock jumps.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
import trio.testing
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    wrap_client_stream,
)

from relay.simulator import SimulatorOptions, connection, serve_simulator
from relay.simulator.server import Simulator
from tests.simulator import facts, sounds
from tests.simulator.client import audio_of, base64_of

MODEL = "model=gpt-realtime-2.1"
FRAME_BYTES = 960
SOON_S = 5.0
"""For what takes no time; a machine may be busy."""


class Peer:
    """A WebSocket client that speaks events."""

    def __init__(self, websocket: WebSocketConnection) -> None:
        self.websocket = websocket

    async def send(self, kind: str, **fields: Any) -> None:
        await self.websocket.send_message(json.dumps({"type": kind, **fields}))

    async def receive(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(await self.websocket.get_message())
        assert facts.complaints_about_event(event) == []
        assert event["event_id"].startswith("event_")
        return event

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """Events up to and including the first of this type."""
        events = [await self.receive()]
        while events[-1]["type"] != kind:
            events.append(await self.receive())
        return events

    async def speak(self) -> bytes:
        """Say the sentence; returns the bytes that were sent."""
        sound = sounds.pcm(sounds.speech())
        for at in range(0, len(sound), FRAME_BYTES):
            await self.send("input_audio_buffer.append", audio=base64_of(sound[at : at + FRAME_BYTES]))
        return sound

    async def closed(self) -> tuple[int, str | None]:
        """Read to the end; its code and reason."""
        return ended(await self.rest())

    async def rest(self) -> list[str | bytes | ConnectionClosed]:
        """All messages to the end, and the end."""
        messages: list[str | bytes | ConnectionClosed] = []
        while not messages or not isinstance(messages[-1], ConnectionClosed):
            try:
                messages.append(await self.websocket.get_message())
            except ConnectionClosed as end:
                messages.append(end)
        return messages


def ended(messages: list[str | bytes | ConnectionClosed]) -> tuple[int, str | None]:
    """Code and reason of the close at the end of these messages."""
    assert isinstance(messages[-1], ConnectionClosed)
    reason = messages[-1].reason
    assert reason is not None
    return reason.code, reason.reason


@asynccontextmanager
async def simulator(**options: Any) -> AsyncIterator[str]:
    """A simulator on a free port; its URL. Stops at once."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            url: str = await nursery.start(serve_simulator, SimulatorOptions(**options))
            yield url
            stopping_s = trio.current_time()
            nursery.cancel_scope.cancel()
    assert trio.current_time() - stopping_s < SOON_S


@asynccontextmanager
async def connected(url: str, query: str = MODEL, **options: Any) -> AsyncIterator[Peer]:
    """A client; `options` are those of wrap_client_stream. Raises ConnectionRejected if it is not let in."""
    address = urlsplit(url)
    stream = await trio.open_tcp_stream(str(address.hostname), address.port or 80)
    async with speaking(stream, f"{address.path}?{query}", **options) as peer:
        yield peer


@asynccontextmanager
async def on_memory_streams(query: str = MODEL, **options: Any) -> AsyncIterator[Peer]:
    """A client of a simulator without sockets, for tests in which the clock jumps."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Simulator(SimulatorOptions(**options)).handle, theirs)
        async with speaking(ours, f"/v1/realtime?{query}") as peer:
            yield peer
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def speaking(stream: Any, target: str, **options: Any) -> AsyncIterator[Peer]:
    """WebSocket on a stream that is closed whatever happens; trio-websocket's own client leaves it to the collector."""
    try:
        async with trio.open_nursery() as nursery:
            websocket = await wrap_client_stream(nursery, stream, "simulator", target, **options)
            yield Peer(websocket)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise _first(group) from None
    finally:
        await trio.aclose_forcefully(stream)


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def test_a_spoken_sentence_is_answered_with_the_same_sentence() -> None:
    async with simulator() as url, connected(url) as peer:
        assert (await peer.receive())["type"] == "session.created"
        sound = await peer.speak()
        answer = audio_of(await peer.until("rate_limits.updated"))
        assert len(answer) > 48 * (sounds.SPEECH_TO_MS - sounds.SPEECH_FROM_MS)
        assert answer in sound


async def test_interrupting_an_answer_over_the_wire_cancels_it() -> None:
    async with simulator(pace=1.0) as url, connected(url) as peer:
        await peer.speak()
        await peer.until("response.output_audio.delta")
        await peer.speak()
        ended = (await peer.until("response.done"))[-1]["response"]
        assert ended["status_details"] == {"type": "cancelled", "reason": "turn_detected"}


@pytest.mark.parametrize("path", ["/", "/v1/realtime/", "/v1/realtime/translations", "/v1/live/sessions"])
async def test_another_path_is_404(path: str) -> None:
    async with simulator() as url:
        with pytest.raises(ConnectionRejected) as rejected:
            async with connected(url.replace("/v1/realtime", path)):
                pass
        assert rejected.value.status_code == 404


@pytest.mark.parametrize(
    ("query", "handshake", "code", "closed"),
    [
        ("", {}, "missing_model", (4_000, "invalid_request_error.missing_model")),
        ("model=parrot", {}, "invalid_model", (4_000, "invalid_request_error.invalid_model")),
        (MODEL, {"extra_headers": [(b"authorization", b"Bearer wrong")]}, "invalid_api_key",
         (3_000, "invalid_request_error.invalid_api_key")),
        (MODEL, {"extra_headers": [(b"OpenAI-Beta", b"realtime=v1")]}, "beta_api_shape_disabled",
         (4_000, "invalid_request_error.beta_api_shape_disabled")),
        (MODEL, {"subprotocols": ["realtime", "openai-insecure-api-key.right", "openai-beta.realtime-v1"]},
         "beta_api_shape_disabled", (4_000, "invalid_request_error.beta_api_shape_disabled")),
    ],
    ids=["no model", "no such model", "wrong key", "beta header", "beta subprotocol"],
)  # fmt: skip
async def test_who_is_refused_is_accepted_first_and_then_told(
    query: str, handshake: dict[str, Any], code: str, closed: tuple[int, str]
) -> None:
    if "extra_headers" not in handshake and "subprotocols" not in handshake:
        handshake = {"extra_headers": [(b"authorization", b"Bearer right")]}
    async with simulator(key="right") as url, connected(url, query, **handshake) as peer:
        event = await peer.receive()
        assert (event["type"], event["error"]["code"]) == ("error", code)
        assert await peer.closed() == closed


async def test_the_subprotocol_realtime_is_selected_and_the_key_is_not_echoed() -> None:
    async with simulator(key="right") as url:
        offered = ["realtime", "openai-insecure-api-key.right"]
        async with connected(url, subprotocols=offered) as peer:
            assert peer.websocket.subprotocol == "realtime"
            assert (await peer.receive())["type"] == "session.created"
        headers = [(b"authorization", b"Bearer right")]
        async with connected(url, extra_headers=headers) as peer:
            assert peer.websocket.subprotocol is None


async def raw(url: str, request: bytes) -> bytes:
    """Send bytes, read to the end."""
    port = int(url.split(":")[2].split("/")[0])
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request)
        return b"".join([bytes(part) async for part in stream])


UPGRADE = (
    b"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


async def test_compression_is_not_negotiated() -> None:
    async with simulator(faults="close@open") as url:
        answer = await raw(url, UPGRADE + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 101")
    assert b"extensions" not in head


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        UPGRADE + b"Sec-WebSocket-Protocol: \xff\xfe\r\n\r\n",
        UPGRADE + b"Sec-WebSocket-Extensions: \xff\r\n\r\n\xff\xff\xff\xff",
        UPGRADE + b"\r\n\xff\xff\xff\xff",
        UPGRADE.replace(b"gpt-realtime", b"gpt-realtime&fault=%zz%00") + b"\r\n",
        UPGRADE.replace(b"/v1/realtime", b"//[") + b"\r\n",
    ],
    ids=["plain http", "tls", "http/2", "protocol not ascii", "extension not ascii", "no frame", "fault", "target"],
)
async def test_no_connection_ends_the_server(request_bytes: bytes) -> None:
    async with simulator() as url:
        with trio.move_on_after(0.5):
            await raw(url, request_bytes)
        async with connected(url) as peer:
            assert (await peer.receive())["type"] == "session.created"


async def test_a_bug_in_one_session_is_logged_and_ends_only_that(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def explode(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    async with simulator() as url:
        with monkeypatch.context() as patch:
            patch.setattr("relay.simulator.session.Session.open", explode)
            async with connected(url) as peer:
                assert (await peer.closed())[0] == 1_006
        async with connected(url) as peer:
            assert (await peer.receive())["type"] == "session.created"
    captured = capsys.readouterr()
    assert "a bug" in captured.out + captured.err


async def test_errors_are_not_fatal() -> None:
    async with simulator() as url, connected(url) as peer:
        await peer.receive()
        for message in ("{", b"\0", '{"type":"nonsense"}', '{"type":"session.update","session":{}}'):
            await peer.websocket.send_message(message)
            assert (await peer.receive())["type"] == "error"
        await peer.send("session.update", session={"type": "realtime"})
        assert (await peer.receive())["type"] == "session.updated"


async def test_a_15_mib_append_is_taken_and_a_bigger_message_ends_the_connection() -> None:
    async with simulator() as url, connected(url) as peer:
        await peer.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        await peer.send("input_audio_buffer.append", audio=base64_of(bytes(15 * 1024 * 1024)))
        await peer.send("input_audio_buffer.commit")
        await peer.until("input_audio_buffer.committed")
        with suppress(ConnectionClosed):  # it may be over before all of it has been sent
            await peer.websocket.send_message("x" * (22 * 1024 * 1024))
        assert (await peer.closed())[0] in (1_006, 1_009)


async def test_a_session_expires_with_an_error_and_close_1001() -> None:
    async with simulator(max_session_s=0.1) as url, connected(url) as peer:
        events = await peer.until("error")
        assert events[-1]["error"]["code"] == "session_expired"
        assert await peer.closed() == (1_001, "invalid_request_error.session_expired")


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [("refuse", 503, None), ("refuse:429/3", 429, b"3"), ("refuse:401", 401, None), ("nonsense", 400, None)],
)
async def test_refuse_answers_the_handshake_with_a_status(fault: str, status: int, retry_after: bytes | None) -> None:
    async with simulator() as url:
        with pytest.raises(ConnectionRejected) as rejected:
            async with connected(url, f"{MODEL}&fault={fault}"):
                pass
    assert rejected.value.status_code == status
    assert dict(rejected.value.headers or ()).get(b"retry-after") == retry_after


async def test_faults_can_be_an_option_and_spare_later_connections() -> None:
    async with simulator(faults="refuse*2") as url:
        for _ in range(2):
            with pytest.raises(ConnectionRejected):
                async with connected(url):
                    pass
        async with connected(url) as peer:
            assert (await peer.receive())["type"] == "session.created"


@pytest.mark.parametrize(
    ("fault", "closed"),
    [
        ("unauthorized", (3_000, "invalid_request_error.invalid_api_key")),
        ("expire", (1_001, "invalid_request_error.session_expired")),
        ("close", (1_011, None)),
        ("close:1012/restart", (1_012, "restart")),
        ("drop@created", (1_006, None)),
        ("malformed:frame", (1_002, "Invalid opcode 0xf")),
    ],
)
async def test_scripted_ends(fault: str, closed: tuple[int, str | None]) -> None:
    async with simulator() as url, connected(url, f"{MODEL}&fault={fault}") as peer:
        code, reason = await peer.closed()
        assert (code, reason or None) == closed


async def test_drop_cuts_the_answer_in_mid_sentence() -> None:
    async with simulator(faults="drop") as url, connected(url) as peer:
        await peer.speak()
        *messages, end = await peer.rest()
        assert ended([end]) == (1_006, None)
        events = [json.loads(message) for message in messages if isinstance(message, str)]
        assert events[-1]["type"] == "response.output_audio.delta"
        assert len(audio_of(events)) == 48 * 500


async def test_flood_sends_its_events_and_goes_on() -> None:
    async with simulator(faults="flood:2000@updated") as url, connected(url) as peer:
        await peer.receive()
        await peer.send("session.update", session={"type": "realtime"})
        await peer.receive()
        flood = [json.loads(await peer.websocket.get_message())["type"] for _ in range(2_000)]
        assert set(flood) == {"simulator.flood"}
        await peer.send("session.update", session={"type": "realtime"})
        assert (await peer.receive())["type"] == "session.updated"


@pytest.mark.parametrize("kind", ["json", "binary", "type", "base64"])
async def test_malformed_sends_one_bad_message_and_goes_on(kind: str) -> None:
    async with simulator(faults=f"malformed:{kind}") as url, connected(url) as peer:
        await peer.receive()
        bad = await peer.websocket.get_message()
        assert isinstance(bad, bytes) == (kind == "binary")
        await peer.send("session.update", session={"type": "realtime"})
        assert (await peer.receive())["type"] == "session.updated"


async def test_huge_sends_a_message_that_no_client_should_take() -> None:
    async with simulator(faults="malformed:huge") as url, connected(url, max_message_size=1024 * 1024) as peer:
        assert (await peer.closed())[0] in (1_006, 1_009)


async def test_stall_stops_reading_and_writing_and_stays_open(autojump_clock: trio.testing.MockClock) -> None:
    async with on_memory_streams(faults="stall@created") as peer:
        assert (await peer.receive())["type"] == "session.created"
        await peer.send("session.update", session={"type": "realtime"})
        with trio.move_on_after(300) as waiting:
            await peer.websocket.get_message()
        assert waiting.cancelled_caught
        with trio.move_on_after(30) as waiting:
            await peer.websocket.ping()
        assert waiting.cancelled_caught


async def test_stall_at_the_handshake_never_answers_it(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Simulator(SimulatorOptions(faults="stall@request")).handle, theirs)
        await ours.send_all(UPGRADE + b"\r\n")
        with trio.move_on_after(300) as waiting:
            await ours.receive_some()
        assert waiting.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_a_client_that_never_finishes_its_handshake_is_cut(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Simulator(SimulatorOptions()).handle, theirs)
        await ours.send_all(b"GET /v1/realtime HTTP/1.1\r\n")
        with trio.fail_after(11):
            assert await ours.receive_some() == b""


async def test_a_client_that_stops_reading_is_cut_after_a_deadline(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    with trio.fail_after(connection.SEND_DEADLINE_S + 1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Simulator(SimulatorOptions()).handle, theirs)
            await ours.send_all(UPGRADE + b"\r\n")
            assert (await ours.receive_some()).startswith(b"HTTP/1.1 101")


def masked_frame(text: str) -> bytes:
    """A client's text frame, with a mask of zeros; 126 to 65,535 bytes."""
    return b"\x81\xfe" + len(text).to_bytes(2) + bytes(4) + text.encode()


@pytest.mark.parametrize(("limit", "value"), [("OUTBOX_EVENTS", 16), ("OUTBOX_CHARS", 16 * 1_200)])
async def test_who_asks_and_does_not_read_is_not_read_either(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(connection, limit, value)
    update = json.dumps({"type": "session.update", "session": {"type": "realtime", "instructions": "x" * 200}})
    ours, theirs = trio.testing.lockstep_stream_pair()
    asked = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Simulator(SimulatorOptions()).handle, theirs)
        await ours.send_all(UPGRADE + b"\r\n")
        assert (await ours.receive_some()).startswith(b"HTTP/1.1 101")
        with trio.move_on_after(connection.SEND_DEADLINE_S / 2):
            for asked in range(200):  # noqa: B007  # how far it came is the result
                await ours.send_all(masked_frame(update))
        nursery.cancel_scope.cancel()
    assert 10 <= asked <= 25


async def test_a_client_that_answers_no_ping_is_cut(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.fail_after(connection.PING_INTERVAL_S + connection.PONG_DEADLINE_S + 1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Simulator(SimulatorOptions()).handle, theirs)
            await ours.send_all(UPGRADE + b"\r\n")
            async for _ in ours:
                pass


@pytest.mark.parametrize(("fault", "speaks"), [("", False), ("", True), ("stall@created", False), ("stall", True)])
async def test_a_cancelled_simulator_ends_every_session_at_once(fault: str, speaks: bool) -> None:
    async with trio.open_nursery() as nursery:
        running = trio.CancelScope()

        async def serve(*, task_status: trio.TaskStatus[str]) -> None:
            with running:
                await serve_simulator(SimulatorOptions(pace=1.0), task_status=task_status)

        url: str = await nursery.start(serve)
        async with connected(url, f"{MODEL}&fault={fault}") as peer:
            await peer.receive()
            if speaks:
                await peer.speak()
                await peer.until("response.output_audio.delta")
            with trio.fail_after(SOON_S):
                running.cancel()
                assert (await peer.closed())[0] == 1_006


async def test_two_connections_of_one_seed_differ_and_two_runs_do_not() -> None:
    runs = []
    for _ in range(2):
        async with simulator(seed=3) as url:
            ids = []
            for _ in range(2):
                async with connected(url) as peer:
                    ids.append((await peer.receive())["session"]["id"])
            runs.append(ids)
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[0][1]
