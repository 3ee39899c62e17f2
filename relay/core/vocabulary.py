"""The vocabulary of the Realtime API in both dialects: every event with its fields, and the objects that differ.

Two dialects: `GA` is what OpenAI speaks today, `BETA` what it spoke until 2026 and what old clients and some
look-alikes still speak. dialect.py translates between them; what it may drop, it reads off these tables.

Rules: a field that ends in `?` may be absent or null. `type` is in every event and left out. An event or a field that
stands in neither table is unknown, which is no fault: providers add to their events, and what is unknown passes.
An object is listed if its fields differ between the dialects; the union of its variants counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one event or object."""

    required: frozenset[str]
    optional: frozenset[str]

    @property
    def known(self) -> frozenset[str]:
        """All of them."""
        return self.required | self.optional


Table = Mapping[str, Fields]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """One dialect."""

    client: Table
    server: Table
    objects: Table


def _table(*written: Mapping[str, str]) -> Table:
    return {name: _fields(fields.split()) for rows in written for name, fields in rows.items()}


def _fields(words: list[str]) -> Fields:
    optional = frozenset(word[:-1] for word in words if word.endswith("?"))
    return Fields(frozenset(word for word in words if not word.endswith("?")), optional)


_DELTA = "content_index delta event_id item_id output_index response_id"
_AUDIO_DONE = "content_index event_id item_id output_index response_id"

CLIENT = {
    "conversation.item.create": "item event_id? previous_item_id?",
    "conversation.item.delete": "item_id event_id?",
    "conversation.item.retrieve": "item_id event_id?",
    "conversation.item.truncate": "audio_end_ms content_index item_id event_id?",
    "input_audio_buffer.append": "audio event_id?",
    "input_audio_buffer.clear": "event_id?",
    "input_audio_buffer.commit": "event_id?",
    "output_audio_buffer.clear": "event_id?",
    "response.cancel": "event_id? response_id?",
    "response.create": "event_id? response?",
    "session.update": "session event_id?",
}
CLIENT_BETA = {
    "transcription_session.update": "session event_id?",
}

SERVER = {
    "conversation.created": "conversation event_id",
    "conversation.item.created": "event_id item previous_item_id?",
    "conversation.item.deleted": "event_id item_id",
    "conversation.item.input_audio_transcription.delta": "event_id item_id content_index? delta? logprobs?",
    "conversation.item.input_audio_transcription.failed": "content_index error event_id item_id",
    "conversation.item.retrieved": "event_id item",
    "conversation.item.truncated": "audio_end_ms content_index event_id item_id",
    "error": "error event_id",
    "input_audio_buffer.cleared": "event_id",
    "input_audio_buffer.committed": "event_id item_id previous_item_id?",
    "input_audio_buffer.speech_started": "audio_start_ms event_id item_id",
    "input_audio_buffer.speech_stopped": "audio_end_ms event_id item_id",
    "output_audio_buffer.cleared": "event_id response_id",
    "output_audio_buffer.started": "event_id response_id",
    "output_audio_buffer.stopped": "event_id response_id",
    "rate_limits.updated": "event_id rate_limits",
    "response.content_part.added": "content_index event_id item_id output_index part response_id",
    "response.content_part.done": "content_index event_id item_id output_index part response_id",
    "response.created": "event_id response",
    "response.done": "event_id response",
    "response.function_call_arguments.delta": "call_id delta event_id item_id output_index response_id",
    "response.output_item.added": "event_id item output_index response_id",
    "response.output_item.done": "event_id item output_index response_id",
    "session.created": "event_id session",
    "session.updated": "event_id session",
}
_TRANSCRIBED = "content_index event_id item_id transcript usage logprobs?"
_ARGUMENTS = "arguments call_id event_id item_id output_index response_id"
SERVER_GA = {
    "conversation.item.added": "event_id item previous_item_id?",
    "conversation.item.done": "event_id item previous_item_id?",
    "conversation.item.input_audio_transcription.completed": f"{_TRANSCRIBED} languages?",
    "conversation.item.input_audio_transcription.segment": "content_index end event_id id item_id speaker start text",
    "input_audio_buffer.dtmf_event_received": "event received_at",
    "input_audio_buffer.timeout_triggered": "audio_end_ms audio_start_ms event_id item_id",
    "mcp_list_tools.completed": "event_id item_id",
    "mcp_list_tools.failed": "event_id item_id",
    "mcp_list_tools.in_progress": "event_id item_id",
    "response.function_call_arguments.done": f"{_ARGUMENTS} name",
    "response.mcp_call.completed": "event_id item_id output_index",
    "response.mcp_call.failed": "event_id item_id output_index",
    "response.mcp_call.in_progress": "event_id item_id output_index",
    "response.mcp_call_arguments.delta": "delta event_id item_id output_index response_id obfuscation?",
    "response.mcp_call_arguments.done": "arguments event_id item_id output_index response_id",
    "response.output_audio.delta": _DELTA,
    "response.output_audio.done": _AUDIO_DONE,
    "response.output_audio_transcript.delta": _DELTA,
    "response.output_audio_transcript.done": f"{_AUDIO_DONE} transcript",
    "response.output_text.delta": _DELTA,
    "response.output_text.done": f"{_AUDIO_DONE} text",
}
SERVER_BETA = {
    "conversation.item.input_audio_transcription.completed": _TRANSCRIBED,
    "response.audio.delta": _DELTA,
    "response.audio.done": _AUDIO_DONE,
    "response.audio_transcript.delta": _DELTA,
    "response.audio_transcript.done": f"{_AUDIO_DONE} transcript",
    "response.function_call_arguments.done": _ARGUMENTS,
    "response.text.delta": _DELTA,
    "response.text.done": f"{_AUDIO_DONE} text",
    "transcription_session.created": "event_id session",
    "transcription_session.updated": "event_id session",
}

_VAD = "type? create_response? eagerness? interrupt_response? prefix_padding_ms? silence_duration_ms? threshold?"
_MESSAGE = "type? id? object? status? role? content? name? arguments? call_id? output?"
OBJECTS_GA = {
    "session": "type audio? include? instructions? max_output_tokens? model? output_modalities? parallel_tool_calls? "
    "prompt? reasoning? tool_choice? tools? tracing? truncation?",
    "transcription_session": "type audio? include?",
    "turn_detection": f"{_VAD} idle_timeout_ms?",
    "transcription": "model? language? languages? prompt? keywords? delay?",
    "noise_reduction": "type? strength?",
    "response_request": "audio? conversation? input? instructions? max_output_tokens? metadata? output_modalities? "
    "parallel_tool_calls? prompt? reasoning? tool_choice? tools?",
    "response": "id? object? status? status_details? output? usage? metadata? conversation_id? max_output_tokens? "
    "audio? output_modalities?",
    "input_token_details": "text_tokens? audio_tokens? cached_tokens? cached_tokens_details? image_tokens?",
    "item": f"{_MESSAGE} server_label? approval_request_id? approve? reason? error? tools?",
    "content": "type? text? audio? transcript? image_url? detail?",
}
OBJECTS_BETA = {
    "session": "id? model? modalities? instructions? voice? input_audio_format? output_audio_format? "
    "input_audio_transcription? input_audio_noise_reduction? turn_detection? tools? tool_choice? temperature? "
    "max_response_output_tokens? speed? tracing? client_secret?",
    "transcription_session": "client_secret? include? input_audio_format? input_audio_transcription? "
    "input_audio_noise_reduction? modalities? turn_detection?",
    "turn_detection": _VAD,
    "transcription": "model? language? prompt?",
    "noise_reduction": "type?",
    "response_request": "conversation? input? instructions? max_response_output_tokens? metadata? modalities? "
    "output_audio_format? temperature? tool_choice? tools? voice?",
    "response": "id? object? status? status_details? output? usage? metadata? conversation_id? max_output_tokens? "
    "modalities? output_audio_format? temperature? voice?",
    "input_token_details": "text_tokens? audio_tokens? cached_tokens?",
    "item": _MESSAGE,
    "content": "id? type? text? audio? transcript?",
}

GA = Vocabulary(_table(CLIENT), _table(SERVER, SERVER_GA), _table(OBJECTS_GA))
BETA = Vocabulary(_table(CLIENT, CLIENT_BETA), _table(SERVER, SERVER_BETA), _table(OBJECTS_BETA))
