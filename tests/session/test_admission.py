from __future__ import annotations

from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta

import pytest

from relay.admission import Admission, CoolDown, DayMoney
from relay.config import Config
from relay.errors import (
    AddressLimit,
    DayLimit,
    Overloaded,
    ShuttingDown,
    UpstreamClosed,
    UpstreamCoolingDown,
    UpstreamRefused,
    UpstreamUnreachable,
)


class Dice:
    """Always throws the given share of the range."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.ceilings_s: list[float] = []

    def __call__(self, low: float, high: float) -> float:
        self.ceilings_s.append(high)
        return low + self.share * (high - low)


def test_before_any_failure_the_upstream_may_be_tried() -> None:
    CoolDown(0.5, 30.0).check(0.0)


def test_after_a_failure_nobody_tries_until_the_time_is_over() -> None:
    cooldown = CoolDown(0.5, 30.0, choose=Dice(1.0))
    cooldown.failed(UpstreamUnreachable(), 10.0)
    with pytest.raises(UpstreamCoolingDown) as caught:
        cooldown.check(10.4)
    assert caught.value.retry_after_ms is not None
    assert caught.value.retry_after_ms >= 100
    cooldown.check(10.5)


def test_a_session_that_is_lost_after_it_stood_keeps_nobody_from_the_upstream() -> None:
    """What one client asks for may be more than relay takes, and ends its session."""
    cooldown = CoolDown(0.5, 30.0, choose=Dice(1.0))
    lost = UpstreamClosed()
    cooldown.lost(lost)
    cooldown.check(10.0)
    assert lost.retry_after_ms == 500, "those who were lost together come back one by one"


def test_the_ceiling_doubles_with_each_failure_in_a_row_up_to_the_maximum() -> None:
    dice = Dice(1.0)
    cooldown = CoolDown(0.5, 4.0, choose=dice)
    for n in range(6):
        cooldown.failed(UpstreamUnreachable(), n * 100.0)
    assert dice.ceilings_s[::2] == [0.5, 1, 2, 4, 4, 4]


def test_failures_of_many_sessions_at_once_count_as_one() -> None:
    dice = Dice(1.0)
    cooldown = CoolDown(0.5, 30.0, choose=dice)
    for _ in range(100):
        cooldown.failed(UpstreamUnreachable(), 10.0)
    assert set(dice.ceilings_s) == {0.5}


def test_browsers_are_told_times_that_differ_so_that_they_do_not_come_back_together() -> None:
    cooldown = CoolDown(2.0, 30.0)
    told = set()
    for _ in range(50):
        error = UpstreamUnreachable()
        cooldown.failed(error, 10.0)
        told.add(error.retry_after_ms)
    assert len(told) > 25


def test_what_the_upstream_asks_for_is_waited_for_but_no_longer_than_the_maximum() -> None:
    cooldown = CoolDown(0.5, 30.0, choose=Dice(0.0))
    cooldown.failed(UpstreamRefused(retry_after_ms=7_000), 0.0)
    with pytest.raises(UpstreamCoolingDown):
        cooldown.check(6.9)
    cooldown.check(7.0)
    cooldown.failed(UpstreamRefused(retry_after_ms=10**9), 10.0)
    cooldown.check(40.0)


def test_a_success_ends_the_cool_down() -> None:
    cooldown = CoolDown(0.5, 30.0, choose=Dice(1.0))
    cooldown.failed(UpstreamUnreachable(), 0.0)
    cooldown.succeeded()
    cooldown.check(0.0)


def test_a_place_is_given_back_whatever_happens() -> None:
    admission = Admission(Config(max_sessions=1))
    with admission.place("192.0.2.1"), pytest.raises(Overloaded):
        admission.check()
    with suppress(ZeroDivisionError), admission.place("192.0.2.1"):
        raise ZeroDivisionError
    admission.check()


def test_while_draining_nobody_is_admitted() -> None:
    admission = Admission(Config())
    admission.drain(0.0)
    with pytest.raises(ShuttingDown):
        admission.check()


def test_the_clients_of_a_process_that_ends_are_told_to_come_back_at_no_more_than_25_a_second() -> None:
    latest = Admission(Config(max_sessions=200), choose=Dice(1.0))
    with ExitStack() as places:
        for _ in range(200):
            places.enter_context(latest.place("192.0.2.1"))
        latest.drain(0.0)
        assert latest.retry_after_ms() == 9_000  # 200 of them between 1 s and 9 s
        assert not latest.gone.is_set()
    assert latest.gone.is_set()


def test_who_finds_no_place_is_told_when_to_ask_again_another_time_for_each() -> None:
    admission = Admission(Config(max_sessions=1))
    told = set()
    with admission.place("192.0.2.1"):
        for _ in range(20):
            with pytest.raises(Overloaded) as caught:
                admission.check()
            told.add(caught.value.retry_after_ms)
    assert len(told) > 5


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "192.0.2.1", False),
    ],
)
def test_an_address_has_so_many_places_and_no_more(first: str, second: str, same: bool) -> None:
    admission = Admission(Config(max_sessions_per_address=1))
    with admission.place(first):
        if same:
            with pytest.raises(AddressLimit):
                admission.check_address(second)
        else:
            admission.check_address(second)
    admission.check_address(second)


def test_those_who_share_an_address_are_not_told_to_come_back_in_the_same_moment() -> None:
    admission = Admission(Config(max_sessions_per_address=1))
    times = set()
    with admission.place("192.0.2.1"):
        for _ in range(50):
            with pytest.raises(AddressLimit) as refused:
                admission.check_address("192.0.2.1")
            times.add(refused.value.retry_after_ms or 0)
    assert min(times) >= 1_000
    assert max(times) <= 4_000
    assert len(times) > 10


def test_without_a_limit_an_address_may_have_all_places() -> None:
    admission = Admission(Config(max_sessions=50))
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(admission.place("192.0.2.1"))
        with pytest.raises(Overloaded):
            admission.check()


def test_an_address_that_has_left_is_forgotten() -> None:
    admission = Admission(Config())
    for number in range(256):
        with admission.place(f"192.0.2.{number}"):
            pass
    assert not admission._by_address


class Calendar:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 23, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


async def test_when_the_days_money_is_spent_nobody_is_admitted_until_midnight_utc() -> None:
    calendar = Calendar()
    money = DayMoney(1.0, now=calendar, choose=Dice(0.0))
    money.spend(0.6)
    money.check()
    money.spend(0.4)
    with pytest.raises(DayLimit) as caught:
        money.check()
    assert caught.value.retry_after_ms == 3_600_000
    calendar.now += timedelta(hours=1)
    money.check()
    money.spend(0.9)
    money.check()


async def test_a_moment_before_midnight_nobody_is_told_to_come_back_at_once() -> None:
    calendar = Calendar()
    money = DayMoney(1.0, now=calendar, choose=Dice(0.0))
    calendar.now += timedelta(minutes=59, seconds=59, milliseconds=999.9)
    money.spend(1.0)
    with pytest.raises(DayLimit) as caught:
        money.check()
    assert caught.value.retry_after_ms == 1_000


async def test_whoever_waits_for_midnight_is_told_a_time_that_differs() -> None:
    calendar = Calendar()
    money = DayMoney(1.0, now=calendar)
    money.spend(1.0)
    told = set()
    for _ in range(50):
        with pytest.raises(DayLimit) as caught:
            money.check()
        told.add(caught.value.retry_after_ms or 0)
    assert len(told) > 25
    assert 3_600_000 <= min(told) <= max(told) <= 3_660_000


async def test_yesterdays_money_does_not_count_today_and_who_wants_to_know_is_told_once_a_day() -> None:
    calendar, told = Calendar(), []
    money = DayMoney(1.0, tell=lambda: told.append(calendar.now.day), now=calendar)
    money.spend(0.9)
    calendar.now += timedelta(hours=2)
    today = calendar.now.day
    money.spend(0.9)
    money.check()
    assert told == []
    money.spend(0.2)
    money.spend(0.2)
    assert told == [today]
    calendar.now += timedelta(days=1)
    money.spend(1.0)
    assert told == [today, calendar.now.day]


def test_without_a_limit_a_day_may_cost_anything() -> None:
    money = DayMoney(0.0)
    money.spend(1e9)
    money.check()
