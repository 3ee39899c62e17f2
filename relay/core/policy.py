"""What a browser may say, and what it is told otherwise.

    policy = Policy(permissions, OPENAI)
    match policy.read(text): ...        # a control of relay's own, audio, or an event for the upstream

Rules. `locked`: what a client sends is never forwarded as it came. It is read into a struct that knows every field it
may have (messages.py, shapes.py), judged field by field, and written anew from there. Of a `session.update` only what
`client_may` names is taken, because official clients always send whole sessions; it goes up laid over the operator's
own, so that no update can undo what is pinned. Anything else that is not permitted is refused by name.

`open`: what relay knows must have the types that the API gives it, or it is refused; what relay does not know, an event
or a field that a provider added, passes as it came.

What may be heard stands in public.py.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from relay.core import messages, shapes
from relay.core.formats import CLIENT_PCM
from relay.core.permissions import Permissions
from relay.core.places import MISSING, merged, put, take, without
from relay.core.refusals import NOT_YOURS, explained, is_unknown, not_an_object, refusal_of, refused
from relay.errors import BadRequest

Event = dict[str, Any]

_event: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)

MAX_TEXT_CHARS = 32_000
"""The longest text that a locked client may type at once."""

SESSION_GRANTS: dict[tuple[str, ...], frozenset[str]] = {
    ("instructions",): frozenset({"instructions"}),
    ("tools",): frozenset({"tools", "mcp"}),
    ("tool_choice",): frozenset({"tool_choice"}),
    ("parallel_tool_calls",): frozenset({"parallel_tool_calls"}),
    ("max_output_tokens",): frozenset({"max_output_tokens"}),
    ("output_modalities",): frozenset({"output_modalities"}),
    ("reasoning",): frozenset({"reasoning"}),
    ("truncation",): frozenset({"truncation"}),
    ("include",): frozenset({"include"}),
    ("audio", "input", "turn_detection"): frozenset({"turn_detection"}),
    ("audio", "input", "transcription"): frozenset({"transcription"}),
    ("audio", "input", "noise_reduction"): frozenset({"noise_reduction"}),
    ("audio", "output", "voice"): frozenset({"voice"}),
    ("audio", "output", "speed"): frozenset({"speed"}),
}
"""The fields of a session that can be permitted, each by one of these grants. All others are the operator's."""

RESPONSE_GRANTS: dict[tuple[str, ...], frozenset[str]] = {
    ("instructions",): frozenset({"instructions"}),
    ("tools",): frozenset({"tools", "mcp"}),
    ("tool_choice",): frozenset({"tool_choice"}),
    ("parallel_tool_calls",): frozenset({"parallel_tool_calls"}),
    ("max_output_tokens",): frozenset({"max_output_tokens"}),
    ("reasoning",): frozenset({"reasoning"}),
    ("prompt",): frozenset(),
    ("input",): frozenset({"out_of_band"}),
    ("audio", "output", "voice"): frozenset({"voice"}),
}
"""The fields of a response that need a grant. Metadata and modalities need none: they change neither what is said nor
what the operator pays more for."""


class Language(NamedTuple):
    """What a language's clients may write: its messages, those of the API that it has another way for, its page."""

    decoder: msgspec.json.Decoder[Any]
    replaced: frozenset[str]
    page: str


RELAY_V1 = Language(
    msgspec.json.Decoder(messages.RelayV1Message),
    frozenset({"input_audio_buffer.append", "conversation.item.truncate"}),
    "docs/wire.md",
)
OPENAI = Language(msgspec.json.Decoder(messages.OpenAIMessage), frozenset(), "docs/openai-clients.md")


@dataclass(frozen=True, slots=True)
class Up:
    """An event for the upstream, in GA."""

    event: Event

    @property
    def event_id(self) -> str | None:
        """The client's name for it."""
        event_id = self.event.get("event_id")
        return event_id if isinstance(event_id, str) else None


@dataclass(frozen=True, slots=True)
class NothingToSet:
    """A `session.update` of which nothing is permitted: it is answered, and goes nowhere."""


Said = messages.Control | messages.Append | Up | NothingToSet


class Policy:
    """The judge of clients with these permissions. It keeps nothing of what they say."""

    def __init__(self, permissions: Permissions, language: Language) -> None:
        self._permissions = permissions
        self._language = language
        # Clients of OpenAI's JSON have one format, whatever the upstream's.
        upstreams = {
            side: take(permissions.session, ("audio", side, "format"), CLIENT_PCM) for side in ("input", "output")
        }
        self._formats = upstreams if language.replaced else dict.fromkeys(upstreams, CLIENT_PCM)

    def read(self, text: str) -> Said:
        """Read a text message. Raises BadRequest, naming the field; what is nested too deeply is no JSON for us."""
        try:
            return self._read(text)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            raise not_an_object() from None

    def _read(self, text: str) -> Said:
        try:
            message = self._language.decoder.decode(text)
        except msgspec.ValidationError as error:
            if self._permissions.is_open and is_unknown(error):
                return self._untouched(text, error)
            raise explained(text, str(error), self._language.page) from None
        if isinstance(message, messages.Control | messages.Append):
            return message
        return self._trusted(text, message) if self._permissions.is_open else self._judged(message)

    # open

    def _untouched(self, text: str, error: msgspec.ValidationError) -> Said:
        """Pass what relay has no word for; audio is audio whatever stands beside it."""
        event = read_any(text)
        match event:
            case {"type": str(kind)} if kind in self._language.replaced or kind.startswith("relay."):
                raise explained(text, str(error), self._language.page) from None
            case {"type": "input_audio_buffer.append", "audio": str(audio)}:
                return messages.Append(audio=audio)
            case {"type": str()}:
                return Up(self._with_formats_of_relays(event))
        raise explained(text, str(error), self._language.page) from None

    def _trusted(self, text: str, message: messages.Message) -> Said:
        event = read_any(text)
        if isinstance(message, messages.UpdateSession):
            with suppress(_NotKnown):
                _session(event["session"], message.event_id)
        return Up(self._with_formats_of_relays(event))

    def _with_formats_of_relays(self, event: Event) -> Event:
        """Return the event. Raises BadRequest for an audio format in a language whose audio is relay's to convert."""
        if not self._language.replaced:
            return event
        for place in (("session", "audio", "input"), ("session", "audio", "output"), ("response", "audio", "output")):
            asked = take(event, (*place, "format"), None)
            if asked is not None and not _is_format(asked, self._formats[place[-1]]):
                reason = "in relay.v1 the audio format is agreed in relay.start"
                raise refused(".".join((*place, "format")), reason, _event_id(event))
        return event

    # locked

    def _judged(self, message: messages.Message) -> Said:
        match message:
            case messages.UpdateSession():
                return self._update(message)
            case messages.AddItem():
                self._judge_item(message.item, "item", message.event_id)
            case messages.AskResponse(response=shapes.Response() as response):
                return Up(self._response(message, response))
        return Up(msgspec.to_builtins(message))

    def _update(self, message: messages.UpdateSession) -> Said:
        """Take what is permitted, and lay it over the operator's session."""
        said = msgspec.json.decode(msgspec.json.encode(message.session))
        wishes: Event = {}
        for place in SESSION_GRANTS:
            value = take(said, place, MISSING)
            if value is not MISSING and self._may_set(place):
                put(wishes, place, value)
        if self._may_set(("tools",)) and isinstance(wishes.get("tools"), list):
            wishes["tools"] = [tool for tool in wishes["tools"] if self._may_offer(tool)]
        try:
            wishes = msgspec.to_builtins(_session(wishes, message.event_id))
        except _NotKnown as problem:
            raise problem.refusal from None
        if not wishes:
            return NothingToSet()
        self._check_tokens(wishes, "session", message.event_id)
        event = {"type": "session.update", "session": self._restated(wishes, message.event_id)}
        return Up(event if message.event_id is None else {**event, "event_id": message.event_id})

    def _restated(self, wishes: Event, event_id: str | None) -> Event:
        """Return the whole update: what is pinned once more, and what is wished for."""
        pinned: Any = self._permissions.session
        for place in SESSION_GRANTS:
            if self._may_set(place):
                pinned = without(pinned, place)
        session = merged({"type": "realtime", **pinned}, wishes)
        if "tools" in wishes:
            session["tools"] = self._with_operators_tools(wishes["tools"], "session.tools", event_id)
        return session

    def _response(self, message: messages.AskResponse, response: shapes.Response) -> Event:
        said = msgspec.to_builtins(response)
        for place, grants in RESPONSE_GRANTS.items():
            if take(said, place, MISSING) is not MISSING and not grants & self._permissions.may:
                raise refused(f"response.{'.'.join(place)}", NOT_YOURS, message.event_id)
        if response.conversation == "none" and "out_of_band" not in self._permissions.may:
            raise refused("response.conversation", NOT_YOURS, message.event_id)
        asked = take(said, ("audio", "output", "format"), None)
        if asked is not None and not _is_format(asked, self._formats["output"]):
            raise refused("response.audio.output.format", NOT_YOURS, message.event_id)
        for index, item in enumerate(response.input or ()):
            self._judge_item(item, f"response.input[{index}]", message.event_id)
        for index, tool in enumerate(said.get("tools") or ()):
            if not self._may_offer(tool):
                raise refused(f"response.tools[{index}].type", NOT_YOURS, message.event_id)
        self._check_tokens(said, "response", message.event_id)
        if "tools" in said:
            said["tools"] = self._with_operators_tools(said["tools"], "response.tools", message.event_id)
        event = msgspec.to_builtins(message)
        return {**event, "response": said}

    def _judge_item(self, item: Any, place: str, event_id: str | None) -> None:
        """Only what the person and the client's own tools say becomes an item."""
        match item:
            case shapes.Message(role="user"):
                for index, part in enumerate(item.content):
                    self._judge_part(part, f"{place}.content[{index}]", event_id)
            case shapes.Message():
                raise refused(f"{place}.role", "a client may only write what the person says", event_id)
            case shapes.FunctionOutput() | shapes.Reference():
                pass
            case shapes.McpApproval() if "mcp" in self._permissions.may:
                pass
            case _:
                raise refused(f"{place}.type", "a client may not create items of this type", event_id)

    def _judge_part(self, part: Any, place: str, event_id: str | None) -> None:
        match part:
            case shapes.InputText(text=text) if not 1 <= len(text) <= MAX_TEXT_CHARS:
                raise refused(f"{place}.text", f"expected 1 to {MAX_TEXT_CHARS} characters", event_id)
            case shapes.InputText() | shapes.InputAudio():
                pass
            case shapes.InputImage() if "images" in self._permissions.may:
                pass
            case _:
                raise refused(f"{place}.type", "a client may not write content of this type", event_id)

    def _may_set(self, place: tuple[str, ...]) -> bool:
        return bool(SESSION_GRANTS[place] & self._permissions.may)

    def _may_offer(self, tool: Any) -> bool:
        """Whether a tool is of a kind that the client may bring along; what is no tool at all is found out later."""
        kind = tool.get("type") if isinstance(tool, dict) else None
        grant = {"function": "tools", "mcp": "mcp"}.get(kind) if isinstance(kind, str) else None
        return grant is None or grant in self._permissions.may

    def _check_tokens(self, wishes: Event, place: str, event_id: str | None) -> None:
        """A client may ask for less than the operator's limit, never for more."""
        limit, wished = self._permissions.session.get("max_output_tokens", "inf"), wishes.get("max_output_tokens")
        if wished is None or limit == "inf" or (wished != "inf" and wished <= limit):
            return
        raise refused(f"{place}.max_output_tokens", f"expected at most {limit}", event_id)

    def _with_operators_tools(self, tools: list[Event], place: str, event_id: str | None) -> list[Event]:
        """Return the operator's tools and the client's. Raises BadRequest for one that has the name of another."""
        own = self._permissions.tools
        taken = {_name(tool) for tool in own}
        for index, tool in enumerate(tools):
            if _name(tool) in taken:
                key = "name" if tool["type"] == "function" else "server_label"
                raise refused(f"{place}[{index}].{key}", "this name is taken", event_id)
            taken.add(_name(tool))
        if len(own) + len(tools) > shapes.MAX_TOOLS:
            raise refused(place, f"expected at most {shapes.MAX_TOOLS - len(own)} tools", event_id)
        return own + tools


@lru_cache(maxsize=32)
def policy_for(permissions: Permissions, language: Language) -> Policy:
    """Return the judge that all sessions with these permissions share."""
    return Policy(permissions, language)


def read_any(text: str) -> Event:
    """Read an event that is translated before it is judged. Raises BadRequest if it is not a JSON object."""
    try:
        return _event.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise not_an_object() from None


class _NotKnown(Exception):
    """A session holds something that the shapes have no word for."""

    def __init__(self, refusal: BadRequest) -> None:
        self.refusal = refusal


def _session(session: Any, event_id: str | None) -> shapes.Session:
    """Read a session. Raises BadRequest for a wrong type, _NotKnown for what is unknown."""
    try:
        return msgspec.convert(session, shapes.Session)
    except msgspec.ValidationError as error:
        refusal = refusal_of(str(error), event_id, "session")
        if is_unknown(error):
            raise _NotKnown(refusal) from None
        raise refusal from None


def _is_format(asked: Any, ours: Any) -> bool:
    """Whether an audio format is the one there is; a client may leave the rate out."""
    return isinstance(asked, dict) and {**ours, **asked} == ours


def _name(tool: Event) -> tuple[Any, Any]:
    return tool.get("type"), tool.get("name", tool.get("server_label"))


def _event_id(event: Event) -> str | None:
    event_id = event.get("event_id")
    return event_id[:512] if isinstance(event_id, str) else None
