"""What a client may do to a running session's socket, each once: the faults that kill or bloat a stock server.

The faults before the upgrade are in tests/server/test_front_door.py, those of whole processes in
tests/server/test_faults_between.py. Here a client has its session, on a real `relay serve`, and misbehaves. Each time
it must hear why, be gone soon, cost no memory, and leave alone the session that runs beside it all the time.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio

from relay.config import DEFAULTS
from tests.fault_proxy import RST
from tests.peers import BINARY, CONTINUATION, PING, TEXT, FakeBrowser, FakeUpstream, frame
from tests.processes import RelayProcess, relay_process
from tests.server.upstreams import (
    GONE,
    START,
    answer_typed_text,
    end_of,
    ended,
    memory_bytes,
    open_browser,
    open_files,
    open_upstream_server,
    settle,
    start,
)

MASK = b"\x01\x02\x03\x04"
GROWTH_BYTES = 8 * 2**20
"""What an attack may add to the process; those that this is about added 200 MiB and more."""


@pytest.fixture
async def relay() -> AsyncIterator[RelayProcess]:
    """A relay with one session that does as it should, before and after the attack."""
    async with open_upstream_server(answer_typed_text) as url:
        with relay_process("--upstream", url) as process:
            async with open_browser(process) as witness:
                await start(witness)
                files, memory = open_files(process), memory_bytes(process)
                yield process
                await witness.send_json({"type": "response.create"})
                with trio.fail_after(10):
                    while (await witness.receive_json())["type"] != "response.done":
                        pass
                await settle(process, files)
                assert memory_bytes(process) - memory < GROWTH_BYTES
            assert "Traceback" not in process.stderr


async def flood(browser: FakeBrowser, data: bytes, *, for_s: float = 0.5) -> int:
    """Send the same again and again, until it is over or relay hangs up; return how many bytes went out."""
    sent_bytes = 0
    with trio.move_on_after(for_s), suppress(*GONE):
        while True:
            await browser.stream.send_all(data)
            sent_bytes += len(data)
    return sent_bytes


VIOLATIONS = {
    "not masked": (frame(TEXT, b"{}"), 1002),
    "a reserved bit, as compression sets it": (frame(TEXT, b"{}", rsv=4, mask=MASK), 1002),
    "an opcode that does not exist": (frame(0x3, b"{}", mask=MASK), 1002),
    "a continuation of nothing": (frame(CONTINUATION, b"{}", mask=MASK), 1002),
    "a ping longer than a ping": (frame(PING, b"x" * 126, mask=MASK), 1002),
    "a length beyond all bounds": (frame(TEXT, b"", mask=MASK, length=2**62), 1009),
    "text that is not UTF-8": (frame(TEXT, b"\xff\xfe", mask=MASK), 1007),
    "more fragments than 64": (
        frame(TEXT, b"", fin=False, mask=MASK) + frame(CONTINUATION, b"", fin=False, mask=MASK) * 70,
        1009,
    ),
    "one byte over the limit": (frame(BINARY, bytes(DEFAULTS.browser_message_bytes + 1), mask=MASK), 1009),
    "one byte over the limit in two fragments": (
        frame(BINARY, bytes(40_000), fin=False, mask=MASK)
        + frame(CONTINUATION, bytes(DEFAULTS.browser_message_bytes - 39_999), mask=MASK),
        1009,
    ),
}


async def test_a_violation_is_answered_with_its_close_code_and_the_end(relay: RelayProcess) -> None:
    for what, (data, close_code) in VIOLATIONS.items():
        async with open_browser(relay) as browser:
            await start(browser)
            await browser.stream.send_all(data)
            with trio.fail_after(10):
                assert (await end_of(browser))[1] == close_code, what


async def test_a_message_of_exactly_the_limit_and_an_empty_one_are_messages_like_others(relay: RelayProcess) -> None:
    async with open_browser(relay) as browser:
        await start(browser)
        await browser.stream.send_all(frame(BINARY, bytes(DEFAULTS.browser_message_bytes), mask=MASK))
        await browser.stream.send_all(frame(BINARY, b"", mask=MASK) + frame(TEXT, b"", mask=MASK))
        await browser.send_json({"type": "response.create"})
        with trio.fail_after(10):
            while (await browser.receive_json())["type"] != "response.done":
                pass


async def test_who_goes_on_sending_after_1009_is_cut_off_and_costs_nothing(relay: RelayProcess) -> None:
    too_big = frame(BINARY, bytes(DEFAULTS.browser_message_bytes + 1), mask=MASK)
    sent_bytes = 0
    with trio.fail_after(30):
        while sent_bytes < 32 * 2**20:
            async with open_browser(relay) as browser:
                sent_bytes += await flood(browser, too_big, for_s=5)


FLOODS = {
    "audio before relay.start": frame(BINARY, bytes(32_768), mask=MASK),
    "relay.start, and then audio without end": frame(TEXT, json.dumps(START).encode(), mask=MASK)
    + frame(BINARY, bytes(48_000), mask=MASK) * 50,
    "pings": frame(PING, b"x" * 125, mask=MASK) * 500,
    "nonsense": frame(TEXT, b'{"type": "' + b"x" * 60_000 + b'"}', mask=MASK),
}


async def test_who_floods_and_never_reads_the_answers_costs_nothing(relay: RelayProcess) -> None:
    for data in FLOODS.values():
        async with open_browser(relay) as browser:
            await flood(browser, data)


async def test_who_resets_the_connection_while_relay_writes_leaves_nothing() -> None:
    async def talk(upstream: FakeUpstream) -> None:
        ids = {"event_id": "e", "response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
        while True:
            await upstream.send_json({"type": "response.output_audio_transcript.delta", **ids, "delta": "x" * 1_000})

    async with open_upstream_server(talk) as url:
        with relay_process("--upstream", url) as relay, trio.fail_after(30):
            files = open_files(relay)
            for _ in range(20):
                async with open_browser(relay, protocol="realtime") as browser:
                    await browser.receive()
                    assert isinstance(browser.stream, trio.SocketStream)
                    browser.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
            await settle(relay, files)
            assert ended(relay) == ["relay_client_gone"] * 20
            assert "Traceback" not in relay.stderr
