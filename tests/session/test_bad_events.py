"""Every client event of both dialects, broken in every way: a typed error that names the place, and nothing upstream.

The cases are generated from the vocabulary, so an event or a field that is added there is attacked here. What is not
refused must be on the list of what is harmless.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from trio.testing import MockClock

from relay.core.client import ClientSettings, Decision
from relay.core.openai_json import OpenAIJson
from relay.core.turns_failure import ABOUT
from relay.core.vocabulary import BETA, GA, Vocabulary
from relay.errors import BadRequest
from tests.core.stage import set_stage
from tests.session.rig import CANARY_KEY, CANARY_PROMPT, open_rig

SETTINGS = ClientSettings("relay_1", 24_000, 24_000, "server_vad", 1_000)
DIALECTS = {"ga": GA, "beta": BETA}
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
    "response.temperature": set(WRONG),  # of beta's clients; left out, because GA has no word for it
    "session": {"object", "deep object"},  # answered, and never sent
}
"""What may be in a place without harm: nothing, or words of the client's own. Everything else is refused."""


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


def answer_to(dialect: str, event: dict[str, Any]) -> Decision | BadRequest:
    """Say it; any exception but a bad request is the test's failure."""
    try:
        client = OpenAIJson(SETTINGS, beta=dialect == "beta")
        return set_stage(client, responding=event["type"] == "response.cancel").message(json.dumps(event), 0.0)
    except BadRequest as problem:
        return problem


def fault(answer: Decision | BadRequest, place: str, how: str) -> str | None:
    """Return what is wrong with an answer to an event that is broken at `place`; None if nothing is."""
    if isinstance(answer, Decision):
        return None if how in HARMLESS.get(place, ()) else f"accepted: {answer}"[:300]
    if answer.request_code in ABOUT:  # whole, and about something that is not there
        return None if how in HARMLESS.get(place, ()) else f"whole: {answer.request_code}"
    is_named = answer.param is not None and answer.param.startswith(place)
    is_typed = answer.request_code.startswith("relay_") and len(answer.public) < 500
    return None if is_named and is_typed else f"{answer.request_code} {answer.param}"


def test_every_event_of_the_vocabulary_is_broken_here_and_whole_before() -> None:
    assert {event["type"] for event in WHOLE} == {*GA.client, *BETA.client} - NOT_FOR_CLIENTS
    for dialect, table in DIALECTS.items():
        for event in WHOLE:
            if event["type"] in table.client:
                assert isinstance(answer_to(dialect, event), Decision)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_broken_field_is_refused_by_its_place_unless_it_is_harmless(dialect: str) -> None:
    faults = [
        (event["type"], place, how, found)
        for event, place, how in CASES[dialect]
        if (found := fault(answer_to(dialect, event), place, how))
    ]
    assert faults == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_whatever_is_in_a_session_update_nothing_of_it_goes_upstream(dialect: str) -> None:
    for event, _, _ in CASES[dialect]:
        if event["type"].endswith("session.update"):
            answer = answer_to(dialect, event)
            assert isinstance(answer, BadRequest) or (answer.upstream, answer.audio) == ([], [])


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_session_outlives_every_refusal_and_none_of_it_reaches_the_upstream(
    autojump_clock: MockClock, dialect: str
) -> None:
    refused = [event for event, _, _ in CASES[dialect] if isinstance(answer_to(dialect, event), BadRequest)]
    async with open_rig(language=partial(OpenAIJson, beta=dialect == "beta")) as rig:
        await rig.begin_upstream()
        for event in refused:
            await rig.browser.send_json(event)
            assert (await rig.expect("error"))["error"].get("fatal") is None
        await rig.browser.send_json({"type": "input_audio_buffer.clear"})
        assert await rig.upstream.receive_json() == {"type": "input_audio_buffer.clear"}
        assert CANARY_KEY.encode() not in rig.browser_stream.sent
        assert CANARY_PROMPT.encode() not in rig.browser_stream.sent
