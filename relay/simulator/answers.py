"""What the simulator answers. No intelligence: rules, in this order, applied to what was said last.

1. Tools are configured, `tool_choice` allows them, and the text names one (`get_weather` or "get weather"): call it.
   Several names are several calls, unless `parallel_tool_calls` is false. `tool_choice` "required", or one that names a
   function, calls without being asked. The arguments are the first JSON object in the text; else every required
   parameter gets a value of its type: the first number in the text, true, [] or {}, or the whole text.
2. Audio: the parrot says it again. (It cannot recognise words, so no tool is called by voice.)
3. Text, or a tool's output: it is read aloud.
4. Nothing to answer: the response's own instructions are read aloud, or a greeting.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from relay.simulator import voices
from relay.simulator.conversation import Item

GREETING = "Hello. I am the simulator. Say something, and I will say it again."


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something to say, or to write when only text is wanted."""

    text: str
    pcm: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """A function call; `arguments` is JSON."""

    name: str
    arguments: str


def answers(items: Sequence[Item], settings: dict[str, Any]) -> list[Utterance | Call]:
    """One element per output item. `settings` as settings.response_settings makes them."""
    last = next((item for item in reversed(items) if _is_said_to_us(item)), None)
    text = last.text if last is not None else ""
    if last is None or last.value["type"] != "function_call_output":
        calls = _calls(text, settings)
        if calls:
            return list(calls)
    if last is not None and last.pcm:
        return [Utterance(voices.parrot_transcript(last.pcm), last.pcm)]
    spoken = text or settings["own_instructions"] or GREETING
    return [Utterance(spoken, voices.speak(spoken))]


def _is_said_to_us(item: Item) -> bool:
    return item.value.get("role") == "user" or item.value["type"] == "function_call_output"


def _calls(text: str, settings: dict[str, Any]) -> list[Call]:
    tools = [tool for tool in settings["tools"] if tool["type"] == "function"]
    choice = settings["tool_choice"]
    if isinstance(choice, dict):
        chosen = [tool for tool in tools if tool["name"] == choice.get("name")]
    elif choice == "none":
        chosen = []
    else:
        chosen = [tool for tool in tools if _names(text, tool["name"])] or (tools[:1] if choice == "required" else [])
    if not settings["parallel_tool_calls"]:
        chosen = chosen[:1]
    return [Call(tool["name"], _arguments(text, tool.get("parameters") or {})) for tool in chosen]


def _names(text: str, name: str) -> bool:
    words = r"[\s_-]+".join(re.escape(word) for word in re.split(r"[_-]+", name) if word)
    return bool(words) and re.search(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE) is not None


def _arguments(text: str, parameters: dict[str, Any]) -> str:
    given = _json_object(text)
    if given is None:
        properties = parameters.get("properties") or {}
        given = {name: _value(text, properties.get(name) or {}) for name in parameters.get("required") or []}
    return msgspec.json.encode(given).decode()


def _json_object(text: str) -> dict[str, Any] | None:
    begin, end = text.find("{"), text.rfind("}")
    if begin < 0 or end < begin:
        return None
    try:
        value = msgspec.json.decode(text[begin : end + 1])
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None


def _value(text: str, schema: dict[str, Any]) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    number = re.search(r"-?\d+(\.\d+)?", text)
    kinds: dict[str, Any] = {
        "boolean": True,
        "array": [],
        "object": {},
        "number": float(number[0]) if number else 0.0,
        "integer": int(float(number[0])) if number else 0,
    }
    return kinds.get(str(schema.get("type")), text)
