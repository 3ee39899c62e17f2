"""What a browser may hear: the upstream's events, without what the operator configured.

Rules: session events are built anew from a list of what a browser may know; whatever is not on it, an instruction, a
tool or a field that a provider adds tomorrow, stays here. All other events pass as they came.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.core.events import SESSION_CREATED, SESSION_UPDATED, encode

SESSION_FIELDS = frozenset(
    {"id", "object", "type", "model", "expires_at", "output_modalities", "audio", "max_output_tokens"},
)
"""What a browser may know of the session. The operator's instructions, tools and prompt are not among it."""


TRANSCRIPTION_FIELDS = frozenset({"model", "language"})
"""What it may know of the transcription: not the words that the operator tells it to expect."""


def public_event(kind: str, text: str) -> str:
    """Return a server event as the browser may see it: session events without what the operator configured."""
    if kind not in (SESSION_CREATED, SESSION_UPDATED):
        return text
    event = msgspec.json.decode(text)
    if "session" in event:
        event["session"] = public_session(event["session"])
    return encode(event)


def public_session(session: Any) -> Any:
    """Return what a browser may see of a session object."""
    if not isinstance(session, dict):
        return None
    public = {key: value for key, value in session.items() if key in SESSION_FIELDS}
    match public.get("audio"):
        case {"input": {"transcription": dict(transcription), **hearing}, **audio}:
            known = {key: value for key, value in transcription.items() if key in TRANSCRIPTION_FIELDS}
            public["audio"] = {**audio, "input": {**hearing, "transcription": known}}
    return public
