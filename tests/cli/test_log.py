"""What a log line may contain, and what may not be in it whatever happens."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import log
from relay.config import Secret

CANARY = 'sk-canary/0123456789"\\abcdef'


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(params=get_args(log.Format))
def both(request: pytest.FixtureRequest, stream: io.StringIO) -> io.StringIO:
    """The stream of a log in text, then in JSON."""
    log.configure("debug", request.param, stream=stream)
    return stream


def logged(stream: io.StringIO, **values: Any) -> dict[str, Any]:
    """Log one event as JSON and read it back."""
    log.configure("info", "json", stream=stream)
    log.get_logger("test").info("event", **values)
    entry: dict[str, Any] = json.loads(stream.getvalue().splitlines()[-1])
    return entry


def test_text_is_one_line_of_key_value_pairs(stream: io.StringIO) -> None:
    log.configure("info", "text", stream=stream)
    log.get_logger("relay.session").info("session.started", session="s1", rate_hz=48000, note="two words")
    time, rest = stream.getvalue().split(" ", 1)
    assert time.endswith("Z")
    assert rest == 'info    relay.session: session.started session=s1 rate_hz=48000 note="two words"\n'


def test_json_is_one_object_per_line(stream: io.StringIO) -> None:
    entry = logged(stream, session="s1", nested={"a": [1, None, True, 1.5]})
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "info",
        "logger": "test",
        "event": "event",
        "session": "s1",
        "nested": {"a": [1, None, True, 1.5]},
    }


def test_the_level_decides_what_is_written(stream: io.StringIO) -> None:
    log.configure("warning", "text", stream=stream)
    for method in ("debug", "info", "warning", "error"):
        getattr(log.get_logger("test"), method)(method)
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["warning", "error"]


# Strings are shortened, structure is kept


def test_a_string_of_100_stays_and_a_longer_one_becomes_97_and_an_ellipsis(stream: io.StringIO) -> None:
    entry = logged(stream, fits="x" * 100, long="y" * 101)
    assert entry["fits"] == "x" * 100
    assert entry["long"] == "y" * 97 + "…"


def test_structure_is_kept_at_any_depth(stream: io.StringIO) -> None:
    event = {"type": "delta", "item": {"content": [{"audio": "A" * 5000}, {"n": 1}]}}
    entry = logged(stream, event_body=event)
    assert entry["event_body"] == {"type": "delta", "item": {"content": [{"audio": "A" * 97 + "…"}, {"n": 1}]}}


def test_what_a_peer_sends_is_bounded_in_every_direction(stream: io.StringIO) -> None:
    deep: Any = "end"
    for _ in range(10_000):
        deep = [deep]
    entry = logged(stream, deep=deep, wide=list(range(10_000)), keys={str(n): n for n in range(10_000)})
    assert len(stream.getvalue()) < 10_000
    assert entry["wide"][-1] == "… 9950 more"
    assert entry["keys"]["…"] == "9950 more"


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no repr for you")


def test_no_value_can_make_logging_fail(both: io.StringIO) -> None:
    values = {"a": Hostile(), "b": 10**5000, "c": float("nan"), "d": b"\x00" * 99, "e": {Hostile(): 1}, "f": "\ud800"}
    log.get_logger("test").info("event", **values, logger=5, level={}, time=None)
    assert "<Hostile>" in both.getvalue()
    assert "<99 bytes>" in both.getvalue()


def test_a_stream_that_is_gone_ends_nothing(stream: io.StringIO) -> None:
    log.configure("info", "text", stream=stream)
    stream.close()
    log.get_logger("test").info("into the void")


def test_a_reader_that_stalls_keeps_nobody_waiting_and_is_told_what_it_missed() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "w") as writer:
        log.configure("info", "text", stream=writer)
        began_s = time.monotonic()
        for number in range(1_000):
            log.get_logger("test").info("line", number=number, values=["x" * 90] * 50)
        assert time.monotonic() - began_s < 10, "a tenth of a second for one of them, not for each"
        kept = os.read(reading, 1 << 20).decode()
        log.get_logger("test").info("again", values=["x" * 90] * 50)
        told = os.read(reading, 1 << 20).decode()
    numbers = [int(found) for found in re.findall(r" number=(\d+) ", kept)]
    assert numbers == list(range(len(numbers))), "the first of them, in order"
    ends = kept.count("\n")
    again, lost = told.removeprefix("\n").splitlines()
    assert "again values=" in again
    assert lost.endswith(f"log.lost lines={1_000 - ends}"), "one that was written in part is lost"


def test_threads_write_their_lines_whole_and_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as file:
        log.configure("info", "text", stream=file)
        logger = log.get_logger("test")

        def write_many(name: str) -> None:
            for number in range(500):
                logger.info("line", name=name, number=number)

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(write_many, ("one", "two")))
    lines = path.read_text().splitlines()
    for name in ("one", "two"):
        numbers = [int(line.rpartition("number=")[2]) for line in lines if f"name={name} " in line]
        assert numbers == list(range(500))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_shortening_twice_changes_nothing_more(value: Any) -> None:
    once = log.shorten(value)
    assert repr(log.shorten(once)) == repr(once)


@given(JSON_VALUES, st.sampled_from(get_args(log.Format)))
def test_whatever_is_logged_one_event_is_one_line(value: Any, fmt: log.Format) -> None:
    stream = io.StringIO(newline="")
    log.configure("info", fmt, stream=stream)
    log.get_logger("test").info("event", value=value)
    assert len(stream.getvalue().splitlines()) == 1


# Nothing from outside forges a line


def test_control_characters_are_escaped(both: io.StringIO) -> None:
    evil = "a\n2026-01-01T00:00:00Z error relay: forged\r\x1b[2J\x00\u202e\u2028\x85b"
    log.get_logger("test").info(evil, value=evil, **{evil: 1})
    text = both.getvalue()
    assert text.count("\n") == 1
    assert not set(text[:-1]) & set("\n\r\x1b\x00\u202e\u2028\x85")


def test_an_exceptions_text_cannot_begin_a_line_of_its_own(stream: io.StringIO) -> None:
    log.configure("info", "text", stream=stream)
    try:
        raise ValueError("bad\n2026-01-01T00:00:00Z error relay: forged\x1b[31m")
    except ValueError:
        log.get_logger("test").exception("session.failed")
    first, *rest = stream.getvalue().split("\n")[:-1]
    assert "session.failed" in first
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b" not in stream.getvalue()


# Secrets


def test_a_hidden_secret_is_nowhere(both: io.StringIO) -> None:
    log.hide(Secret(CANARY))
    values: dict[str, Any] = {
        "plain": f"Bearer {CANARY}",
        "nested": {"headers": [("Authorization", CANARY)]},
        "repr": ValueError(CANARY),
        "bytes": CANARY.encode(),
        CANARY: "a key",
        "url": "wss://h/?key=sk-canary%2F0123456789%22%5Cabcdef",
        "json": json.dumps({"key": CANARY}),
    }
    log.get_logger("test").info(CANARY, **values)
    try:
        try:
            raise ValueError(CANARY)
        except ValueError as cause:
            raise ExceptionGroup(CANARY, [KeyError(CANARY)]) from cause
    except ExceptionGroup:
        log.get_logger("test").exception("failed")
    logging.getLogger("library").error("the key is %s", CANARY)
    assert "canary" not in both.getvalue()
    assert log.MASK in both.getvalue()


def test_a_secret_at_the_cut_leaves_no_half_behind(stream: io.StringIO) -> None:
    log.hide(CANARY)
    for before in range(70, 110):
        assert "sk-" not in logged(stream, text="x" * before + CANARY + "y" * 100)["text"]


def test_the_longer_of_two_secrets_is_hidden_whole(stream: io.StringIO) -> None:
    log.hide("sk-abc")
    log.hide("sk-abcdef")
    assert logged(stream, text="sk-abcdef")["text"] == log.MASK


def test_no_key_hides_nothing(stream: io.StringIO) -> None:
    log.hide(None)
    log.hide("")
    assert logged(stream, text="as it is")["text"] == "as it is"


def test_a_traceback_is_complete_up_to_its_limit(both: io.StringIO) -> None:
    try:
        raise ValueError("é" * 100_000)
    except ValueError:
        log.get_logger("test").exception("failed")
    assert "test_a_traceback_is_complete_up_to_its_limit" in both.getvalue()
    assert len(both.getvalue()) < 8 * log.TRACEBACK_LIMIT


# Libraries


def test_what_libraries_log_comes_out_as_our_own(stream: io.StringIO) -> None:
    log.configure("info", "json", stream=stream)
    logging.getLogger("hypercorn.error").info("Running on http://127.0.0.1:8000")
    logging.getLogger("hypercorn.error").warning("slow %s", "client")
    logging.getLogger("quart.app").critical("broken")
    entries = [json.loads(line) for line in stream.getvalue().splitlines()]
    found = [(entry["logger"], entry["level"], entry["event"]) for entry in entries]
    assert found == [("hypercorn.error", "warning", "slow client"), ("quart.app", "error", "broken")]


def test_warnings_of_libraries_do_not_clutter_the_log(stream: io.StringIO) -> None:
    for level in ("info", "debug"):
        log.configure(level, "text", stream=stream)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(False)
            logging.captureWarnings(True)
            warnings.warn("old", DeprecationWarning, stacklevel=1)
        assert ("old" in stream.getvalue()) is (level == "debug")


def test_a_librarys_broken_call_is_logged_not_raised(stream: io.StringIO) -> None:
    log.configure("info", "text", stream=stream)
    logging.getLogger("library").error("%d", "not a number")
    assert "library: <LogRecord>" in stream.getvalue()
