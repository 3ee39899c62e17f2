"""An `error` of the upstream, and whose request it may have been.

Rules: an upstream says so by repeating the request's `event_id`; not every one does, and none can if the client gave
none. Then the error's code may say what kind of request it was about. What is left in doubt concerns everybody who
still waits: to take back too much costs a refusal by the upstream, to take back too little would stick for good.
"""

from __future__ import annotations

from dataclasses import dataclass

ACTIVE_RESPONSE = "conversation_already_has_active_response"
CANCEL_NOT_ACTIVE = "response_cancel_not_active"
COMMIT_EMPTY = "input_audio_buffer_commit_empty"
CREATE_INVALID_ID = "item_create_invalid_item_id"
CREATE_INVALID_PREVIOUS = "item_create_invalid_previous_item_id"
CALL_INVALID = "invalid_tool_call_id"
DELETE_INVALID_ID = "item_delete_invalid_item_id"
RETRIEVE_INVALID_ID = "item_retrieve_invalid_item_id"
TRUNCATE_INVALID_ID = "item_truncate_invalid_item_id"
TRUNCATE_INVALID_END = "item_truncate_invalid_audio_end_ms"

ABOUT = {
    ACTIVE_RESPONSE: "response.create",
    CANCEL_NOT_ACTIVE: "response.cancel",
    COMMIT_EMPTY: "input_audio_buffer.commit",
    CREATE_INVALID_ID: "conversation.item.create",
    CREATE_INVALID_PREVIOUS: "conversation.item.create",
    CALL_INVALID: "conversation.item.create",
    DELETE_INVALID_ID: "conversation.item.delete",
    RETRIEVE_INVALID_ID: "conversation.item.retrieve",
    TRUNCATE_INVALID_ID: "conversation.item.truncate",
    TRUNCATE_INVALID_END: "conversation.item.truncate",
}
"""The requests that these codes can be an answer to."""


@dataclass(frozen=True, slots=True)
class Failure:
    """`event_id` is that of a request of this session, or None if the error does not say whose it is."""

    code: str
    event_id: str | None

    @property
    def is_anybodys(self) -> bool:
        """Whether nothing in it says what it is about: look-alikes end a response so, without another word."""
        return self.event_id is None and self.code not in ABOUT

    def concerns(self, kind: str, event_id: str | None) -> bool:
        """Whether it may be the answer to a request of this kind and `event_id`."""
        if ABOUT.get(self.code, kind) != kind:
            return False
        return self.event_id is None or self.event_id == event_id
