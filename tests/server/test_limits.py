"""A real `relay serve` at its limits: what is refused before the upgrade, what ends, and the example in the docs."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed

from relay.config_sources import load
from tests.processes import ROOT, RelayProcess, relay_process, run_relay
from tests.server.talker import Talker, handshake, open_talker

SIMULATED = ("--upstream", "simulator")
TICKETS = {"RELAY_SERVER_TOKEN": "token-" + 32 * "0", "RELAY_TICKET_SECRET": "secret-" + 32 * "0"}


async def fatal_error(talker: Talker) -> tuple[dict[str, Any], int]:
    """Listen to the end; return the fatal error and the close code."""
    error: dict[str, Any] = (await talker.expect("error"))["error"]
    with pytest.raises(ConnectionClosed) as closed:
        await talker.expect("nothing")
    assert closed.value.reason is not None
    return error, int(closed.value.reason.code)


def readiness(relay: RelayProcess) -> int:
    try:
        return int(urllib.request.urlopen(f"{relay.url}readyz", timeout=10).status)
    except urllib.error.HTTPError as error:
        return error.code


def ended_lines(relay: RelayProcess) -> list[str]:
    return [line for line in relay.stderr.splitlines() if "session.ended" in line]


async def test_one_session_too_many_from_an_address_is_refused_with_429_and_a_place_is_given_back() -> None:
    env = {"RELAY_MAX_SESSIONS_PER_ADDRESS": "1"}
    with relay_process(*SIMULATED, env=env) as relay, trio.fail_after(20):
        async with open_talker(relay.port) as talker:
            await talker.start()
            answer = await handshake(relay.port)
            assert answer.startswith("HTTP/1.1 429 ")
            assert re.search(r"retry-after: [1-4]\r\n", answer.lower())
            assert "Too many voice sessions from this address" in answer
        while answer.startswith("HTTP/1.1 429 "):  # until the first has said goodbye to both sides
            await trio.sleep(0.05)
            answer = await handshake(relay.port)
        assert answer.startswith("HTTP/1.1 101 ")


async def test_when_the_days_money_is_spent_the_session_ends_and_the_next_is_refused_with_503() -> None:
    with relay_process(*SIMULATED, env={"RELAY_MAX_USD_PER_DAY": "0.0001"}) as relay, trio.fail_after(20):
        async with open_talker(relay.port) as talker:
            await talker.start()
            await talker.write("good morning")
            error, close_code = await fatal_error(talker)
        assert (error["code"], close_code) == ("relay_day_limit", 4607)
        answer = await handshake(relay.port)
        assert answer.startswith("HTTP/1.1 503 ")
        assert "spent what it may spend today" in answer
        found = re.search(r"retry-after: (\d+)\r\n", answer.lower())
        assert found
        assert 0 < int(found[1]) <= 86_400
        assert await trio.to_thread.run_sync(readiness, relay) == 503


async def test_a_real_session_is_metered_and_ended_by_its_limit() -> None:
    with relay_process(*SIMULATED, env={"RELAY_MAX_TOKENS": "10", "RELAY_TELL_USAGE": "true"}) as relay:
        with trio.fail_after(20):
            async with open_talker(relay.port) as talker:
                await talker.start()
                await talker.write("good morning")
                usage = await talker.expect("relay.usage")
                error, close_code = await fatal_error(talker)
        assert (error["code"], close_code) == ("relay_token_limit", 4605)
        assert usage["tokens"] >= 10
        assert usage["usd"] > 0
        relay.stop()
        [line] = ended_lines(relay)
        assert f"tokens={usage['tokens']} usd={usage['usd']}" in line


def test_a_server_that_strangers_can_reach_does_not_start_without_limits() -> None:
    done = run_relay("serve", "--host", "0.0.0.0", "--allow-origin", "https://voice.example")
    assert done.code == 2
    assert "max_session_s and max_usd, max_usd_per_day or max_tokens" in done.stderr


# The example in docs/limits.md


def example(tmp_path: Path) -> Path:
    page = (ROOT / "docs" / "limits.md").read_text()
    block = re.search(r"## An example\n\n((?:    .*\n|\n)+)", page)
    assert block
    path = tmp_path / "relay.toml"
    path.write_text(block[1].replace("    ", ""))
    return path


def test_the_example_sets_every_limit_and_is_accepted(tmp_path: Path) -> None:
    config = load({"config": str(example(tmp_path))}, TICKETS)
    limits = {name for name in config.__struct_fields__ if name.startswith("max_")} - {"max_output_tokens"}
    assert len(limits) == 10
    assert all(getattr(config, name) for name in limits)


async def test_a_server_with_the_example_carries_a_session(tmp_path: Path) -> None:
    flags = ("--config", str(example(tmp_path)), "--host", "127.0.0.1")
    with relay_process(*SIMULATED, *flags) as relay, trio.fail_after(20):
        async with open_talker(relay.port) as talker:
            await talker.start()
            await talker.write("good morning")
            await talker.expect("relay.audio.done")
