"""The limits of a session, each at 79, 80 and 100 %, on a clock that is only a number."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.budget import Budget, Limits
from relay.errors import (
    AudioInLimit,
    AudioOutLimit,
    IdleLimit,
    LimitReached,
    MoneyLimit,
    TimeLimit,
    TokenLimit,
    UpstreamExpired,
)

Use = Callable[[Budget, float], None]


def codes(budget: Budget, now_s: float) -> list[str]:
    return [warning["code"] for warning in budget.check(now_s)]


AMOUNTS: list[tuple[Limits, Use, str, type[LimitReached]]] = [
    (Limits(audio_in_s=100), lambda budget, to: budget.sent_audio(to), "audio_in_limit_near", AudioInLimit),
    (Limits(audio_out_s=100), lambda budget, to: budget.generated_audio(to, 0), "audio_out_limit_near", AudioOutLimit),
    (Limits(tokens=100), lambda budget, to: budget.used(int(to), None), "token_limit_near", TokenLimit),
    (Limits(usd=100), lambda budget, to: budget.used(0, to), "money_limit_near", MoneyLimit),
]


@pytest.mark.parametrize(("limits", "use", "code", "leaf"), AMOUNTS)
def test_an_amount_warns_once_at_80_percent_and_ends_at_100(
    limits: Limits, use: Use, code: str, leaf: type[LimitReached]
) -> None:
    below, near, reached = (Budget(limits, 0) for _ in range(3))
    use(below, 79)
    assert below.check(0) == []
    use(near, 80)
    assert codes(near, 0) == [code]
    assert near.check(0) == []
    use(reached, 100)
    with pytest.raises(leaf):
        reached.check(0)


def test_a_session_warns_at_80_percent_of_its_time_and_ends_at_100() -> None:
    budget = Budget(Limits(session_s=100), 1_000)
    assert budget.next_s == 1_080
    assert budget.check(1_079.9) == []
    [warning] = budget.check(1_080)
    assert (warning["code"], warning["seconds"]) == ("time_limit_near", 20)
    assert budget.next_s == 1_100
    assert budget.check(1_099.9) == []
    with pytest.raises(TimeLimit):
        budget.check(1_100)


def test_silence_warns_at_80_percent_and_ends_at_100() -> None:
    budget = Budget(Limits(idle_s=100), 0)
    assert codes(budget, 80) == ["idle_limit_near"]
    with pytest.raises(IdleLimit):
        budget.check(100)


def test_microphone_noise_is_silence() -> None:
    budget = Budget(Limits(idle_s=100), 0)
    for now_s in range(100):
        budget.sent_audio(1)
        budget.check(now_s)
    with pytest.raises(IdleLimit):
        budget.check(100)


def test_nobody_is_idle_while_the_person_speaks_and_the_time_runs_from_the_end_of_the_speech() -> None:
    budget = Budget(Limits(idle_s=100), 0)
    budget.speech_started(50)
    assert budget.next_s == math.inf
    assert budget.check(1_000) == []
    budget.speech_stopped(1_000)
    assert budget.next_s == 1_080


def test_an_answer_counts_until_it_has_been_played() -> None:
    budget = Budget(Limits(idle_s=100), 0)
    for _ in range(6):
        budget.generated_audio(10, now_s=20)
    assert budget.next_s == 20 + 60 + 80


def test_an_answer_that_is_interrupted_stops_counting() -> None:
    for stop in (Budget.silenced, Budget.speech_started):
        budget = Budget(Limits(idle_s=100), 0)
        budget.generated_audio(500, now_s=0)
        stop(budget, 10)
        budget.speech_stopped(10)
        assert budget.next_s == 90


def test_audio_that_arrives_while_the_person_speaks_does_not_make_the_person_idle() -> None:
    budget = Budget(Limits(idle_s=100), 0)
    budget.speech_started(0)
    budget.generated_audio(1, now_s=1)
    assert budget.next_s == math.inf


def test_silence_warns_again_after_somebody_spoke() -> None:
    budget = Budget(Limits(idle_s=100), 0)
    assert codes(budget, 80) == ["idle_limit_near"]
    budget.speech_started(90)
    budget.speech_stopped(95)
    assert budget.check(150) == []
    assert codes(budget, 175) == ["idle_limit_near"]


def test_the_upstreams_limit_is_warned_of_60_s_ahead_and_kept_2_s_before() -> None:
    budget = Budget(Limits(), 0)
    budget.expires(3_600, now_s=0)
    assert budget.check(3_539) == []
    [warning] = budget.check(3_540)
    assert (warning["code"], warning["seconds"]) == ("session_expiring", 58)
    with pytest.raises(UpstreamExpired):
        budget.check(3_598)


def test_being_told_the_same_limit_again_does_not_warn_again() -> None:
    budget = Budget(Limits(), 0)
    budget.expires(3_600, now_s=0)
    assert codes(budget, 3_540) == ["session_expiring"]
    budget.expires(3_600, now_s=3_541)
    assert budget.check(3_541) == []


def test_a_session_that_expires_within_a_minute_is_warned_of_at_once() -> None:
    budget = Budget(Limits(), 0)
    budget.expires(30, now_s=0)
    assert codes(budget, 0) == ["session_expiring"]


@pytest.mark.parametrize("expires_s", [0, -5, 1.5])
def test_a_limit_that_has_passed_when_it_is_told_is_a_wrong_clock_and_ignored(expires_s: float) -> None:
    budget = Budget(Limits(), 0)
    budget.expires(expires_s, now_s=0)
    assert budget.next_s == math.inf
    assert budget.check(1e9) == []


def test_an_unknown_price_ends_the_session_only_where_a_limit_needs_it() -> None:
    budget = Budget(Limits(tokens=100), 0)
    budget.used(10, None)
    assert budget.check(0) == []
    budget = Budget(Limits(needs_price=True), 0)
    budget.used(0, 0.0)
    assert budget.check(0) == []
    budget.used(10, None)
    with pytest.raises(MoneyLimit, match="not known"):
        budget.check(0)


def test_without_limits_nothing_ever_ends() -> None:
    budget = Budget(Limits(), 0)
    budget.sent_audio(1e9)
    budget.generated_audio(1e9, 0)
    budget.used(10**12, 1e12)
    assert budget.next_s == math.inf
    assert budget.check(1e12) == []


TIMES = st.floats(0.1, 1e5, allow_nan=False)


@given(session_s=TIMES, idle_s=TIMES, expires_s=TIMES, began_s=st.floats(0, 1e6))
def test_sleeping_until_the_next_moment_gets_a_word_each_time_and_the_end_in_time(
    session_s: float, idle_s: float, expires_s: float, began_s: float
) -> None:
    budget = Budget(Limits(session_s=session_s, idle_s=idle_s), began_s)
    budget.expires(began_s + expires_s, began_s)
    now_s, ended, said = began_s, False, 0
    while not ended:
        now_s = max(now_s, budget.next_s)
        try:
            warnings = budget.check(now_s)
        except (TimeLimit, IdleLimit, UpstreamExpired):
            ended = True
        else:
            assert warnings, "woken for nothing"
            said += len(warnings)
    assert said <= 3
    assert now_s <= began_s + min(session_s, idle_s) + 1e-6
