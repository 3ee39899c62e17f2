"""Sessions with upstreams that lack something, want their key otherwise, or refuse it in their own way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.admission import Admission
from relay.config import Config, Secret
from relay.core.openai_json import OpenAIJson
from relay.session import Services
from relay.target import target_for
from tests.peers import FakeUpstream
from tests.session.rig import CANARY_KEY, START, Rig, delta_event, open_rig

URL = "wss://voice.example/v1/realtime"
ITEM = {"item_id": "a1"}
ASKING_FOR: dict[str, dict[str, Any]] = {
    "cancel": {"type": "response.cancel"},
    "truncate": {"type": "conversation.item.truncate", "content_index": 0, "audio_end_ms": 5, **ITEM},
    "retrieve": {"type": "conversation.item.retrieve", **ITEM},
    "delete": {"type": "conversation.item.delete", **ITEM},
    "clear": {"type": "input_audio_buffer.clear"},
}

HELLO = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
TYPED: dict[str, Any] = {"type": "conversation.item.create", "item": HELLO}


def config(**settings: Any) -> Config:
    return Config(upstream=URL, upstream_key=Secret(CANARY_KEY), **settings)


def lacking(*words: Any) -> Config:
    return config(upstream_lacks=words)


async def answer_aloud(rig: Rig) -> None:
    """Play an answer of a second, of which the browser has heard a tenth."""
    await rig.upstream.send_json({"type": "response.created", "event_id": "e", "response": {"id": "resp_1"}})
    await rig.upstream.send_json(delta_event("a1", 1_000))
    await rig.expect("relay.audio.started")


@pytest.mark.parametrize(
    ("event", "lacks", "expected"),
    [
        ("relay.interrupt", (), ["response.cancel", "conversation.item.truncate"]),
        ("relay.interrupt", ("truncate",), ["response.cancel"]),
        ("relay.interrupt", ("cancel",), ["conversation.item.truncate"]),
        ("relay.interrupt", ("cancel", "truncate"), []),
        ("response.cancel", ("cancel",), ["conversation.item.truncate"]),
        ("response.cancel", ("cancel", "truncate"), []),
    ],
)
async def test_an_interruption_silences_the_answer_and_asks_for_nothing_that_the_upstream_lacks(
    autojump_clock: MockClock, event: str, lacks: tuple[str, ...], expected: list[str]
) -> None:
    async with open_rig(lacking(*lacks)) as rig:
        await rig.start()
        await answer_aloud(rig)
        await rig.browser.send_json({"type": event})
        flush = await rig.expect("relay.flush")
        await rig.browser.send_json({"type": "relay.flushed", "flush": flush["flush"], "item": 1, "samples": 2_400})
        await rig.browser.send_json(TYPED)
        sent = [await rig.upstream.receive_json()]
        while sent[-1]["type"] != TYPED["type"]:
            sent.append(await rig.upstream.receive_json())
        assert [one["type"] for one in sent[:-1]] == expected


async def test_what_comes_after_an_interruption_that_could_not_cancel_is_thrown_away(autojump_clock: MockClock) -> None:
    async with open_rig(lacking("cancel", "truncate")) as rig:
        await rig.start()
        await answer_aloud(rig)
        await rig.browser.send_json({"type": "relay.interrupt"})
        await rig.expect("relay.flush")
        heard = rig.frame_samples
        await rig.upstream.send_json(delta_event("a1", 1_000))
        await rig.upstream.send_json({"type": "response.done", "event_id": "e", "response": {"id": "resp_1"}})
        await rig.expect("response.done")
        assert rig.frame_samples == heard
        await rig.upstream.send_json(delta_event("a2", 100, response="resp_2"))
        await rig.expect("relay.audio.started", item_id="a2")


@pytest.mark.parametrize("word", ASKING_FOR)
async def test_a_client_hears_what_the_upstream_lacks_and_the_session_goes_on(
    autojump_clock: MockClock, word: str
) -> None:
    async with open_rig(lacking(word), language=OpenAIJson) as rig:
        await rig.begin_upstream()
        await rig.browser.send_json(ASKING_FOR[word] | {"event_id": "mine"})
        error = await rig.expect_error("relay_unsupported")
        assert (error["param"], error["event_id"], error["type"]) == ("type", "mine", "invalid_request_error")
        assert ASKING_FOR[word]["type"] in error["message"]
        await rig.browser.send_json(TYPED)
        assert await rig.upstream.receive_json() == TYPED


async def test_a_relay_v1_client_hears_it_too(autojump_clock: MockClock) -> None:
    async with open_rig(lacking("clear")) as rig:
        await rig.start()
        await rig.browser.send_json({"type": "input_audio_buffer.clear"})
        await rig.expect_error("relay_unsupported")


async def test_an_item_with_audio_is_refused_where_there_are_none_and_one_with_text_is_not(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(lacking("recordings"), language=OpenAIJson) as rig:
        await rig.begin_upstream()
        parts = [{"type": "input_text", "text": "Hi"}, {"type": "input_audio", "audio": "AAAA"}]
        item = {"type": "message", "role": "user", "content": parts}
        await rig.browser.send_json({"type": "conversation.item.create", "item": item})
        assert (await rig.expect_error("relay_unsupported"))["param"] == "item.content[1].type"
        await rig.browser.send_json({"type": "conversation.item.create", "item": item | {"content": parts[:1]}})
        assert (await rig.upstream.receive_json())["item"]["content"] == parts[:1]


@pytest.mark.parametrize(
    ("auth", "name", "value"), [("bearer", "Authorization", "Bearer "), ("api-key", "api-key", "")]
)
async def test_the_key_goes_into_the_one_header_that_the_upstream_reads(
    autojump_clock: MockClock, auth: Any, name: str, value: str
) -> None:
    async with open_rig(config(upstream_auth=auth)) as rig:
        upstream = await rig.wait_upstream()
        assert upstream.header(name) == value + CANARY_KEY
        assert upstream.request is not None
        assert str(upstream.request).count(CANARY_KEY) == 1


@pytest.mark.parametrize("code", [1008, 3000])
async def test_a_close_without_a_word_before_the_session_stands_means_the_key(
    autojump_clock: MockClock, code: int
) -> None:
    async with open_rig(config()) as rig:
        await rig.browser.send_json(START)
        await (await rig.wait_upstream()).close(code, "no")
        await rig.expect_end("relay_upstream_unauthorized", 4501)
        await rig.ended.wait()
        assert rig.reason is not None
        assert rig.reason.detail == f"{code} no"


@pytest.mark.parametrize("code", [1000, 1011])
async def test_any_other_close_before_the_session_stands_does_not(autojump_clock: MockClock, code: int) -> None:
    async with open_rig(config()) as rig:
        await rig.browser.send_json(START)
        await (await rig.wait_upstream()).close(code, "no")
        await rig.expect_end("relay_upstream_closed", 4502)


async def test_the_same_close_later_is_the_end_of_the_session_and_no_more(autojump_clock: MockClock) -> None:
    async with open_rig(config()) as rig:
        await rig.start()
        await rig.upstream.close(1008, "enough")
        await rig.expect_end("relay_upstream_closed", 4502)


class Tokens:
    """Credentials that remember what was refused."""

    def __init__(self) -> None:
        self.refusals: list[Secret | None] = []

    async def current(self) -> Secret | None:
        await trio.lowlevel.checkpoint()
        return Secret("token-1")

    def refused(self, key: Secret | None) -> None:
        self.refusals.append(key)


async def refuse(rig: Rig, stream: trio.abc.Stream) -> None:
    await FakeUpstream.refuse(stream, 401)


async def test_a_token_that_is_refused_at_the_door_is_said_to_be(autojump_clock: MockClock) -> None:
    tokens = Tokens()
    target = replace(target_for(config(), URL), credentials=tokens)
    async with open_rig(config(), answer=refuse, services=Services(config(), Admission(config()), target)) as rig:
        await rig.expect_end("relay_upstream_unauthorized", 4501)
    assert tokens.refusals == [Secret("token-1")]


async def test_an_xai_session_is_begun_by_its_conversation_and_told_in_its_shape(autojump_clock: MockClock) -> None:
    async with open_rig(config(upstream_dialect="xai", voice="eve"), language=OpenAIJson) as rig:
        upstream = await rig.wait_upstream()
        await upstream.send_json({"type": "conversation.created", "event_id": "e", "conversation": {"id": "c"}})
        update = await upstream.receive_json()
        assert (update["session"]["voice"], update["session"]["turn_detection"]["type"]) == ("eve", "server_vad")
        await upstream.send_json({"type": "session.updated", "event_id": "e", "session": update["session"]})
        session = (await rig.expect("session.updated"))["session"]
        assert session["audio"]["output"]["voice"] == "eve"
        assert "voice" not in session
        await upstream.send_json({"type": "ping", "event_id": "e"})
        await upstream.send_json({"type": "response.created", "event_id": "e", "response": {"id": "r"}})
        await rig.expect("response.created")
