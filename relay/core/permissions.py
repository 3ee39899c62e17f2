"""What the operator permits one client, as a value: made once from the settings and handed to the session.

Rules: `locked` is everything the operator says, with the exceptions in `may`; `open` is everything the API has. The
operator's session is part of the value, because a locked client's update is laid over it. Nothing here reads settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

Preset = Literal["locked", "open"]
Grant = Literal[
    "images",
    "include",
    "instructions",
    "max_output_tokens",
    "mcp",
    "noise_reduction",
    "out_of_band",
    "output_modalities",
    "parallel_tool_calls",
    "reasoning",
    "speed",
    "tool_choice",
    "tools",
    "transcription",
    "truncation",
    "turn_detection",
    "voice",
]
"""What a locked client may be permitted. The model is not among it: no session can change it once it is connected."""

NAMED_CHOICES = ("auto", "none", "required")
"""Values of `tool_choice` that are words; any other is a function's name."""

QUOTE_CHARS = 24
"""So much of the operator's words in a row is a quotation, and no accident."""

MIN_CHARS = 12
"""A text that is shorter, `"description": "Adds."`, is no secret, and would be found everywhere. A name that is shorter
is found as a word alone."""

_STEP = 8
_WINDOW = QUOTE_CHARS - _STEP


class Words:
    """What the operator wrote, so that a text can be searched for it: whole names, and pieces of longer texts."""

    def __init__(self, names: Iterable[str] = (), texts: Iterable[str] = ()) -> None:
        texts, names = list(texts), list(names)
        short = (text for text in texts if MIN_CHARS <= len(text) < QUOTE_CHARS)
        self._names = frozenset(name for name in (*names, *short) if len(name) >= MIN_CHARS)
        self._words = _as_words({name for name in names if 0 < len(name) < MIN_CHARS})
        self._pieces = frozenset(piece for text in texts for piece in _pieces(text))

    def are_in(self, text: str) -> bool:
        """Whether `text` has one of the names, or QUOTE_CHARS of a longer text in a row."""
        if any(name in text for name in self._names) or self._words.search(text):
            return True
        return any(text[at : at + _WINDOW] in self._pieces for at in range(len(text) - _WINDOW + 1))


def _as_words(names: Iterable[str]) -> re.Pattern[str]:
    """Return what finds one of the names as a word: a tool called `item` is in no `item_id` and no `item.call_id`."""
    found = "|".join(sorted(map(re.escape, names))) or "(?!)"
    return re.compile(rf"(?<![\w-])(?<!\w\.)(?:{found})(?![\w-])(?!\.\w)")


def _pieces(text: str) -> Iterator[str]:
    """Yield every eighth piece of 16 characters: whoever quotes 24 characters has one of them whole."""
    return (text[at : at + _WINDOW] for at in range(0, len(text) - _WINDOW + 1, _STEP))


@dataclass(frozen=True, slots=True, eq=False)
class Permissions:
    """What a client may say and hear. `session` is the operator's, whole, as the upstream got it; it is never changed.

    `words` are the operator's, which no message to a locked client may quote. One object stands for all sessions with
    the same settings, and so do the judges that are made of it.
    """

    preset: Preset = "locked"
    may: frozenset[str] = frozenset()
    session: Mapping[str, Any] = field(default_factory=dict, repr=False)
    words: Words = field(default_factory=Words, repr=False)

    @classmethod
    def of(
        cls, session: Mapping[str, Any], preset: Preset = "locked", may: frozenset[str] = frozenset()
    ) -> Permissions:
        """Return the permissions around an operator's session."""
        tools = [tool for tool in session.get("tools") or () if isinstance(tool, dict)]
        return cls(preset, may, session, Words(_names(tools), _texts(session, tools)))

    @property
    def is_open(self) -> bool:
        """Whether the client is trusted."""
        return self.preset == "open"

    def permits(self, grant: Grant) -> bool:
        """Whether the client may set this."""
        return self.is_open or grant in self.may

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The operator's tools."""
        return list(self.session.get("tools") or ())

    @property
    def hears_mcp(self) -> bool:
        """Whether a locked client hears of MCP servers: if it may use its own, and the operator has none."""
        return "mcp" in self.may and not any(tool.get("type") == "mcp" for tool in self.tools)


def _names(tools: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what stands for a tool, at any length."""
    for tool in tools:
        for key in ("name", "server_label", "server_url"):
            if isinstance(tool.get(key), str):
                yield tool[key]


def _texts(session: Mapping[str, Any], tools: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the prompt, the tools, and what the transcription was told."""
    instructions = session.get("instructions") or ""
    yield instructions
    yield msgspec.json.encode(instructions).decode()  # so it stands in a quotation, with its lines in one
    for tool in tools:
        yield from _leaves(tool)
    transcription = ((session.get("audio") or {}).get("input") or {}).get("transcription")
    yield from _leaves(transcription or {})


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield msgspec.json.encode(value).decode()
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
