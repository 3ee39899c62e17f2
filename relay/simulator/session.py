"""One connection's session: client messages in, server events out. No socket, no clock.

Whoever drives it passes the time (seconds, any origin, never backwards) into every call, sends what comes back in that
order, and calls `poll` again at `next_due_s`. When `ended` is set, the connection is to be closed with that code and
reason after the events.

One list collects the events of a call, so their order is the order of the statements here. Things that take time - the
response, a transcription - are generators on a timeline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from relay.simulator import settings
from relay.simulator.answers import Call, Utterance, answers
from relay.simulator.checks import Refusal
from relay.simulator.conversation import Conversation, Event, Item, decode_base64, event, item_from_client
from relay.simulator.ear import Ear, SpeechStarted, SpeechStopped
from relay.simulator.edge import Edge, kind_of
from relay.simulator.ids import Ids
from relay.simulator.messages import Ending, parsed, refused
from relay.simulator.pcm import Intake
from relay.simulator.responses import Response
from relay.simulator.terms import Terms
from relay.simulator.timeline import Run, Steps, Timeline
from relay.simulator.transcripts import transcription
from relay.simulator.usage import Meter
from relay.simulator.voices import speak

APPEND_BYTES_MAX = 15 * 1024 * 1024
RUNS_MAX = 32
STILL_THERE = "Are you still there?"


class Session:
    """The protocol, for one client. `pace` is how many times faster than real time it speaks.

    `edge` hears the client first (edge.py); what the session says is in GA's words, and its driver takes it to the
    edge. `terms` are those of the service that is played.
    """

    def __init__(
        self,
        model: str,
        ids: Ids,
        *,
        now_s: float,
        unix_s: float,
        max_session_s: float = 3600.0,
        pace: float = 8.0,
        edge: Edge | None = None,
        terms: Terms | None = None,
    ) -> None:
        self.ended: Ending | None = None
        self._ids = ids
        self._edge = edge or Edge(ids)
        self._terms = terms or Terms()
        self._now_s = now_s
        self._pace = pace
        self._max_session_s = max_session_s
        self._expires_s = now_s + max_session_s
        self._settings = settings.initial(ids.new("sess"), model, int(unix_s + max_session_s), self._terms)
        self._conversation = Conversation(self._edge.conversation_id)
        self._ear = Ear(self._turn_detection)
        self._intake = Intake(self._settings["audio"]["input"]["format"])
        self._meter = Meter()
        self._timeline = Timeline()
        self._responses: dict[Run, Response] = {}
        self._out: list[Event] = []
        self._turn_item_id = ""
        self._has_spoken = False
        self._quiet_since_s: float | None = None
        self._quiet_since_ms = 0
        self._playing_until_s = now_s

    # --- driving --------------------------------------------------------------------------------------------------
    def open(self) -> list[Event]:
        """The first event."""
        self._emit(event("session.created", session=dict(self._settings)))
        background = self._edge.background()
        if background is not None:
            self._start(background)
        return self._taken()

    def receive(self, message: str | bytes, now_s: float) -> list[Event]:
        """One WebSocket message from the client."""
        self._now_s = now_s
        event_id: str | None = None
        try:
            sent = parsed(message)
            event_id = sent["event_id"] if isinstance(sent.get("event_id"), str) else None
            understood, answered = self._edge.incoming(sent)
            self._emit(*answered)
            if understood is not None:
                self._obey(understood)
        except Refusal as refusal:
            self._emit(refused(refusal, event_id))
        return self._taken()

    def poll(self, now_s: float) -> list[Event]:
        """What became due."""
        self._now_s = now_s
        if now_s >= self._expires_s:
            return self.expire()
        self._let_happen()
        idle_due_s = self._idle_due_s
        if idle_due_s is not None and now_s >= idle_due_s:
            self._nudge()
        return self._taken()

    @property
    def next_due_s(self) -> float:
        """When `poll` has something to do next; never later than the session's end."""
        idle_due_s = self._idle_due_s
        return min(self._expires_s, self._timeline.next_due_s, self._expires_s if idle_due_s is None else idle_due_s)

    def expire(self) -> list[Event]:
        """The session reached its maximum age."""
        minutes = f"{self._max_session_s / 60:g}"
        message = f"Your session hit the maximum duration of {minutes} minutes."
        refusal = Refusal("session_expired", message)
        self._emit(refused(refusal))
        self.ended = Ending(1001, refusal.close_reason)
        return self._taken()

    def _taken(self) -> list[Event]:
        out, self._out = self._out, []
        return out

    def _emit(self, *events: Event) -> None:
        for each in events:
            each["event_id"] = self._ids.new("event")
            self._out.append(each)

    # --- client events --------------------------------------------------------------------------------------------
    def _obey(self, sent: dict[str, Any]) -> None:
        kind = kind_of(sent, list(self._terms.client_events))
        try:
            _HANDLERS[kind](self, self._terms.client_events[kind](sent, ""))
        except Refusal as refusal:
            raise self._edge.reworded(refusal) from None

    def _update_session(self, sent: dict[str, Any]) -> None:
        self._settings = settings.updated(self._settings, sent["session"], has_spoken=self._has_spoken)
        self._ear.configure(self._turn_detection)
        self._intake.configure(self._settings["audio"]["input"]["format"])
        self._emit(event("session.updated", session=dict(self._settings)))

    def _append(self, sent: dict[str, Any]) -> None:
        raw = decode_base64(sent["audio"], "audio")
        if len(raw) > APPEND_BYTES_MAX:
            message = f"Invalid 'audio': at most {APPEND_BYTES_MAX} bytes are accepted, got {len(raw)}."
            raise Refusal("invalid_value", message, "audio")
        try:
            pcm = self._intake.feed(raw)
        except ValueError as error:
            raise Refusal("invalid_value", f"Invalid 'audio': {error}.", "audio") from None
        for moment in self._ear.append(pcm, echo=self._now_s < self._playing_until_s):
            if isinstance(moment, SpeechStarted):
                self._hear_start(moment)
            else:
                self._hear_stop(moment)

    def _commit(self, _: dict[str, Any]) -> None:
        self._take_turn(self._turn_item_id if self._ear.is_hearing_speech else "", self._ear.commit())

    def _clear(self, _: dict[str, Any]) -> None:
        self._ear.clear()
        self._emit(event("input_audio_buffer.cleared"))

    def _create_item(self, sent: dict[str, Any]) -> None:
        item = item_from_client(sent["item"], self._ids.new("item"), self._settings["audio"]["input"]["format"])
        self._emit(self._conversation.add(item, sent.get("previous_item_id")))
        self._emit(self._conversation.done(item))

    def _truncate_item(self, sent: dict[str, Any]) -> None:
        self._emit(self._conversation.truncate(sent["item_id"], sent["content_index"], sent["audio_end_ms"]))

    def _delete_item(self, sent: dict[str, Any]) -> None:
        self._emit(self._conversation.delete(sent["item_id"]))

    def _retrieve_item(self, sent: dict[str, Any]) -> None:
        self._emit(self._conversation.retrieve(sent["item_id"]))

    def _create_response(self, sent: dict[str, Any]) -> None:
        self._respond(sent.get("response") or {})

    def _cancel_response(self, sent: dict[str, Any]) -> None:
        wanted = sent.get("response_id")
        for run, response in self._responses.items():
            if response.id == wanted if wanted else response.in_conversation:
                self._cancel(run, "client_cancelled")
                return
        raise Refusal("response_cancel_not_active", "Cancellation failed: no active response found")

    # --- turns ----------------------------------------------------------------------------------------------------
    @property
    def _turn_detection(self) -> dict[str, Any] | None:
        detection: dict[str, Any] | None = self._settings["audio"]["input"]["turn_detection"]
        return detection

    def _hear_start(self, moment: SpeechStarted) -> None:
        self._turn_item_id = self._ids.new("item")
        self._quiet_since_s = None
        self._emit(
            event(
                "input_audio_buffer.speech_started",
                audio_start_ms=moment.audio_start_ms,
                item_id=self._turn_item_id,
            )
        )
        active = self._active()
        if self._turn_detection and self._turn_detection["interrupt_response"]:
            self._playing_until_s = self._now_s  # an interrupted listener stops playing, also what was sent already
            if active is not None:
                self._cancel(active, "turn_detected")

    def _hear_stop(self, moment: SpeechStopped) -> None:
        item_id = self._turn_item_id
        self._emit(event("input_audio_buffer.speech_stopped", audio_end_ms=moment.audio_end_ms, item_id=item_id))
        self._take_turn(item_id, moment.pcm)
        if self._turn_detection and self._turn_detection["create_response"]:
            self._respond_by_itself()

    def _take_turn(self, item_id: str, pcm: bytes) -> None:
        """What was said becomes a user item; its transcription begins."""
        audio_input = self._settings["audio"]["input"]
        value = {
            "id": item_id or self._ids.new("item"),
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        item = Item(value, pcm, audio_input["format"])
        previous = self._conversation.last_id
        self._emit(event("input_audio_buffer.committed", previous_item_id=previous, item_id=item.id))
        self._emit(self._conversation.add(item), self._conversation.done(item))
        if audio_input["transcription"] is not None:
            logprobs = bool(self._settings["include"])
            steps = transcription(self._ids, item, audio_input["transcription"], logprobs=logprobs, pace=self._pace)
            self._start(steps)

    # --- responses ------------------------------------------------------------------------------------------------
    def _respond_by_itself(self, said: list[Utterance | Call] | None = None) -> None:
        try:
            self._respond({}, said)
        except Refusal as refusal:
            self._emit(refused(refusal))

    def _respond(self, params: dict[str, Any], said: list[Utterance | Call] | None = None) -> None:
        """`said` overrides what the rules of answers.py would say."""
        chosen = settings.response_settings(self._settings, params, has_spoken=self._has_spoken)
        self._check_room(in_conversation=chosen["in_conversation"])
        context = self._context(chosen["input"])
        said = said or answers(context, chosen)
        now: Callable[[], float] = lambda: self._now_s  # noqa: E731  # a name for the type checker
        response = Response(self._ids, chosen, context, said, self._conversation, self._meter, now, self._pace)
        self._quiet_since_s = None
        self._start(response.steps, response)

    def _check_room(self, *, in_conversation: bool) -> None:
        active = self._active()
        if in_conversation and active is not None:
            message = (
                f"Conversation already has an active response in progress: {self._responses[active].id}. "
                "Wait until the response is finished before creating a new one."
            )
            raise Refusal("conversation_already_has_active_response", message)
        if len(self._timeline) >= RUNS_MAX:
            message = f"At most {RUNS_MAX} responses and transcriptions run at once."
            raise Refusal("rate_limit_exceeded", message, kind="rate_limit_error")

    def _context(self, given: list[dict[str, Any]] | None) -> list[Item]:
        if given is None:
            return list(self._conversation.items)
        audio_format = self._settings["audio"]["input"]["format"]
        items = []
        for index, value in enumerate(given):
            path = f"response.input[{index}]"
            if value["type"] == "item_reference":
                items.append(self._conversation.find(value["id"], "referencing", "invalid_value"))
            else:
                items.append(item_from_client(value, self._ids.new("item"), audio_format, path))
        return items

    def _active(self) -> Run | None:
        """The response on the default conversation."""
        return next((run for run, response in self._responses.items() if response.in_conversation), None)

    def _cancel(self, run: Run, reason: str) -> None:
        response = self._responses.pop(run)
        self._timeline.drop(run)
        self._emit(*response.cancel(reason))
        self._playing_until_s = self._now_s
        self._note_end(response)

    # --- time -----------------------------------------------------------------------------------------------------
    def _start(self, steps: Steps, response: Response | None = None) -> None:
        run = Run(steps, self._now_s)
        if response is not None:
            self._responses[run] = response
        self._timeline.start(run)
        self._let_happen()

    def _let_happen(self) -> None:
        for run, events in self._timeline.happen(self._now_s):
            self._emit(*events)
            response = self._responses.get(run)
            if response is not None:
                self._note_sound(response)
                if run.is_over:
                    self._note_end(self._responses.pop(run))

    def _note_sound(self, response: Response) -> None:
        """Keep track of when a listener who plays in real time will have heard the end of it."""
        sent_ms = response.take_sent_ms()
        if sent_ms:
            self._has_spoken = True
            self._playing_until_s = max(self._now_s, self._playing_until_s) + sent_ms / 1000

    def _note_end(self, response: Response) -> None:
        if response.in_conversation:
            self._quiet_since_s = max(self._now_s, self._playing_until_s)
            self._quiet_since_ms = self._ear.written_ms

    @property
    def _idle_due_s(self) -> float | None:
        timeout_ms: int | None = (self._turn_detection or {}).get("idle_timeout_ms")
        if timeout_ms is None or self._quiet_since_s is None or self._ear.is_hearing_speech:
            return None
        return self._quiet_since_s + timeout_ms / 1000

    def _nudge(self) -> None:
        """Nobody spoke for idle_timeout_ms: the silence becomes a user item, and the model asks."""
        self._quiet_since_s = None
        item_id = self._ids.new("item")
        self._emit(
            event(
                "input_audio_buffer.timeout_triggered",
                audio_start_ms=self._quiet_since_ms,
                audio_end_ms=self._ear.written_ms,
                item_id=item_id,
            )
        )
        self._take_turn(item_id, b"")
        self._respond_by_itself([Utterance(STILL_THERE, speak(STILL_THERE))])


_HANDLERS: dict[str, Callable[[Session, dict[str, Any]], None]] = {
    "session.update": Session._update_session,
    "input_audio_buffer.append": Session._append,
    "input_audio_buffer.commit": Session._commit,
    "input_audio_buffer.clear": Session._clear,
    "conversation.item.create": Session._create_item,
    "conversation.item.truncate": Session._truncate_item,
    "conversation.item.delete": Session._delete_item,
    "conversation.item.retrieve": Session._retrieve_item,
    "response.create": Session._create_response,
    "response.cancel": Session._cancel_response,
}
