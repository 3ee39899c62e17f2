"""What a real `relay serve` does with what arrives before a session: each fault, and that it goes on serving.

All of it on plain HTTP and over TLS.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.certificates import Certificate
from tests.processes import RelayProcess, relay_process
from tests.server.ticket_office import TICKETS, TOKEN


@pytest.fixture(scope="module", params=["plain", "tls"])
def relay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    certificate = Certificate.issue(tmp_path_factory.mktemp("tls")) if request.param == "tls" else None
    env = {**TICKETS, "RELAY_TICKETS": "off"}  # there are tickets to be had, and nobody needs one
    with relay_process("--upstream", "simulator", certificate=certificate, env=env) as process:
        yield process
        assert process.process.poll() is None, "the server died"


def exchange(relay: RelayProcess, request: bytes, *, until: bytes = b"") -> bytes:
    """Send bytes on a new connection; return what comes back until `until` or the end."""
    with relay.connect() as connection:
        connection.sendall(request)
        received = b""
        while not until or until not in received:
            try:
                chunk = connection.recv(65_536)
            except ConnectionResetError:
                break
            if not chunk:
                break
            received += chunk
        return received


def get(relay: RelayProcess, path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: relay", "Connection: close", *headers, "", ""]
    return exchange(relay, "\r\n".join(lines).encode())


def upgrade(
    relay: RelayProcess,
    *headers: str,
    host: str = "relay",
    path: str = "/v1/realtime",
    protocol: str = "relay.v1",
) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        *([f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []),
        *headers,
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1")


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def is_alive(relay: RelayProcess) -> bool:
    return get(relay, "/healthz").endswith(b"ok\n")


def own_origin(relay: RelayProcess) -> str:
    return f"Origin: {relay.origin}"


def test_the_page_is_served_with_a_strict_policy(relay: RelayProcess) -> None:
    answer = get(relay, "/").lower()
    assert status(answer) == 200
    assert b"content-security-policy: default-src 'none'; script-src 'self'" in answer
    assert b"x-content-type-options: nosniff" in answer
    assert b"unsafe" not in answer.split(b"\r\n\r\n")[0]


def test_a_module_is_served_as_javascript(relay: RelayProcess) -> None:
    assert b"content-type: text/javascript" in get(relay, "/static/relay-client.js")


def test_a_file_that_has_not_changed_is_not_sent_again(relay: RelayProcess) -> None:
    first = get(relay, "/static/relay-client.js")
    etag = next(line for line in first.split(b"\r\n") if line.lower().startswith(b"etag:")).decode()[5:].strip()
    again = get(relay, "/static/relay-client.js", f"If-None-Match: {etag}")
    assert status(again) == 304


@pytest.mark.parametrize(
    "path", ["/static/../pyproject.toml", "/static/%2e%2e/relay/app.py", "/static//etc/passwd", "/no"]
)
def test_nothing_but_the_page_can_be_fetched(relay: RelayProcess, path: str) -> None:
    assert status(get(relay, path)) == 404


def test_health_and_readiness_answer(relay: RelayProcess) -> None:
    assert status(get(relay, "/healthz")) == 200
    assert status(get(relay, "/readyz")) == 200


def test_the_own_page_is_admitted(relay: RelayProcess) -> None:
    answer = exchange(relay, upgrade(relay, own_origin(relay)), until=b"\r\n\r\n")
    assert status(answer) == 101
    assert b"sec-websocket-protocol: relay.v1" in answer.lower()


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1", "{other}://127.0.0.1:{port}", "{own}.evil.example",
     "{own}/", "HTTP://127.0.0.1:{port}", ""],
)  # fmt: skip
def test_another_origin_is_refused_before_the_upgrade(relay: RelayProcess, origin: str) -> None:
    other = "http" if relay.trust else "https"
    named = origin.format(own=relay.origin, other=other, port=relay.port)
    answer = exchange(relay, upgrade(relay, f"Origin: {named}"), until=b"\r\n\r\n")
    assert status(answer) == 403


def test_a_program_without_origin_is_admitted_on_loopback(relay: RelayProcess) -> None:
    assert status(exchange(relay, upgrade(relay), until=b"\r\n\r\n")) == 101


def test_an_unknown_subprotocol_is_refused(relay: RelayProcess) -> None:
    request = upgrade(relay, own_origin(relay), protocol="chat.v9")
    assert status(exchange(relay, request, until=b"\r\n\r\n")) == 400


def test_another_path_is_not_found(relay: RelayProcess) -> None:
    request = upgrade(relay, own_origin(relay), path="/v2/realtime")
    assert status(exchange(relay, request, until=b"\r\n\r\n")) == 404


def test_compression_is_never_negotiated(relay: RelayProcess) -> None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=abc"
    answer = exchange(relay, upgrade(relay, own_origin(relay), offer), until=b"\r\n\r\n")
    assert status(answer) == 101
    assert b"extensions" not in answer.lower()


@pytest.mark.parametrize("header", ["Sec-WebSocket-Protocol: \xff", "Connection: Upgrade, \xff"])
def test_a_handshake_with_non_ascii_headers_is_refused_and_the_server_lives(relay: RelayProcess, header: str) -> None:
    request = upgrade(relay, own_origin(relay), header, protocol="")
    assert status(exchange(relay, request, until=b"\r\n\r\n")) == 400
    assert is_alive(relay)


def test_a_refusal_for_the_head_alone_is_json_and_has_no_body_for_head(relay: RelayProcess) -> None:
    for method, has_body in (("GET", True), ("HEAD", False)):
        request = f"{method} / HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n\r\n"
        head, _, body = exchange(relay, request.encode()).partition(b"\r\n\r\n")
        assert status(head) == 400
        assert bool(body) == has_body
        assert not body or set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    assert "connection.failed" not in relay.stderr


@pytest.mark.parametrize(
    "host", ["a..b", ".", "a" * 64, "a b", "a/b", "a@b", "r\xe9lay", "[::1", "relay:80:80", "relay:x"]
)
def test_a_host_header_that_is_no_host_is_refused(relay: RelayProcess, host: str) -> None:
    for request in (f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"), upgrade(relay, host=host)):
        assert status(exchange(relay, request, until=b"\r\n\r\n")) == 400
    assert "Traceback" not in relay.stderr


@pytest.mark.parametrize(
    "host", ["", "relay", "relay.example.:8443", "a_b.example", "127.0.0.1:80", "[::1]:80", "a" * 63]
)
def test_a_host_header_that_is_a_host_is_taken(relay: RelayProcess, host: str) -> None:
    request = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert status(exchange(relay, request.encode())) == 200


def test_http2_is_refused(relay: RelayProcess) -> None:
    assert not exchange(relay, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").startswith(b"\x00")
    upgraded = get(relay, "/", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    assert status(upgraded) == 200
    assert is_alive(relay)


def test_bytes_behind_the_upgrade_request_end_one_connection_and_not_the_server(relay: RelayProcess) -> None:
    for _ in range(5):
        answer = exchange(relay, upgrade(relay, own_origin(relay)) + b"\x81")
        assert status(answer) == 400
    assert is_alive(relay)
    assert "Traceback" not in relay.stderr


def test_bytes_that_come_before_the_101_end_one_connection_and_give_its_place_back() -> None:
    with relay_process("--upstream", "simulator", "--max-sessions", "200") as relay:
        for attempt in range(150):
            with relay.connect() as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(upgrade(relay, own_origin(relay)))
                spin(attempt % 30 / 5_000)  # at every moment of a handshake
                connection.sendall(b"\x81\x80")
                spin(0.001)
        assert is_alive(relay)
        assert relay.stop() == 0
        assert "Traceback" not in relay.stderr


def spin(seconds: float) -> None:
    ends_at = time.perf_counter() + seconds
    while time.perf_counter() < ends_at:
        pass


@pytest.mark.parametrize(
    "broken",
    [(b"-Version: 13", b"-Version: 12"), (b"Sec-WebSocket-Key", b"X-Key"), (b"HTTP/1.1", b"HTTP/1.0")],
    ids=["version", "key", "http"],
)
def test_a_handshake_that_is_none_is_refused_and_its_connection_ends(
    relay: RelayProcess, broken: tuple[bytes, bytes]
) -> None:
    with relay.connect() as connection:
        connection.settimeout(5)  # less than an idle time
        connection.sendall(upgrade(relay, own_origin(relay)).replace(*broken))
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
    assert status(answer) == 400
    assert "Traceback" not in relay.stderr


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(relay: RelayProcess) -> None:
    descriptors = Path(f"/proc/{relay.process.pid}/fd")
    if not descriptors.is_dir():
        pytest.skip("needs /proc")
    before = len(list(descriptors.iterdir()))
    for _ in range(100):
        with relay.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n\0\0\r\n")
    assert is_alive(relay)  # and has accepted all of them
    deadline_s = time.monotonic() + 5
    while (left := len(list(descriptors.iterdir()))) > before and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert left <= before + 1


@pytest.mark.parametrize("awaits", [True, False])
@pytest.mark.parametrize("requests", [0, 1, 2, 3])
def test_a_client_that_has_said_its_last_byte_is_not_waited_for(
    relay: RelayProcess, requests: int, awaits: bool
) -> None:
    with relay.connect() as connection:
        connection.settimeout(5)  # less than an idle time
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n" * requests)
        received = b""
        while awaits and received.count(b"ok\n") < requests:
            received += connection.recv(65_536)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass


def test_garbage_ends_one_connection_and_not_the_server(relay: RelayProcess) -> None:
    for garbage in (b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5_000 + b"\r\n"):
        exchange(relay, garbage, until=b"\r\n\r\n")
    assert is_alive(relay)


HEADS = [
    (431, "GET / HTTP/1.1\r\nHost: relay\r\n" + "A: b\r\n" * 101 + "\r\n"),
    (431, "GET / HTTP/1.1\r\nHost: relay\r\nA: " + "b" * 17_000 + "\r\n\r\n"),
    (431, "GET /" + "a" * 17_000 + " HTTP/1.1\r\nHost: relay\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n\r\nhello"),
    (400, "GET ?model=x HTTP/1.1\r\nHost: relay\r\n\r\n"),
    (400, "GET http://[ HTTP/1.1\r\nHost: relay\r\n\r\n"),
    (411, "POST / HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (413, "POST / HTTP/1.1\r\nHost: relay\r\nContent-Length: 16385\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: relay\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
]


@pytest.mark.parametrize(("expected", "request_text"), HEADS)
def test_a_request_is_refused_for_its_head_alone(relay: RelayProcess, expected: int, request_text: str) -> None:
    answer = exchange(relay, request_text.encode())
    assert status(answer) == expected
    assert b"connection: close" in answer.lower()
    assert is_alive(relay)


# They fit one read, and one record of TLS.
LONG = {
    413: b"POST / HTTP/1.1\r\nHost: relay\r\nContent-Length: 60000\r\n\r\n" + b"a" * 15_000,
    431: b"GET / HTTP/1.1\r\nHost: relay\r\n" + b"A: b\r\n" * 2_500 + b"\r\n",
}


@pytest.mark.parametrize("expected", LONG)
def test_a_refusal_of_what_came_at_once_does_not_end_in_a_reset(relay: RelayProcess, expected: int) -> None:
    """It would, if a part of it were not read: and a reset may overtake the answer."""
    received = b""
    with relay.connect() as connection:
        connection.sendall(LONG[expected])
        while chunk := connection.recv(65_536):
            received += chunk
    assert status(received) == expected


OFFICE = b"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: relay\r\nContent-Length: 16000\r\n"
TRICKLES = {
    "head": b"GET /healthz HTTP/1.1\r\nX: ",
    "second head": b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\nGET /healthz HTTP/1.1\r\nX: ",
    "body": OFFICE + b"\r\n",
    "body behind the right token": OFFICE
    + b"Content-Type: application/json\r\nAuthorization: Bearer %b\r\n\r\n" % TOKEN.encode(),
}


def test_a_request_that_trickles_in_is_ended_at_its_deadline(relay: RelayProcess) -> None:
    received = {name: bytearray() for name in TRICKLES}
    with ExitStack() as stack:
        trickles = {name: stack.enter_context(socket.create_connection(("127.0.0.1", relay.port))) for name in TRICKLES}
        for name, connection in trickles.items():
            connection.sendall(TRICKLES[name])
        began_s = time.monotonic()
        while trickles and time.monotonic() < began_s + 14:
            time.sleep(0.25)
            trickles = {name: one for name, one in trickles.items() if takes_more(one, received[name])}
        assert not trickles
    if not relay.trust:
        head, _, body = bytes(received["body behind the right token"]).partition(b"\r\n\r\n")
        assert (status(head), json.loads(body)["error"]["code"]) == (408, "request_timeout")
    assert is_alive(relay)


def takes_more(connection: socket.socket, received: bytearray) -> bool:
    """Send one more byte, and keep what may have come; return whether the other side is still there."""
    try:
        connection.sendall(b"x")
        connection.setblocking(False)
        while chunk := connection.recv(65_536):
            received += chunk
        return False
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    finally:
        connection.setblocking(True)
