"""The fault proxy does to a connection what it was told, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from tests.fault_proxy import FaultProxy, open_fault_proxy

PIECE = bytes(range(256)) * 64


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[FaultProxy, trio.SocketStream, trio.SocketStream]]:
    """Yield a proxy and both ends of one connection through it: the client's, the server's."""
    async with (
        (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] as listener,
        open_fault_proxy(listener.socket.getsockname()[1]) as proxy,
    ):
        with trio.fail_after(20):
            client = await trio.open_tcp_stream("127.0.0.1", proxy.port)
            server = await listener.accept()
            async with client, server:
                yield proxy, client, server


async def receive_exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        assert more, f"the end after {len(data)} of {count} bytes"
        data += more
    return data


async def receive_to_end(stream: trio.SocketStream) -> bytes:
    return b"".join([bytes(chunk) async for chunk in stream])


async def test_without_a_fault_all_bytes_arrive_both_ways_and_so_does_the_end() -> None:
    async with proxied() as (proxy, client, server), trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, PIECE * 20)
        nursery.start_soon(server.send_all, PIECE * 20)
        assert await receive_exactly(server, len(PIECE) * 20) == PIECE * 20
        assert await receive_exactly(client, len(PIECE) * 20) == PIECE * 20
        await client.send_eof()
        assert await server.receive_some() == b""
        await server.send_all(b"half closed is not closed")
        assert await receive_exactly(client, 25) == b"half closed is not closed"
        assert (proxy.connections, proxy.open_connections) == (1, 1)


async def test_a_delay_makes_everything_late_and_nothing_slow() -> None:
    async with proxied() as (proxy, client, server):
        proxy.up.delay_s = 1.0
        began_s = trio.current_time()
        await client.send_all(PIECE)
        assert await receive_exactly(server, len(PIECE)) == PIECE  # four chunks, one delay
        assert 1.0 <= trio.current_time() - began_s < 3.0


async def test_a_rate_makes_a_way_slow_and_slows_its_sender_down() -> None:
    async with proxied() as (proxy, client, server):
        proxy.down.bytes_per_s = 100_000
        began_s = trio.current_time()
        await server.send_all(PIECE * 2)
        assert await receive_exactly(client, len(PIECE) * 2) == PIECE * 2
        assert trio.current_time() - began_s >= len(PIECE) * 2 / 100_000
        proxy.down.bytes_per_s = 1
        with trio.move_on_after(0.3) as sending:
            await server.send_all(bytes(32_000_000))
        assert sending.cancelled_caught


async def test_a_lost_chunk_holds_up_what_is_behind_it() -> None:
    async with proxied() as (proxy, client, server):
        proxy.up.loss, proxy.up.loss_s = 1.0, 0.1
        began_s = trio.current_time()
        await client.send_all(PIECE)
        assert await receive_exactly(server, len(PIECE)) == PIECE
        assert trio.current_time() - began_s >= 0.1 * len(PIECE) / 4_096


async def test_a_half_open_way_swallows_bytes_and_the_end() -> None:
    async with proxied() as (proxy, client, server):
        proxy.up.swallows = True
        await client.send_all(PIECE)
        await client.send_eof()
        with trio.move_on_after(0.2) as waiting:
            await server.receive_some()
        assert waiting.cancelled_caught
        await server.send_all(b"the other way works")
        assert await receive_exactly(client, 19) == b"the other way works"


@pytest.mark.parametrize("count", [0, 1, 4_095, 4_096, 4_097, 10_000])
async def test_a_connection_is_cut_after_exactly_so_many_bytes(count: int) -> None:
    async with proxied() as (proxy, client, server):
        proxy.down.close_after_bytes = count
        await server.send_all(PIECE)
        assert await receive_to_end(client) == PIECE[:count]


async def test_a_reset_is_a_reset_on_both_sides() -> None:
    async with proxied() as (proxy, client, server):
        await client.send_all(b"x")
        assert await server.receive_some() == b"x"
        proxy.reset()
        for stream in (client, server):
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()


async def test_a_connection_is_reset_after_so_many_bytes() -> None:
    async with proxied() as (proxy, client, server):
        proxy.up.reset_after_bytes = 3
        await client.send_all(b"abcdef")
        with pytest.raises(trio.BrokenResourceError):
            await receive_to_end(server)


@pytest.mark.parametrize("at", [0, 1, 4_095, 4_096, 5_000])
async def test_garbage_is_put_in_once_at_its_place(at: int) -> None:
    async with proxied() as (proxy, client, server):
        proxy.up.garbage, proxy.up.garbage_at_byte = b"GARBAGE", at
        await client.send_all(PIECE)
        assert await receive_exactly(server, len(PIECE) + 7) == PIECE[:at] + b"GARBAGE" + PIECE[at:]


async def test_a_server_that_is_not_there_is_a_reset() -> None:
    async with (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] as listener:
        port = listener.socket.getsockname()[1]
    async with open_fault_proxy(port) as proxy, await trio.open_tcp_stream("127.0.0.1", proxy.port) as client:
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
