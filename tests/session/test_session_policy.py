"""Whole sessions under a policy: what reaches the upstream, what an upstream may repeat, and what the browser sees.

The upstream here is hostile: it repeats all that it was told, in every event and every field that there is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
from trio.testing import MockClock

from relay.config import Config, Secret, Tools
from relay.config_sources import load
from relay.core.openai_json import OpenAIJson
from relay.core.permissions import Grant
from relay.core.relay_v1 import RelayV1
from relay.core.vocabulary import BETA, GA
from tests.session.rig import CANARY_KEY, START, Language, Rig, delta_event, open_rig

LANGUAGES: dict[str, Language] = {"ga": OpenAIJson, "beta": partial(OpenAIJson, beta=True), "relay.v1": RelayV1}
CANARY_TOKEN = "crm-token-0123456789"
WORDS = "CANARY: you keep the keys of the city, and nobody may know it"
FUNCTION = {"type": "function", "name": "CANARY_tool", "description": "CANARY", "parameters": {"CANARY": 1}}
SERVER = {
    "type": "mcp",
    "server_label": "CANARY_crm",
    "server_url": "https://CANARY.example",
    "authorization": CANARY_TOKEN,
    "headers": {"X-Key": f"Key {CANARY_TOKEN}"},
}
TOOLS = Tools([FUNCTION, SERVER], [Secret(CANARY_TOKEN)])


def config(policy: str = "locked", *may: str, **settings: Any) -> Config:
    return Config(
        openai_api_key=Secret(CANARY_KEY),
        instructions=WORDS,
        tools=TOOLS,
        policy=policy,  # type: ignore[arg-type]
        client_may=may,  # type: ignore[arg-type]
        **settings,
    )


async def begin(rig: Rig, language: str) -> dict[str, Any]:
    """Begin both sides; return relay's first update."""
    if language == "relay.v1":
        await rig.browser.send_json(START)
    return await rig.begin_upstream()


def hostile_events(told: dict[str, Any], *, is_whole: bool) -> list[dict[str, Any]]:
    """Return every event there is, with all that the upstream knows in each of its fields, and in some of its own.

    `is_whole`: what relay itself has to read of the event, to play its audio, is as it should be.
    """
    everything = {**told, "key": CANARY_KEY, "message": json.dumps(told), "content": [told], "error": told}
    everything["item"] = told
    kinds = {**BETA.server, **GA.server, "provider.secrets": GA.server["error"], "new.delta": GA.server["error"]}
    read = {"item_id": "i", "response_id": "r", "content_index": 0, "response": {**everything, "id": "r"}}
    return [
        {
            "type": kind,
            "event_id": "e",
            **{name: shape(everything) for name in fields.known - {"event_id"}},
            **more,
            **({name: read[name] for name in fields.known & read.keys()} if is_whole else {}),
        }
        for kind, fields in kinds.items()
        for shape in SHAPES
        for more in ({}, {"session": everything}, everything)
        if not (is_whole and kind == "response.output_audio.delta")
    ]


SHAPES: list[Callable[[dict[str, Any]], Any]] = [
    lambda it: it,
    lambda it: [it],
    lambda it: {"type": "message", "role": "user", **it},
    lambda it: {**it, "type": "mcp_list_tools", "tools": [it]},
]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("may", [(), ("instructions", "tools", "mcp", "transcription", "voice")], ids=["none", "some"])
async def test_wherever_an_upstream_repeats_the_session_a_locked_browser_sees_nothing_of_it(
    autojump_clock: MockClock, language: str, may: tuple[str, ...]
) -> None:
    async with open_rig(config("locked", *may), language=LANGUAGES[language]) as rig:
        update = await begin(rig, language)
        assert CANARY_TOKEN in str(update)
        for event in hostile_events(update["session"], is_whole=language == "relay.v1"):
            await rig.upstream.send_json(event)
        await rig.upstream.send_json({"type": "input_audio_buffer.cleared", "event_id": "last"})
        await rig.expect("input_audio_buffer.cleared", event_id="last")
        seen = bytes(rig.browser_stream.sent)
        assert seen.count(b"event_id") > 50
        for secret in (CANARY_KEY, CANARY_TOKEN, "CANARY"):
            assert secret.encode() not in seen


@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_open_browser_sees_the_session_and_no_key(autojump_clock: MockClock, language: str) -> None:
    async with open_rig(config("open"), language=LANGUAGES[language]) as rig:
        update = await begin(rig, language)
        told = {**update["session"], "key": CANARY_KEY}
        await rig.upstream.send_json({"type": "session.updated", "event_id": "e", "session": told})
        await rig.upstream.send_json({"type": "provider.secrets", "event_id": "e", "told": told})
        delta = {
            "type": "response.output_audio_transcript.delta",
            "event_id": "e",
            "delta": f"{CANARY_TOKEN}{CANARY_KEY}",
        }
        await rig.upstream.send_json(delta)
        await rig.upstream.send_json({"type": "input_audio_buffer.cleared", "event_id": "last"})
        await rig.expect("input_audio_buffer.cleared", event_id="last")
        seen = bytes(rig.browser_stream.sent)
        assert b"CANARY_tool" in seen
        assert WORDS.encode() in seen
        assert b"[hidden]" in seen
        for secret in (CANARY_KEY, CANARY_TOKEN):
            assert secret.encode() not in seen


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_permitted_update_goes_up_over_the_operators_session_and_the_upstream_answers_it(
    autojump_clock: MockClock, language: str
) -> None:
    wish = {"voice": "ash", "modalities": ["text"]} if language == "beta" else {"audio": {"output": {"voice": "ash"}}}
    async with open_rig(config("locked", "voice"), language=LANGUAGES[language]) as rig:
        first = await begin(rig, language)
        await rig.browser.send_json({"type": "session.update", "session": {**wish, "instructions": "obey me"}})
        second = await rig.upstream.receive_json()
        first["session"]["audio"]["output"]["voice"] = "ash"
        assert second == first
        session = {**second["session"], "id": "sess_mine"}
        await rig.upstream.send_json({"type": "session.updated", "event_id": "theirs", "session": session})
        answer = await rig.expect("session.updated", event_id="theirs")
        shown = answer["session"]["voice"] if language == "beta" else answer["session"]["audio"]["output"]["voice"]
        assert shown == "ash"
        await rig.browser.send_json({"type": "session.update", "session": {"type": "realtime"}})
        again = await rig.expect("session.updated")
        assert again["session"] == answer["session"]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_open_clients_update_goes_up_after_the_operators_and_the_upstream_answers_it(
    autojump_clock: MockClock, language: str
) -> None:
    session = {"type": "realtime", "instructions": "mine", "tools": [{"type": "function", "name": "mine"}]}
    async with open_rig(config("open"), language=LANGUAGES[language]) as rig:
        if language != "relay.v1":
            await rig.browser.send_json({"type": "session.update", "session": session})
        assert (await begin(rig, language))["session"]["instructions"] == WORDS
        if language == "relay.v1":
            await rig.browser.send_json({"type": "session.update", "session": session})
        assert await rig.upstream.receive_json() == {"type": "session.update", "session": session}
        item = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "be brief"}]}
        await rig.browser.send_json({"type": "conversation.item.create", "item": item})
        assert (await rig.upstream.receive_json())["item"] == item


async def test_turn_detection_that_a_client_turns_off_interrupts_no_more(autojump_clock: MockClock) -> None:
    async with open_rig(config("locked", "turn_detection")) as rig:
        await rig.start()
        await rig.browser.send_json(
            {"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}}
        )
        update = await rig.upstream.receive_json()
        assert update["session"]["audio"]["input"]["turn_detection"] is None
        await rig.upstream.send_json({"type": "session.updated", "event_id": "e", "session": update["session"]})
        await rig.upstream.send_json({"type": "response.created", "response": {"id": "resp_1"}})
        await rig.upstream.send_json(delta_event("item_a", 2_000))
        await rig.expect("relay.audio.started")
        await rig.upstream.send_json({"type": "input_audio_buffer.speech_started", "audio_start_ms": 0})
        await rig.upstream.send_json({"type": "input_audio_buffer.cleared", "event_id": "last"})
        await rig.expect("input_audio_buffer.cleared", event_id="last")
        assert b"relay.flush" not in bytes(rig.browser_stream.sent)


# --- docs/policy.md ---------------------------------------------------------------------------------------------------
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "policy.md").read_text()


def block(language: str, number: int = 0) -> str:
    """Return a code block of the page."""
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return found[number]


async def test_the_example_on_the_page_does_what_the_page_says(autojump_clock: MockClock, tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_text(block("toml"))
    (tmp_path / "tools.json").write_text(block("json", 1))
    given = load(
        {"config": str(tmp_path / "relay.toml")}, {"LENDING_TOKEN": CANARY_TOKEN, "OPENAI_API_KEY": CANARY_KEY}
    )
    async with open_rig(given, language=OpenAIJson) as rig:
        first = (await rig.begin_upstream())["session"]
        assert [tool.get("name") for tool in first["tools"]] == ["find_book", None]
        assert first["tools"][1]["authorization"] == CANARY_TOKEN
        await rig.browser.send(block("json", 0))
        second = (await rig.upstream.receive_json())["session"]
        assert second["instructions"] == first["instructions"]
        assert second["audio"]["input"]["turn_detection"] == first["audio"]["input"]["turn_detection"]
        assert second["audio"]["input"]["turn_detection"]["eagerness"] == "high"
        assert second["max_output_tokens"] == 800
        assert second["audio"]["output"]["voice"] == "cedar"
        assert [tool.get("name") for tool in second["tools"]] == ["find_book", None, "show_shelf"]
        await rig.upstream.send_json({"type": "session.updated", "event_id": "theirs", "session": second})
        await rig.expect("session.updated", event_id="theirs")
        for secret in (b"library", b"find_book", b"lending", CANARY_TOKEN.encode(), CANARY_KEY.encode()):
            assert secret not in rig.browser_stream.sent


def test_the_page_names_every_grant_and_every_event_that_a_client_may_send() -> None:
    for name in get_args(Grant):
        assert f"`{name}`" in PAGE
    for kind in set(GA.client) - {"output_audio_buffer.clear"}:
        assert f"`{kind}`" in PAGE
