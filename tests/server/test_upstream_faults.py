"""A real relay in front of a simulator that misbehaves: the browser hears what happened, and relay lives on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.processes import RelayProcess, relay_process
from tests.server.talker import Talker, open_talker

QUICK = {
    "RELAY_READY_DEADLINE_S": "3",
    "RELAY_PING_INTERVAL_S": "0.5",
    "RELAY_SILENCE_DEADLINE_S": "3",
    "RELAY_CLOSE_DEADLINE_S": "3",
    "RELAY_COOLDOWN_BASE_S": "0.05",
}
"""Deadlines that a test can wait for, and that a pause of a busy machine, which may take a second, is shorter than."""


@pytest.fixture(scope="module")
def simulator() -> Iterator[RelayProcess]:
    with relay_process(command="simulate") as process:
        yield process
        assert process.process.poll() is None, "the simulator died"


async def ask_aloud(talker: Talker) -> None:
    """Start, and ask for a spoken answer long enough to be cut in the middle."""
    await talker.start()
    await talker.write("tell me a rather long story about a parrot and a relay")


async def end_of(relay: RelayProcess) -> tuple[dict[str, Any], int]:
    """Talk until relay ends the session; return its last word and the close code."""
    async with open_talker(relay.port) as talker:
        with trio.fail_after(15):
            with suppress(ConnectionClosed):  # a send may notice the end before what came earlier has been read
                await ask_aloud(talker)
            with pytest.raises(ConnectionClosed) as closed:
                await talker.expect("nothing")
        assert closed.value.reason is not None
        fatal = [event["error"] for event in talker.events if event["type"] == "error"]
        return fatal[-1], closed.value.reason.code


FAULTS = [
    ("refuse:503", "relay_upstream_refused", 4502),
    ("refuse:401", "relay_upstream_unauthorized", 4501),
    ("unauthorized", "relay_upstream_unauthorized", 4501),
    ("drop", "relay_upstream_closed", 4502),
    ("drop@created", "relay_upstream_closed", 4502),
    ("stall@created", "relay_upstream_timeout", 4504),
    ("stall", "relay_upstream_timeout", 4504),
    ("expire@updated", "relay_session_expired", 4410),
    ("malformed:json@updated", "relay_upstream_protocol_error", 4502),
    ("malformed:binary@updated", "relay_upstream_protocol_error", 4502),
    ("malformed:type@updated", "relay_upstream_protocol_error", 4502),
    ("malformed:base64@updated", "relay_upstream_protocol_error", 4502),
    ("malformed:huge@updated", "relay_upstream_protocol_error", 4502),
    ("malformed:frame@updated", "relay_upstream_protocol_error", 4502),
    ("close:1011@updated", "relay_upstream_closed", 4502),
]


@pytest.mark.parametrize(("fault", "code", "close_code"), FAULTS)
async def test_whatever_the_upstream_does_the_browser_hears_it_and_relay_lives(
    simulator: RelayProcess, fault: str, code: str, close_code: int
) -> None:
    with relay_process("--upstream", f"{simulator.url}?fault={fault}", env=QUICK) as relay:
        error, closed_with = await end_of(relay)
        assert (error["code"], error["fatal"], closed_with) == (code, True, close_code)
        assert relay.process.poll() is None
        assert "Traceback" not in relay.stderr


async def test_a_flood_of_events_is_carried_and_the_answer_still_comes(simulator: RelayProcess) -> None:
    with relay_process("--upstream", f"{simulator.url}?fault=flood:3000@updated") as relay:
        async with open_talker(relay.port) as talker:
            with trio.fail_after(30):
                await ask_aloud(talker)
                await talker.expect("relay.audio.done")


async def test_after_a_failure_sessions_are_told_to_wait_and_then_it_works_again(simulator: RelayProcess) -> None:
    env = {"RELAY_COOLDOWN_BASE_S": "0.5", "RELAY_COOLDOWN_MAX_S": "30"}
    with relay_process("--upstream", f"{simulator.url}?fault=refuse:429/2*1", env=env) as relay:
        error, _ = await end_of(relay)
        assert error["retry_after_ms"] >= 2_000
        error, closed_with = await end_of(relay)
        assert (error["code"], closed_with) == ("relay_cooling_down", 4503)
        await trio.sleep(error["retry_after_ms"] / 1000)
        async with open_talker(relay.port) as talker:
            with trio.fail_after(15):
                await talker.start()
