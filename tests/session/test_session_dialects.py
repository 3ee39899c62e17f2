"""Every client meets every upstream: one spoken turn, written out in both dialects, told in each to each."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, assert_checkpoints

from relay import wire
from relay.config import Config, Secret
from relay.core.beta_upstream import BetaUpstream
from relay.core.openai_json import OpenAIJson
from relay.core.relay_v1 import RelayV1
from relay.mask import Mask
from relay.upstream import COMPLAINT_S, TranslatingLeg
from tests.peers import FakeUpstream
from tests.session.rig import CANARY_KEY, CANARY_PROMPT, START, Language, Rig, delta_event, open_rig, samples

LANGUAGES: dict[str, Language] = {
    "relay.v1": RelayV1,
    "ga": OpenAIJson,
    "beta": partial(OpenAIJson, beta=True),
}
URL = "wss://voice.example/v1/realtime"
SPOKEN_MS = 200
PCM = {"type": "audio/pcm", "rate": 24000}


def config(dialect: Any, **settings: Any) -> Config:
    peer = {"upstream": URL, "profile": "openai", "upstream_key": Secret(CANARY_KEY), "upstream_dialect": dialect}
    return Config(instructions=CANARY_PROMPT, **peer, **settings)


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "event_id": "event_1", **fields}


# The turn

ASKING = [{"type": "input_audio", "transcript": None}]
HEARD = {"id": "u1", "type": "message", "role": "user", "status": "completed", "content": ASKING}
BEGUN = {"id": "a1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
SAID = BEGUN | {"status": "completed"}
SAID_GA = SAID | {"content": [{"type": "output_audio", "transcript": "Hello"}]}
SAID_BETA = SAID | {"content": [{"type": "audio", "transcript": "Hello"}]}
RESPONSE: dict[str, Any] = {"id": "resp_1", "object": "realtime.response", "status": "in_progress", "output": []}
RESPONSE_GA = RESPONSE | {"output_modalities": ["audio"], "audio": {"output": {"voice": "marin", "format": PCM}}}
RESPONSE_BETA = RESPONSE | {"modalities": ["text", "audio"], "temperature": 0.8}
RESPONSE_BETA |= {"voice": "marin", "output_audio_format": "pcm16"}
USAGE = {
    "total_tokens": 100,
    "input_tokens": 60,
    "output_tokens": 40,
    "input_token_details": {"text_tokens": 20, "audio_tokens": 40, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 10, "audio_tokens": 30},
}
DONE = {"status": "completed", "usage": USAGE}
IN = {"response_id": "resp_1", "item_id": "a1", "output_index": 0, "content_index": 0}
OUT = {"response_id": "resp_1", "output_index": 0}
DELTA = base64.b64encode(bytes(2 * 24 * SPOKEN_MS)).decode()
ASKED = [
    event("input_audio_buffer.speech_started", audio_start_ms=0, item_id="u1"),
    event("input_audio_buffer.speech_stopped", audio_end_ms=900, item_id="u1"),
    event("input_audio_buffer.committed", item_id="u1", previous_item_id=None),
]
TRANSCRIBED = event(
    "conversation.item.input_audio_transcription.completed",
    item_id="u1",
    content_index=0,
    transcript="Hi",
    usage={"type": "duration", "seconds": 1.0},
)
TURNS = {
    "ga": [
        *ASKED,
        event("conversation.item.added", item=HEARD, previous_item_id=None),
        event("conversation.item.done", item=HEARD, previous_item_id=None),
        event("response.created", response=RESPONSE_GA),
        event("response.output_item.added", item=BEGUN, **OUT),
        event("conversation.item.added", item=BEGUN, previous_item_id="u1"),
        event("response.content_part.added", part={"type": "audio", "transcript": ""}, **IN),
        event("response.output_audio_transcript.delta", delta="Hello", **IN),
        event("response.output_audio.delta", delta=DELTA, **IN),
        event("response.output_audio.done", **IN),
        event("response.output_audio_transcript.done", transcript="Hello", **IN),
        event("response.content_part.done", part={"type": "audio", "transcript": "Hello"}, **IN),
        event("conversation.item.done", item=SAID_GA, previous_item_id="u1"),
        event("response.output_item.done", item=SAID_GA, **OUT),
        TRANSCRIBED,
        event("response.done", response=RESPONSE_GA | DONE | {"output": [SAID_GA]}),
    ],
    "beta": [
        *ASKED,
        event("conversation.item.created", item=HEARD, previous_item_id=None),
        event("response.created", response=RESPONSE_BETA),
        event("response.output_item.added", item=BEGUN, **OUT),
        event("conversation.item.created", item=BEGUN, previous_item_id="u1"),
        event("response.content_part.added", part={"type": "audio", "transcript": ""}, **IN),
        event("response.audio_transcript.delta", delta="Hello", **IN),
        event("response.audio.delta", delta=DELTA, **IN),
        event("response.audio.done", **IN),
        event("response.audio_transcript.done", transcript="Hello", **IN),
        event("response.content_part.done", part={"type": "audio", "transcript": "Hello"}, **IN),
        event("response.output_item.done", item=SAID_BETA, **OUT),
        TRANSCRIBED,
        event("response.done", response=RESPONSE_BETA | DONE | {"output": [SAID_BETA]}),
    ],
}
WISHES = {"ga": {"output_modalities": ["audio"]}, "beta": {"modalities": ["text", "audio"]}}


async def begin(rig: Rig, client: str) -> dict[str, Any]:
    if client == "relay.v1":
        return await rig.start()
    await rig.begin_upstream()
    return await rig.expect("session.updated")


async def play(rig: Rig, turn: list[dict[str, Any]]) -> None:
    for one in turn:
        await rig.upstream.send_json(one)


async def hear_turn(rig: Rig) -> list[dict[str, Any]]:
    """Read the browser's side to the end of the response; give the API's events, without their ids."""
    heard: list[dict[str, Any]] = []
    while not heard or heard[-1]["type"] != "response.done":
        message = await rig.receive()
        told = json.loads(message) if isinstance(message, str) else {"type": "relay.frame"}
        if not told["type"].startswith("relay."):
            assert told["event_id"]
            heard.append(told)
    return [without_id(told) for told in heard]


def without_id(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name != "event_id"}


@pytest.mark.parametrize("upstream", ["ga", "beta"])
@pytest.mark.parametrize("client", ["ga", "beta"])
async def test_a_spoken_turn_is_told_in_the_dialect_of_the_client(
    autojump_clock: MockClock, client: str, upstream: str
) -> None:
    async with open_rig(config(upstream), language=LANGUAGES[client]) as rig:
        await begin(rig, client)
        await rig.browser.send_json({"type": "input_audio_buffer.append", "audio": DELTA})
        assert await rig.upstream.receive_json() == {"type": "input_audio_buffer.append", "audio": DELTA}
        await rig.browser.send_json({"type": "response.create", "response": WISHES[client]})
        assert await rig.upstream.receive_json() == {"type": "response.create", "response": WISHES[upstream]}
        await play(rig, TURNS[upstream])
        assert await hear_turn(rig) == [without_id(one) for one in TURNS[client]]


@pytest.mark.parametrize("upstream", ["ga", "beta"])
async def test_a_spoken_turn_is_heard_by_a_relay_v1_client(autojump_clock: MockClock, upstream: str) -> None:
    async with open_rig(config(upstream)) as rig:
        await begin(rig, "relay.v1")
        await rig.browser.send(samples(20))
        append = await rig.upstream.receive_json()
        assert (append["type"], len(base64.b64decode(append["audio"]))) == ("input_audio_buffer.append", 960)
        await play(rig, TURNS[upstream])
        expected = [without_id(one) for one in TURNS["ga"] if one["type"] != "response.output_audio.delta"]
        assert await hear_turn(rig) == expected
        await rig.expect("relay.audio.done")
        assert rig.frame_samples == 24 * SPOKEN_MS


# The start


async def test_a_beta_session_starts_with_a_complete_flat_session_update(autojump_clock: MockClock) -> None:
    async with open_rig(config("beta")) as rig:
        await rig.browser.send_json(START)
        update = await rig.begin_upstream()
        assert update["session"] == {
            "instructions": CANARY_PROMPT,
            "modalities": ["text", "audio"],
            "voice": "marin",
            "speed": 1.0,
            "input_audio_format": "pcm16",
            "output_audio_format": "pcm16",
            "input_audio_noise_reduction": None,
            "input_audio_transcription": {"model": "gpt-transcribe"},
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 500,
                "create_response": True,
                "interrupt_response": True,
            },
            "tools": [],
            "tool_choice": "auto",
            "max_response_output_tokens": "inf",
        }
        assert (await rig.expect("relay.ready"))["type"] == "relay.ready"


async def test_push_to_talk_is_switched_off_in_a_beta_session_too(autojump_clock: MockClock) -> None:
    async with open_rig(config("beta", turn_detection="none")) as rig:
        await rig.browser.send_json(START)
        assert (await rig.begin_upstream())["session"]["turn_detection"] is None


@pytest.mark.parametrize(("dialect", "header"), [("ga", None), ("beta", "realtime=v1")])
async def test_a_beta_upstream_is_asked_for_beta_by_header_and_no_other(
    autojump_clock: MockClock, dialect: str, header: str | None
) -> None:
    async with open_rig(config(dialect)) as rig:
        await begin(rig, "relay.v1")
        assert rig.upstream.header("OpenAI-Beta") == header
        assert rig.upstream.header("Authorization") == f"Bearer {CANARY_KEY}"


@pytest.mark.parametrize("client", ["ga", "beta", "relay.v1"])
async def test_the_operators_prompt_stays_with_relay(autojump_clock: MockClock, client: str) -> None:
    async with open_rig(config("beta"), language=LANGUAGES[client]) as rig:
        await begin(rig, client)
        await play(rig, TURNS["beta"])
        await hear_turn(rig)
        assert b"CANARY" not in rig.browser_stream.sent


async def complain(rig: Rig, times: int, code: str = "invalid_value") -> None:
    """Find fault with relay's update."""
    await rig.browser.send_json(START)
    upstream = await rig.wait_upstream()
    await upstream.send_json(event("session.created", session={}))
    await upstream.receive()
    for number in range(times):
        await upstream.send_json(event("error", error={"code": code, "message": f"not supported: {number}"}))


async def test_a_beta_session_stands_if_complaints_about_the_update_are_followed_by_session_updated(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(config("beta")) as rig:
        with capture_logs() as logs:
            await complain(rig, 3)
            await rig.upstream.send_json(event("session.updated", session={}))
            await rig.expect("relay.ready")
        assert [line["detail"][-1] for line in logs if line["event"] == "upstream.complained"] == ["0", "1", "2"]
        assert b'"error"' not in rig.browser_stream.sent


@pytest.mark.parametrize("times", [1, 17])
async def test_a_beta_session_that_is_only_complained_about_ends_after_a_second(
    autojump_clock: MockClock, times: int
) -> None:
    async with open_rig(config("beta")) as rig:
        began_s = trio.current_time()
        await complain(rig, times)
        await rig.expect_end("relay_upstream_refused", 4502)
        assert trio.current_time() - began_s <= COMPLAINT_S + 0.1


async def test_no_more_than_sixteen_complaints_are_listened_to(autojump_clock: MockClock) -> None:
    async with open_rig(config("beta")) as rig:
        await complain(rig, 17)
        await rig.upstream.send_json(event("session.updated", session={}))
        await rig.expect_end("relay_upstream_refused", 4502)


async def test_a_beta_upstream_that_complains_and_closes_has_refused(autojump_clock: MockClock) -> None:
    async with open_rig(config("beta")) as rig:
        await complain(rig, 1)
        await rig.upstream.close(1008)
        await rig.expect_end("relay_upstream_refused", 4502)


async def test_a_bad_key_is_no_complaint(autojump_clock: MockClock) -> None:
    async with open_rig(config("beta")) as rig:
        await complain(rig, 1, "invalid_api_key")
        await rig.upstream.send_json(event("session.updated", session={}))
        await rig.expect_end("relay_upstream_unauthorized", 4501)


async def test_one_complaint_of_a_ga_upstream_is_a_refusal(autojump_clock: MockClock) -> None:
    async with open_rig(config("ga")) as rig:
        await complain(rig, 1)
        await rig.upstream.send_json(event("session.updated", session={}))
        await rig.expect_end("relay_upstream_refused", 4502)


async def test_a_text_that_is_no_event_ends_a_beta_session(autojump_clock: MockClock) -> None:
    async with open_rig(config("beta")) as rig:
        await begin(rig, "relay.v1")
        await rig.upstream.send("[1]")
        await rig.expect_error("relay_upstream_protocol_error")


# Interruption


async def test_an_interrupted_answer_of_a_beta_upstream_is_truncated_at_what_was_played(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(config("beta")) as rig:
        await begin(rig, "relay.v1")
        await rig.upstream.send_json(event("response.created", response=RESPONSE_BETA))
        await rig.upstream.send_json(delta_event("a1", 3_000) | {"type": "response.audio.delta"})
        while rig.frame_samples < 12_000:
            await rig.receive()
        await rig.upstream.send_json(ASKED[0])
        flush = await rig.expect("relay.flush")
        await rig.browser.send_json({"type": "relay.flushed", "flush": flush["flush"], "item": 1, "samples": 12_000})
        truncate = {"type": "conversation.item.truncate", "item_id": "a1", "content_index": 0, "audio_end_ms": 500}
        assert await rig.upstream.receive_json() == truncate


@pytest.mark.parametrize("client", ["ga", "beta"])
async def test_an_official_client_truncates_at_a_beta_upstream(autojump_clock: MockClock, client: str) -> None:
    async with open_rig(config("beta"), language=LANGUAGES[client]) as rig:
        await begin(rig, client)
        await play(rig, TURNS["beta"])
        await hear_turn(rig)
        end_ms = SPOKEN_MS // 2
        truncate = {"type": "conversation.item.truncate", "item_id": "a1", "content_index": 0, "audio_end_ms": end_ms}
        await rig.browser.send_json(truncate)
        assert await rig.upstream.receive_json() == truncate
        truncated = event("conversation.item.truncated", item_id="a1", content_index=0, audio_end_ms=end_ms)
        await rig.upstream.send_json(truncated)
        assert await rig.expect("conversation.item.truncated") == truncated


# The account


async def usage_of(upstream: str) -> dict[str, Any]:
    """Return the last bill of a session that had the turn."""
    async with open_rig(config(upstream, tell_usage=True)) as rig:
        await begin(rig, "relay.v1")
        await rig.browser.send(samples(20))
        await rig.upstream.receive()
        await play(rig, TURNS[upstream])
        await rig.expect("relay.usage")
        return await rig.expect("relay.usage")


async def test_the_account_counts_a_beta_upstream_as_it_counts_ga(autojump_clock: MockClock) -> None:
    usage = await usage_of("beta")
    assert usage == await usage_of("ga")
    assert (usage["tokens"], usage["audio_in_s"], usage["audio_out_s"]) == (100, 0.02, 0.2)
    assert usage["usd"] > 0


async def test_the_price_is_that_of_the_models_that_a_beta_session_names(autojump_clock: MockClock) -> None:
    async with open_rig(config("beta", tell_usage=True)) as rig:
        await begin(rig, "relay.v1")
        session = {"modalities": ["text"], "input_audio_transcription": {"model": "no-such-model"}}
        await rig.upstream.send_json(event("session.updated", session=session))
        await rig.upstream.send_json(TRANSCRIBED)
        assert (await rig.expect("relay.usage"))["usd"] is None


async def test_a_limit_on_audio_ends_a_beta_session(autojump_clock: MockClock) -> None:
    async with open_rig(config("beta", max_audio_out_s=1.0)) as rig:
        await begin(rig, "relay.v1")
        await rig.upstream.send_json(delta_event("a1", 1_000) | {"type": "response.audio.delta"})
        await rig.expect_end("relay_audio_out_limit", 4604)


# The leg by itself


def _socket(stream: trio.abc.Stream) -> wire.WebSocket:
    return wire.WebSocket(stream, role="client", limits=wire.WireLimits(message_bytes=65_536))


async def test_each_of_several_events_that_come_of_one_is_a_checkpoint(autojump_clock: MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    async with near, far:
        leg = TranslatingLeg(_socket(near), Mask([]), BetaUpstream())
        await FakeUpstream(far).send_json(event("conversation.item.created", item=HEARD, previous_item_id=None))
        for kind in ("added", "done"):
            with assert_checkpoints():
                assert json.loads(await leg.receive())["type"] == f"conversation.item.{kind}"
