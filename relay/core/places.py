"""Places in JSON objects, as paths of keys: `("audio", "output", "voice")`.

Rules: an object that somebody gave is never changed; what has to differ is copied on the way down.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MISSING: Final = object()
"""Nothing is at a place, not even null."""

Place = tuple[str, ...]


def take(value: Any, place: Place, default: Any) -> Any:
    """Return what is at a place, or `default` if the way to it ends before."""
    for key in place:
        if not isinstance(value, Mapping) or key not in value:
            return default
        value = value[key]
    return value


def put(value: dict[str, Any], place: Place, new: Any) -> None:
    """Set the value at a place, in an object of one's own; what is missing on the way is made."""
    for key in place[:-1]:
        value = value.setdefault(key, {})
    value[place[-1]] = new


def with_value(value: Any, place: Place, new: Any) -> Any:
    """Return an object with another value at a place that it has."""
    if not place:
        return new
    return {**value, place[0]: with_value(value[place[0]], place[1:], new)}


def without(value: Any, place: Place) -> Any:
    """Return an object without what is at a place."""
    if not isinstance(value, Mapping) or place[0] not in value:
        return value
    if len(place) == 1:
        return {key: old for key, old in value.items() if key != place[0]}
    return {**value, place[0]: without(value[place[0]], place[1:])}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both in one: objects below the `audio` of a session are merged, every other value is replaced whole."""
    out = dict(below)
    for key, new in above.items():
        old = out.get(key)
        deeper = key in ("audio", "input", "output") and isinstance(old, Mapping) and isinstance(new, Mapping)
        out[key] = merged(old, new) if deeper else new  # type: ignore[arg-type]
    return out
