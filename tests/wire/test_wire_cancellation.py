"""Every public call is a checkpoint on every path, and may be cancelled at each of its checkpoints.

`cancel_at` runs a call once for each of its steps and cancels it there: what follows must be a stream that is closed,
or one that has not been touched.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio.testing import MockClock, assert_checkpoints

from relay.wire import Closed, HandshakeFailed, PeerSilent, ProtocolViolation, WebSocket, WireError, connect
from tests.peers import CLOSE, PING, PONG, TEXT, FakeUpstream, FaultyStream, Role, close_payload, unframe
from tests.wire.link import LIMITS, link

MESSAGE = "a message of some length"


class CancelAtStep(trio.abc.Instrument):
    """Cancels `scope` when `task` has run `step` times inside it."""

    def __init__(self, step: int) -> None:
        self.scope = trio.CancelScope()
        self._task = trio.lowlevel.current_task()
        self._left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self.scope.cancel()


async def cancelled_at(step: int, call: Callable[[], Awaitable[object]]) -> bool:
    """Run `call`, cancelled at its `step`th step; True if it was, False if it ended before."""
    instrument = CancelAtStep(step)
    trio.lowlevel.add_instrument(instrument)
    try:
        with instrument.scope:
            if step == 0:
                instrument.scope.cancel()
            await call()
    finally:
        trio.lowlevel.remove_instrument(instrument)
    return instrument.scope.cancelled_caught


async def test_a_handshake_cancelled_anywhere_leaves_no_stream_open() -> None:
    for step in itertools.count():
        near, far = trio.testing.memory_stream_pair()
        stream = FaultyStream(near)

        async def dial(stream: FaultyStream = stream) -> None:
            with stream.dripping():
                await connect(stream, host="h", target="/", headers=[], limits=LIMITS, deadline_s=5)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, far)
            cancelled = await cancelled_at(step, dial)
            nursery.cancel_scope.cancel()
        if not cancelled:
            assert step > 50
            assert not stream.closed
            return
        assert stream.closed


async def serve(far: trio.abc.Stream) -> None:
    try:
        await FakeUpstream.accept(far)
    except (trio.BrokenResourceError, Exception):
        return


async def test_a_send_cancelled_anywhere_is_whole_or_absent_or_the_last(role: Role) -> None:
    for step in itertools.count():
        linked = link(role, pair=trio.testing.lockstep_stream_pair)
        received = bytearray()

        async def read(
            linked: object = linked, received: bytearray = received, far: trio.abc.Stream = linked.far
        ) -> None:
            while data := await far.receive_some(3):
                received.extend(data)

        async def send(ws: WebSocket = linked.ws) -> None:
            await ws.send(MESSAGE)

        async def send_next(ws: WebSocket = linked.ws) -> None:
            await ws.send("next")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            cancelled = await cancelled_at(step, send)
            if linked.near.closed:
                with pytest.raises(Closed):
                    await send_next()
                await trio.testing.wait_all_tasks_blocked()
                assert len(received) <= 2 + 4 + len(MESSAGE)
            else:
                await send_next()
                await trio.testing.wait_all_tasks_blocked()
                whole = unframe(bytes(received), masked=role == "client")
                assert whole[-1] == (TEXT, b"next")
                assert len(whole) <= 2
            nursery.cancel_scope.cancel()
        if not cancelled:
            assert step > 3
            return


async def test_a_receive_cancelled_again_and_again_loses_no_message_and_no_pong(role: Role) -> None:
    for most_steps in range(8, 20):  # fewer are too few to get a byte out of a memory stream
        linked = link(role)
        frames = [linked.frame(TEXT, b"%d" % i) + linked.frame(PING, b"%d" % i) for i in range(5)]
        await linked.far.send_all(b"".join(frames) + linked.frame(CLOSE, close_payload(1000)))
        with linked.near.dripping():
            messages, error = await receive_with_patience(linked.ws, most_steps)
        assert messages == list("01234")
        assert isinstance(error, Closed)
        assert error.code == 1000
        assert linked.sent()[:-1] == [(PONG, b"%d" % i) for i in range(5)]
        assert linked.sent()[-1][0] == CLOSE


async def receive_with_patience(ws: WebSocket, most_steps: int) -> tuple[list[str | bytes], WireError]:
    """Receive all there is, cancelling every receive after 0 to `most_steps` steps."""
    messages: list[str | bytes] = []

    async def receive() -> None:
        messages.append(await ws.receive())

    for attempt in itertools.count():
        try:
            await cancelled_at(attempt % (most_steps + 2), receive)
        except WireError as exc:
            return messages, exc
    raise AssertionError


async def test_a_close_cancelled_anywhere_closes(role: Role, autojump_clock: MockClock) -> None:
    for step in itertools.count():
        linked = link(role)
        cancelled = await cancelled_at(step, linked.ws.aclose)
        assert linked.near.closed
        if not cancelled:
            return


async def test_an_abort_cancelled_anywhere_closes(role: Role) -> None:
    for step in itertools.count():
        linked = link(role)
        cancelled = await cancelled_at(step, linked.ws.abort)
        assert linked.near.closed
        if not cancelled:
            return


async def test_receiving_is_a_checkpoint_whether_or_not_a_message_is_there(role: Role) -> None:
    linked = link(role)
    await linked.far.send_all(linked.frame(TEXT, b"a") * 3 + linked.frame(CLOSE))
    for _ in range(3):
        with assert_checkpoints():
            await linked.ws.receive()
    for _ in range(3):
        with assert_checkpoints(), pytest.raises(Closed):
            await linked.ws.receive()


async def test_receiving_what_came_with_the_handshake_is_a_checkpoint(role: Role) -> None:
    linked = link(role, received=link(role).frame(TEXT, b"a"))
    with assert_checkpoints():
        await linked.ws.receive()


async def test_a_receive_that_finds_a_violation_is_a_checkpoint(role: Role) -> None:
    linked = link(role, received=b"\xff" * 20)
    with assert_checkpoints(), pytest.raises(ProtocolViolation):
        await linked.ws.receive()


async def test_sending_is_a_checkpoint_whether_or_not_it_works(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    for message in ("text", b"", b"binary"):
        with assert_checkpoints():
            await linked.ws.send(message)
    await linked.far.aclose()
    for _ in range(2):
        with assert_checkpoints(), pytest.raises(WireError):
            await linked.ws.send("x")
    await linked.ws.abort()
    with assert_checkpoints(), pytest.raises(Closed):
        await linked.ws.send("x")


async def test_closing_is_a_checkpoint_the_first_time_and_the_second(role: Role) -> None:
    linked = link(role)
    await linked.far.send_eof()
    for _ in range(2):
        with assert_checkpoints():
            await linked.ws.aclose()
        with assert_checkpoints():
            await linked.ws.abort()


async def test_keep_alive_is_a_checkpoint_also_when_all_is_over(role: Role, autojump_clock: MockClock) -> None:
    linked = link(role)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linked.ws.receive)
        with assert_checkpoints(), pytest.raises(PeerSilent):
            await linked.ws.keep_alive()
        with assert_checkpoints(), pytest.raises(PeerSilent):
            await linked.ws.keep_alive()
        nursery.cancel_scope.cancel()
    await linked.ws.abort()
    with assert_checkpoints(), pytest.raises(Closed):
        await linked.ws.keep_alive()


async def test_a_failed_handshake_is_a_checkpoint() -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.aclose()
    with assert_checkpoints(), pytest.raises(HandshakeFailed):
        await connect(near, host="h", target="/", headers=[], limits=LIMITS, deadline_s=5)
    with assert_checkpoints(), pytest.raises(ValueError, match="host"):
        await connect(near, host="", target="/", headers=[], limits=LIMITS, deadline_s=5)
