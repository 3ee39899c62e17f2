from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.uplink_queue import MAX_APPENDS, MAX_CONTROLS, UplinkQueue
from relay.errors import Overloaded


def drain(queue: UplinkQueue) -> list[str | bytes]:
    return list(iter(queue.pop, None))


def test_events_leave_in_the_order_they_came() -> None:
    queue = UplinkQueue(1000)
    queue.put_audio(b"a", 20)
    queue.put_control("commit")
    queue.put_audio(b"b", 20)
    assert drain(queue) == [b"a", "commit", b"b"]


def test_above_the_limit_the_oldest_audio_goes_and_is_counted() -> None:
    queue = UplinkQueue(60)
    dropped = [queue.put_audio(bytes([n]), 20) for n in range(5)]
    assert dropped == [0, 0, 0, 20, 20]
    assert drain(queue) == [b"\x02", b"\x03", b"\x04"]


def test_a_control_is_never_dropped_with_the_audio_around_it() -> None:
    queue = UplinkQueue(40)
    queue.put_audio(b"a", 20)
    queue.put_control("commit")
    for name in (b"b", b"c", b"d"):
        queue.put_audio(name, 20)
    assert drain(queue) == ["commit", b"c", b"d"]


def test_one_frame_longer_than_the_limit_is_still_sent() -> None:
    queue = UplinkQueue(100)
    assert queue.put_audio(b"long", 500) == 0
    assert drain(queue) == [b"long"]


def test_tiny_pieces_are_bounded_in_number_too() -> None:
    queue = UplinkQueue(2_000)
    dropped_ms = sum(queue.put_audio(b"%d" % number, 1 / 192) for number in range(MAX_APPENDS + 100))
    assert dropped_ms == pytest.approx(100 / 192)
    assert drain(queue) == [b"%d" % number for number in range(100, MAX_APPENDS + 100)]


def test_audio_that_was_dropped_behind_a_control_leaves_nothing() -> None:
    queue = UplinkQueue(40)
    queue.put_control("commit")
    tracemalloc.start()
    for _ in range(10_000):
        queue.put_audio(b"a" * 100, 20)
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 10_000


def test_too_many_controls_end_the_session_instead_of_being_lost() -> None:
    queue = UplinkQueue(100)
    for _ in range(MAX_CONTROLS):
        queue.put_control("x")
    with pytest.raises(Overloaded):
        queue.put_control("x")
    assert len(drain(queue)) == MAX_CONTROLS


@given(st.lists(st.sampled_from(["audio", "control", "pop"]), max_size=200))
def test_whatever_happens_order_holds_and_the_bound_holds(steps: list[str]) -> None:
    queue = UplinkQueue(100)
    put: list[str | bytes] = []
    got: list[str | bytes] = []
    dropped_ms = 0.0
    for number, step in enumerate(steps):
        if step == "audio":
            put.append(str(number).encode())
            dropped_ms += queue.put_audio(str(number).encode(), 30)
        elif step == "control":
            put.append(str(number))
            queue.put_control(str(number))
        elif (event := queue.pop()) is not None:
            got.append(event)
        assert 0 <= queue.queued_ms <= 100
    got += drain(queue)
    assert queue.queued_ms == 0
    assert [event for event in put if event in got] == got
    assert [event for event in put if isinstance(event, str)] == [event for event in got if isinstance(event, str)]
    assert len(put) - len(got) == dropped_ms / 30
