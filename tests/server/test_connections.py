"""How many connections there may be, from where and how fast: the rules, and a real `relay serve` at its limits."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from relay.config import Config
from relay.connections import MAX_ADDRESSES, SPREAD_S, Connections, NoRoom, make_room
from tests.certificates import Certificate
from tests.processes import RelayProcess, clean_environment, relay_process
from tests.server.ticket_office import TICKETS, TOKEN
from tests.server.upstreams import open_files

SIMULATED = ("--upstream", "simulator")
OUTSIDE = "192.0.2.1"
COUNTING_LOOPBACK = (
    "import relay.connections; relay.connections.is_loopback = lambda peer: False; from relay.cli import main; main()"
)
"""A relay for which this machine is a stranger: a test has no other address to come from."""


def no_hanging_up() -> None:
    raise AssertionError("nobody was to be hung up on")


def enter(room: Connections, peer: str = OUTSIDE, now_s: float = 0.0) -> None:
    """Come and go."""
    with room.place(peer, now_s, no_hanging_up):
        pass


def refusal(room: Connections, peer: str = OUTSIDE, now_s: float = 0.0) -> tuple[int, str]:
    with pytest.raises(NoRoom) as caught:
        enter(room, peer, now_s)
    return caught.value.status, caught.value.setting


def test_a_connection_too_many_is_refused_while_all_others_are_at_work_and_its_place_is_given_back() -> None:
    room = Connections(Config(), 3)
    with ExitStack() as places:
        for n in range(3):
            places.enter_context(room.place(f"192.0.2.{n}", 0.0, no_hanging_up)).works()
        assert refusal(room) == (503, "spare_connections")
        assert refusal(room, "127.0.0.1") == (503, "spare_connections")
    enter(room)
    assert room.connections == 0


def test_a_connection_too_many_takes_the_place_of_the_one_that_has_waited_longest() -> None:
    room, gone = Connections(Config(), 4), list[int]()
    with ExitStack() as stack:
        places = [stack.enter_context(room.place(OUTSIDE, 0.0, partial(gone.append, n))) for n in range(4)]
        places[0].works()
        places[1].works()
        places[1].waits()  # answered, and waiting since
        for expected in ([2], [2, 3], [2, 3, 1]):
            stack.enter_context(room.place(OUTSIDE, 0.0, no_hanging_up)).works()
            assert gone == expected
        assert refusal(room) == (503, "spare_connections")
    assert room.connections == 0
    assert not room._waiting


def test_who_comes_too_often_takes_nobodys_place() -> None:
    room = Connections(Config(max_connections_per_address=1), 1)
    with room.place(OUTSIDE, 0.0, no_hanging_up):
        assert refusal(room) == (429, "max_connections_per_address")


@pytest.mark.parametrize(("first", "second"), [(OUTSIDE, OUTSIDE), ("2001:db8::1", "2001:db8::ffff:2")])
def test_one_address_does_not_get_all_connections(first: str, second: str) -> None:
    room = Connections(Config(max_connections_per_address=2, connects_per_s_per_address=0.0), 100)
    with room.place(first, 0.0, no_hanging_up), room.place(first, 0.0, no_hanging_up):
        assert refusal(room, second) == (429, "max_connections_per_address")
        enter(room, "198.51.100.7")
    enter(room, second)


def test_an_address_that_comes_too_often_is_refused_until_its_rate_allows_it_again() -> None:
    room = Connections(Config(connects_per_s_per_address=2.0), 100)
    for _ in range(20):
        enter(room)
    assert refusal(room) == (429, "connects_per_s_per_address")
    enter(room, "198.51.100.7")
    assert refusal(room, now_s=0.4) == (429, "connects_per_s_per_address")
    enter(room, now_s=0.6)


def test_the_machine_itself_may_come_as_often_as_it_likes() -> None:
    room = Connections(Config(max_connections_per_address=1, connects_per_s_per_address=0.1), 100)
    for peer in ("127.0.0.1", "::1", "127.0.0.9"):
        with room.place(peer, 0.0, no_hanging_up):
            for _ in range(50):
                enter(room, peer)


def test_who_is_refused_is_told_when_to_come_and_each_another_time() -> None:
    room = Connections(Config(connects_per_s_per_address=0.1, max_connections_per_address=1), 1)
    enter(room)  # the whole burst

    def told(peer: str) -> list[float]:
        refusals = []
        for _ in range(200):
            with pytest.raises(NoRoom) as caught:
                enter(room, peer, 2.0)
            refusals.append(caught.value.retry_after_s)
        return refusals

    too_fast = told(OUTSIDE)
    with room.place("127.0.0.1", 2.0, no_hanging_up) as place:
        place.works()
        full = told("127.0.0.1")
    for times, earliest_s in ((too_fast, 8.0), (full, 1.0)):
        assert earliest_s <= min(times)
        assert max(times) <= earliest_s + SPREAD_S
        assert len({round(time_s) for time_s in times}) > 5


def test_a_million_addresses_are_not_remembered() -> None:
    room = Connections(Config(), 100)
    for n in range(MAX_ADDRESSES + 500):
        enter(room, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert len(room._buckets) == MAX_ADDRESSES
    assert not room._by_address


@contextmanager
def limited_files(soft: int) -> Iterator[None]:
    """Let this process have so many files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_on_open_files_is_raised_to_what_the_settings_need() -> None:
    config = Config(max_sessions=50, spare_connections=300, upstream="simulator")
    with limited_files(200):
        assert make_room(config) == 350
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 64 + 350 + 2 * 50


def limited_to(files: int) -> tuple[str, ...]:
    """Return how to run relay with a hard limit on its open files."""
    return ("prlimit", f"--nofile={files}:{files}", sys.executable, "-m", "relay")


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n"


def statuses(relay: RelayProcess, count: int) -> list[int]:
    """Open so many connections at once, ask on each for /healthz and hold them all; return what they answer."""
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", relay.port), timeout=10)) for _ in range(count)
        ]
        for connection in connections:
            with suppress(ConnectionError):  # it may have been hung up on already
                connection.sendall(HEALTH)
        return [int(connection.recv(12)[9:]) for connection in connections]


UNFINISHED = (
    b"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer %b\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n" % TOKEN.encode()
)
OFFICE = {**TICKETS, "RELAY_TICKETS": "off"}


@contextmanager
def at_work(relay: RelayProcess, count: int) -> Iterator[list[socket.socket]]:
    """Hold so many connections with requests that relay has begun to read, and whose bodies are still to come."""
    with ExitStack() as stack:
        connections = [stack.enter_context(relay.connect()) for _ in range(count)]
        for connection in connections:
            connection.sendall(UNFINISHED)
            assert connection.recv(1_000).startswith(b"HTTP/1.1 100 ")
        yield connections


def test_a_flood_of_connections_is_refused_with_503_and_leaves_no_trace() -> None:
    env = {**OFFICE, "RELAY_SPARE_CONNECTIONS": "20"}
    with relay_process(*SIMULATED, "--max-sessions", "1", env=env) as relay:
        before = open_files(relay)
        with at_work(relay, 21) as connections:
            assert statuses(relay, 39) == [503] * 39
            for connection in connections:
                connection.sendall(b"{}")
                assert connection.recv(12)[9:] == b"200"
        assert relay.stderr.count("connection.refused") == 1  # one line a minute, not one for each
        deadline_s = time.monotonic() + 8  # less than the idle time of a connection
        while open_files(relay) > before:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        assert statuses(relay, 21) == [200] * 21


WITHOUT_A_REQUEST = {
    "nothing": (b"", False),
    "half a request": (b"GET /healthz HTTP/1.1\r\nX: ", False),
    "nothing, where TLS is spoken": (b"", True),
    "half a hello": (b"\x16\x03\x01\x02\x00\x01\x00", True),
}


@pytest.mark.parametrize(("said", "secure"), WITHOUT_A_REQUEST.values(), ids=WITHOUT_A_REQUEST)
def test_connections_on_which_nothing_is_asked_keep_nobody_out(said: bytes, secure: bool, tmp_path: Path) -> None:
    certificate = Certificate.issue(tmp_path) if secure else None
    env = {"RELAY_SPARE_CONNECTIONS": "20"}
    with relay_process(*SIMULATED, "--max-sessions", "1", env=env, certificate=certificate) as relay:
        with ExitStack() as stack:
            for _ in range(50):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", relay.port), timeout=10))
                connection.sendall(said)
            with relay.connect() as newcomer:
                newcomer.sendall(HEALTH)
                assert newcomer.recv(12)[9:] == b"200"
        assert relay.stderr.count("connection.made_way") == 1
        assert relay.stop() == 0
        assert "Traceback" not in relay.stderr
        assert "connection.failed" not in relay.stderr


@pytest.mark.parametrize("secure", [False, True])
def test_connections_that_wait_for_their_next_request_make_way_without_a_word_in_the_log(
    secure: bool, tmp_path: Path
) -> None:
    certificate = Certificate.issue(tmp_path) if secure else None
    env = {"RELAY_SPARE_CONNECTIONS": "10"}
    with relay_process(*SIMULATED, "--max-sessions", "1", env=env, certificate=certificate) as relay:
        with ExitStack() as stack:
            connections = [stack.enter_context(relay.connect()) for _ in range(11)]
            for connection in connections:
                connection.sendall(HEALTH)
                assert connection.recv(12)[9:] == b"200"
            with relay.connect() as newcomer:
                newcomer.sendall(HEALTH)
                assert newcomer.recv(12)[9:] == b"200"
        assert relay.stop() == 0
        assert relay.stderr.count("connection.made_way") == 1
        assert "connection.failed" not in relay.stderr


def test_an_address_that_opens_too_many_connections_is_refused_with_429() -> None:
    program = (sys.executable, "-c", COUNTING_LOOPBACK)
    env = {"RELAY_MAX_CONNECTIONS_PER_ADDRESS": "5", "RELAY_CONNECTS_PER_S_PER_ADDRESS": "0"}
    with relay_process(*SIMULATED, program=program, env=env) as relay:
        answers = statuses(relay, 12)
        assert (answers.count(200), answers.count(429)) == (5, 7)


def test_an_address_that_connects_too_fast_is_refused_with_429() -> None:
    program = (sys.executable, "-c", COUNTING_LOOPBACK)
    env = {"RELAY_MAX_CONNECTIONS_PER_ADDRESS": "0", "RELAY_CONNECTS_PER_S_PER_ADDRESS": "0.5"}
    with relay_process(*SIMULATED, program=program, env=env) as relay:
        answers = statuses(relay, 30)
        assert 5 <= answers.count(200) < 20  # a burst of five, and one more every 2 s
        assert answers.count(429) == 30 - answers.count(200)


def test_with_few_files_left_to_it_relay_takes_fewer_connections_and_serves() -> None:
    with relay_process(*SIMULATED, "--max-sessions", "2", program=limited_to(90), env=OFFICE) as relay:
        assert statuses(relay, 90 - 64 - 4) == [200] * (90 - 64 - 4)
        with at_work(relay, 90 - 64 - 4):
            assert statuses(relay, 100) == [503] * 100
        assert "server.few_open_files" in relay.stderr
        assert "Traceback" not in relay.stderr


def test_with_too_few_files_the_command_ends_with_one_line() -> None:
    command = [*limited_to(100), "serve", "--port", "0", *SIMULATED]
    done = subprocess.run(command, capture_output=True, env=clean_environment(), timeout=20, check=False)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("relay: max_sessions: 100 sessions need 365 open files or more")
    assert done.stderr.count(b"\n") == 1
