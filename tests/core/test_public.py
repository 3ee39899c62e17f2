from __future__ import annotations

import json
from typing import Any

import pytest

from relay.core import public


@pytest.mark.parametrize("kind", ["session.created", "session.updated"])
def test_session_events_reach_the_browser_without_what_the_operator_configured(kind: str) -> None:
    transcription = {"model": "t", "language": "en", "prompt": "CANARY", "keywords": ["CANARY"]}
    hearing = {"format": {"type": "audio/pcm"}, "transcription": transcription, "turn_detection": None}
    session = {
        "id": "s",
        "model": "m",
        "audio": {"input": hearing, "output": {"voice": "v"}},
        "instructions": "CANARY",
        "tools": [{"name": "CANARY"}],
        "tool_choice": {"name": "CANARY"},
        "prompt": {"id": "CANARY"},
        "tracing": {"metadata": "CANARY"},
        "new": "CANARY",
    }
    event = json.loads(public.public_event(kind, json.dumps({"type": kind, "event_id": "e", "session": session})))
    audio = {"input": {**hearing, "transcription": {"model": "t", "language": "en"}}, "output": {"voice": "v"}}
    assert event == {"type": kind, "event_id": "e", "session": {"id": "s", "model": "m", "audio": audio}}


@pytest.mark.parametrize("session", ["CANARY", ["CANARY"], 7, None])
def test_a_session_that_is_no_object_is_not_shown(session: Any) -> None:
    text = public.public_event("session.updated", json.dumps({"type": "session.updated", "session": session}))
    assert json.loads(text)["session"] is None


@pytest.mark.parametrize("audio", [None, {}, {"input": None}, {"input": {"transcription": None}}])
def test_an_audio_without_transcription_is_shown_as_it_is(audio: Any) -> None:
    assert public.public_session({"audio": audio}) == {"audio": audio}


def test_other_events_pass_as_they_came() -> None:
    text = '{"type": "x",  "instructions": 1}'
    assert public.public_event("x", text) is text
