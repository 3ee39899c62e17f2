"""relay-reconnect.js: after which ends a client connects again, when, and for how long. The clock is the test's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from relay.errors import RelayError, ShuttingDown
from tests.browser.modules import Modules

CLIENTS = 200
MAX_CONNECTS_A_SECOND = 50
RETRIED = {
    "relay_client_timeout",
    "relay_cooling_down",
    "relay_internal_error",
    "relay_overloaded",
    "relay_session_expired",
    "relay_shutting_down",
    "relay_upstream_closed",
    "relay_upstream_protocol_error",
    "relay_upstream_refused",
    "relay_upstream_timeout",
    "relay_upstream_unreachable",
}

PRELUDE = """
    const LOST = { code: "connection_lost", closeCode: 1006, retryAfterMs: null };
    const UNREACHABLE = { code: "unreachable", closeCode: 1006, retryAfterMs: null };
    const ending = (closeCode, retryAfterMs = null) => ({ code: "", closeCode, retryAfterMs });
    /** The same chance in each run: mulberry32. */
    const chance = (seed) => () => {
        seed = (seed + 0x6d2b79f5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
    /** A client whose first session stood for a minute and was lost at 0. */
    const stood = (random) => {
        const reconnect = new Reconnect(random);
        reconnect.ready(-60_000);
        return reconnect;
    };
    /** Most connects within any one second. */
    const peak = (times) => {
        const at = [...times].sort((a, b) => a - b);
        return Math.max(...at.map((from) => at.filter((t) => t >= from && t < from + 1000).length));
    };
"""


def leaves(error: type[RelayError]) -> Iterator[type[RelayError]]:
    """Every error that can be raised."""
    below = error.__subclasses__()
    yield from (leaf for one in below for leaf in leaves(one))
    if hasattr(error, "code"):
        yield error


def run(modules: Modules, body: str) -> Any:
    """Run the body of a function that sees relay-reconnect.js and the PRELUDE."""
    return modules.run(
        "relay-reconnect.js",
        f"({{ Reconnect, GIVE_UP_MS, MAX_ATTEMPTS, HIDDEN_MS, LASTING_MS, SOON_MS }}) => {{ {PRELUDE} {body} }}",
    )


# -- never in a storm --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("down_ms", [0, 500, 1000, 2000, 4000, 8000, 16_000, 60_000])
def test_the_clients_of_a_server_that_was_killed_come_back_spread_out(modules: Modules, down_ms: int) -> None:
    peaks, last_ms = run(
        modules,
        f"""
        const runs = Array.from({{ length: 10 }}, (_, seed) => {{
            const random = chance(1 + seed);
            return Array.from({{ length: {CLIENTS} }}, () => {{
                const client = stood(random);
                let at = client.ended(LOST, 0);
                while (at < {down_ms}) at = client.ended(UNREACHABLE, at);
                return at;
            }});
        }});
        return [runs.map(peak), Math.max(...runs.flat())];
        """,
    )
    assert max(peaks) <= MAX_CONNECTS_A_SECOND
    assert last_ms <= down_ms + 30_000, "everybody is back"


def test_the_clients_of_a_server_that_shuts_down_come_back_as_it_told_them(modules: Modules) -> None:
    peaks = run(
        modules,
        f"""
        return Array.from({{ length: 10 }}, (_, seed) => {{
            const random = chance(1 + seed); // the server spreads them at 25 a second (admission.py)
            const told = () => 1000 + random() * 1000 * {CLIENTS} / 25;
            return peak(Array.from({{ length: {CLIENTS} }}, () => stood(random).ended(ending(1012, told()), 0)));
        }});
        """,
    )
    assert max(peaks) <= MAX_CONNECTS_A_SECOND


@pytest.mark.parametrize("close_code", [1013, 4502, 4503, 4504])
def test_clients_that_are_told_the_same_time_do_not_come_in_the_same_moment(modules: Modules, close_code: int) -> None:
    peaks, earliest_ms = run(
        modules,
        f"""
        const runs = Array.from({{ length: 10 }}, (_, seed) => {{
            const random = chance(1 + seed);
            return Array.from({{ length: {CLIENTS} }}, () => stood(random).ended(ending({close_code}, 2000), 0));
        }});
        return [runs.map(peak), Math.min(...runs.flat())];
        """,
    )
    assert max(peaks) <= MAX_CONNECTS_A_SECOND
    assert earliest_ms >= 2000, "what the server asks for is the least"


# -- when --------------------------------------------------------------------------------------------------------------


def test_the_ceiling_doubles_from_half_a_second_to_30(modules: Modules) -> None:
    waits = run(
        modules,
        """
        const client = stood(() => 1);
        const waits = [];
        for (let now = 0, i = 0; i < 8; i++) {
            const due = client.ended(ending(4408), now);
            waits.push(due - now);
            now = due;
        }
        return waits;
        """,
    )
    assert waits == [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]


def test_the_jitter_is_full(modules: Modules) -> None:
    assert run(modules, "return stood(() => 0).ended(ending(4408), 0)") == 0


def test_a_tab_that_nobody_sees_waits_longer(modules: Modules) -> None:
    shown, hidden = run(modules, "return [false, true].map((hidden) => stood(() => 0.5).ended(LOST, 0, hidden))")
    assert hidden == shown + 10_000


def test_a_session_that_lasts_makes_good_what_was_before_and_one_that_does_not_counts_on(modules: Modules) -> None:
    attempts = run(
        modules,
        """
        return [LASTING_MS - 1, LASTING_MS].map((lasted) => {
            const client = stood(() => 1);
            for (let i = 0; i < 3; i++) client.ended(ending(4408), 0);
            client.ready(5000);
            client.ended(ending(4408), 5000 + lasted);
            return client.attempt;
        });
        """,
    )
    assert attempts == [4, 1]


def test_a_network_that_comes_back_is_used_soon_but_never_before_the_time_the_server_asked_for(
    modules: Modules,
) -> None:
    soon, seen, asked, sooner_already = run(
        modules,
        """
        const soon = stood(() => 0.9);
        soon.ended(LOST, 0);
        const seen = stood(() => 0.9);
        seen.ended(LOST, 0, true); // while nobody looked at the page
        const asked = stood(() => 0.9);
        asked.ended(ending(4503, 60_000), 0);
        const near = stood(() => 0.1);
        const due = near.ended(ending(4408), 0);
        return [soon.sooner(1000), seen.sooner(1000), asked.sooner(1000), near.sooner(1000) === due];
        """,
    )
    assert soon == seen == 1000 + 0.9 * 2000
    assert asked >= 60_000
    assert sooner_already, "what comes sooner anyway is not put off"


# -- and when not ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", list(leaves(RelayError)), ids=lambda error: error.__name__)
def test_every_end_that_relay_knows_is_either_waited_for_or_final(modules: Modules, error: type[RelayError]) -> None:
    reason = f"{{ code: '{error.code}', closeCode: {error.close_code}, retryAfterMs: null }}"
    again = run(modules, f"return stood(Math.random).ended({reason}, 0) !== null")
    if error.close_code != 1011:  # a wrong configuration has no session to end
        assert again is (error.code in RETRIED)


@pytest.mark.parametrize(
    "code", ["stopped", "microphone_lost", "bad_frame", "ticket_refused", "ticket_failed", "closed"]
)
def test_what_a_person_or_this_page_ended_stays_ended(modules: Modules, code: str) -> None:
    reason = f"{{ code: '{code}', closeCode: null, retryAfterMs: null }}"
    assert run(modules, f"return stood(Math.random).ended({reason}, 0)") is None


@pytest.mark.parametrize("code", ["unreachable", "refused", "ticket_unavailable"])
def test_what_may_be_a_mistake_of_the_page_is_waited_for_only_where_a_session_stood(
    modules: Modules, code: str
) -> None:
    reason = f"{{ code: '{code}', closeCode: null, retryAfterMs: null }}"
    first, later = run(
        modules, f"return [new Reconnect(), stood(Math.random)].map((client) => client.ended({reason}, 0) !== null)"
    )
    assert (first, later) == (False, True)


def test_it_stops_after_20_attempts_or_5_minutes(modules: Modules) -> None:
    by_number, by_time = run(
        modules,
        """
        return [() => 0, () => 1].map((random) => {
            const client = stood(random);
            let now = 0, last = 0;
            for (let due; (due = client.ended(LOST, now)) !== null; ) now = last = due;
            return [client.attempt, last];
        });
        """,
    )
    assert by_number == [20, 0]
    assert by_time[0] < 20
    assert 240_000 < by_time[1] <= 300_000


def test_a_server_that_asks_for_longer_than_that_is_not_waited_for(modules: Modules) -> None:
    assert run(modules, "return stood(() => 0).ended(ending(1013, 3_600_000), 0)") is None


def test_the_hint_of_a_restart_is_what_the_server_sends(modules: Modules) -> None:
    """A restart that says when to come back is jittered by the server already."""
    told = f"{{ code: '{ShuttingDown.code}', closeCode: {ShuttingDown.close_code}, retryAfterMs: 1000 }}"
    assert run(modules, f"return stood(() => 1).ended({told}, 0)") == 1500
