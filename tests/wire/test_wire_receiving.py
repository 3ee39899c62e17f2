"""Receiving costs little, whatever the peer does; silence is noticed; a cancelled receive loses nothing."""

from __future__ import annotations

import contextlib
import tracemalloc
from dataclasses import replace

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.wire import Closed, MessageTooBig, PeerSilent, SendTimeout, WebSocket
from tests.peers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, FaultyStream, Role, close_payload
from tests.wire.link import LIMITS, link, receive_all


async def test_what_nobody_asks_for_stays_with_the_peer(role: Role) -> None:
    linked = link(role, pair=trio.testing.lockstep_stream_pair)
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while True:
            await linked.peer.send(bytes(1000))
            sent += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        await wait_all_tasks_blocked()
        assert sent == 0
        await linked.ws.receive()
        await wait_all_tasks_blocked()
        assert sent == 1
        nursery.cancel_scope.cancel()


async def test_a_ping_behind_unread_messages_is_answered_when_they_have_been_read(role: Role) -> None:
    linked = link(role)
    messages = [linked.frame(TEXT, b"%d" % i) for i in range(5)]
    await linked.far.send_all(b"".join(messages) + linked.frame(PING, b"p"))
    await linked.far.send_eof()
    assert (await receive_all(linked.ws))[0] == list("01234")
    assert linked.sent() == [(PONG, b"p")]


async def test_empty_fragments_without_end_cost_nothing_and_end_the_connection(autojump_clock: MockClock) -> None:
    linked = link("server")

    async def flood() -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await linked.far.send_all(linked.frame(TEXT, fin=False))
            while True:
                await linked.far.send_all(linked.frame(CONTINUATION, fin=False) * 100)

    tracemalloc.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        with pytest.raises(MessageTooBig):
            await linked.ws.receive()
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await linked.ws.aclose(1009)
    assert linked.near.closed
    assert linked.sent() == [(CLOSE, close_payload(1009))]
    assert peak_bytes < 1_000_000
    assert trio.current_time() <= 1.0


async def test_a_message_dripped_in_byte_by_byte_takes_no_more_memory_than_its_bytes(role: Role) -> None:
    linked = link(role)
    await linked.far.send_all(linked.frame(TEXT, b"x" * 5_000))
    tracemalloc.start()
    with linked.near.dripping():
        assert await linked.ws.receive() == "x" * 5_000
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 60_000


async def test_others_run_while_a_chunk_of_ten_thousand_frames_is_taken(role: Role) -> None:
    linked = link(role)
    await linked.far.send_all(linked.frame(PONG) * 10_000 + linked.frame(TEXT, b"at last"))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await linked.ws.receive()
        nursery.cancel_scope.cancel()
    assert turns > 10_000 / 100


async def test_two_receivers_get_one_message_each(role: Role) -> None:
    linked = link(role)
    got: list[str | bytes] = []

    async def receive() -> None:
        got.append(await linked.ws.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(receive)
        await linked.peer.send("a")
        await linked.peer.send("b")
    assert sorted(map(str, got)) == ["a", "b"]


async def test_a_connection_that_breaks_is_1006(role: Role) -> None:
    class Reset(FaultyStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError

    ws = WebSocket(Reset(trio.testing.memory_stream_pair()[0]), role=role, limits=LIMITS)
    with pytest.raises(Closed) as error:
        await ws.receive()
    assert error.value.code == 1006


# keep_alive


async def test_a_ping_goes_out_every_ten_seconds(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    with trio.move_on_after(35):
        await linked.ws.keep_alive()
    assert linked.sent() == [(PING, b"")] * 3


async def test_a_peer_that_answers_pings_is_kept_for_ever(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    with trio.move_on_after(600) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(linked.ws.keep_alive)
            nursery.start_soon(linked.ws.receive)
            nursery.start_soon(linked.peer.receive)
    assert scope.cancelled_caught


async def test_a_peer_that_falls_silent_is_noticed_after_25_s(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linked.ws.receive)
        await trio.sleep(4)
        await linked.far.send_all(linked.frame(PONG))
        with pytest.raises(PeerSilent):
            await linked.ws.keep_alive()
        assert trio.current_time() == pytest.approx(29.0)
        nursery.cancel_scope.cancel()


async def test_a_half_open_connection_is_noticed_after_25_s(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linked.ws.receive)
        nursery.start_soon(linked.peer.receive)  # its pongs get lost
        with linked.near.half_open(), pytest.raises(PeerSilent):
            await linked.ws.keep_alive()
        assert trio.current_time() == pytest.approx(25.0)
        nursery.cancel_scope.cancel()


async def test_silence_is_counted_over_receives_that_were_cancelled(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)

    async def poll() -> None:
        while True:
            with trio.move_on_after(0.5):
                await linked.ws.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        with pytest.raises(PeerSilent):
            await linked.ws.keep_alive()
        assert trio.current_time() == pytest.approx(25.0, abs=1.0)
        nursery.cancel_scope.cancel()


async def test_a_peer_is_not_called_silent_while_nobody_listens(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    await linked.peer.send("unread")
    with trio.move_on_after(300) as scope:
        await linked.ws.keep_alive()
    assert scope.cancelled_caught


@pytest.mark.parametrize("send_deadline_s", [5.0, 1000.0])
async def test_a_writer_that_is_stuck_cannot_hold_up_keep_alive(
    role: Role, autojump_clock: MockClock, send_deadline_s: float
) -> None:
    linked = link(role, replace(LIMITS, send_deadline_s=send_deadline_s))

    async def receive() -> None:
        with contextlib.suppress(SendTimeout):
            await linked.ws.receive()

    async def send() -> None:
        with contextlib.suppress(SendTimeout):
            await linked.ws.send("stuck")

    with linked.near.stalled_sends():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(send)
            with pytest.raises((PeerSilent, SendTimeout)):
                await linked.ws.keep_alive()
            assert trio.current_time() <= 25.0
            nursery.cancel_scope.cancel()


async def test_a_ping_for_which_there_is_no_room_cannot_hold_up_keep_alive(
    role: Role, autojump_clock: MockClock
) -> None:
    linked = link(role, replace(LIMITS, send_deadline_s=1000.0))
    with linked.near.stalled_sends():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(linked.ws.receive)
            with pytest.raises(PeerSilent):
                await linked.ws.keep_alive()
            assert trio.current_time() == pytest.approx(25.0)
            nursery.cancel_scope.cancel()


async def test_keep_alive_ends_with_the_connection_and_its_reason(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)

    async def receive() -> None:
        with pytest.raises(Closed):
            await linked.ws.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await linked.peer.close(4001)
        with pytest.raises(Closed) as error:
            await linked.ws.keep_alive()
    assert error.value.code == 4001
    assert trio.current_time() == 0


async def test_binary_of_the_largest_size_is_received_in_chunks(role: Role) -> None:
    linked = link(role, replace(LIMITS, message_bytes=8 << 20))
    data = bytes(range(256)) * (8 << 12)
    await linked.far.send_all(linked.frame(BINARY, data[:1_000_000]))
    assert await linked.ws.receive() == data[:1_000_000]
