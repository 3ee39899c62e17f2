"""The objects inside events, beta and GA: the session, a response, an item, and what is in them, as tables.

    SESSION.to_ga({"voice": "verse"})    # {"type": "realtime", "audio": {"output": {"voice": "verse"}}}

Beta is flat where GA is nested, so a `Record` is a list of rows: a beta field, the place of the same thing in GA, and
how its value is written on either side. Rules: only what is there is translated, because an update is partial. What one
dialect knows and the other does not is dropped, by the tables of vocabulary.py; what neither knows passes through.
Values are never changed in place, and nothing here raises: a value of an unexpected shape passes as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from relay.core.vocabulary import BETA, GA

NOTHING: Final = object()
"""A value that the other dialect cannot say: whatever holds it is left out."""

BETA_TEMPERATURE = 0.8
"""What beta sessions had unless they said otherwise. GA has no temperature; beta clients expect one."""

Translate = Callable[[Any], Any]


class Value(Protocol):
    """Something that both dialects can write, each in its way. NOTHING for what the other one cannot."""

    def to_ga(self, value: Any) -> Any:
        """Return what GA writes for a value of beta."""

    def to_beta(self, value: Any) -> Any:
        """Return what beta writes for a value of GA."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A value with a function for each way."""

    to_ga: Translate
    to_beta: Translate


def _as_it_is(value: Any) -> Any:
    return value


def _words(to_ga: Mapping[str, Any]) -> Pair:
    """Beta writes a word, GA something else for it."""
    return Pair(
        lambda value: to_ga.get(value, value) if isinstance(value, str) else value,
        lambda value: next((word for word, ga in to_ga.items() if _means(ga, value)), value),
    )


def _means(ga: Any, value: Any) -> bool:
    """Whether a value says the same as `ga`; an audio format does so at any rate, for beta's names leave it open."""
    if isinstance(ga, dict) and isinstance(value, dict):
        return bool(ga.get("type") == value.get("type"))
    return bool(ga == value)


def _list_of(one: Value) -> Pair:
    return Pair(lambda values: _each(one.to_ga, values), lambda values: _each(one.to_beta, values))


def _each(translate: Translate, values: Any) -> Any:
    if not isinstance(values, list):
        return values
    return [new for value in values if (new := translate(value)) is not NOTHING]


SAME = Pair(_as_it_is, _as_it_is)


@dataclass(frozen=True, slots=True)
class Row:
    """One field: its name in beta, its place in GA, how its value is written."""

    beta: str
    ga: tuple[str, ...]
    value: Value = SAME


class Record:
    """An object. `kind` is its name in the vocabulary; the `ga` and `beta` fields are added where they are missing."""

    def __init__(
        self,
        kind: str,
        rows: Iterable[Row] = (),
        *,
        ga: Mapping[str, Any] | None = None,
        beta: Mapping[str, Any] | None = None,
    ) -> None:
        self._rows = tuple(rows)
        self._by_beta = {row.beta: row for row in self._rows}
        self._ga, self._beta = ga or {}, beta or {}
        known_ga, known_beta = GA.objects[kind].known, BETA.objects[kind].known
        # `audio` only holds what rows take out of it: what is left in it is unknown, and passes.
        self._only_ga = known_ga - known_beta - {row.ga[0] for row in self._rows if len(row.ga) > 1}
        self._only_beta = known_beta - known_ga

    def to_ga(self, value: Any) -> Any:
        """Return GA's form of a beta object."""
        if not isinstance(value, dict):
            return value
        out = dict(self._ga)
        out |= {key: old for key, old in value.items() if key not in self._by_beta and key not in self._only_beta}
        for row in self._rows:
            new = row.value.to_ga(value[row.beta]) if row.beta in value else NOTHING
            if new is not NOTHING:
                _put(out, row.ga, new)
        return out

    def to_beta(self, value: Any) -> Any:
        """Return beta's form of a GA object."""
        if not isinstance(value, dict):
            return value
        out, rest = dict(self._beta), value
        for row in self._rows:
            old, rest = _take(rest, row.ga)
            new = NOTHING if old is NOTHING else row.value.to_beta(old)
            if new is not NOTHING:
                out[row.beta] = new
        return {key: old for key, old in rest.items() if key not in self._only_ga} | out

    def place_in_beta(self, place: str) -> str:
        """Return where beta has what GA calls `audio.input.turn_detection.threshold`: `turn_detection.threshold`."""
        for row in self._rows:
            ga = ".".join(row.ga)
            if place == ga or place.startswith((f"{ga}.", f"{ga}[")):
                return row.beta + place[len(ga) :]
        return place

    def place_in_ga(self, place: str) -> str:
        """Return the opposite of `place_in_beta`."""
        for row in self._rows:
            if place == row.beta or place.startswith((f"{row.beta}.", f"{row.beta}[")):
                return ".".join(row.ga) + place[len(row.beta) :]
        return place


def _put(value: dict[str, Any], path: tuple[str, ...], new: Any) -> None:
    """Set the field at `path`. Objects on the way are copied first: they may belong to somebody else."""
    for step in path[:-1]:
        inner = value.get(step)
        value[step] = dict(inner) if isinstance(inner, dict) else {}
        value = value[step]
    value[path[-1]] = new


def _take(value: Any, path: tuple[str, ...]) -> tuple[Any, Any]:
    """Return the field at `path`, and the object without it and without what it leaves empty."""
    if not isinstance(value, dict) or path[0] not in value:
        return NOTHING, value
    found, inner = (value[path[0]], {}) if len(path) == 1 else _take(value[path[0]], path[1:])
    if found is NOTHING:
        return NOTHING, value
    rest = {key: old for key, old in value.items() if key != path[0]}
    return found, rest | {path[0]: inner} if inner else rest


# --- audio, tools -----------------------------------------------------------------------------------------------------
FORMAT = _words(
    {
        "pcm16": {"type": "audio/pcm", "rate": 24_000},
        "g711_ulaw": {"type": "audio/pcmu"},
        "g711_alaw": {"type": "audio/pcma"},
    }
)


def _modalities_to_ga(value: Any) -> Any:
    """GA allows one modality; audio comes with its transcript, which is what beta meant by both."""
    return ["audio"] if isinstance(value, list) and "audio" in value else value


MODALITIES = Pair(_modalities_to_ga, lambda value: ["text", "audio"] if value == ["audio"] else value)


def _choice_to_ga(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        return {key: old for key, old in value.items() if key != "function"} | value["function"]
    return value


def _choice_to_beta(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value.get("type") == "mcp":
        return NOTHING
    if value.get("type") != "function" or "name" not in value:
        return value
    return {key: old for key, old in value.items() if key != "name"} | {"function": {"name": value["name"]}}


def _tool_to_beta(tool: Any) -> Any:
    return NOTHING if isinstance(tool, dict) and tool.get("type") == "mcp" else tool


TOOL_CHOICE = Pair(_choice_to_ga, _choice_to_beta)
TOOLS = _list_of(Pair(_as_it_is, _tool_to_beta))
VOICE = Pair(_as_it_is, lambda voice: NOTHING if isinstance(voice, dict) else voice)

# --- items ------------------------------------------------------------------------------------------------------------
ITEM_TYPES_ONLY_GA = ("mcp_list_tools", "mcp_call", "mcp_approval_request", "mcp_approval_response")
_ASSISTANT_CONTENT = _words({"text": "output_text", "audio": "output_audio"})
_CONTENT = Record("content", [Row("id", ("id",)), Row("type", ("type",))])
_SPOKEN_CONTENT = Record("content", [Row("id", ("id",)), Row("type", ("type",), _ASSISTANT_CONTENT)])


def _part_to_beta(record: Record) -> Pair:
    def to_beta(part: Any) -> Any:
        is_image = isinstance(part, dict) and part.get("type") == "input_image"
        return NOTHING if is_image else record.to_beta(part)

    return Pair(record.to_ga, to_beta)


_MESSAGE = Record("item", [Row("content", ("content",), _list_of(_part_to_beta(_CONTENT)))])
_SPOKEN_MESSAGE = Record("item", [Row("content", ("content",), _list_of(_part_to_beta(_SPOKEN_CONTENT)))])


def _record_of(item: Any) -> Record:
    return _SPOKEN_MESSAGE if isinstance(item, dict) and item.get("role") == "assistant" else _MESSAGE


def _item_to_beta(item: Any) -> Any:
    if isinstance(item, dict) and item.get("type") in ITEM_TYPES_ONLY_GA:
        return NOTHING
    return _record_of(item).to_beta(item)


ITEM = Pair(lambda item: _record_of(item).to_ga(item), _item_to_beta)
ITEMS = _list_of(ITEM)

# --- sessions and responses -------------------------------------------------------------------------------------------
_HEARING = (
    Row("input_audio_format", ("audio", "input", "format"), FORMAT),
    Row("input_audio_transcription", ("audio", "input", "transcription"), Record("transcription")),
    Row("input_audio_noise_reduction", ("audio", "input", "noise_reduction"), Record("noise_reduction")),
    Row("turn_detection", ("audio", "input", "turn_detection"), Record("turn_detection")),
)
_SPEAKING = (
    Row("modalities", ("output_modalities",), MODALITIES),
    Row("voice", ("audio", "output", "voice"), VOICE),
    Row("output_audio_format", ("audio", "output", "format"), FORMAT),
)
_TOOLING = (Row("tools", ("tools",), TOOLS), Row("tool_choice", ("tool_choice",), TOOL_CHOICE))
_TOKENS = Row("max_response_output_tokens", ("max_output_tokens",))
_SESSION = (*_SPEAKING, *_HEARING, *_TOOLING, _TOKENS, Row("speed", ("audio", "output", "speed")), Row("id", ("id",)))
_USAGE = Record("input_token_details", [Row("cached_tokens_details", ("cached_tokens_details",))])
USAGE = Pair(
    lambda usage: _inside(usage, "input_token_details", _USAGE.to_ga),
    lambda usage: _inside(usage, "input_token_details", _USAGE.to_beta),
)


def _inside(value: Any, key: str, translate: Translate) -> Any:
    return value | {key: translate(value[key])} if isinstance(value, dict) and key in value else value


SESSION = Record("session", _SESSION, ga={"type": "realtime"}, beta={"temperature": BETA_TEMPERATURE})
SESSION_UPDATE = Record("session", _SESSION, ga={"type": "realtime"})
TRANSCRIPTION_SESSION = Record("transcription_session", _HEARING, ga={"type": "transcription"})
RESPONSE = Record(
    "response",
    [*_SPEAKING, Row("output", ("output",), ITEMS), Row("usage", ("usage",), USAGE)],
    beta={"temperature": BETA_TEMPERATURE},
)
RESPONSE_REQUEST = Record("response_request", [*_SPEAKING, *_TOOLING, _TOKENS, Row("input", ("input",), ITEMS)])
