"""A bounded memory of things that are named from outside: whoever names them may name millions.

It knows what it knows: whether a name was never told, or is only forgotten, are two answers.
"""

from __future__ import annotations

from typing import Any, Generic, TypeGuard, TypeVar

MAX_NAME = 512
"""Letters of a name that is remembered. OpenAI's have 26; a client's `event_id` may have so many."""

MAX_COUNT = 2**53
"""No count of milliseconds is larger, and up to here a float holds every integer."""

V = TypeVar("V")


def name(value: Any) -> str:
    """Return a name that may be remembered, or "" for anything else."""
    return value if isinstance(value, str) and len(value) <= MAX_NAME else ""


def is_count(value: object) -> TypeGuard[int]:
    """Whether a value is a number that can be counted with; an integer in JSON may have 4,000 digits."""
    return isinstance(value, int) and 0 <= value <= MAX_COUNT


def remember(values: list[V], value: V, limit: int) -> None:
    """Add a value to a short list; of more than `limit`, the oldest goes. Empty, a list takes a tenth of a deque."""
    values.append(value)
    del values[:-limit]


class Memory(Generic[V]):
    """At most `limit` names with their values; of more, the oldest goes."""

    __slots__ = ("_has_forgotten", "_limit", "_values")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[str, V] = {}
        self._has_forgotten = False

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: str) -> V | None:
        """Return the value of a name, None if there is none."""
        return self._values.get(name)

    def put(self, name: str, value: V) -> None:
        """Remember a value. A name that is empty or too long is none."""
        if not name or len(name) > MAX_NAME:
            self._has_forgotten = True
            return
        self._values[name] = value
        if len(self._values) > self._limit:
            del self._values[next(iter(self._values))]
            self._has_forgotten = True

    def surely_lacks(self, name: str) -> bool:
        """Whether this name was never put here."""
        return name not in self._values and not self._has_forgotten
