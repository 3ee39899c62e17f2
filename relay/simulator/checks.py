"""Small validators that add up to a schema.

A check takes a JSON value and the path at which it stands, and returns the value or raises `Refusal` in the words of
the live API: unknown_parameter, missing_required_parameter, invalid_value (with the supported ones), invalid_type.
What is accepted is written down in schema.py; here is only how.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, str], Any]

LONGEST_QUOTE = 20


class Refusal(Exception):
    """The client's event is not accepted; becomes an `error` event. Never fatal by itself."""

    def __init__(
        self, code: str, message: str, param: str | None = None, *, kind: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.kind = kind

    def with_path(self, path: str, instead: str) -> Refusal:
        """The same, with the field at `path` and all below it called by another name."""
        param = None if self.param is None else self.param.replace(path, instead)
        return Refusal(self.code, self.message.replace(path, instead), param, kind=self.kind)

    @property
    def close_reason(self) -> str:
        """The Close frame's reason when it is fatal after all."""
        return f"{self.kind}.{self.code}"


def join(path: str, name: str) -> str:
    """Return the path of a field: "session" and "audio" make "session.audio"."""
    return f"{path}.{name}" if path else name


def listing(values: tuple[str, ...] | list[str]) -> str:
    """'a', 'b', and 'c', as the API lists what it supports."""
    quoted = [f"'{value}'" for value in values]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return ", ".join(quoted[:-1]) + f", and {quoted[-1]}"


def quote(value: Any) -> str:
    """A value as error messages show it: long text keeps three letters at each end."""
    if isinstance(value, str) and len(value) > LONGEST_QUOTE:
        return f"'{value[:3]}...{value[-3:]}'"
    return f"'{value}'" if isinstance(value, str) else str(value)[:LONGEST_QUOTE]


def unsupported(value: Any, path: str, supported: tuple[str, ...] | list[str]) -> Refusal:
    """Say what would have been right."""
    message = f"Invalid value: {quote(value)}. Supported values are: {listing(supported)}."
    return Refusal("invalid_value", message, path)


def wrong_type(value: Any, path: str, expected: str) -> Refusal:
    """Say what kind of value belongs there; `expected` with its article."""
    message = f"Invalid type for '{path}': expected {expected}, but got {_kind(value)} instead."
    return Refusal("invalid_type", message, path)


def missing(path: str) -> Refusal:
    """Say which field is not there."""
    return Refusal("missing_required_parameter", f"Missing required parameter: '{path}'.", path)


def text(at_most: int | None = None, at_least: int = 0) -> Check:
    """A string; lengths in characters."""

    def check(value: Any, path: str) -> str:
        if not isinstance(value, str):
            raise wrong_type(value, path, "a string")
        if at_most is not None and len(value) > at_most:
            message = f"Invalid '{path}': string too long. Expected at most {at_most} characters, got {len(value)}."
            raise Refusal("invalid_value", message, path)
        if len(value) < at_least:
            raise Refusal("invalid_value", f"Invalid '{path}': the string is empty.", path)
        return value

    return check


def boolean(value: Any, path: str) -> bool:
    """True or false, and no number."""
    if not isinstance(value, bool):
        raise wrong_type(value, path, "a boolean")
    return value


def anything(value: Any, path: str) -> Any:
    """Whatever it is, the API passes it on unread."""
    return value


def integer(low: int | None = None, high: int | None = None) -> Check:
    """A whole number; both limits are allowed values."""

    def check(value: Any, path: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(value, path, "an integer")
        _within(value, path, low, high)
        return value

    return check


def number(low: float | None = None, high: float | None = None) -> Check:
    """A number; both limits are allowed values."""

    def check(value: Any, path: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(value, path, "a decimal number")
        _within(value, path, low, high)
        return value

    return check


def one_of(*supported: str) -> Check:
    """One of some words."""

    def check(value: Any, path: str) -> str:
        if not isinstance(value, str) or value not in supported:
            raise unsupported(value, path, supported)
        return value

    return check


def exactly(wanted: int) -> Check:
    """The one number that is possible."""

    def check(value: Any, path: str) -> int:
        if isinstance(value, bool) or value != wanted:
            raise unsupported(value, path, [str(wanted)])
        return wanted

    return check


def nullable(inner: Check) -> Check:
    """`inner`, or null."""
    return lambda value, path: None if value is None else inner(value, path)


def array(inner: Check, at_most: int | None = None) -> Check:
    """A list, each element checked."""

    def check(value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise wrong_type(value, path, "an array")
        if at_most is not None and len(value) > at_most:
            raise Refusal("invalid_value", f"Invalid '{path}': expected at most {at_most} elements.", path)
        return [inner(element, f"{path}[{index}]") for index, element in enumerate(value)]

    return check


def mapping(inner: Check, at_most: int | None = None, key_at_most: int | None = None) -> Check:
    """An object with free keys."""
    key_check = text(at_most=key_at_most)

    def check(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong_type(value, path, "an object")
        if at_most is not None and len(value) > at_most:
            raise Refusal("invalid_value", f"Invalid '{path}': expected at most {at_most} pairs.", path)
        return {key_check(key, join(path, key)): inner(element, join(path, key)) for key, element in value.items()}

    return check


def record(fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    """An object with known keys. Optional ones may be null, as the SDK types have it."""
    checks = {name: inner if name in required else nullable(inner) for name, inner in fields.items()}

    def check(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong_type(value, path, "an object")
        for name in required:
            if name not in value:
                raise missing(join(path, name))
        for name in value:
            if name not in checks:
                raise Refusal("unknown_parameter", f"Unknown parameter: '{join(path, name)}'.", join(path, name))
        return {name: checks[name](element, join(path, name)) for name, element in value.items()}

    return check


def tagged(tag: str, kinds: Mapping[str, Check]) -> Check:
    """An object whose kind is named by one of its fields."""
    names = list(kinds)

    def check(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise wrong_type(value, path, "an object")
        if tag not in value:
            raise missing(join(path, tag))
        name = value[tag]
        if not isinstance(name, str) or name not in kinds:
            raise unsupported(name, join(path, tag), names)
        return kinds[name](value, path)

    return check


def object_or(inner: Check, otherwise: Check) -> Check:
    """`inner` for objects, `otherwise` for the rest: how the API writes "auto" or {...}."""
    return lambda value, path: (inner if isinstance(value, dict) else otherwise)(value, path)


def integer_or(word: str, low: int, high: int) -> Check:
    """A whole number, or the one word that stands for no limit."""
    inner = integer(low, high)
    return lambda value, path: one_of(word)(value, path) if isinstance(value, str) else inner(value, path)


def _within(value: float, path: str, low: float | None, high: float | None) -> None:
    if low is not None and value < low:
        message = f"Invalid '{path}': value below minimum. Expected a value >= {low}, but got {value} instead."
        raise Refusal("invalid_value", message, path)
    if high is not None and value > high:
        message = f"Invalid '{path}': value above maximum. Expected a value <= {high}, but got {value} instead."
        raise Refusal("invalid_value", message, path)


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a decimal number", str: "a string"}
    names |= {list: "an array", dict: "an object"}
    return "null" if value is None else names.get(type(value), "something else")
