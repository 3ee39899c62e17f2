"""A beta upstream as texts: the short way of a delta gives what the long way gives, and no control is lost."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from relay.core import dialect, events, messages, shapes
from relay.core.beta_upstream import DELTAS, BetaUpstream
from relay.core.vocabulary import BETA


def down(event: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in BetaUpstream().down(json.dumps(event))]


@pytest.mark.parametrize("kind", DELTAS)
def test_a_delta_with_every_field_is_what_the_translation_makes_of_it(kind: str) -> None:
    event = {name: {"Grüße": [name, 1.0, None]} for name in (*BETA.server[kind].known, "x")} | {"type": kind}
    assert down(event) == dialect.ServerToGa().to(event)
    assert down(event) == [event | {"type": dialect.SERVER_NAMES[kind]}]


def test_the_deltas_of_audio_are_among_those_that_go_the_short_way() -> None:
    assert DELTAS["response.audio.delta"] == b'"response.output_audio.delta"'


def test_only_the_type_is_renamed_however_it_is_spelled() -> None:
    text = r'{"item_id":"response.audio.delta", "t\u0079pe" : "response.audio\u002edelta","x":{"type":"error"}}'
    (told,) = BetaUpstream().down(text)
    renamed = {"item_id": "response.audio.delta", "type": "response.output_audio.delta", "x": {"type": "error"}}
    assert json.loads(told) == renamed


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"type": 1}', '{"type":"x","y":' + "[" * 10_000 + "]" * 10_000 + "}"]
)
def test_what_cannot_be_read_is_said_to_be_unreadable(text: str) -> None:
    with pytest.raises(events.UNREADABLE):
        BetaUpstream().down(text)


SAID = shapes.Message(role="user", content=[shapes.InputText("hi"), shapes.InputAudio("AAAA")])
WISHES = shapes.Response(output_modalities=["text", "audio"], conversation="auto", metadata={"a": "b"})
EVENTS: list[messages.Message] = [
    messages.Commit(),
    messages.Clear(),
    messages.AddItem(item=SAID, previous_item_id="root"),
    messages.AddItem(item=shapes.FunctionOutput(call_id="call_1", output="{}")),
    messages.TruncateItem(item_id="i", content_index=0, audio_end_ms=5),
    messages.DeleteItem(item_id="i"),
    messages.RetrieveItem(item_id="i"),
    messages.AskResponse(response=WISHES),
    messages.CancelResponse(response_id="r"),
    messages.UpdateSession(session={"type": msgspec.Raw(b'"realtime"')}),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda one: type(one).__name__)
def test_everything_a_client_may_say_has_a_form_in_beta(event: messages.Message) -> None:
    text = msgspec.json.encode(event).decode()
    (said,) = BetaUpstream().up(text)
    assert json.loads(said)["type"] == json.loads(text)["type"]


def test_the_events_above_are_all_there_are() -> None:
    may_be_said = {*messages.OpenAIMessage.__args__, *messages.RelayV1Message.__args__}
    own = {*messages.Control.__args__, messages.Append}
    assert {type(event) for event in EVENTS} == may_be_said - own
