"""The end of a connection: the right code is said, and the socket is gone in time, whatever the peer does."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.wire import Closed, MessageTooBig, ProtocolViolation, SendTimeout, WebSocket
from tests.peers import BINARY, CLOSE, CONTINUATION, PONG, TEXT, FakeBrowser, PeerEnded, Role, close_payload, frame
from tests.wire.link import LIMITS, MASK, link


class Flood(trio.abc.Stream):
    """A peer that sends the same bytes for ever, and reads nothing, or everything."""

    def __init__(self, data: bytes, *, reads: bool = True) -> None:
        self._data = data
        self._reads = reads
        self.flooded_bytes = 0
        self.closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError
        self.flooded_bytes += len(self._data)
        return self._data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.wait_send_all_might_not_block()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._reads:
            await trio.sleep_forever()

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


async def test_a_server_hangs_up_when_the_peer_has_answered_and_a_client_lets_it(
    role: Role, autojump_clock: MockClock
) -> None:
    linked = link(role)

    async def peer() -> None:
        with pytest.raises(PeerEnded) as end:
            await linked.peer.receive()
        assert (end.value.code, end.value.reason) == (1012, "restart")
        await trio.sleep(0.3)
        assert linked.near.closed == (role == "server")
        await linked.peer.hang_up()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer)
        await linked.ws.aclose(1012, "restart")
        assert linked.near.closed
        assert trio.current_time() == (0 if role == "server" else 0.3)


@pytest.mark.parametrize("reason", ["r" * 200, "ü" * 100, "𝄞" * 40], ids=["1 byte each", "2", "4"])
async def test_a_reason_is_cut_to_123_bytes_between_characters(role: Role, reason: str) -> None:
    linked = link(role)
    await linked.far.send_eof()
    await linked.ws.aclose(1000, reason)
    [(opcode, payload)] = linked.sent()
    assert opcode == CLOSE
    assert 119 < len(payload[2:]) <= 123
    assert reason.startswith(payload[2:].decode())


@pytest.mark.parametrize(
    ("code", "told"), [(1000, 1000), (4410, 4410), (1006, 1011), (1015, 1011), (0, 1011), (99_999, 1011)]
)
async def test_a_code_that_must_not_be_sent_becomes_1011(role: Role, code: int, told: int) -> None:
    linked = link(role)
    await linked.far.send_eof()
    await linked.ws.aclose(code)
    assert linked.sent() == [(CLOSE, close_payload(told))]


async def test_a_peer_that_never_answers_our_close_loses_the_socket(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    await linked.ws.aclose()
    assert linked.near.closed
    assert trio.current_time() == pytest.approx(1.0)


async def test_a_peer_that_says_close_and_keeps_the_connection_loses_it(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    await linked.peer.close(1001)
    with pytest.raises(Closed) as error:
        await linked.ws.receive()
    assert error.value.code == 1001
    await linked.ws.aclose()
    assert linked.near.closed
    assert trio.current_time() <= 1.0
    assert linked.sent() == [(CLOSE, close_payload(1001))]


async def test_a_peer_that_never_reads_cannot_stop_a_close(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    with linked.near.stalled_sends():
        await linked.ws.aclose()
        assert linked.near.closed
    assert trio.current_time() == pytest.approx(1.0)


async def test_a_stuck_send_cannot_stop_a_close(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)

    async def send() -> None:
        with pytest.raises((Closed, SendTimeout)):
            await linked.ws.send("stuck")

    with linked.near.stalled_sends(after_bytes=1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            await linked.ws.aclose()
    assert trio.current_time() == pytest.approx(1.0)
    assert len(linked.near.sent) == 1


FLOODS = {
    "messages": frame(BINARY, bytes(60_000), mask=MASK),
    "small frames": frame(PONG, bytes(50), mask=MASK) * 1000,
    "one frame without end": frame(BINARY, bytes(60_000), mask=MASK, length=1 << 40),
    "garbage": b"\xff" * 65_536,
}


@pytest.mark.parametrize("reads", [True, False], ids=["reading", "not reading"])
@pytest.mark.parametrize("data", FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_is_dropped_unbuffered_and_ends_with_the_close(
    autojump_clock: MockClock, data: bytes, reads: bool
) -> None:
    flood = Flood(data, reads=reads)
    ws = WebSocket(flood, role="server", limits=LIMITS)
    tracemalloc.start()
    await ws.aclose(1009)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert flood.closed
    assert flood.flooded_bytes <= 1.2 * 1024 * 1024
    assert peak_bytes < 600_000
    assert trio.current_time() <= 1.0


async def test_a_flood_after_a_violation_is_dropped_unbuffered(autojump_clock: MockClock) -> None:
    ws = WebSocket(flood := Flood(b"\xff" * 65_536), role="server", limits=LIMITS)
    with pytest.raises(ProtocolViolation):
        await ws.receive()
    tracemalloc.start()
    await ws.aclose(1002)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 1_000_000 < flood.flooded_bytes < 1_300_000
    assert peak_bytes < 300_000


async def test_others_run_while_a_flood_of_frames_is_dropped(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    await linked.far.send_all(linked.frame(PONG) * 10_000)
    await linked.far.send_eof()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await linked.ws.aclose()
        nursery.cancel_scope.cancel()
    assert turns > 10_000 / 100


async def test_a_violator_is_told_and_gone_in_a_second_though_it_goes_on(autojump_clock: MockClock) -> None:
    linked = link("server")

    async def go_on() -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await linked.far.send_all(b"\xff" * 1000)
                await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
        with pytest.raises(ProtocolViolation) as error:
            await linked.ws.receive()
        await linked.ws.aclose(error.value.close_code)
    assert linked.sent() == [(CLOSE, close_payload(1002))]
    assert trio.current_time() <= 1.1


async def test_after_1009_the_rest_of_the_message_is_skipped_and_the_peers_answer_found(
    role: Role, autojump_clock: MockClock
) -> None:
    linked = link(role)
    too_big = linked.frame(BINARY, bytes(40_000), fin=False) + linked.frame(CONTINUATION, bytes(300_000), fin=False)
    rest = linked.frame(CONTINUATION, b"\xff") + linked.frame(TEXT, b"\xff")
    close = linked.frame(CLOSE, close_payload(1009))
    await linked.far.send_all(too_big + rest + close)
    with pytest.raises(MessageTooBig) as error:
        await linked.ws.receive()
    await linked.far.send_eof()
    await linked.ws.aclose(error.value.close_code)
    assert trio.current_time() == 0
    assert linked.sent() == [(CLOSE, close_payload(1009))]
    assert linked.near.received_bytes == len(too_big + rest + close)


async def test_a_close_in_the_middle_of_messages_no_limit_would_allow_finds_the_answer(
    role: Role, autojump_clock: MockClock
) -> None:
    linked = link(role)
    over = (
        linked.frame(BINARY, bytes(100_000)),
        linked.frame(TEXT, fin=False),
        *[linked.frame(CONTINUATION, fin=False)] * 99,
    )
    data = b"".join(over) + linked.frame(CLOSE, close_payload(1000))
    await linked.far.send_all(data)
    await linked.far.send_eof()
    await linked.ws.aclose()
    with pytest.raises(Closed) as error:
        await linked.ws.receive()
    assert error.value.code == 1000


async def test_what_follows_the_peers_close_does_not_disturb_the_wait_for_its_end(autojump_clock: MockClock) -> None:
    linked = link("client")
    await linked.far.send_all(linked.frame(CLOSE) + b"\xff" * 100)
    with pytest.raises(Closed):
        await linked.ws.receive()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linked.ws.aclose)
        await trio.sleep(0.3)
        assert not linked.near.closed
        await linked.far.send_eof()
    assert trio.current_time() == pytest.approx(0.3)


async def test_after_a_violation_the_rest_is_read_so_that_the_peer_is_not_reset(
    role: Role, autojump_clock: MockClock
) -> None:
    linked = link(role)
    garbage = b"\xff" * 200_000
    await linked.far.send_all(garbage)
    with pytest.raises(ProtocolViolation) as error:
        await linked.ws.receive()
    await linked.ws.aclose(error.value.close_code)
    assert linked.near.received_bytes == len(garbage)
    assert trio.current_time() == pytest.approx(1.0)


async def test_closing_ends_a_receive_that_waits_with_the_peers_code(role: Role) -> None:
    linked = link(role)
    ended: list[Closed] = []

    async def receive() -> None:
        with pytest.raises(Closed) as error:
            await linked.ws.receive()
        ended.append(error.value)

    async def peer() -> None:
        with pytest.raises(PeerEnded):
            await linked.peer.receive()
        await linked.peer.hang_up()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(peer)
        await wait_all_tasks_blocked()
        await linked.ws.aclose(4000)
    assert ended[0].code == 4000


async def test_closing_ends_a_receive_that_waits_for_a_silent_peer(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)

    async def receive() -> None:
        with pytest.raises(Closed) as error:
            await linked.ws.receive()
        assert error.value.code == 1006

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        await linked.ws.aclose()
    assert trio.current_time() == pytest.approx(1.0)


async def test_nothing_follows_our_close_while_the_peers_is_awaited(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linked.ws.aclose, 1001)
        await wait_all_tasks_blocked()
        with pytest.raises(Closed):
            await linked.ws.send("late")
    assert linked.sent() == [(CLOSE, close_payload(1001))]


async def test_after_closing_every_call_says_closed(role: Role) -> None:
    linked = link(role)
    await linked.far.send_eof()
    await linked.ws.aclose()
    for _ in range(2):
        with pytest.raises(Closed):
            await linked.ws.receive()
        with pytest.raises(Closed):
            await linked.ws.send("late")
        await linked.ws.aclose()
        await linked.ws.abort()


async def test_closing_many_times_at_once_says_goodbye_once(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    async with trio.open_nursery() as nursery:
        for code in (1000, 1001, 1002):
            nursery.start_soon(linked.ws.aclose, code)
    assert len(linked.sent()) == 1
    assert trio.current_time() == pytest.approx(1.0)


async def test_goodbye_is_said_from_a_cancelled_scope_too(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    with trio.CancelScope() as scope:
        scope.cancel()
        await linked.ws.aclose(1012)
    assert scope.cancelled_caught
    assert linked.sent() == [(CLOSE, close_payload(1012))]
    assert linked.near.closed
    assert trio.current_time() == pytest.approx(1.0)


async def test_a_polite_close_that_hangs_is_forced(autojump_clock: MockClock) -> None:
    linked = link("server")
    await linked.peer.close()
    with linked.near.hanging_close():
        await linked.ws.aclose()
    assert linked.near.closed
    assert trio.current_time() <= 1.0


async def test_abort_says_nothing_and_takes_no_time(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    with linked.near.hanging_close():
        await linked.ws.abort()
    assert linked.near.closed
    assert linked.sent() == []
    assert trio.current_time() == 0


async def test_a_real_browser_sees_our_code_and_then_the_end(autojump_clock: MockClock) -> None:
    linked = link("server")
    assert isinstance(linked.peer, FakeBrowser)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linked.ws.aclose, 4504, "upstream timed out")
        with pytest.raises(PeerEnded) as end:
            await linked.peer.receive()
        assert (end.value.code, end.value.reason) == (4504, "upstream timed out")
        assert await linked.far.receive_some() == b""
