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


# Formats


PCM = {"type": "audio/pcm", "rate": 24_000}
HEARD_AT_16_KHZ = {"type": "audio/pcm", "rate": 16_000}
UPDATE = {
    "type": "session.update",
    "session": {"type": "realtime", "audio": {"input": {"format": HEARD_AT_16_KHZ}, "output": {"format": PCM}}},
}
NEWER = {"input": {"type": "pcm", "sample_rate": 16_000}, "output": {"type": "pcm", "sample_rate": 24_000}}


def formats_in(text: str) -> Any:
    audio = json.loads(text)["session"]["audio"]
    return audio["input"]["format"], audio["output"]["format"]


@pytest.mark.parametrize("told", [{}, {"output_audio_format": "pcm24"}, {"input_audio_format": "pcm"}])
def test_an_update_repeats_the_names_that_the_upstream_has_for_pcm(told: dict[str, str]) -> None:
    upstream = BetaUpstream(16_000, 24_000)
    upstream.down(json.dumps({"type": "session.created", "session": told}))
    (text,) = upstream.up(json.dumps(UPDATE))
    assert json.loads(text)["session"] == {"input_audio_format": "pcm16", "output_audio_format": "pcm16"} | told


def test_an_update_names_the_rates_where_the_upstream_does() -> None:
    upstream = BetaUpstream(16_000, 24_000)
    audio = {side: {"format": written} for side, written in NEWER.items()}
    (created,) = upstream.down(json.dumps({"type": "session.created", "session": {"audio": audio}}))
    assert formats_in(created) == (HEARD_AT_16_KHZ, PCM)
    (text,) = upstream.up(json.dumps(UPDATE))
    assert json.loads(text)["session"] == {"audio": audio}


@pytest.mark.parametrize("name", ["pcm16", "pcm24", "pcm"])
def test_a_session_shows_the_rates_that_a_name_means_at_this_upstream(name: str) -> None:
    session = {"input_audio_format": "pcm16", "output_audio_format": name}
    for kind in ("session.created", "session.updated"):
        (text,) = BetaUpstream(16_000, 24_000).down(json.dumps({"type": kind, "session": session}))
        assert formats_in(text) == (HEARD_AT_16_KHZ, PCM)


def test_a_format_that_is_no_pcm_is_left_as_the_client_wrote_it() -> None:
    upstream = BetaUpstream()
    upstream.down(json.dumps({"type": "session.created", "session": {"input_audio_format": "pcm"}}))
    update = {"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}}
    (text,) = upstream.up(json.dumps(update))
    assert json.loads(text)["session"] == {"input_audio_format": "g711_ulaw"}


CONFIRMED: list[dict[str, Any]] = [
    {"input_audio_format": "pcm16", "output_audio_format": "pcm24"},
    {"audio": {side: {"format": written} for side, written in NEWER.items()}},
]


@pytest.mark.parametrize("session", CONFIRMED)
def test_pcm_that_the_upstream_has_confirmed_is_not_said_again(session: dict[str, Any]) -> None:
    upstream = BetaUpstream(16_000, 24_000)
    for kind in ("session.created", "session.updated"):
        (before,) = upstream.up(json.dumps(UPDATE))
        assert json.loads(before)["session"]
        upstream.down(json.dumps({"type": kind, "session": session}))
    assert not session_said(upstream, UPDATE)
    mixed = {"input_audio_format": "g711_ulaw", "output_audio_format": "pcm16"}
    upstream.down(json.dumps({"type": "session.updated", "session": mixed}))
    said = json.dumps(session_said(upstream, UPDATE))
    assert ("input" in said, "output" in said) == (True, False)


def test_pcm_is_said_each_time_after_a_client_asked_for_another_format() -> None:
    upstream = BetaUpstream()
    pcm = {"type": "session.updated", "session": {"input_audio_format": "pcm16", "output_audio_format": "pcm16"}}
    upstream.down(json.dumps(pcm))
    other = {"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}}
    assert session_said(upstream, other) == {"input_audio_format": "g711_ulaw"}
    upstream.down(json.dumps(pcm))  # it answers an earlier update
    assert session_said(upstream, UPDATE) == {"input_audio_format": "pcm16"}


def session_said(upstream: BetaUpstream, event: dict[str, Any]) -> Any:
    (text,) = upstream.up(json.dumps(event))
    return json.loads(text)["session"]


@pytest.mark.parametrize(
    "session", [None, 1, [], {"audio": 1}, {"audio": {"input": 1, "x": None}}, {"audio": {"input": {"format": 1}}}]
)
def test_a_session_of_another_shape_is_passed_on(session: Any) -> None:
    for kind in ("session.created", "session.updated"):
        (text,) = BetaUpstream().down(json.dumps({"type": kind, "session": session}))
        assert json.loads(text)["type"] == kind
