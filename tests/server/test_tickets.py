"""A real `relay serve` that needs tickets: who gets one, what it opens, and that no secret comes out anywhere."""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import re
import socket
import textwrap
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from relay.connections import SPREAD_S
from tests.processes import ROOT, RelayProcess, relay_process
from tests.server.ticket_office import CLIENT_SECRETS, KEY, SECRET, TICKETS, TOKEN, USER, post, ticket

PROMPT = "CANARY PROMPT: never tell"
ENV = {**TICKETS, "RELAY_INSTRUCTIONS": PROMPT, "RELAY_UPSTREAM": "simulator", "RELAY_LOG_LEVEL": "debug"}


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with relay_process(env={**ENV, "RELAY_MAX_SESSION_S": "900", "RELAY_TICKET_USES": "2"}) as process:
        yield process
        assert process.process.poll() is None, "the server died"


def knock(relay: RelayProcess, *, offered: str = "relay.v1", origin: str | None = "own", bearer: str = "") -> bytes:
    """Ask for a session; return the head of the answer."""
    own = f"http://127.0.0.1:{relay.port}"
    lines = [
        "GET /v1/realtime?model=m HTTP/1.1", "Host: relay", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
    ]  # fmt: skip
    lines += [f"Sec-WebSocket-Protocol: {offered}"] if offered else []
    lines += [f"Origin: {own if origin == 'own' else origin}"] if origin is not None else []
    lines += [f"Authorization: Bearer {bearer}"] if bearer else []
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
        received = b""
        while b"\r\n\r\n" not in received and (chunk := connection.recv(65_536)):
            received += chunk
        return received


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def log_line(relay: RelayProcess, event: str) -> str:
    """Wait for the first line of the log with this event."""
    ends_s = time.monotonic() + 10
    while not (found := [line for line in relay.stderr.splitlines() if event in line]):
        assert time.monotonic() < ends_s, relay.stderr
        time.sleep(0.01)
    return found[0]


@asynccontextmanager
async def session(relay: RelayProcess, *offered: str, bearer: str = "", origin: str = "") -> Any:
    """Open a session over trio-websocket."""
    headers = [(b"Authorization", f"Bearer {bearer}".encode())] if bearer else []
    headers += [(b"Origin", origin.encode())] if origin else []
    stream = await trio.open_tcp_stream("127.0.0.1", relay.port)
    try:
        async with trio.open_nursery() as nursery:
            host = f"127.0.0.1:{relay.port}"
            yield await wrap_client_stream(
                nursery, stream, host, "/v1/realtime", subprotocols=offered, extra_headers=headers
            )
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


async def next_event(socket: WebSocketConnection) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(await socket.get_message())
    return event


async def until(socket: WebSocketConnection, kind: str) -> dict[str, Any]:
    """Listen until an event of this type comes."""
    while (event := await next_event(socket))["type"] != kind:
        pass
    return event


async def close_code(socket: WebSocketConnection) -> int:
    """Listen to the end."""
    try:
        while True:
            await socket.get_message()
    except ConnectionClosed as closed:
        return int(closed.reason.code) if closed.reason else 0


# Getting one


def test_a_back_end_with_the_server_token_gets_a_ticket_in_openais_shape(relay: RelayProcess) -> None:
    body = {
        "expires_after": {"anchor": "created_at", "seconds": 1_200},
        "session": {"type": "realtime", "model": "gpt-realtime", "instructions": "Be a pirate."},
        "relay": {"user": USER, "limits": {"max_session_s": 60}},
    }
    answer = post(relay, body)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert set(answer.json) == {"value", "expires_at", "session"}
    assert answer.json["value"].startswith("ek_")
    assert abs(answer.json["expires_at"] - time.time() - 1_200) < 10
    assert answer.json["session"]["object"] == "realtime.session"
    assert not {"instructions", "tools", "prompt"} & set(answer.json["session"])


def test_without_the_server_token_there_is_no_ticket(relay: RelayProcess) -> None:
    for given in (None, "", "wrong", TOKEN + "x", SECRET):
        answer = post(relay, token=given)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json["error"]["code"] == "invalid_api_key"


def test_who_hammers_wrong_tokens_is_answered_429_and_the_back_end_is_still_served() -> None:
    with relay_process(env=ENV) as relay:
        answers = [post(relay, token="wrong") for _ in range(25)]  # a minute may end meanwhile
        assert {answer.status for answer in answers} == {401, 429}
        refused = next(answer for answer in answers if answer.status == 429)
        assert 0 < int(refused.headers["retry-after"]) <= 60 + SPREAD_S
        assert post(relay).status == 200


@pytest.mark.parametrize(
    ("body", "headers", "expected", "code"),
    [
        (b"{", {}, 400, "invalid_json"),
        ({"relay": {"uses": 3}}, {}, 400, "invalid_value"),
        ({"relay": {"limits": {"max_session_s": 901}}}, {}, 400, "invalid_value"),
        ({}, {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b" " * 16_385, {}, 413, "http_413"),
    ],
)
def test_a_wrong_request_is_answered_in_openais_error_shape(
    relay: RelayProcess, body: object, headers: dict[str, str], expected: int, code: str
) -> None:
    answer = post(relay, body, **headers)
    assert answer.status == expected
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}
    assert answer.json["error"]["code"] == code


def test_where_tickets_are_not_set_up_none_are_made() -> None:
    with relay_process("--upstream", "simulator", env=dict.fromkeys(TICKETS, "")) as relay:
        assert post(relay).status == 404


# Using it


async def test_a_program_comes_in_with_its_ticket_as_bearer_and_needs_no_origin(relay: RelayProcess) -> None:
    with trio.fail_after(10):
        async with session(relay, bearer=ticket(relay)) as opened:
            assert (await next_event(opened))["type"] == "session.created"


@pytest.mark.parametrize("language", ["realtime", "relay.v1"])
async def test_a_browser_comes_in_with_its_ticket_as_subprotocol_which_is_never_echoed(
    relay: RelayProcess, language: str
) -> None:
    origin = f"http://127.0.0.1:{relay.port}"
    with trio.fail_after(10):
        async with session(relay, language, KEY + ticket(relay), origin=origin) as opened:
            assert opened.subprotocol == language
    answer = knock(relay, offered=f"{KEY}{ticket(relay)}, {language}")
    assert status(answer) == 101
    assert b"ek_" not in answer


def test_without_a_ticket_even_the_own_page_is_refused_before_the_upgrade(relay: RelayProcess) -> None:
    answer = knock(relay)
    assert status(answer) == 401
    assert b"www-authenticate: bearer" in answer.lower()


def test_another_origin_is_refused_even_with_a_good_ticket(relay: RelayProcess) -> None:
    good = ticket(relay)
    assert status(knock(relay, origin="https://evil.example", offered=f"relay.v1, {KEY}{good}")) == 403
    assert status(knock(relay, origin="https://evil.example", bearer=good)) == 403
    assert status(knock(relay, bearer=good)) == 101


def test_a_ticket_opens_as_many_sessions_as_it_says(relay: RelayProcess) -> None:
    once, twice = ticket(relay), ticket(relay, uses=2)
    assert [status(knock(relay, bearer=once)) for _ in range(3)] == [101, 401, 401]
    assert [status(knock(relay, bearer=twice)) for _ in range(3)] == [101, 101, 401]


def test_a_ticket_opens_nothing_after_a_restart() -> None:
    with relay_process(env=ENV) as before:
        used, unused = ticket(before), ticket(before)
        assert status(knock(before, bearer=used)) == 101
        made, started = log_line(before, "ticket.made"), log_line(before, "session.started")
        assert started.rpartition("ticket=")[2] in made, "the log must say which ticket a session came with"
    with relay_process(env=ENV) as after:
        assert [status(knock(after, bearer=text)) for text in (used, unused)] == [401, 401]
        assert status(knock(after, bearer=ticket(after))) == 101


def test_a_ticket_for_another_model_is_refused_with_403_and_the_log_says_why(relay: RelayProcess) -> None:
    with relay_process("--model", "gpt-realtime-mini", env=ENV) as other:
        elsewhere = ticket(other)
        assert status(knock(relay, bearer=elsewhere)) == 403
        log_line(relay, 'reason="for another profile or model"')
        assert status(knock(other, bearer=elsewhere)) == 101


def test_the_server_token_opens_no_session(relay: RelayProcess) -> None:
    assert status(knock(relay, bearer=TOKEN)) == 401


async def test_a_limit_in_the_ticket_ends_its_session(relay: RelayProcess) -> None:
    text = ticket(relay, limits={"max_session_s": 0.5})
    with trio.fail_after(10):
        async with session(relay, bearer=text) as opened:
            assert await close_code(opened) == 4601


@pytest.mark.parametrize(
    ("grant", "voice", "prompt"),
    [({}, "marin", None), ({"client_may": ["voice"]}, "cedar", None), ({"policy": "open"}, "cedar", "Be a pirate.")],
)
async def test_a_ticket_says_what_its_client_may_set(
    relay: RelayProcess, grant: dict[str, object], voice: str, prompt: str | None
) -> None:
    asked = {"type": "realtime", "instructions": "Be a pirate.", "audio": {"output": {"voice": "cedar"}}}
    with trio.fail_after(10):
        async with session(relay, bearer=ticket(relay, **grant)) as opened:
            await until(opened, "session.updated")
            await opened.send_message(json.dumps({"type": "session.update", "session": asked}))
            told = (await until(opened, "session.updated"))["session"]
    assert told["audio"]["output"]["voice"] == voice
    assert told.get("instructions") == prompt


async def test_the_upstream_learns_a_stable_hash_of_the_user_and_never_the_name() -> None:
    with relay_process(env=ENV) as relay, trio.fail_after(20):
        for grant in ({"user": USER}, {"user": USER}, {"user": "another"}, {}):
            async with session(relay, bearer=ticket(relay, **grant)) as opened:
                await next_event(opened)  # the upstream has been asked
        lines = [line for line in relay.stderr.splitlines() if "simulator.connected" in line]
        seen = [line.rpartition("safety_identifier=")[2].strip('"') for line in lines]
        assert len(seen[0]) == 64
        assert seen[0] == seen[1] != seen[2]
        assert seen[3] == ""
        assert USER not in relay.stderr


# The examples in docs/tickets.md


def example(heading: str) -> str:
    """Give the first indented block under a heading."""
    page = (ROOT / "docs" / "tickets.md").read_text()
    block = re.search(rf"## {heading}\n(?:(?!    )[^\n]*\n)*((?:    [^\n]*\n|\n)+)", page)
    assert block
    return textwrap.dedent(block[1])


def test_the_back_end_in_the_docs_gives_a_ticket_to_whoever_is_logged_in(
    relay: RelayProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_SECRET", "anything")
    monkeypatch.setenv("VOICE_RELAY_URL", relay.url.rstrip("/"))
    monkeypatch.setenv("RELAY_SERVER_TOKEN", TOKEN)
    back_end: dict[str, Any] = {"__name__": "back_end"}
    exec(example("A back end"), back_end)
    client = back_end["app"].test_client()
    assert client.post("/voice/ticket").status_code == 401
    with client.session_transaction() as login:
        login["user"] = "bob"
    answer = client.post("/voice/ticket")
    assert answer.status_code == 200
    assert status(knock(relay, bearer=answer.json["value"])) == 101
    assert client.get("/voice/ticket").status_code == 405


def test_the_request_in_the_docs_is_accepted() -> None:
    body = example("The request").split("\n\n")[1]
    with relay_process(env={**ENV, "RELAY_MAX_USD": "1"}) as relay:
        answer = post(relay, body.encode())
        assert answer.status == 200
        assert 0 < answer.json["expires_at"] - time.time() <= 60


# Attacks


async def test_of_hundreds_of_forged_and_mutated_tickets_the_process_admits_none(relay: RelayProcess) -> None:
    good, chance = ticket(relay), random.Random(3)
    used = ticket(relay)
    assert status(knock(relay, bearer=used)) == 101
    refused = 0
    for number in range(300):
        place = chance.randrange(3, len(good))
        changed = good[:place] + chance.choice("ABCabc012-_.") + good[place + 1 :]
        bad = used if number % 10 == 0 else changed
        if bad != good:
            shown = {"bearer": bad} if number % 2 else {"offered": f"relay.v1, {KEY}{bad}"}
            assert status(knock(relay, **shown)) == 401, bad
            refused += 1
    assert refused >= 250
    assert status(knock(relay, bearer=good)) == 101


def test_no_secret_comes_out_anywhere() -> None:
    came_out: list[bytes] = []
    with relay_process(env=ENV) as relay:
        good = ticket(relay, user=USER)
        bodies: tuple[object, ...] = (b"{", {"relay": {"user": "", TOKEN: SECRET}}, {"session": {"type": SECRET}})
        for token in (TOKEN, SECRET, "wrong"):
            came_out += [str(post(relay, body, token=token)).encode() for body in bodies]
        came_out += [knock(relay, offered=f"realtime, {KEY}{good}") for _ in range(2)]
        came_out += [knock(relay, bearer=TOKEN), knock(relay, bearer=SECRET), knock(relay, origin=f"https://{SECRET}")]
        for path in (f"/?key={TOKEN}", f"/v1/realtime?api_key={good}", f"/{TOKEN}", f"{CLIENT_SECRETS}?token={TOKEN}"):
            connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=10)
            connection.request("GET", path)
            answer = connection.getresponse()
            came_out.append(str(answer.getheaders()).encode() + answer.read())
            connection.close()
        relay.stop()
        came_out += [relay.stderr.encode(), "\n".join(relay.output).encode()]
    everything = b"\n".join(came_out)
    for canary in (TOKEN, SECRET, USER, PROMPT, good):
        assert canary.encode() not in everything
    assert b"ticket.made" in everything, "the log was not read"


def test_a_process_that_holds_keys_leaves_no_core_dump() -> None:
    with relay_process("--upstream", "simulator") as relay:
        limits = Path(f"/proc/{relay.process.pid}/limits").read_text()
    [line] = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert line.split()[4:6] == ["0", "0"]
