"""An upstream that still speaks the beta dialect, as texts: GA on relay's side, beta on the other.

Rules: the translation itself is dialect.py's, and what names of formats mean stands in beta_formats.py. Deltas are most
of what a session hears, and nothing in them differs but the type, so they are not read: their fields are copied as they
stand in the text, and `type` gets its other name.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.core import dialect, events
from relay.core.beta_formats import BetaFormats

DELTAS = {old: msgspec.json.encode(new) for old, new in dialect.SERVER_NAMES.items() if old.endswith(".delta")}
"""The events that come in numbers, with GA's name as JSON. Nothing but the name of them differs."""

SESSIONS = (events.SESSION_CREATED, events.SESSION_UPDATED)

_NO_TYPE = msgspec.Raw(b"null")
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_type_decoder = msgspec.json.Decoder(str)
_encoder = msgspec.json.Encoder()


class BetaUpstream:
    """Both directions of one session. The rates are the upstream's."""

    def __init__(self, input_rate_hz: int = 24_000, output_rate_hz: int = 24_000) -> None:
        self._to_ga = dialect.ServerToGa()
        self._formats = BetaFormats({"input": input_rate_hz, "output": output_rate_hz})

    def up(self, text: str) -> list[str]:
        """Return what relay says in beta."""
        return [events.encode(self._written(event)) for event in dialect.client_to_beta(msgspec.json.decode(text))]

    def down(self, text: str) -> list[str]:
        """Return what the upstream says in GA: no event, one or several. Raises one of `events.UNREADABLE`."""
        fields = _fields_decoder.decode(text)
        kind = _type_decoder.decode(fields.get("type", _NO_TYPE))
        if kind in DELTAS:
            fields["type"] = msgspec.Raw(DELTAS[kind])
            return [_encoder.encode(fields).decode()]
        event = msgspec.json.decode(text)
        if kind == events.SESSION_CREATED:
            self._formats.learn(event.get("session"))
        if kind == events.SESSION_UPDATED:
            self._formats.confirmed(event.get("session"))
        return [events.encode(self._shown(each)) for each in self._to_ga.to(event)]

    def _written(self, event: dict[str, Any]) -> dict[str, Any]:
        session = event.get("session")
        is_update = event.get("type") == "session.update" and isinstance(session, dict)
        return {**event, "session": self._formats.to_upstream(event["session"])} if is_update else event

    def _shown(self, event: dict[str, Any]) -> dict[str, Any]:
        session = event.get("session")
        is_session = event.get("type") in SESSIONS and isinstance(session, dict)
        return {**event, "session": self._formats.to_ga(event["session"])} if is_session else event
