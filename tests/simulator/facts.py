"""The reference's field tables (facts.json for GA, beta_facts.json), and a check of any value against them.

A type is written as in the table: string | null, array<Item>, map<string,any>, words in quotes, the name of an object.
A complaint says where a value departs: a field that is missing, one that should not be there, a wrong type.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FACTS: dict[str, Any] = json.loads(Path(__file__).with_name("facts.json").read_text())
OBJECTS: dict[str, Any] = FACTS["objects"]
BETA_FACTS: dict[str, Any] = json.loads(Path(__file__).with_name("beta_facts.json").read_text())
PLAIN = {"string": str, "boolean": bool, "number": (int, float), "integer": int}


def complaints_about_event(sent: dict[str, Any], facts: dict[str, Any] = FACTS) -> list[str]:
    """What is wrong with a server event; nothing for one that is as the reference writes it."""
    kind = sent["type"]
    if kind not in facts["server"]:
        return [f"{kind} is no server event"]
    return _Reading(facts).object(sent, facts["server"][kind], kind, kind)


def alternatives(written: str) -> list[str]:
    """The members of a union, at the top level."""
    parts, depth, quoted, begin = [], 0, False, 0
    for at, letter in enumerate(written):
        quoted ^= letter == '"'
        depth += 0 if quoted else (letter == "<") - (letter == ">")
        if letter == "|" and not depth and not quoted:
            parts.append(written[begin:at].strip())
            begin = at + 1
    return [*parts, written[begin:].strip()]


def candidates(name: str, home: str, objects: dict[str, Any] = OBJECTS) -> list[str]:
    """The objects of that name: the one in the same module, or all."""
    module = home.partition(".")[0]
    return [f"{module}.{name}"] if f"{module}.{name}" in objects else [o for o in objects if o.endswith(f".{name}")]


class _Reading:
    """Values, read with one of the tables beside them."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self._objects, self._extras = facts["objects"], facts["extras"]

    def _value(self, value: Any, written: str, home: str, path: str) -> list[str]:
        """The complaints of the alternative that fits best."""
        found = [self._alternative(value, one, home, path) for one in alternatives(written)]
        return min(found, key=len)

    def _alternative(self, value: Any, written: str, home: str, path: str) -> list[str]:
        wrong = [f"{path}: {value!r:.60} is not {written}"]
        if written in PLAIN:
            is_right = isinstance(value, PLAIN[written]) and (written == "boolean" or not isinstance(value, bool))  # type: ignore[arg-type]  # a table of types
            return [] if is_right else wrong
        if written == "any":
            return []
        if written == "null":
            return [] if value is None else wrong
        if written.startswith('"') or written.isdigit():
            return [] if value == json.loads(written) else wrong
        if written.startswith("array<"):
            if not isinstance(value, list):
                return wrong
            return [c for n, one in enumerate(value) for c in self._value(one, written[6:-1], home, f"{path}[{n}]")]
        if written.startswith("map<string,"):
            if not isinstance(value, dict):
                return wrong
            return [c for key, one in value.items() for c in self._value(one, written[11:-1], home, f"{path}.{key}")]
        if not isinstance(value, dict):
            return wrong
        return min(
            (self.object(value, self._objects[name], name, path) for name in candidates(written, home, self._objects)),
            key=len,
        )

    def object(self, value: dict[str, Any], table: dict[str, Any], home: str, path: str) -> list[str]:
        fields = table["fields"] | self._extras.get(home, {})
        found = [f"{path}: {name} is missing" for name in table["required"] if name not in value]
        found += [f"{path}: {name} is not in the reference" for name in value if name not in fields]
        for name in value.keys() & fields.keys():
            found += self._value(value[name], fields[name], home, f"{path}.{name}")
        return found
