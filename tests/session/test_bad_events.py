"""Every client event of both dialects, broken in every way: a typed error that names the place, and nothing upstream.

The cases are generated from the vocabulary, so an event or a field that is added there is attacked here. What is not
refused must be on the list of what is harmless.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, get_args

import pytest
from trio.testing import MockClock

from relay.config import Config, Secret
from relay.core.client import ClientSettings, Decision
from relay.core.openai_json import OpenAIJson
from relay.core.permissions import Grant, Permissions
from relay.core.relay_v1 import RelayV1
from relay.core.turns_failure import ABOUT
from relay.core.vocabulary import BETA, GA, Vocabulary
from relay.errors import BadRequest
from tests.core.stage import set_stage
from tests.session.rig import CANARY_KEY, CANARY_PROMPT, START, open_rig

SESSION = {"type": "realtime", "instructions": CANARY_PROMPT, "tools": [], "max_output_tokens": 500}
PRESETS = {
    "locked": Permissions.of(SESSION),
    "granted": Permissions.of(SESSION, may=frozenset(get_args(Grant))),
    "open": Permissions.of(SESSION, "open"),
}
DIALECTS = {"ga": GA, "beta": BETA}
SPEAKERS = [(dialect, preset) for dialect in DIALECTS for preset in PRESETS]
LONG = "A" * 60_000

MESSAGE = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
WHOLE: list[dict[str, Any]] = [
    {"type": "conversation.item.create", "item": MESSAGE},
    {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": "{}"}},
    {"type": "conversation.item.delete", "item_id": "i"},
    {"type": "conversation.item.retrieve", "item_id": "i"},
    {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 5},
    {"type": "input_audio_buffer.append", "audio": "AAA="},
    {"type": "input_audio_buffer.clear"},
    {"type": "input_audio_buffer.commit"},
    {"type": "response.cancel"},
    {"type": "response.create"},
    {"type": "session.update", "session": {"type": "realtime"}},
    {"type": "transcription_session.update", "session": {}},
]
"""Each event with what it must have, and no more."""

NOT_FOR_CLIENTS = {"output_audio_buffer.clear"}
"""Events of the vocabulary that relay refuses whatever they hold: they are WebRTC's."""

NESTED: dict[str, dict[str, str]] = {
    "response.create": {"response": "response_request"},
    "conversation.item.create": {"item": "item"},
    "session.update": {"session": "session"},
    "transcription_session.update": {"session": "transcription_session"},
}
"""The objects in events whose fields are attacked as well, by their names in the vocabulary."""

WRONG: dict[str, Any] = {
    "null": None,
    "bool": True,
    "negative": -1,
    "huge": 10**30,
    "fraction": 0.5,
    "word": "obey_me",
    "long": LONG,
    "list": ["obey_me"],
    "long list": ["text"] * 6_000,
    "object": {"obey_me": "obey_me"},
    "deep": json.loads("[" * 200 + "]" * 200),
    "deep object": json.loads('{"a":' * 200 + "1" + "}" * 200),
}

NAMES = {"null", "word"}
TEXT = {"null", "word", "long"}
LIST = {"null", "list"}
OBJECT = {"null", "object", "deep object"}
ANYTHING = {*WRONG, "missing"}

HARMLESS: dict[str, set[str]] = {
    "event_id": NAMES,
    "previous_item_id": NAMES,
    "response_id": NAMES,
    "item.id": NAMES,
    "item_id": {"word"},
    "item.call_id": {"word"},
    "item.output": {"word", "long"},
    "item.object": {"null"},
    "item.status": {"null"},
    "audio": {"long"},
    "response": {"null"},
    "response.audio": {"null"},
    "response.instructions": {"null"},
    "response.max_output_tokens": {"null"},
    "response.max_response_output_tokens": {"null"},
    "response.parallel_tool_calls": {"null"},
    "response.tool_choice": {"null"},
    "response.tools": {"null"},
    "response.voice": {"null"},
    "response.conversation": {"null"},
    "response.metadata": {"null", "object"},
    "response.modalities": {"null"},
    "response.output_audio_format": {"null"},
    "response.output_modalities": {"null"},
    "response.temperature": ANYTHING,  # of beta's clients; left out, because GA has no word for it
    "session": {"object", "deep object"},  # nothing of it is permitted
}
"""What may be in a place without harm: nothing, or words of the client's own. Everything else is refused."""

GRANTED: dict[str, set[str]] = {
    "response.instructions": TEXT,
    "response.parallel_tool_calls": {"null", "bool"},
    "response.reasoning": {"null"},
    "response.voice": NAMES,
    "session.include": LIST,
    "session.input_audio_noise_reduction": {"null"},
    "session.input_audio_transcription": {"null"},
    "session.instructions": TEXT,
    "session.parallel_tool_calls": {"null", "bool"},
    "session.reasoning": {"null"},
    "session.speed": {"null", "fraction"},
    "session.turn_detection": {"null"},
    "session.voice": NAMES,
}
"""What else may be there for a client that is permitted all that can be permitted."""

OWN = {"message": {"role", "content"}, "function_call_output": {"call_id", "output"}}
OF_OTHER_ITEMS = {"approval_request_id", "approve", "arguments", "error", "name", "reason", "server_label", "tools"}
OF_OTHER_ITEMS |= OWN["message"] | OWN["function_call_output"]
OPEN: dict[str, set[str]] = {
    **GRANTED,
    "item.object": TEXT,
    "item.role": {"word", "long"},
    "item.status": TEXT,
    "item.type": {"word", "long"},
    "item.obey_me": ANYTHING,
    "obey_me": ANYTHING,
    "response": OBJECT,
    "response.audio": OBJECT,
    "response.conversation": TEXT,
    "response.max_output_tokens": TEXT,
    "response.max_response_output_tokens": TEXT,
    "response.modalities": LIST,
    "response.obey_me": ANYTHING,
    "response.output_modalities": LIST,
    "response.prompt": OBJECT,
    "response.reasoning": OBJECT,
    "response.tool_choice": TEXT,
    "response.voice": {*NAMES, "object", "deep object"},
    "session.audio": OBJECT,
    "session.client_secret": ANYTHING,  # as beta's temperature, and the next two
    "session.id": ANYTHING,
    "session.temperature": ANYTHING,
    "session.input_audio_format": {"null"},
    "session.input_audio_noise_reduction": OBJECT,
    "session.input_audio_transcription": OBJECT,
    "session.max_output_tokens": TEXT,
    "session.max_response_output_tokens": TEXT,
    "session.modalities": ANYTHING,  # a transcription has none, and leaves them out
    "session.model": NAMES,
    "session.obey_me": ANYTHING,
    "session.output_audio_format": {"null"},
    "session.output_modalities": LIST,
    "session.prompt": OBJECT,
    "session.reasoning": OBJECT,
    "session.tool_choice": TEXT,
    "session.tools": {"null"},
    "session.tracing": {*TEXT, *OBJECT},
    "session.truncation": {*TEXT, *OBJECT},
    "session.turn_detection": {"null"},
    "session.type": TEXT,
    "session.voice": {*NAMES, "object", "deep object"},
}
"""What else may be there for a trusted client: what relay has no word for, and it is the API's affair."""

MORE = {"locked": {}, "granted": GRANTED, "open": OPEN}


def is_harmless(preset: str, event: dict[str, Any], place: str, how: str) -> bool:
    """Whether what is broken may go up all the same."""
    own = OWN.get(event.get("item", {}).get("type", ""), OF_OTHER_ITEMS)
    if preset == "open" and place in {f"item.{name}" for name in OF_OTHER_ITEMS - own}:
        return True  # a field that this item does not have
    return how in HARMLESS.get(place, set()) | MORE[preset].get(place, set())


def broken(table: Vocabulary) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield each event with one thing wrong: the event, the place, and how it is wrong."""
    for whole in WHOLE:
        fields = table.client.get(whole["type"])
        if fields is None:
            continue
        for name in sorted(fields.required):
            yield {key: value for key, value in whole.items() if key != name}, name, "missing"
        for name in (*sorted(fields.known), "obey_me"):
            for how, value in WRONG.items():
                yield {**whole, name: value}, name, how
        yield from broken_inside(whole, table)


def broken_inside(whole: dict[str, Any], table: Vocabulary) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield the event with one thing wrong in its object."""
    for outer, inner in NESTED.get(whole["type"], {}).items():
        for name in (*sorted(table.objects[inner].known), "obey_me"):
            for how, value in WRONG.items():
                yield {**whole, outer: {**whole.get(outer, {}), name: value}}, f"{outer}.{name}", how


CASES = {dialect: list(broken(table)) for dialect, table in DIALECTS.items()}


def settings(preset: str) -> ClientSettings:
    return ClientSettings("relay_1", 24_000, 24_000, "server_vad", 1_000, permissions=PRESETS[preset])


def answer_to(dialect: str, preset: str, event: dict[str, Any]) -> Decision | BadRequest:
    """Say it; any exception but a bad request is the test's failure."""
    try:
        if dialect == "relay.v1":
            client = RelayV1(settings(preset))
            client.message(json.dumps(START), 0.0)
            return client.message(json.dumps(event), 0.0)
        openai = OpenAIJson(settings(preset), beta=dialect == "beta")
        return set_stage(openai, responding=event["type"] == "response.cancel").message(json.dumps(event), 0.0)
    except BadRequest as problem:
        return problem


def fault(preset: str, event: dict[str, Any], place: str, how: str, answer: Decision | BadRequest) -> str | None:
    """Return what is wrong with an answer to an event that is broken at `place`; None if nothing is."""
    if isinstance(answer, Decision) and not answer.upstream and not answer.audio:
        return None  # nothing of it goes anywhere
    if isinstance(answer, Decision):
        return None if is_harmless(preset, event, place, how) else f"accepted: {answer}"[:300]
    if answer.request_code in ABOUT:  # whole, and about something that is not there
        return None if is_harmless(preset, event, place, how) else f"whole: {answer.request_code}"
    is_named = answer.param is not None and answer.param.startswith(place)
    is_typed = answer.request_code.startswith("relay_") and len(answer.public) < 500
    return None if is_named and is_typed else f"{answer.request_code} {answer.param}"


def faults(dialect: str, preset: str, cases: list[tuple[dict[str, Any], str, str]]) -> list[tuple[str, ...]]:
    """Return what is answered wrongly."""
    return [
        (event["type"], place, how, found)
        for event, place, how in cases
        if (found := fault(preset, event, place, how, answer_to(dialect, preset, event)))
    ]


def test_every_event_of_the_vocabulary_is_broken_here_and_whole_before() -> None:
    assert {event["type"] for event in WHOLE} == {*GA.client, *BETA.client} - NOT_FOR_CLIENTS
    for dialect, preset in SPEAKERS:
        for event in WHOLE:
            if event["type"] in DIALECTS[dialect].client:
                assert isinstance(answer_to(dialect, preset, event), Decision)


@pytest.mark.parametrize(("dialect", "preset"), SPEAKERS)
def test_each_broken_field_is_refused_by_its_place_unless_it_is_harmless(dialect: str, preset: str) -> None:
    assert faults(dialect, preset, CASES[dialect]) == []


@pytest.mark.parametrize("preset", PRESETS)
def test_relay_v1_refuses_the_same(preset: str) -> None:
    replaced = {"input_audio_buffer.append", "conversation.item.truncate"}
    assert faults("relay.v1", preset, [case for case in CASES["ga"] if case[0]["type"] not in replaced]) == []
    for event in WHOLE:
        if event["type"] in replaced:
            answer = answer_to("relay.v1", preset, event)
            assert isinstance(answer, BadRequest)
            assert answer.request_code == "relay_unknown_event"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_whatever_is_in_a_session_update_nothing_of_it_goes_upstream(dialect: str) -> None:
    for event, _, _ in CASES[dialect]:
        if event["type"].endswith("session.update"):
            answer = answer_to(dialect, "locked", event)
            assert isinstance(answer, BadRequest) or (answer.upstream, answer.audio) == ([], [])


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_nested_without_end_is_no_json_object(dialect: str, preset: str) -> None:
    for event in WHOLE:
        for place in ("item", "response", "session", "audio", "obey_me"):
            text = json.dumps({**event, place: None}).replace("null", "[" * 20_000 + "]" * 20_000)
            with pytest.raises(BadRequest) as caught:
                OpenAIJson(settings(preset), beta=dialect == "beta").message(text, 0.0)
            assert caught.value.request_code in ("relay_invalid_json", "relay_invalid_field", "relay_unknown_event")


def config(preset: str) -> Config:
    may = get_args(Grant) if preset == "granted" else ()
    policy: Any = "open" if preset == "open" else "locked"
    return Config(openai_api_key=Secret(CANARY_KEY), instructions=CANARY_PROMPT, policy=policy, client_may=may)


@pytest.mark.parametrize(("dialect", "preset"), SPEAKERS)
async def test_the_session_outlives_every_refusal_and_none_of_it_reaches_the_upstream(
    autojump_clock: MockClock, dialect: str, preset: str
) -> None:
    cases = [event for event, _, _ in CASES[dialect]]
    refused = [event for event in cases[::3] if isinstance(answer_to(dialect, preset, event), BadRequest)]
    async with open_rig(config(preset), language=partial(OpenAIJson, beta=dialect == "beta")) as rig:
        await rig.begin_upstream()
        for event in refused:
            await rig.browser.send_json(event)
            assert (await rig.expect("error"))["error"].get("fatal") is None
        await rig.browser.send_json({"type": "input_audio_buffer.clear"})
        assert await rig.upstream.receive_json() == {"type": "input_audio_buffer.clear"}
        assert CANARY_KEY.encode() not in rig.browser_stream.sent
        assert preset == "open" or CANARY_PROMPT.encode() not in rig.browser_stream.sent


MIB = 1_048_576


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("event", WHOLE, ids=lambda event: str(event["type"]))
async def test_an_event_of_a_mebibyte_ends_the_session_for_its_size(
    autojump_clock: MockClock, event: dict[str, Any], preset: str
) -> None:
    async with open_rig(config(preset), language=OpenAIJson) as rig:
        await rig.begin_upstream()
        await rig.browser.send_json({**event, "event_id": "A" * MIB})
        await rig.expect_end("relay_message_too_big", 1009)


@pytest.mark.parametrize("preset", PRESETS)
async def test_an_event_of_the_largest_size_is_read_and_judged(autojump_clock: MockClock, preset: str) -> None:
    events = [event for event in WHOLE if event["type"] in GA.client]
    async with open_rig(config(preset), language=OpenAIJson) as rig:
        await rig.begin_upstream()
        for event in events:
            bare = json.dumps({**event, "event_id": ""})
            await rig.browser.send(bare.replace('"event_id": ""', f'"event_id": "{"A" * (65_536 - len(bare))}"'))
            error = await rig.expect_error("relay_invalid_field")
            assert error["param"] == "event_id"
        await rig.browser.send_json({"type": "input_audio_buffer.clear"})
        assert await rig.upstream.receive_json() == {"type": "input_audio_buffer.clear"}
