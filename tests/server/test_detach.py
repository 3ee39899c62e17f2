"""A connection that goes on without Hypercorn: what a session costs then, and what becomes of one that never began."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import pytest
import trio
import trio.testing

from relay.detach import DetachableStream
from tests.processes import RelayProcess, relay_process
from tests.server.upstreams import memory_bytes, open_browser, open_upstream_server, start, state

SESSIONS = 100
TASKS = 8
"""Of one session. Hypercorn and Quart had four more, with all that a request needs."""

SESSION_BYTES = 60 * 1024
"""In RAM."""


@asynccontextmanager
async def sessions(relay: RelayProcess, count: int) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for _ in range(count):
            await start(await stack.enter_async_context(open_browser(relay)))
        yield


async def test_an_idle_session_costs_few_tasks_and_little_memory() -> None:
    async with open_upstream_server() as url:
        with relay_process("--upstream", url, "--max-sessions", "120") as relay, trio.fail_after(30):
            async with sessions(relay, 10):
                before, memory = await state(relay), memory_bytes(relay)
                async with sessions(relay, SESSIONS):
                    tasks = (await state(relay))["tasks"] - before["tasks"]
                    grown_bytes = memory_bytes(relay) - memory
    assert tasks == SESSIONS * TASKS
    assert grown_bytes < SESSIONS * SESSION_BYTES


class Indifferent:
    """For whom it does not matter whose turn it is."""

    def waits(self) -> None: ...

    def works(self) -> None: ...


@pytest.fixture
async def connection() -> AsyncIterator[DetachableStream]:
    async with AsyncExitStack() as stack:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await stack.enter_async_context(listener)
        await stack.enter_async_context(await trio.testing.open_stream_to_socket_listener(listener))
        stream = await stack.enter_async_context(await listener.accept())
        yield DetachableStream(stream, Indifferent(), send_deadline_s=20.0)


class Order:
    """Whose turn it is."""

    turn = "nobody's"

    def waits(self) -> None:
        self.turn = "the client's"

    def works(self) -> None:
        self.turn = "ours"


@pytest.mark.parametrize(("held", "expected"), [(False, "the client's"), (True, "nobody's")])
async def test_an_answer_that_is_not_read_is_the_clients_turn_but_never_where_a_session_begins(
    connection: DetachableStream, held: bool, expected: str
) -> None:
    connection.place = order = Order()
    if held:
        connection.hold()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send_all, bytes(50_000_000))
        await trio.testing.wait_all_tasks_blocked()
        assert order.turn == expected
        nursery.cancel_scope.cancel()


async def test_after_an_answer_that_was_read_it_is_our_turn_again(connection: DetachableStream) -> None:
    connection.place = order = Order()
    await connection.send_all(b"all of it")
    assert order.turn == "ours"


@contextmanager
def noted(events: list[str]) -> Iterator[None]:
    events.append("place taken")
    try:
        yield
    finally:
        events.append("place given back")


async def test_a_session_begins_when_hypercorn_has_gone_and_its_place_ends_with_it(
    connection: DetachableStream,
) -> None:
    events: list[str] = []

    async def hypercorn() -> None:
        while await connection.receive_some(100):
            pass
        events.append("hypercorn ends")

    async def session(stream: trio.abc.Stream) -> None:
        await trio.lowlevel.checkpoint()
        events.append("session")

    with trio.fail_after(5), connection:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hypercorn)
            await trio.testing.wait_all_tasks_blocked()
            connection.keep(noted(events))
            connection.hold()
            connection.detach(session)
            connection.release()
        await connection.go_on()
    assert events == ["place taken", "hypercorn ends", "session", "place given back"]


async def test_a_process_that_ends_before_the_session_began_gives_its_place_back(connection: DetachableStream) -> None:
    events: list[str] = []

    async def session(stream: trio.abc.Stream) -> None:
        raise AssertionError("there is no time left for it")

    with trio.CancelScope() as process, connection:
        connection.keep(noted(events))
        connection.hold()
        connection.detach(session)
        process.cancel()
        await connection.go_on()
    assert events == ["place taken", "place given back"]


async def test_a_request_without_a_session_leaves_nothing_to_go_on_with(connection: DetachableStream) -> None:
    with trio.fail_after(5), connection:
        await connection.go_on()


async def test_a_peer_that_does_not_read_holds_up_no_process_that_ends(connection: DetachableStream) -> None:
    process = trio.CancelScope()

    async def hypercorn() -> None:
        with process:
            await connection.send_all(bytes(50_000_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hypercorn)
        await trio.testing.wait_all_tasks_blocked()
        began_s = trio.current_time()
        process.cancel()
    assert trio.current_time() - began_s < 10, "the send waited for its deadline"
