"""Tickets as values: what is accepted, when, how often; and how tickets and Origins are judged at the door."""

from __future__ import annotations

import base64
import hmac
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.addresses import parse_upstream
from relay.admission import Admission
from relay.client_secrets import WRONG_TOKENS_PER_MINUTE, ApiError, TicketOffice
from relay.config import Config, Secret
from relay.connections import SPREAD_S
from relay.core.permissions import Grant
from relay.credentials import StaticKey
from relay.door import KEY_SUBPROTOCOL, Door, Knock
from relay.errors import (
    AddressLimit,
    BadRequest,
    OriginRefused,
    Overloaded,
    RelayError,
    ShuttingDown,
    TicketElsewhere,
    TicketRefused,
)
from relay.limits import bound_by, client_settings, tightened, too_wide
from relay.profiles import PROFILES
from relay.target import Target
from relay.tickets import EXPIRED, FORGED, OLD, USED, Service, Ticket, TicketLimits, Tickets, service_of, steady_clock

NOW_S = 1_800_000_000.25
SECRETS = (Secret("new-secret-0123456789abcdef012345"), Secret("old-secret-0123456789abcdef012345"))
TOKEN = Secret("server-token-0123456789abcdef0123")
ORIGIN = "https://voice.example"
PEER = "192.0.2.7"
SERVICE = Service("openai", "gpt-realtime-2.1")


def tickets(
    secrets: Sequence[Secret] = SECRETS,
    service: Service = SERVICE,
    *,
    started_s: float = NOW_S,
    most_used: int = 100,
) -> Tickets:
    return Tickets(secrets, service, started_s=started_s, most_used=most_used)


def why(office: Tickets, text: str, now_s: float = NOW_S) -> str:
    with pytest.raises(TicketRefused) as refused:
        office.read(text, now_s)
    assert refused.value.public == TicketRefused.default_public, "the client learns nothing"
    return refused.value.detail


# What a ticket is


def test_a_ticket_is_read_as_it_was_made() -> None:
    office = tickets()
    limits = TicketLimits(max_session_s=60.0, max_tokens=500)
    text, made = office.make(NOW_S, life_s=600, uses=3, user="bob", limits=limits)
    assert office.read(text, NOW_S) == made
    assert (made.expires_s, made.uses, made.limits) == (int(NOW_S) + 600, 3, limits)


def test_a_ticket_can_be_a_bearer_token_and_a_subprotocol() -> None:
    text, _ = tickets().make(NOW_S, life_s=600, user="bob@example.com: Łódź")
    assert text.startswith("ek_")
    assert all(letter.isascii() and (letter.isalnum() or letter in "-_.") for letter in text)
    assert len(text) < 512


def test_the_users_name_is_not_in_the_ticket_and_its_hash_is_stable_and_keyed() -> None:
    text, made = tickets().make(NOW_S, life_s=600, user="bob@example.com")
    payload = text.removeprefix("ek_").split(".")[0]
    assert b"bob" not in base64.urlsafe_b64decode(payload + "==")
    assert made.user == tickets().make(NOW_S + 9, life_s=10, user="bob@example.com")[1].user
    assert len(made.user) == 64
    assert int(made.user, 16)
    assert made.user != tickets().make(NOW_S, life_s=600, user="eve@example.com")[1].user
    assert made.user != tickets(SECRETS[1:]).make(NOW_S, life_s=600, user="bob@example.com")[1].user


def test_a_ticket_ends_at_its_second() -> None:
    office = tickets()
    text, made = office.make(NOW_S, life_s=10)
    office.read(text, made.expires_s - 0.001)
    assert why(office, text, made.expires_s) == EXPIRED


def test_a_ticket_of_an_older_secret_holds_and_one_of_a_dropped_secret_does_not() -> None:
    text, made = tickets(SECRETS[1:]).make(NOW_S, life_s=600)
    assert tickets(SECRETS).read(text, NOW_S) == made
    assert why(tickets(SECRETS[:1]), text) == FORGED


def test_the_first_secret_signs() -> None:
    text, made = tickets(SECRETS).make(NOW_S, life_s=600)
    assert tickets(SECRETS[:1]).read(text, NOW_S) == made


# Single use


def test_a_ticket_is_used_as_often_as_it_says_and_no_more() -> None:
    office = tickets()
    for uses in (1, 3):
        text, _ = office.make(NOW_S, life_s=600, uses=uses)
        for _ in range(uses):
            office.use(office.read(text, NOW_S), NOW_S)
        assert why(office, text) == USED


def test_a_ticket_older_than_the_process_is_refused_so_a_restart_allows_no_replay() -> None:
    before = tickets(started_s=NOW_S)
    text, _ = before.make(NOW_S + 1, life_s=600)
    before.use(before.read(text, NOW_S + 2), NOW_S + 2)
    assert why(tickets(started_s=NOW_S + 3), text, NOW_S + 4) == OLD


def test_another_process_with_the_same_secret_takes_a_ticket_once_of_its_own() -> None:
    one, other = tickets(), tickets()
    text, _ = one.make(NOW_S + 1, life_s=600)
    other.use(other.read(text, NOW_S + 1), NOW_S + 1)
    assert why(other, text, NOW_S + 1) == USED


def test_when_no_more_can_be_remembered_nobody_new_comes_in_until_one_expires() -> None:
    office = tickets(most_used=2)
    made = [office.make(NOW_S, life_s=life_s, uses=2)[0] for life_s in (20, 60, 60)]
    for text in made[:2]:
        office.use(office.read(text, NOW_S), NOW_S)
    with pytest.raises(Overloaded) as full:
        office.use(office.read(made[2], NOW_S), NOW_S)
    assert 19_000 <= (full.value.retry_after_ms or 0) <= 20_000
    office.use(office.read(made[1], NOW_S), NOW_S)  # one that is known needs no room
    office.use(office.read(made[2], NOW_S + 20), NOW_S + 20)
    assert why(office, made[1], NOW_S + 20) == USED, "a ticket was forgotten before it had expired"


@pytest.mark.parametrize("set_by_s", [-86_400.0, 86_400.0])
def test_setting_the_machines_clock_revives_no_ticket_and_locks_nobody_out(
    monkeypatch: pytest.MonkeyPatch, set_by_s: float
) -> None:
    now_s = steady_clock()
    began_s = now_s()
    assert abs(began_s - time.time()) < 5
    really = time.time
    monkeypatch.setattr(time, "time", lambda: really() + set_by_s)
    assert 0 <= now_s() - began_s < 5


# Forged and mutated


def mutations(text: str, count: int) -> Iterator[str]:
    """Give `count` texts that are near a ticket: other letters, cuts, doubles, other forms of the same base64."""
    chance = random.Random(7)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ~\n\x00é"
    body, signature = text.removeprefix("ek_").split(".")
    yield from (
        "",
        "ek_",
        "ek_.",
        ".",
        body,
        f"ek_{body}",
        f"ek_{body}.",
        f"{body}.{signature}",
        f"EK_{body}.{signature}",
    )
    yield from (text + "=", text + "\n", " " + text, f"ek_{body}=.{signature}", f"ek_{body}.{signature}.{signature}")
    for last in set(letters) - {text[-1]}:  # the unused bits of the last letter: the same bytes for a lax decoder
        yield text[:-1] + last
    for _ in range(count):
        place, letter = chance.randrange(3, len(text)), chance.choice(letters)
        changed = chance.choice(
            (text[:place] + letter + text[place + 1 :], text[:place], text[:place] + letter + text[place:],
             text[:place] + text[place + 1 :], text[:place] + text[place - 1] + text[place:], text[:place].swapcase())
        )  # fmt: skip
        if changed != text:
            yield changed


def forgeries() -> Iterator[str]:
    """Give tickets that are right in all but their signature."""
    payload = msgspec.json.encode(Ticket(id="x", service=SERVICE, made_s=NOW_S, expires_s=int(NOW_S) + 7200, uses=1000))
    body = base64.urlsafe_b64encode(payload).rstrip(b"=")
    for key in (b"", b"relay", b"relay.ticket", b"secret", TOKEN.reveal().encode(), SECRETS[0].reveal().encode()):
        for signed in (body, payload, b"ek_" + body):
            for digest in ("sha256", "sha1", "md5"):
                signature = base64.urlsafe_b64encode(hmac.digest(key, signed, digest)).rstrip(b"=")
                yield f"ek_{body.decode()}.{signature.decode()}"
    for header in ({"alg": "none"}, {"alg": "HS256", "typ": "JWT"}):
        yield f"{base64.urlsafe_b64encode(json.dumps(header).encode()).decode()}.{body.decode()}."


def door(**settings: object) -> tuple[Door, Tickets, Admission]:
    config = Config(server_token=TOKEN, ticket_secret=SECRETS, **settings)  # type: ignore[arg-type]
    admission, office = Admission(config), tickets()
    return Door(config, frozenset({ORIGIN}), admission, office), office, admission


def browser(text: str, origin: str = ORIGIN) -> Knock:
    return Knock(PEER, (origin,), ("relay.v1", KEY_SUBPROTOCOL + text))


def program(text: str) -> Knock:
    return Knock(PEER, authorization=(f"Bearer {text}",))


def test_none_of_10000_forged_mutated_replayed_and_expired_tickets_is_admitted() -> None:
    entrance, office, _ = door()
    good, _ = office.make(NOW_S, life_s=600)
    expired, _ = office.make(NOW_S, life_s=10)
    used, _ = office.make(NOW_S, life_s=600)
    entrance.admit(browser(used), NOW_S)
    tried = 0
    for text in (*mutations(good, 10_000), *forgeries(), *[used] * 100, *mutations(used, 100)):
        for knock in (browser(text), program(text)):
            with pytest.raises(TicketRefused):
                entrance.admit(knock, NOW_S)
            tried += 1
    for late_s in range(10, 200):
        with pytest.raises(TicketRefused):
            entrance.admit(browser(expired), NOW_S + late_s)
    assert tried >= 10_000
    assert entrance.admit(browser(good), NOW_S), "the good one was spoilt by the bad ones"


ORIGINS = st.one_of(
    st.text(max_size=40),
    st.builds(lambda cut, more: ORIGIN[:cut] + more, st.integers(0, len(ORIGIN)), st.text(max_size=20)),
    st.builds(lambda cut, more: more + ORIGIN[cut:], st.integers(0, len(ORIGIN)), st.text(max_size=20)),
    st.sampled_from([ORIGIN.upper(), ORIGIN.title(), ORIGIN + "/", ORIGIN + ":443", "null", "", ORIGIN + "."]),
    st.sampled_from([f"{ORIGIN}, {ORIGIN}", f"{ORIGIN} {ORIGIN}", "http://voice.example", f"{ORIGIN}\u200b"]),
)


@given(st.lists(ORIGINS.filter(lambda origin: origin != ORIGIN), min_size=100, max_size=100))
def test_no_mutated_origin_is_admitted_even_with_a_good_ticket(origins: list[str]) -> None:
    """100 examples of 100 origins."""
    entrance, office, _ = door()
    text, _ = office.make(NOW_S, life_s=600)
    for origin in origins:
        with pytest.raises(OriginRefused):
            entrance.admit(browser(text, origin), NOW_S)
    assert entrance.admit(browser(text), NOW_S), "a refused origin must not use the ticket up"


# The door


def test_a_program_without_an_origin_comes_in_with_a_ticket_and_not_without() -> None:
    entrance, office, _ = door(host="0.0.0.0")
    text, made = office.make(NOW_S, life_s=600)
    with pytest.raises(TicketRefused):
        entrance.admit(Knock(PEER), NOW_S)
    assert entrance.admit(program(text), NOW_S) == made


def test_a_page_of_the_list_needs_a_ticket_all_the_same() -> None:
    entrance, _, _ = door()
    with pytest.raises(TicketRefused):
        entrance.admit(Knock(PEER, (ORIGIN,), ("relay.v1",)), NOW_S)


@pytest.mark.parametrize("header", ["Basic Ym9iOmJvYg==", "Bearer what-a-proxy-added", "Bearer ", ""])
def test_a_browsers_ticket_counts_before_a_header_that_a_proxy_has_added(header: str) -> None:
    entrance, office, _ = door()
    text, made = office.make(NOW_S, life_s=600)
    assert entrance.admit(Knock(PEER, (ORIGIN,), ("realtime", KEY_SUBPROTOCOL + text), (header,)), NOW_S) == made


def test_a_header_of_another_scheme_hides_no_ticket() -> None:
    entrance, office, _ = door()
    text, made = office.make(NOW_S, life_s=600)
    assert entrance.admit(Knock(PEER, (), (), ("Basic Ym9iOmJvYg==", f"Bearer {text}")), NOW_S) == made


def test_of_two_tickets_one_is_used() -> None:
    entrance, office, _ = door()
    (one, first), (other, second) = (office.make(NOW_S, life_s=600) for _ in range(2))
    assert entrance.admit(Knock(PEER, (), (), (f"Bearer {one}", f"Bearer {other}")), NOW_S) == first
    assert office.read(other, NOW_S) == second


def test_the_server_token_is_no_ticket() -> None:
    entrance, _, _ = door()
    with pytest.raises(TicketRefused):
        entrance.admit(program(TOKEN.reveal()), NOW_S)


def test_a_subprotocol_that_only_carries_a_ticket_is_not_enough() -> None:
    entrance, office, _ = door()
    text, _ = office.make(NOW_S, life_s=600)
    with pytest.raises(BadRequest):
        entrance.admit(Knock(PEER, (ORIGIN,), (KEY_SUBPROTOCOL + text,)), NOW_S)


def test_a_stranger_does_not_learn_that_the_server_is_full() -> None:
    entrance, office, admission = door(max_sessions=1)
    with admission.place(PEER):
        with pytest.raises(TicketRefused):
            entrance.admit(browser("ek_x"), NOW_S)
        text, _ = office.make(NOW_S, life_s=600)
        with pytest.raises(Overloaded):
            entrance.admit(browser(text), NOW_S)
    assert entrance.admit(browser(text), NOW_S), "who found no room must be able to come back with the same ticket"


@pytest.mark.parametrize("refusal", [AddressLimit, ShuttingDown])
def test_a_ticket_survives_every_refusal_for_room(refusal: type[RelayError]) -> None:
    entrance, office, admission = door(max_sessions_per_address=1)
    text, made = office.make(NOW_S, life_s=600)
    with admission.place(PEER):
        if refusal is ShuttingDown:
            admission.drain(until_s=0.0)
        with pytest.raises(refusal):
            entrance.admit(browser(text), NOW_S)
    assert office.read(text, NOW_S) == made


def test_without_tickets_any_key_will_do_and_is_not_looked_at() -> None:
    config = Config()
    entrance = Door(config, frozenset({ORIGIN}), Admission(config), None)
    assert entrance.admit(browser("ek_anything"), NOW_S) is None
    assert entrance.admit(program("unused"), NOW_S) is None


def test_a_door_that_needs_tickets_and_cannot_read_them_is_not_built() -> None:
    config = Config(host="0.0.0.0")
    with pytest.raises(ValueError, match="tickets"):
        Door(config, frozenset({ORIGIN}), Admission(config), None)


def test_without_tickets_and_away_from_loopback_an_origin_is_needed() -> None:
    config = Config(host="0.0.0.0", tickets="off")
    entrance = Door(config, frozenset({ORIGIN}), Admission(config), None)
    with pytest.raises(OriginRefused):
        entrance.admit(Knock(PEER), NOW_S)
    assert entrance.admit(Knock(PEER, (ORIGIN,)), NOW_S) is None


# The profile that a ticket is for


@pytest.mark.parametrize(
    "settings",
    [
        {"upstream": "azure"},
        {"upstream": "wss://voice.example/v1/realtime"},
        {"upstream": "openai", "profile": "custom"},
        {"upstream": "openai", "model": "gpt-realtime-mini"},
        {"upstream": "wss://api.openai.com/v1/realtime?model=gpt-realtime-mini"},
        {"upstream": "simulator"},
    ],
)
def test_a_ticket_of_one_profile_and_model_is_refused_by_a_process_with_another(settings: dict[str, Any]) -> None:
    made_at, shown_at = (tickets(service=service_of(Config(**more))) for more in ({"upstream": "openai"}, settings))
    text, _ = made_at.make(NOW_S, life_s=600)
    with pytest.raises(TicketElsewhere) as refused:
        shown_at.read(text, NOW_S)
    assert refused.value.public == TicketElsewhere.default_public
    assert made_at.read(text, NOW_S)


def test_processes_with_the_same_profile_and_model_take_each_others_tickets() -> None:
    url = "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1"
    made_at, shown_at = (tickets(service=service_of(Config(upstream=upstream))) for upstream in ("openai", url))
    text, made = made_at.make(NOW_S, life_s=600)
    assert shown_at.read(text, NOW_S) == made


# Limits that a ticket carries


def test_of_two_limits_the_tighter_one_holds() -> None:
    config = Config(max_session_s=900.0, max_tokens=1_000)
    session = tightened(config, TicketLimits(max_session_s=60.0, max_tokens=5_000, max_usd=0.5))
    assert (session.max_session_s, session.max_tokens, session.max_usd) == (60.0, 1_000, 0.5)
    assert session.limits_money, "a price must be known for a limit in money"
    assert tightened(config, TicketLimits()) == config


def test_a_limit_that_would_be_wider_than_the_processs_is_named() -> None:
    config = Config(max_session_s=900.0)
    assert too_wide(config, TicketLimits(max_session_s=901.0)) == "max_session_s"
    assert too_wide(config, TicketLimits(max_session_s=900.0, max_tokens=10**9)) == ""


def test_a_limit_in_money_is_refused_where_no_price_is_known() -> None:
    assert problem({"relay": {"limits": {"max_usd": 1}}}, model="no-such-model") == (400, "relay.limits.max_usd")


# Policy that a ticket carries


@pytest.mark.parametrize(
    ("grant", "process", "expected"),
    [
        ({}, ("locked", ("voice",)), ("locked", ("voice",))),
        ({}, ("open", ()), ("open", ())),
        ({"policy": "open"}, ("locked", ("voice",)), ("open", ())),
        ({"policy": "locked"}, ("open", ()), ("locked", ())),
        ({"policy": "locked"}, ("locked", ("voice",)), ("locked", ("voice",))),
        ({"client_may": []}, ("locked", ("voice",)), ("locked", ())),
        ({"client_may": ["tools", "speed", "tools"]}, ("open", ()), ("locked", ("speed", "tools"))),
    ],
)
def test_a_ticket_says_what_its_client_may_do_or_leaves_it_to_the_settings(
    grant: dict[str, object], process: tuple[str, tuple[str, ...]], expected: tuple[str, tuple[str, ...]]
) -> None:
    settings: dict[str, Any] = {"policy": process[0], "client_may": process[1]}
    config = Config(server_token=TOKEN, ticket_secret=SECRETS, **settings)
    held = tickets()
    answer = TicketOffice(config, held).answer(json.dumps({"relay": grant}).encode(), NOW_S)
    session = bound_by(held.read(answer["value"], NOW_S), config)
    assert (session.policy, session.client_may) == expected


def test_a_ticket_that_permits_everything_by_name_is_not_too_long_to_be_read() -> None:
    config = Config(server_token=TOKEN, ticket_secret=SECRETS, upstream=f"wss://voice.example/x?model={'m' * 1900}")
    held, every = tickets(service=service_of(config)), list(get_args(Grant))
    limits = dict.fromkeys(TicketLimits.__struct_fields__, 12_345.678901234567) | {"max_tokens": 10**9}
    del limits["max_usd"]  # nobody knows what that model costs
    body = {"relay": {"user": "x" * 256, "client_may": every, "limits": limits}}
    answer = TicketOffice(config, held).answer(json.dumps(body).encode(), NOW_S)
    assert set(held.read(answer["value"], NOW_S).client_may) == set(every)


def test_sessions_that_differ_by_limits_alone_share_what_is_made_of_the_prompt() -> None:
    one, other = (tightened(Config(), TicketLimits(max_tokens=tokens)) for tokens in (1, 2))
    assert client_settings("a", one).permissions is client_settings("b", other).permissions


# The user


@pytest.mark.parametrize("profile", PROFILES)
def test_only_openai_and_azure_learn_for_whom_a_session_is(profile: str) -> None:
    target = Target(parse_upstream("wss://voice.example/v1/realtime"), PROFILES[profile], StaticKey(None), user="hash")
    told = ("OpenAI-Safety-Identifier", "hash") in target.headers(Secret("key"))
    assert told == (profile in ("openai", "azure"))
    assert "OpenAI-Safety-Identifier" not in dict(replace(target, user="").headers(Secret("key")))


# The office


def office(**settings: object) -> TicketOffice:
    config = Config(server_token=TOKEN, ticket_secret=SECRETS, **settings)  # type: ignore[arg-type]
    return TicketOffice(config, tickets())


def problem(body: object, **settings: object) -> tuple[int, str | None]:
    with pytest.raises(ApiError) as refused:
        office(**settings).answer(body if isinstance(body, bytes) else json.dumps(body).encode(), NOW_S)
    error = refused.value.body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return refused.value.status, error["param"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None), (b"[]", "body"), (b"[" * 10_000, None), (b"\xff", None), (b"null", "body"),
        ({"relay": {"user": ""}}, "relay.user"), ({"relay": {"user": "x" * 257}}, "relay.user"),
        ({"relay": {"uses": 2}}, "relay.uses"), ({"relay": {"uses": 0}}, "relay.uses"),
        ({"relay": {"limits": {"max_session_s": 901}}}, "relay.limits.max_session_s"),
        ({"relay": {"limits": {"max_session_s": -1}}}, "relay.limits.max_session_s"),
        ({"relay": {"limits": {"max_sessions": 1}}}, "relay.limits.max_sessions"),
        ({"relay": {"policy": "open", "client_may": ["voice"]}}, "relay.client_may"),
        ({"relay": {"policy": "ajar"}}, "relay.policy"), ({"relay": {"client_may": ["keys"]}}, "relay.client_may[0]"),
        ({"relay": {"nothing": 1}}, "relay.nothing"), ({"nothing": 1}, "nothing"),
        ({"expires_after": {"seconds": 9}}, "expires_after.seconds"),
        ({"expires_after": {"seconds": 7201}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "now"}}, "expires_after.anchor"),
        ({"session": {"type": "transcription"}}, "session.type"), ({"session": {}}, "session"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_request_is_named(body: object, param: str | None) -> None:
    status, found = problem(body, max_session_s=900.0)
    assert status == 400
    assert found == (None if param == "body" else param)


def test_the_answer_has_openais_shape_and_tells_neither_prompt_nor_tools() -> None:
    config = Config(server_token=TOKEN, ticket_secret=SECRETS, instructions="CANARY PROMPT", model="gpt-realtime-2.1")
    body = {"session": {"type": "realtime", "model": "other", "instructions": "CANARY TOO", "tools": [{}]}}
    answer = TicketOffice(config, tickets()).answer(json.dumps(body).encode(), NOW_S)
    assert set(answer) == {"value", "expires_at", "session"}
    assert answer["expires_at"] == int(NOW_S) + 600
    session = answer["session"]
    assert session["id"].startswith("sess_")
    assert (session["object"], session["type"], session["model"]) == (
        "realtime.session",
        "realtime",
        "gpt-realtime-2.1",
    )
    assert "CANARY" not in json.dumps(answer)
    assert not {"instructions", "tools", "tool_choice", "prompt"} & set(session)


def test_ten_wrong_tokens_a_minute_are_answered_401_more_429_and_the_right_one_always_passes() -> None:
    desk = office()
    statuses = []
    for _ in range(15):
        with pytest.raises(ApiError) as refused:
            desk.check_token("wrong", PEER, NOW_S)
        statuses.append(refused.value.status)
    assert statuses == [401] * 10 + [429] * 5
    desk.check_token(TOKEN.reveal(), PEER, NOW_S)
    with pytest.raises(ApiError) as refused:
        desk.check_token("wrong", PEER, NOW_S + 60)
    assert refused.value.status == 401


def test_who_is_told_to_come_back_after_the_minute_is_told_a_time_of_their_own() -> None:
    spread_s = iter((0.0, 4.0, SPREAD_S))
    config = Config(server_token=TOKEN, ticket_secret=SECRETS)
    desk = TicketOffice(config, tickets(), choose=lambda low, high: next(spread_s))
    told = []
    for _ in range(WRONG_TOKENS_PER_MINUTE + 3):
        with pytest.raises(ApiError) as refused:
            desk.check_token("wrong", PEER, NOW_S)
        told.append(refused.value.headers.get("Retry-After"))
    left_s = math.ceil(60 - NOW_S % 60)
    assert told[WRONG_TOKENS_PER_MINUTE:] == [str(left_s), str(left_s + 4), str(left_s + int(SPREAD_S))]


def test_wrong_tokens_from_many_addresses_are_counted_in_bounded_memory() -> None:
    desk = office()
    for number in range(2_000):
        with pytest.raises(ApiError) as refused:
            desk.check_token("wrong", f"2001:db8:0:{number:x}::1", NOW_S)
    assert refused.value.status == 429
    assert len(desk._wrong._tries) == 1_024


@pytest.mark.parametrize("token", ["", "wrong", "é", TOKEN.reveal()[:-1], TOKEN.reveal() + "x", TOKEN.reveal().upper()])
def test_only_the_server_token_is_the_server_token(token: str) -> None:
    with pytest.raises(ApiError) as refused:
        office().check_token(token, PEER, NOW_S)
    assert refused.value.status == 401
    assert refused.value.body["error"]["code"] == "invalid_api_key"
