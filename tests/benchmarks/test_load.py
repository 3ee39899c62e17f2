"""The load tells apart what came back, what did not, and whose it was; real sockets, no relay between them."""

from __future__ import annotations

import pytest

from benchmarks.detour import open_detour
from benchmarks.load import Load
from benchmarks.load_peer import frame, frame_down, frame_up

SPAN_S = 0.1  # five frames of each session


def test_what_is_sent_straight_to_the_upstream_comes_back() -> None:
    with Load.listen() as load, load.open(4, None, "json") as sessions:
        result, aside = sessions.run_both(SPAN_S)
        again = sessions.run(SPAN_S)
    assert (result.sent, result.back, result.lost, result.broken, result.strange) == (20, 20, 0, 0, 0)
    assert len(result.delays_ms) == 20
    assert aside.sent == aside.back == 0
    assert (again.sent, again.lost) == (20, 0)


def test_sessions_that_go_aside_are_counted_apart_and_not_waited_for() -> None:
    with Load.listen() as load, open_detour() as detour, load.open(4, None, "json", detours=[detour]) as sessions:
        detour.browsers.down.swallows = True
        result, aside = sessions.run_both(SPAN_S)
    assert (result.sent, result.back, result.lost) == (15, 15, 0)
    assert (aside.sent, aside.back, aside.lost) == (5, 0, 5)
    assert aside.quantile_ms(0.5) == float("inf")


def test_a_detour_without_a_fault_carries_both_ways() -> None:
    with (
        Load.listen() as load,
        open_detour() as detour,
        load.open(2, None, "json", detours=[detour] * 2) as sessions,
    ):
        assert (detour.browsers.open_connections, detour.upstreams.open_connections) == (2, 2)
        _, aside = sessions.run_both(5 * SPAN_S)
    assert aside.sent == 50
    assert aside.back > 0
    assert aside.broken == 0


@pytest.mark.parametrize(("size", "head"), [(0, 2), (125, 2), (126, 4), (60_000, 4)])
def test_frames_have_the_head_that_their_length_asks_for(size: int, head: int) -> None:
    assert len(frame(2, bytes(size), masked=False)) == head + size
    assert len(frame(2, bytes(size), masked=True)) == head + 4 + size


def test_twenty_ms_of_audio_are_as_long_as_they_should_be() -> None:
    assert len(frame_up("relay.v1")) == 8 + 960 * 4
    assert b'"delta":"' in frame_down()
    assert len(frame_down().rpartition(b'"delta":"')[2]) == 480 * 2 * 4 // 3 + len('"}')
