"""Every server event that the simulator can send, and every client event that it takes, as the reference writes them.

`Client` compares each event it receives; here a session is led through all of them, so that none is left out.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.simulator import schema
from tests.simulator import facts, sounds
from tests.simulator.client import PUSH_TO_TALK, Client

TOOL = {"type": "function", "name": "clock", "parameters": {}}


def a_whole_conversation() -> Client:
    client = Client()
    transcription = {"model": "gpt-4o-transcribe-diarize"}
    detection = {"type": "server_vad", "idle_timeout_ms": 5_000}
    client.update(audio={"input": {"transcription": transcription, "turn_detection": detection}})
    client.hear(sounds.speech())
    client.wait(60)
    client.update(**PUSH_TO_TALK, tools=[TOOL])
    client.append(bytes(4_800))
    client.send("input_audio_buffer.clear")
    client.type("clock")
    client.answer()
    client.type("hello")
    client.send("response.create", response={"output_modalities": ["text"], "metadata": {"a": "b"}})
    client.wait(10)
    spoken = next(item for item in client.session._conversation.items if item.is_model_audio).id
    client.send("conversation.item.retrieve", item_id=spoken)
    client.send("conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=100)
    client.send("conversation.item.delete", item_id=spoken)
    client.send("response.cancel")
    return client


def test_a_conversation_leads_through_every_event_as_the_reference_writes_it() -> None:
    assert {event["type"] for event in a_whole_conversation().events} == set(facts.FACTS["server"])


def test_every_client_event_of_the_reference_is_known_and_no_other() -> None:
    assert set(schema.CLIENT_EVENTS) == set(facts.FACTS["client"])


@pytest.mark.parametrize("change", ["missing", "added", "wrong"])
def test_the_comparison_finds_what_departs(change: str) -> None:
    for event in a_whole_conversation().events:
        spoilt: dict[str, Any] = dict(event)
        if change == "missing":
            del spoilt["event_id"]
        elif change == "added":
            spoilt["extra"] = 1
        else:
            spoilt["event_id"] = 7
        assert len(facts.complaints_about_event(spoilt)) == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("response", "status"), "done"),
        (("response", "usage", "input_token_details", "audio_tokens"), 1.5),
        (("response", "output", 0, "content", 0, "type"), "audio"),
        (("response", "output", 0, "formatted"), {}),
        (("response", "audio", "output", "format", "rate"), 16_000),
        (("response", "metadata"), {"a": 1}),
    ],
)
def test_the_comparison_looks_into_objects(path: tuple[Any, ...], value: Any) -> None:
    client = Client()
    client.type("hello")
    client.answer()
    done: Any = json.loads(json.dumps(client.of("response.done")[0]))
    place = done
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert facts.complaints_about_event(done)
