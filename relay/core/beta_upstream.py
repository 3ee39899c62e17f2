"""An upstream that still speaks the beta dialect, as texts: GA on relay's side, beta on the other.

Rules: the translation itself is dialect.py's. Deltas are most of what a session hears, and nothing in them differs but
the type, so they are not read: their fields are copied as they stand in the text, and `type` gets its other name.
"""

from __future__ import annotations

import msgspec

from relay.core import dialect, events

DELTAS = {old: msgspec.json.encode(new) for old, new in dialect.SERVER_NAMES.items() if old.endswith(".delta")}
"""The events that come in numbers, with GA's name as JSON. Nothing but the name of them differs."""

_NO_TYPE = msgspec.Raw(b"null")
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_type_decoder = msgspec.json.Decoder(str)
_encoder = msgspec.json.Encoder()


class BetaUpstream:
    """Both directions of one session."""

    def __init__(self) -> None:
        self._to_ga = dialect.ServerToGa()

    def up(self, text: str) -> list[str]:
        """Return what relay says in beta."""
        return [events.encode(event) for event in dialect.client_to_beta(msgspec.json.decode(text))]

    def down(self, text: str) -> list[str]:
        """Return what the upstream says in GA: no event, one or several. Raises one of `events.UNREADABLE`."""
        fields = _fields_decoder.decode(text)
        name = DELTAS.get(_type_decoder.decode(fields.get("type", _NO_TYPE)))
        if name is None:
            return [events.encode(event) for event in self._to_ga.to(msgspec.json.decode(text))]
        fields["type"] = msgspec.Raw(name)
        return [_encoder.encode(fields).decode()]
