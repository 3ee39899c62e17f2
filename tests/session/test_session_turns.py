"""Turns in a whole session: what is refused in the API's words, what reaches the upstream, and that nothing sticks."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.config import Config, Secret
from relay.core.openai_json import OpenAIJson
from relay.core.relay_v1 import RelayV1
from tests.session.rig import CANARY_KEY, START, Language, Rig, delta_event, open_rig, samples

LANGUAGES: dict[str, Language] = {"relay.v1": RelayV1, "openai": OpenAIJson}
ACTIVE = "conversation_already_has_active_response"
MARK = "input_audio_buffer.clear"

pytestmark = pytest.mark.parametrize("language", LANGUAGES)


def config(turn_detection: str = "none") -> Config:
    return Config(openai_api_key=Secret(CANARY_KEY), turn_detection=turn_detection)  # type: ignore[arg-type]


async def begin(rig: Rig, language: str) -> None:
    await (rig.start() if language == "relay.v1" else rig.begin_upstream())


async def speak(rig: Rig, language: str, ms: int) -> None:
    """Send `ms` of audio up, in the client's language, and see it arrive."""
    await say_audio(rig, language, ms)
    assert (await rig.upstream.receive_json())["type"] == "input_audio_buffer.append"


async def say_audio(rig: Rig, language: str, ms: int) -> None:
    if language == "relay.v1":
        await rig.browser.send(samples(ms))
    else:
        audio = base64.b64encode(bytes(48 * ms)).decode()
        await rig.browser.send_json({"type": "input_audio_buffer.append", "audio": audio})


async def passes(rig: Rig, kind: str, **fields: Any) -> None:
    """Say an event and see it reach the upstream, which has got nothing else before it."""
    await rig.browser.send_json({"type": kind, **fields})
    assert await rig.upstream.receive_json() == {"type": kind, **fields}


async def is_refused(rig: Rig, code: str, kind: str, **fields: Any) -> None:
    """Say an event and hear the refusal, which names it."""
    await rig.browser.send_json({"type": kind, "event_id": "mine", **fields})
    error = await rig.expect_error(code)
    assert (error["event_id"], error["type"]) == ("mine", "invalid_request_error")
    assert "fatal" not in error


def response(kind: str, response_id: str = "resp_1", status: str = "in_progress") -> dict[str, Any]:
    return {"type": f"response.{kind}", "event_id": "e", "response": {"id": response_id, "status": status}}


async def test_a_second_response_is_refused_and_the_session_goes_on(autojump_clock: MockClock, language: str) -> None:
    async with open_rig(config(), language=LANGUAGES[language]) as rig:
        await begin(rig, language)
        await passes(rig, "response.create")
        await is_refused(rig, ACTIVE, "response.create")
        await rig.upstream.send_json(response("created"))
        await rig.expect("response.created")
        await is_refused(rig, ACTIVE, "response.create")
        await rig.upstream.send_json(response("done", status="failed"))
        await rig.expect("response.done")
        await passes(rig, "response.create")


async def test_a_race_with_the_upstreams_own_answer_ends_well(autojump_clock: MockClock, language: str) -> None:
    async with open_rig(config("server_vad"), language=LANGUAGES[language]) as rig:
        await begin(rig, language)
        await passes(rig, "response.create", event_id="create_1")
        await rig.upstream.send_json(response("created", "resp_vad"))
        error = {"type": "invalid_request_error", "code": ACTIVE, "message": "no", "event_id": "create_1"}
        await rig.upstream.send_json({"type": "error", "event_id": "e", "error": error})
        assert (await rig.expect_error(ACTIVE))["event_id"] == "create_1"
        await rig.upstream.send_json(response("done", "resp_vad", "completed"))
        await rig.expect("response.done")
        await passes(rig, "response.create", event_id="create_2")


@pytest.mark.parametrize("event_id", [None, "create_1"])
async def test_nothing_sticks_after_an_error_of_the_upstream(
    autojump_clock: MockClock, language: str, event_id: str | None
) -> None:
    async with open_rig(config(), language=LANGUAGES[language]) as rig:
        await begin(rig, language)
        await passes(rig, "response.create", event_id="create_1")
        error = {"type": "server_error", "code": "server_error", "message": "no", "event_id": event_id}
        await rig.upstream.send_json({"type": "error", "event_id": "e", "error": error})
        await rig.expect_error("server_error")
        await passes(rig, "response.create", event_id="create_2")


async def test_silence_is_not_cancelled(autojump_clock: MockClock, language: str) -> None:
    async with open_rig(config(), language=LANGUAGES[language]) as rig:
        await begin(rig, language)
        await is_refused(rig, "response_cancel_not_active", "response.cancel")
        await rig.upstream.send_json(response("created"))
        await rig.upstream.send_json(response("done", status="completed"))
        await rig.expect("response.done")
        await is_refused(rig, "response_cancel_not_active", "response.cancel")
        if language == "relay.v1":
            await rig.browser.send_json({"type": "relay.interrupt"})
        await passes(rig, MARK)


async def test_push_to_talk_ends_a_turn_that_is_long_enough(autojump_clock: MockClock, language: str) -> None:
    async with open_rig(config(), language=LANGUAGES[language]) as rig:
        await begin(rig, language)
        for turn in range(2):
            await passes(rig, "input_audio_buffer.clear")
            await is_refused(rig, "input_audio_buffer_commit_empty", "input_audio_buffer.commit")
            await speak(rig, language, 90)
            await is_refused(rig, "input_audio_buffer_commit_empty", "input_audio_buffer.commit")
            await speak(rig, language, 60)
            await passes(rig, "input_audio_buffer.commit")
            await passes(rig, "response.create")
            await rig.upstream.send_json(response("created", f"resp_{turn}"))
            await rig.upstream.send_json(response("done", f"resp_{turn}", "completed"))
            await rig.expect("response.done")


async def test_a_turn_that_had_to_wait_for_the_upstream_is_one_though_its_beginning_was_dropped(
    autojump_clock: MockClock, language: str
) -> None:
    async with open_rig(config(), language=LANGUAGES[language]) as rig:
        if language == "relay.v1":
            await rig.browser.send_json(START)
        for _ in range(150):
            await say_audio(rig, language, 20)
        await rig.browser.send_json({"type": "input_audio_buffer.commit"})
        await trio.testing.wait_all_tasks_blocked()
        await rig.begin_upstream()
        kinds = [(await rig.upstream.receive_json())["type"]]
        while kinds[-1] == "input_audio_buffer.append":
            kinds.append((await rig.upstream.receive_json())["type"])
        assert kinds[-1] == "input_audio_buffer.commit"
        assert 95 <= len(kinds) - 1 <= 100, "two seconds of 20 ms each"


async def test_relay_itself_commits_nothing_and_asks_for_nothing_under_server_vad(
    autojump_clock: MockClock, language: str
) -> None:
    async with open_rig(config("server_vad"), language=LANGUAGES[language]) as rig:
        await begin(rig, language)
        for kind in ("speech_started", "speech_stopped", "committed"):
            await speak(rig, language, 200)
            event = {"type": f"input_audio_buffer.{kind}", "event_id": "e", "item_id": "item_u", "audio_end_ms": 400}
            await rig.upstream.send_json(event)
            await rig.expect(f"input_audio_buffer.{kind}")
        await rig.upstream.send_json(response("created"))
        await rig.upstream.send_json(delta_event("item_a", 100))
        await rig.upstream.send_json(response("done", status="completed"))
        await rig.expect("response.done")
        await passes(rig, MARK)
