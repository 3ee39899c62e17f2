"""One writer: frames never mix, never wait for ever, and a torn one is the last."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.wire import Closed, ProtocolViolation, SendTimeout, WebSocket
from tests.peers import CLOSE, PING, PONG, TEXT, FaultyStream, Role, close_payload
from tests.wire.link import LIMITS, link, receive_all


class SlowStream(FaultyStream):
    """Takes `send_s` for every send, as a thin link does."""

    send_s = 2.0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(self.send_s)
        await super().send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_frames_of_many_senders_do_not_mix_and_keep_their_order(role: Role) -> None:
    linked = link(role, pair=trio.testing.lockstep_stream_pair)
    messages = [f"{i}" * 500 for i in range(8)]
    async with trio.open_nursery() as nursery:
        for message in messages:
            nursery.start_soon(linked.ws.send, message)
            await wait_all_tasks_blocked()
        assert [await linked.peer.receive() for _ in messages] == messages


async def test_a_peer_that_does_not_read_times_out_and_loses_the_socket(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    with linked.near.stalled_sends(after_bytes=3):
        with pytest.raises(SendTimeout):
            await linked.ws.send("never read")
        assert trio.current_time() == pytest.approx(5.0)
        assert linked.near.closed
    with pytest.raises(Closed):
        await linked.ws.send("again")
    assert len(linked.near.sent) == 3


async def test_a_receiver_is_told_why_when_a_send_times_out(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)

    async def receive() -> None:
        with pytest.raises(SendTimeout):
            await linked.ws.receive()

    with linked.near.stalled_sends():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            with pytest.raises(SendTimeout):
                await linked.ws.send("x")


async def test_the_deadline_counts_from_the_first_byte_not_from_the_queue(
    role: Role, autojump_clock: MockClock
) -> None:
    near, _far = trio.testing.memory_stream_pair()
    ws = WebSocket(stream := SlowStream(near), role=role, limits=LIMITS)
    stream.send_s = 4.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ws.send, "first")
        await trio.sleep(2)
        nursery.start_soon(ws.send, "second")  # waits 2 s, writes 4 s
    assert trio.current_time() == pytest.approx(8.0)


async def test_waiting_for_other_senders_is_bounded_too(role: Role, autojump_clock: MockClock) -> None:
    near, _far = trio.testing.memory_stream_pair()
    ws = WebSocket(stream := SlowStream(near), role=role, limits=LIMITS)
    ended: list[tuple[float, type[BaseException] | None]] = []

    async def send() -> None:
        error = None
        try:
            await ws.send("x")
        except (SendTimeout, Closed) as exc:
            error = type(exc)
        ended.append((trio.current_time(), error))

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(send)
    assert ended[:2] == [(2.0, None), (4.0, None)]
    assert (5.0, SendTimeout) in ended
    assert ended[-1][0] <= 6.0
    assert stream.closed


async def test_a_send_cancelled_half_way_is_the_last_thing_on_the_socket(role: Role) -> None:
    linked = link(role)
    with linked.near.stalled_sends(after_bytes=5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(linked.ws.send, "torn in two")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert linked.near.closed
    with pytest.raises(Closed):
        await linked.ws.send("again")
    with pytest.raises(Closed):
        await linked.ws.receive()
    assert len(linked.near.sent) == 5


async def test_a_send_cancelled_while_it_waits_its_turn_costs_nothing(role: Role) -> None:
    linked = link(role)
    scope = trio.CancelScope()

    async def waiter() -> None:
        with scope:
            await linked.ws.send("cancelled")

    async with trio.open_nursery() as nursery:
        with linked.near.stalled_sends(after_bytes=1):
            nursery.start_soon(linked.ws.send, "first")
            await wait_all_tasks_blocked()
            nursery.start_soon(waiter)
            await wait_all_tasks_blocked()
            scope.cancel()
            await wait_all_tasks_blocked()
    await linked.ws.send("third")
    assert linked.sent() == [(TEXT, b"first"), (TEXT, b"third")]


async def test_a_send_that_was_cancelled_before_it_began_costs_nothing(role: Role) -> None:
    linked = link(role)
    with trio.CancelScope() as scope:
        scope.cancel()
        await linked.ws.send("cancelled")
    assert scope.cancelled_caught
    await linked.ws.send("next")
    assert linked.sent() == [(TEXT, b"next")]


async def test_a_peer_that_says_why_and_hangs_up_is_quoted_by_send(role: Role) -> None:
    linked = link(role)
    await linked.far.send_all(linked.frame(TEXT, b"bad key") + linked.frame(CLOSE, close_payload(3000, b"no")))
    messages: list[str | bytes] = []

    async def receive() -> None:
        messages.extend((await receive_all(linked.ws))[0])

    with linked.near.torn_pipe():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            with pytest.raises(Closed) as error:
                await linked.ws.send("audio")
    assert (error.value.code, error.value.reason) == (3000, "no")
    assert messages == ["bad key"]


async def test_what_a_peer_said_before_it_hung_up_can_be_read_after_a_send_failed(autojump_clock: MockClock) -> None:
    linked = link("client")
    await linked.far.send_all(linked.frame(TEXT, b"bad key") + linked.frame(CLOSE, close_payload(3000)))
    with linked.near.torn_pipe():
        with pytest.raises(Closed) as error:
            await linked.ws.send("audio")
        assert error.value.code == 1006
        assert trio.current_time() <= 1.0
        assert await linked.ws.receive() == "bad key"
        with pytest.raises(Closed) as error:
            await linked.ws.receive()
        assert error.value.code == 3000


async def test_after_the_peers_close_nothing_is_sent(role: Role) -> None:
    linked = link(role)
    await linked.peer.close(4000, "over")
    with pytest.raises(Closed):
        await linked.ws.receive()
    with pytest.raises(Closed) as error:
        await linked.ws.send("late")
    assert error.value.code == 4000
    assert linked.sent() == [(CLOSE, close_payload(4000))]


async def test_after_a_violation_the_peer_can_still_be_told_before_the_close(role: Role) -> None:
    linked = link(role)
    await linked.far.send_all(b"\xff\xff" + bytes(20))
    with pytest.raises(ProtocolViolation):
        await linked.ws.receive()
    await linked.ws.send("that was wrong")
    await linked.far.send_eof()
    await linked.ws.aclose(1002)
    with pytest.raises(Closed):
        await linked.ws.send("late")
    assert linked.sent() == [(TEXT, b"that was wrong"), (CLOSE, close_payload(1002))]


async def test_a_ping_is_heard_while_a_send_is_stuck_and_answered_after_it(role: Role) -> None:
    linked = link(role)
    async with trio.open_nursery() as nursery:
        with linked.near.stalled_sends(after_bytes=1):
            nursery.start_soon(linked.ws.send, "stuck")
            await wait_all_tasks_blocked()
            await linked.far.send_all(
                linked.frame(PING, b"1") + linked.frame(PING, b"2") + linked.frame(TEXT, b"go on")
            )
            assert await linked.ws.receive() == "go on"
    assert linked.sent() == [(TEXT, b"stuck"), (PONG, b"2")]


async def test_a_peer_that_pings_without_end_cannot_hold_a_send_for_ever(autojump_clock: MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    ws = WebSocket(SlowStream(near), role="server", limits=LIMITS)
    linked = link("server")

    async def ping() -> None:
        while True:
            await far.send_all(linked.frame(PING) * 10)
            await trio.sleep(0.5)

    async def receive() -> None:
        await ws.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ping)
        nursery.start_soon(receive)
        await trio.sleep(1)
        await ws.send("mine")
        assert trio.current_time() <= 14
        nursery.cancel_scope.cancel()


async def test_a_receive_cancelled_while_a_pong_waits_for_room_tears_nothing(role: Role) -> None:
    linked = link(role)
    await linked.far.send_all(linked.frame(PING, b"p"))
    with linked.near.stalled_sends():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(linked.ws.receive)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    await linked.ws.send("alive")
    assert linked.sent() == [(TEXT, b"alive"), (PONG, b"p")]


async def test_a_pong_for_which_there_is_never_room_times_out(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    await linked.far.send_all(linked.frame(PING, b"p"))
    with linked.near.stalled_sends(), pytest.raises(SendTimeout):
        await linked.ws.receive()
    assert trio.current_time() == pytest.approx(5.0)
    assert linked.near.closed
