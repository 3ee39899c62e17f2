"""Logs: one line per event on stderr, as key=value text for people or as JSON for machines.

    log = get_logger(__name__)
    log.info("session.started", session=session_id, rate_hz=48000)

Rules:
- The event is a fixed name; whatever varies is a value beside it, and structure is kept: a list stays a list.
- A secret registered with `hide` appears nowhere: not in a value, not in a key, not in a traceback. It is removed
  before anything is shortened, so that no half of it stays.
- A string over 100 characters becomes its first 97 and "…". Depth, number of entries and tracebacks are bounded too:
  no peer decides how much is written.
- One event is one line of text (a traceback follows it, indented). Control characters are escaped: what a browser
  sends cannot forge a line or move a terminal's cursor.
- A reader that stalls keeps nobody waiting: lines are lost then, and the log says how many (log_output.py).
- What libraries log through `logging` or `warnings` comes out here too; their info only at level debug.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO
from urllib.parse import quote

import structlog

from relay.config import Secret
from relay.log_output import LogOutput

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]
Logger = structlog.typing.FilteringBoundLogger

STRING_LIMIT = 100
TRACEBACK_LIMIT = 16_384
ENTRIES_LIMIT = 50
DEPTH_LIMIT = 8
NUMBER_LIMIT = 2**64
MASK = "[hidden]"

_hidden: set[str] = set()
_LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_BARE = re.compile(r"[A-Za-z0-9_.:/@+-]+", re.ASCII)
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def configure(level: Level = "info", fmt: Format = "text", *, stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (standard error). Calling it again replaces what was set before."""
    render = _as_json if fmt == "json" else _as_text
    output = LogOutput(stream or sys.stderr)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _stamp, _exception_to_text, _clean, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *args: _Output(output, *args),
        cache_logger_on_first_use=False,
    )
    _route_libraries(level)


def get_logger(name: str) -> Logger:
    """Give the logger of a module. It may be taken before `configure` and follows it."""
    logger: Logger = structlog.get_logger(name)
    return logger


def hide(secret: Secret | str | None) -> None:
    """Replace `secret` in everything that is logged from now on, also where it was quoted for a URL or for JSON."""
    text = secret.reveal() if isinstance(secret, Secret) else secret
    if text:
        _hidden.update(_forms(text))


def unhide(secret: Secret) -> None:
    """Look for `secret` no more: it has expired, and the list of what is hidden does not grow for ever."""
    _hidden.difference_update(_forms(secret.reveal()))


def _forms(text: str) -> set[str]:
    return {text, quote(text, safe=""), json.dumps(text)[1:-1], repr(text)[1:-1]}


def forget() -> None:
    """Hide nothing any more; for tests."""
    _hidden.clear()


def redact(text: str) -> str:
    """Give `text` with every hidden secret masked; for texts that leave by another way than the log."""
    for secret in sorted(_hidden, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def shorten(value: Any, *, depth: int = 0) -> Any:
    """Give a loggable copy of `value`: structure kept, strings redacted and shortened, everything bounded.

    Mappings and sequences are followed DEPTH_LIMIT deep and ENTRIES_LIMIT wide. Bytes become their length. Any other
    object becomes its repr.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value if abs(value) < NUMBER_LIMIT else "<no ordinary number>"
    if isinstance(value, str):
        return _short(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return "…" if depth == DEPTH_LIMIT else _shorten_inside(value, depth + 1)
    return _short(_safely(repr, value))


class Sparingly:
    """For a line that somebody outside could cause a thousand times a second: one a minute, with a count."""

    def __init__(self, every_s: float = 60.0) -> None:
        self._every_s = every_s
        self._next_s = float("-inf")
        self._count = 0

    def count(self, now_s: float) -> int:
        """Count an event; return how many there were since the last line if one is due now, else 0."""
        self._count += 1
        if now_s < self._next_s:
            return 0
        self._next_s, count = now_s + self._every_s, self._count
        self._count = 0
        return count


def _shorten_inside(value: Any, depth: int) -> Any:
    items = value.items() if isinstance(value, Mapping) else value
    kept, more = list(_first(items, ENTRIES_LIMIT)), len(value) - ENTRIES_LIMIT
    if isinstance(value, Mapping):
        table = {_short(_safely(str, key)): shorten(entry, depth=depth) for key, entry in kept}
        return table if more <= 0 else {**table, "…": f"{more} more"}
    entries = [shorten(entry, depth=depth) for entry in kept]
    return entries if more <= 0 else [*entries, f"… {more} more"]


def _first(items: Iterable[Any], count: int) -> Iterable[Any]:
    return (item for item, _ in zip(items, range(count), strict=False))


def _short(text: str) -> str:
    text = redact(text)
    return text if len(text) <= STRING_LIMIT else text[: STRING_LIMIT - 3] + "…"


def _safely(show: Callable[[Any], str], value: object) -> str:
    """Show an object whose own code may fail: a log line is never the reason why a session ends."""
    try:
        return show(value)
    except Exception:
        return f"<{type(value).__name__}>"


_Event = MutableMapping[str, Any]


def _stamp(_logger: object, method: str, event: _Event) -> _Event:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    level = "error" if method in ("exception", "critical") else "warning" if method == "warn" else method
    return {"time": now, "level": level, **event}


def _exception_to_text(_logger: object, _method: str, event: _Event) -> _Event:
    """Turn `exc_info` into the text of its traceback; the middle of a very long one is left out."""
    exc_info = event.pop("exc_info", None)
    error = sys.exception() if exc_info is True else exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if isinstance(error, BaseException):
        text = redact(_safely(lambda error: "".join(traceback.format_exception(error)), error)).rstrip()
        half = TRACEBACK_LIMIT // 2
        event["exception"] = text if len(text) <= TRACEBACK_LIMIT else f"{text[:half]}\n…\n{text[-half:]}"
    return event


def _clean(logger: _Output, _method: str, event: _Event) -> _Event:
    exception = event.pop("exception", None)
    fixed = {name: event.pop(name) for name in ("time", "level")}
    clean = {**fixed, "logger": logger.name, "event": "", **shorten(event)}
    return {**clean, "exception": exception} if isinstance(exception, str) else clean


def _as_json(_logger: object, _method: str, event: _Event) -> str:
    return json.dumps(event)


def _as_text(_logger: object, _method: str, event: _Event) -> str:
    values = dict(event)
    time, level, logger, name = (_escaped(str(values.pop(key))) for key in ("time", "level", "logger", "event"))
    exception = values.pop("exception", "")
    pairs = "".join(f" {_escaped(key)}={_value(value)}" for key, value in values.items())
    indented = "".join("\n    " + _escaped(line) for line in exception.splitlines())
    return f"{time} {level:<7} {logger}: {name}{pairs}{indented}"


def _value(value: object) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    return _escaped(json.dumps(value, ensure_ascii=False))


def _escaped(text: str) -> str:
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode-escape", "surrogatepass").decode(), text)


class _Output:
    """Where structlog's methods end: one write per event."""

    def __init__(self, output: LogOutput, name: str = "relay") -> None:
        self.output = output
        self.name = name

    def msg(self, line: str) -> None:
        if lost := self.output.write(line):
            get_logger(__name__).error("log.lost", lines=lost)

    debug = info = warning = warn = error = exception = critical = msg


class _FromLogging(logging.Handler):
    """Hands what a library logs to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        message = _safely(logging.LogRecord.getMessage, record)
        exc_info: tuple[type[BaseException], BaseException, TracebackType | None] | None = None
        if record.exc_info and record.exc_info[0] is not None:
            exc_info = record.exc_info
        log = structlog.get_logger(record.name)
        log.log(max(logging.DEBUG, min(record.levelno, logging.ERROR) // 10 * 10), message, exc_info=exc_info)


def _route_libraries(level: Level) -> None:
    root = logging.getLogger()
    root.handlers = [_FromLogging()]
    root.setLevel(logging.INFO if level == "debug" else logging.WARNING)  # their debug is a line per frame
    logging.captureWarnings(True)
    # A deprecation inside a library helps nobody who runs relay: heard at level debug only.
    logging.getLogger("py.warnings").setLevel(logging.DEBUG if level == "debug" else logging.ERROR)
