"""Reading TCP through the thread's buffer (relay/tcp.py): what Trio's own reading does, without its allocation."""

from __future__ import annotations

import errno
import os
import socket
import tracemalloc
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from relay._buffer import SHARED_BYTES, shared_buffer
from relay.tcp import receive_some
from tests.peers import loopback_pair


@pytest.fixture
async def pair() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    async with loopback_pair() as ends:
        yield ends


Pair = tuple[trio.SocketStream, trio.SocketStream]


async def test_what_came_is_read_and_then_the_end(pair: Pair) -> None:
    near, far = pair
    await far.send_all(b"hello")
    assert await receive_some(near) == b"hello"
    await far.send_eof()
    assert await receive_some(near) == b""


async def test_it_waits_for_what_has_not_come_yet(pair: Pair, autojump_clock: trio.abc.Clock) -> None:
    near, far = pair

    async def speak() -> None:
        await trio.testing.wait_all_tasks_blocked()
        await far.send_all(b"late")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak)
        assert await receive_some(near) == b"late"


@pytest.mark.parametrize(
    ("most", "pieces"), [(3, [b"abc", b"def", b"g"]), (None, [b"abcdefg"]), (1 << 20, [b"abcdefg"])]
)
async def test_no_more_is_read_than_was_asked_for(pair: Pair, most: int | None, pieces: list[bytes]) -> None:
    near, far = pair
    await far.send_all(b"abcdefg")
    assert [await receive_some(near, most) for _ in pieces] == pieces


async def test_a_flood_comes_whole_in_pieces_that_fit_the_buffer(pair: Pair) -> None:
    near, far = pair
    sent, received = os.urandom(5 * SHARED_BYTES), b""

    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.send_all, sent)
        while len(received) < len(sent):
            piece = await receive_some(near)
            assert 0 < len(piece) <= SHARED_BYTES
            received += piece
    assert received == sent


async def test_what_was_read_stays_when_the_buffer_is_used_again(pair: Pair) -> None:
    near, far = pair
    await far.send_all(b"mine")
    data = await receive_some(near)
    shared_buffer().bytes[:6] = b"yours!"
    assert data == b"mine"


async def test_nobody_else_has_the_buffer_between_reading_and_copying(pair: Pair) -> None:
    """What runs at the reader's checkpoint writes to the buffer, as another session does."""
    near, far = pair
    await far.send_all(b"mine")

    async def write_to_the_buffer() -> None:
        shared_buffer().bytes[:6] = b"yours!"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_to_the_buffer)
        assert await receive_some(near) == b"mine"


async def test_reading_lets_others_run_and_can_be_cancelled_even_if_something_is_there(pair: Pair) -> None:
    near, far = pair
    await far.send_all(b"hello")
    with trio.testing.assert_checkpoints():
        await receive_some(near, 1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await receive_some(near)
    assert scope.cancelled_caught
    assert await receive_some(near) == b"ello"


async def test_a_reset_is_a_broken_stream(pair: Pair) -> None:
    near, far = pair
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await trio.aclose_forcefully(far)
    with pytest.raises(trio.BrokenResourceError, match="the connection broke"):
        await receive_some(near)


async def test_a_wait_that_the_kernel_refuses_is_a_broken_stream(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.ENOSPC, "too many watches")

    monkeypatch.setattr(trio.lowlevel, "wait_readable", refuse)
    with pytest.raises(trio.BrokenResourceError, match="too many watches"):
        await receive_some(pair[0])


async def test_a_closed_stream_says_so_to_who_comes_and_to_who_waits(pair: Pair) -> None:
    near, _ = pair

    async def close() -> None:
        await trio.testing.wait_all_tasks_blocked()
        await near.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(close)
        with pytest.raises(trio.ClosedResourceError):
            await receive_some(near)
    with pytest.raises(trio.ClosedResourceError):
        await receive_some(near)


async def test_two_readers_of_one_stream_are_told(pair: Pair) -> None:
    near, far = pair

    async def read_first() -> None:
        await receive_some(near)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_first)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await receive_some(near)
        await far.send_all(b"x")


async def test_a_short_read_allocates_little(pair: Pair) -> None:
    near, far = pair
    await far.send_all(b"hello, hello")
    await receive_some(near, 5)  # what the first call sets up once
    tracemalloc.start()
    try:
        await receive_some(near)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < SHARED_BYTES / 4
