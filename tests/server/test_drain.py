"""SIGTERM at a real `relay serve`: nobody is admitted, the last answers are given; a second signal waits for nobody."""

from __future__ import annotations

import signal
import time

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.processes import RelayProcess, relay_process
from tests.server.talker import Talker, handshake, open_talker

SIMULATED = ("--upstream", "simulator")
STORY = "tell me a story about a parrot and a relay"


async def get(relay: RelayProcess, path: str) -> str:
    """Fetch a path on a connection of its own; return the whole answer."""
    async with await trio.open_tcp_stream("127.0.0.1", relay.port) as stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n".encode())
        return "".join([chunk.decode() async for chunk in stream])


async def terminate(relay: RelayProcess) -> str:
    """Send SIGTERM; return the first answer of `/readyz` that is not 200."""
    relay.process.send_signal(signal.SIGTERM)
    answer = "HTTP/1.1 200"
    while answer.startswith("HTTP/1.1 200"):
        answer = await get(relay, "/readyz")
    return answer


async def begin_answer(talker: Talker) -> None:
    await talker.start()
    await talker.write(STORY)
    await talker.expect("relay.audio.started")


async def close_code(talker: Talker) -> int:
    """Listen to the end; return the close code."""
    with pytest.raises(ConnectionClosed) as closed:
        await talker.expect("nothing")
    assert closed.value.reason is not None
    return int(closed.value.reason.code)


async def test_while_the_last_answer_is_given_readiness_fails_and_nobody_is_admitted() -> None:
    with relay_process(*SIMULATED) as relay, trio.fail_after(30):
        async with open_talker(relay.port) as talker:
            await begin_answer(talker)
            answer = await terminate(relay)
            assert answer.startswith("HTTP/1.1 503 ")
            assert "retry-after: " in answer.lower()
            assert (await get(relay, "/healthz")).startswith("HTTP/1.1 200 ")
            assert (await handshake(relay.port)).startswith("HTTP/1.1 503 ")
            done = await talker.expect("relay.audio.done")
            assert await close_code(talker) == 1012
            assert len(talker.answer) == done["samples"]
            assert talker.events[-1]["error"]["code"] == "relay_shutting_down"
            assert talker.events[-1]["error"]["retry_after_ms"] >= 1_000
        assert await trio.to_thread.run_sync(relay.process.wait, 10) == 0


async def test_an_answer_longer_than_the_drain_time_is_cut_with_a_goodbye() -> None:
    with relay_process(*SIMULATED, env={"RELAY_DRAIN_S": "0.3"}) as relay, trio.fail_after(30):
        async with open_talker(relay.port) as talker:
            await begin_answer(talker)
            relay.process.send_signal(signal.SIGTERM)
            assert await close_code(talker) == 1012
            assert "relay.audio.done" not in {event["type"] for event in talker.events}
        assert await trio.to_thread.run_sync(relay.process.wait, 10) == 0


async def test_a_second_signal_waits_for_no_answer() -> None:
    with relay_process(*SIMULATED, env={"RELAY_DRAIN_S": "600"}) as relay, trio.fail_after(30):
        async with open_talker(relay.port) as talker:
            await begin_answer(talker)
            await terminate(relay)
            began_s = time.monotonic()
            relay.process.send_signal(signal.SIGTERM)
            assert await trio.to_thread.run_sync(relay.process.wait, 10) == 0
            assert time.monotonic() - began_s < 2
        assert "Traceback" not in relay.stderr
