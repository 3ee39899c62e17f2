"""Overrides of Hypercorn that show in no answer."""

from __future__ import annotations

import gc
import weakref
from contextlib import AsyncExitStack
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext

from relay.detach import DetachableStream
from relay.hardening import Connection
from tests.peers import loopback_pair
from tests.server.test_detach import Indifferent


async def say_hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def test_a_connection_that_has_ended_leaves_nothing_to_the_garbage_collector() -> None:
    async with loopback_pair() as (client, accepted):
        stream = DetachableStream(accepted, Indifferent(), send_deadline_s=5.0)
        app = ASGIWrapper(say_hello)
        connection = Connection(app, HypercornConfig(), WorkerContext(None), {}, stream)  # type: ignore[arg-type]
        await client.send_all(b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n")
        await client.send_eof()
        gc.collect()
        gc.disable()
        try:
            with trio.fail_after(10):
                await connection.run()
            ended = weakref.ref(connection)
            del connection
            assert ended() is None
        finally:
            gc.enable()


async def test_requests_that_come_in_the_same_moment_begin_one_after_the_other() -> None:
    turns, begun_in = 0, []

    async def note(scope: Any, receive: Any, send: Any) -> None:
        begun_in.append(turns)
        await say_hello(scope, receive, send)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        connections = []
        for _ in range(10):
            client, accepted = await stack.enter_async_context(loopback_pair())
            await client.send_all(b"GET / HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
            stream = DetachableStream(accepted, Indifferent(), send_deadline_s=5.0)
            app = ASGIWrapper(note)
            connections.append(Connection(app, HypercornConfig(), WorkerContext(None), {}, stream))  # type: ignore[arg-type]
        nursery.start_soon(count_turns)
        with trio.fail_after(10):
            async with trio.open_nursery() as serving:
                for connection in connections:
                    serving.start_soon(connection.run)
        nursery.cancel_scope.cancel()
    assert len(set(begun_in)) == 10
