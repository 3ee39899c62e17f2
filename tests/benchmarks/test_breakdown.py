"""Pieces add up to the whole, counting does not count itself, and an end of a scale is an end."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchmarks.breakdown import CASES, Apart, split
from benchmarks.calls import KINDS, Calls
from benchmarks.faults import SOUND, Felt
from benchmarks.faults import table as faults_table
from benchmarks.measuring import Case
from benchmarks.scale import Point

CALLS = Calls(counts=(200, 200, 50, 150, 20, 0), ns=(400_000, 2_600_000, 350_000, 1_650_000, 42_000, 0), clock_ns=100)
APART = Apart(c_us=2.5, turn_us=4.0, tls_us=2.0)


def test_what_reading_the_clock_costs_is_not_the_calls() -> None:
    assert [CALLS.net_ns(kind) for kind in KINDS] == [380_000, 2_580_000, 345_000, 1_635_000, 40_000, 0]
    assert CALLS.overhead_ns == 2 * 620 * 100
    assert replace(CALLS, ns=(1,) * len(KINDS)).net_ns("recv") == 0


def test_what_was_before_a_span_is_not_in_it() -> None:
    spent = CALLS - Calls(counts=(100, 0, 0, 0, 0, 0), ns=(100_000, 0, 0, 0, 0, 0), clock_ns=999)
    assert (spent.count("recv"), spent.net_ns("recv"), spent.clock_ns) == (100, 290_000, 100)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_pieces_of_a_frame_are_the_whole(case: Case) -> None:
    rows = split(case, 80.0, 100, CALLS, APART)
    assert math.isclose(sum(row.us for row in rows), 80.0)
    assert [row.known for row in rows].count("difference") == 1
    assert rows[-1].known == "difference"


def test_a_frame_has_as_many_turns_as_its_event_loop_waited() -> None:
    rows = {row.name: row for row in split(CASES[0], 80.0, 100, CALLS, APART)}
    assert rows["turns of Trio's loop"].count == 0.5
    assert rows["turns of Trio's loop"].us == 2.0
    assert (rows["waiting"].count, rows["waiting"].us) == (2.0, 19.8)


POINT = Point(100, 50.0, 0.1, 1.0, 60.0, 110.0, 0, 0.4)


def test_the_share_of_a_core_follows_from_the_cost_of_a_frame() -> None:
    assert POINT.session_ms == 2.5
    assert POINT.core == 0.25


@pytest.mark.parametrize(("figures", "last"), [({}, False), ({"lost": 1}, True), ({"added_p99_ms": 10.0}, True)])
def test_a_scale_ends_where_frames_are_lost_or_late(figures: dict[str, float], last: bool) -> None:
    assert replace(POINT, **figures).is_last is last  # type: ignore[arg-type]  # of several types


def test_what_others_feel_of_a_fault_is_compared_inside_a_round() -> None:
    sound = [Felt(0.1, late, 0, 1.0, 0.3) for late in (1.0, 5.0, 1.2)]
    fault = [Felt(0.1, late, 0, 0.0, 0.3) for late in (1.1, 5.1, 9.0)]
    rows = faults_table({SOUND: sound, "stalled": fault}).rows
    assert [row[3] for row in rows] == ["p99 more", "+0.00", "+0.10"]
