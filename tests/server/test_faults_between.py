"""Faults between real processes: who is to blame hears it, nobody else notices, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import trio

from tests.fault_proxy import open_fault_proxy
from tests.peers import CONTINUATION, TEXT, FakeBrowser, FakeUpstream, PeerRefused, frame
from tests.processes import RelayProcess, relay_process
from tests.server.talker import open_talker
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
    port_of,
    settle,
    start,
)

QUICK = {
    "RELAY_SEND_DEADLINE_S": "3",
    "RELAY_PING_INTERVAL_S": "0.5",
    "RELAY_SILENCE_DEADLINE_S": "3",
    "RELAY_CLOSE_DEADLINE_S": "3",
    "RELAY_COOLDOWN_BASE_S": "0.05",
    "RELAY_COOLDOWN_MAX_S": "0.05",
}
PATIENT_BUT_FOR_SENDS = {"RELAY_SEND_DEADLINE_S": "4"}
SOON_S = 5.0
"""For what is promised within 1 or 2 s: a machine may be busy."""

UNNOTICED_S = 3.0
"""Less than the deadlines that a disturbed session would wait for, and more than a pause of a busy machine."""


async def ask(browser: FakeBrowser) -> float:
    """Ask for an answer and wait for it; return how long that took, then pause."""
    asked_s = time.monotonic()
    await browser.send_json({"type": "response.create"})
    while (await browser.receive_json())["type"] != "response.done":
        pass
    took_s = time.monotonic() - asked_s
    await trio.sleep(0.02)
    return took_s


async def flood(upstream: FakeUpstream) -> None:
    """Send events of 16 KiB for as long as somebody takes them."""
    ids = {"event_id": "e", "response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
    while True:
        await upstream.send_json({"type": "response.output_audio_transcript.delta", **ids, "delta": "x" * 16_384})


@asynccontextmanager
async def open_flooded(relay: RelayProcess) -> AsyncIterator[FakeBrowser]:
    """Connect a browser that reads one event, so that its upstream is the next one there is, and then no more."""
    async with open_browser(relay, protocol="realtime") as browser:
        await browser.receive()
        yield browser


async def test_a_browser_that_does_not_read_loses_its_session_and_others_notice_nothing() -> None:
    floods = iter([True, False])

    async def play(upstream: FakeUpstream) -> None:
        await (flood(upstream) if next(floods) else answer_typed_text(upstream))

    async with open_upstream_server(play) as url:
        with relay_process("--upstream", url, env=PATIENT_BUT_FOR_SENDS) as relay, trio.fail_after(40):
            before, memory_before = open_files(relay), memory_bytes(relay)
            async with open_flooded(relay), open_browser(relay) as other:
                await start(other)
                while "relay_client_timeout" not in ended(relay):
                    assert await ask(other) < UNNOTICED_S
                assert "did not read for 4 s" in relay.stderr
                assert memory_bytes(relay) - memory_before < 16 * 2**20
            await settle(relay, before)


async def test_a_browser_whose_link_is_cut_without_a_word_is_given_up() -> None:
    async with open_upstream_server() as url:
        with relay_process("--upstream", url, env=QUICK) as relay, trio.fail_after(30):
            before = open_files(relay)
            async with open_fault_proxy(relay.port) as proxy, open_browser(relay, port=proxy.port) as browser:
                await start(browser)
                proxy.up.swallows = proxy.down.swallows = True
                await settle(relay, before)
                assert ended(relay) == ["relay_client_timeout"]


async def test_an_upstream_whose_link_is_cut_without_a_word_is_given_up_and_the_browser_told() -> None:
    async with open_upstream_server() as url, open_fault_proxy(port_of(url)) as proxy:
        with relay_process("--upstream", f"ws://127.0.0.1:{proxy.port}", env=QUICK) as relay, trio.fail_after(30):
            before = open_files(relay)
            async with open_browser(relay) as browser:
                await start(browser)
                proxy.up.swallows = proxy.down.swallows = True
                assert await end_of(browser) == ("relay_upstream_timeout", 4504)
            await settle(relay, before)


async def test_when_the_upstream_is_killed_in_mid_sentence_the_browser_hears_it_and_nothing_is_left() -> None:
    with (
        relay_process(command="simulate") as simulator,
        relay_process("--upstream", simulator.url, env=QUICK) as relay,
        trio.fail_after(30),
    ):
        before = open_files(relay)
        async with open_talker(relay.port) as talker:
            await talker.start()
            await talker.write("tell me a rather long story about a parrot and a relay")
            await talker.expect("relay.audio.started")
            simulator.process.send_signal(signal.SIGKILL)
            with trio.fail_after(SOON_S):
                error = (await talker.expect("error"))["error"]
            assert (error["code"], error["fatal"]) == ("relay_upstream_closed", True)
            await settle(relay, before, deadline_s=SOON_S)


async def test_when_the_link_to_the_upstream_is_reset_all_sessions_on_it_hear_it_and_nothing_is_left() -> None:
    async with open_upstream_server() as url, open_fault_proxy(port_of(url)) as proxy:
        with relay_process("--upstream", f"ws://127.0.0.1:{proxy.port}", env=QUICK) as relay, trio.fail_after(30):
            before = open_files(relay)
            async with AsyncExitStack() as stack:
                browsers = [await stack.enter_async_context(open_browser(relay)) for _ in range(10)]
                for browser in browsers:
                    await start(browser)
                proxy.reset()
                with trio.fail_after(SOON_S):
                    assert [await end_of(browser) for browser in browsers] == [("relay_upstream_closed", 4502)] * 10
                await settle(relay, before, deadline_s=SOON_S)


async def test_an_upstream_that_is_cut_or_garbled_at_any_place_ends_its_session_with_a_typed_error() -> None:
    async with open_upstream_server() as url, open_fault_proxy(port_of(url)) as proxy:
        with relay_process("--upstream", f"ws://127.0.0.1:{proxy.port}", env=QUICK) as relay, trio.fail_after(40):
            before = open_files(relay)
            for at in (0, 1, 20, 129, 130, 131, 160, 200, 400):  # in the 101, in the first frame's head, in its text
                for fault in ("close", "reset", "garbage"):
                    proxy.down.close_after_bytes = at if fault == "close" else float("inf")
                    proxy.down.reset_after_bytes = at if fault == "reset" else float("inf")
                    proxy.down.garbage = b"\xff\x00GARBAGE\r\n" * 20 if fault == "garbage" else b""
                    proxy.down.garbage_at_byte = at
                    async with open_browser(relay) as browser:
                        with trio.fail_after(SOON_S):
                            with suppress(*GONE):
                                await browser.send_json(START)
                            code, close_code = await end_of(browser)
                    assert code.startswith("relay_upstream_"), (at, fault, code, close_code)
                    assert close_code in (4502, 4504), (at, fault)
                    await trio.sleep(0.06)  # the cool-down
            await settle(relay, before)
            assert "Traceback" not in relay.stderr


async def test_two_million_fragments_end_one_session_at_once() -> None:
    async def fragments(upstream: FakeUpstream) -> None:
        await upstream.stream.send_all(frame(TEXT, b"", fin=False))
        for _ in range(200):
            await upstream.stream.send_all(frame(CONTINUATION, b"", fin=False) * 10_000)

    async with open_upstream_server(fragments) as url:
        with relay_process("--upstream", url, env=QUICK) as relay, trio.fail_after(30):
            before, memory_before = open_files(relay), memory_bytes(relay)
            async with open_browser(relay) as browser:
                await browser.send_json(START)
                with trio.fail_after(SOON_S):
                    assert await end_of(browser) == ("relay_upstream_protocol_error", 4502)
            await settle(relay, before)
            assert memory_bytes(relay) - memory_before < 8 * 2**20


async def test_an_upstream_that_floods_costs_no_memory_and_nobody_elses_time() -> None:
    floods = iter([True, False])

    async def play(upstream: FakeUpstream) -> None:
        await (flood(upstream) if next(floods) else answer_typed_text(upstream))

    async def read_slowly(browser: FakeBrowser) -> None:
        while True:
            await browser.stream.receive_some(65_536)
            await trio.sleep(0.01)

    async with open_upstream_server(play) as url:
        with relay_process("--upstream", url, env={"RELAY_SEND_DEADLINE_S": "30"}) as relay:
            with trio.fail_after(30):
                memory_before = memory_bytes(relay)
                async with open_flooded(relay) as flooded, open_browser(relay) as other:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(read_slowly, flooded)
                        await start(other)
                        for _ in range(50):
                            assert await ask(other) < UNNOTICED_S
                        nursery.cancel_scope.cancel()
                    assert memory_bytes(relay) - memory_before < 16 * 2**20
                assert ended(relay)[:1] != ["relay_client_timeout"]


async def knock(relay: RelayProcess, statuses: list[int]) -> None:
    """Ask for a session and leave; note the status, 0 if there was none."""
    try:
        async with open_browser(relay):
            statuses.append(101)
    except PeerRefused as refusal:
        statuses.append(refusal.status)
    except (OSError, *GONE):
        statuses.append(0)


async def test_a_thousand_who_come_at_once_are_refused_and_harm_nobody_who_is_there() -> None:
    async with open_upstream_server(answer_typed_text) as url:
        with relay_process("--upstream", url, "--max-sessions", "5") as relay, trio.fail_after(50):
            before = open_files(relay)
            async with AsyncExitStack() as stack:
                browsers = [await stack.enter_async_context(open_browser(relay)) for _ in range(5)]
                for browser in browsers:
                    await start(browser)
                with_sessions = open_files(relay)
                statuses: list[int] = []
                async with trio.open_nursery() as nursery:
                    for _ in range(1_000):
                        nursery.start_soon(knock, relay, statuses)
                    for browser in browsers * 4:
                        await ask(browser)
                assert statuses.count(503) == 1_000
                await settle(relay, with_sessions)
                for browser in browsers:
                    await ask(browser)
            await settle(relay, before)


async def test_a_full_house_with_stalled_readers_is_told_goodbye_and_the_process_ends_in_time() -> None:
    sessions, stalled = 200, 20
    first = iter([True] * stalled)

    async def play(upstream: FakeUpstream) -> None:
        await (flood(upstream) if next(first, False) else answer_typed_text(upstream))

    async with open_upstream_server(play) as url:
        patient = {"RELAY_SEND_DEADLINE_S": "100"}  # or they would be gone before the signal comes
        with relay_process("--upstream", url, "--max-sessions", "200", env=patient) as relay, trio.fail_after(50):
            async with AsyncExitStack() as stack:
                for _ in range(stalled):
                    await stack.enter_async_context(open_flooded(relay))
                browsers = []
                for _ in range(sessions - stalled):
                    browsers.append(await stack.enter_async_context(open_browser(relay)))
                    await start(browsers[-1])
                assert not ended(relay)
                began_s = time.monotonic()
                relay.process.send_signal(signal.SIGTERM)
                assert [await end_of(browser) for browser in browsers] == [("relay_shutting_down", 1012)] * 180
                assert await trio.to_thread.run_sync(relay.process.wait, 15) == 0
                took_s = time.monotonic() - began_s
                assert took_s < 12
            assert "Traceback" not in relay.stderr


async def test_after_a_kill_a_server_on_the_same_port_serves_at_once() -> None:
    async with open_upstream_server() as url:
        with relay_process("--upstream", url) as first, trio.fail_after(40):
            async with AsyncExitStack() as stack:
                browsers = [await stack.enter_async_context(open_browser(first)) for _ in range(20)]
                for browser in browsers:
                    await start(browser)
                os.kill(first.process.pid, signal.SIGKILL)
                for browser in browsers:
                    assert (await end_of(browser))[1] == 1006
                with relay_process("--upstream", url, "--port", str(first.port)) as second:
                    for _ in browsers:
                        async with open_browser(second) as browser:
                            await start(browser)
