"""docs/deploy.md, run as it stands: nginx and HAProxy as Debian has them before a real relay, TLS at the proxy.

The configurations are taken out of the page; what a test machine cannot have is filled in: ports, the certificate's
place, and shorter times for silence. A small HTTP server stands for the operator's back end.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected

from relay.config_sources import load
from tests.certificates import Certificate
from tests.processes import ROOT, RelayProcess, relay_process
from tests.server.talker import open_talker

PAGE = (ROOT / "docs" / "deploy.md").read_text()
TICKETS = {"RELAY_SERVER_TOKEN": "s" * 32, "RELAY_TICKET_SECRET": "t" * 32}
OPEN = {"RELAY_TICKETS": "off", "RELAY_UPSTREAM": "simulator", "RELAY_MAX_SESSIONS_PER_ADDRESS": "1"}
ORIGIN = "https://voice.example"
TICKET_PATH = "/voice/ticket"
ALICE, BOB = "127.0.0.2", "127.0.0.3"
NGINX = """\
daemon off;
{user}
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/relay.conf;
}}
"""


def blocks(name: str) -> list[str]:
    """Take the indented blocks out of the page that name a file in their first lines."""
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, flags=re.MULTILINE)
    texts = [re.sub(r"^    ", "", text, flags=re.MULTILINE) for text in found]
    return [text for text in texts if re.search(rf"^# \S*{re.escape(name)}", text, flags=re.MULTILINE)]


def filled(text: str, **places: str) -> str:
    """Replace words of the page; each of them must be there."""
    for word, place in places.items():
        assert word in text
        text = text.replace(word, place)
    return text


def program(name: str) -> str:
    """Give the path of a program that is tested with, or skip the test; in CI its absence is an error."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        message = f"{name} is not installed: apt-get install {name}"
        assert os.environ.get("CI") != "true", message
        pytest.skip(message)
    return path


@dataclass(frozen=True)
class Proxy:
    """A running proxy: where it listens, what its clients trust, and what came to the back end behind it."""

    port: int
    trust: ssl.SSLContext
    asked: list[tuple[str, str | None, str | None]]


@dataclass(frozen=True)
class Ports:
    """Where the proxy listens, and where what it is before listens."""

    proxy: int
    relay: int
    back_end: int


def nginx(folder: Path, certificate: Certificate, ports: Ports) -> list[str]:
    [site] = blocks("relay.conf")
    places = {
        "listen 443": f"listen 127.0.0.1:{ports.proxy}",
        "127.0.0.1:8000": f"127.0.0.1:{ports.relay}",
        "127.0.0.1:5000": f"127.0.0.1:{ports.back_end}",
        "/etc/ssl/voice.example/fullchain.pem": str(certificate.certificate_file),
        "/etc/ssl/voice.example/privkey.pem": str(certificate.key_file),
        "60s": "2s",
    }
    (folder / "relay.conf").write_text(filled(site, **places))
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, user=user))
    return [program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, certificate: Certificate, ports: Ports) -> list[str]:
    [configuration] = blocks("haproxy.cfg")
    pem = folder / "voice.example.pem"
    pem.write_bytes(certificate.certificate_file.read_bytes() + certificate.key_file.read_bytes())
    places = {
        "bind :443": f"bind 127.0.0.1:{ports.proxy}",
        "127.0.0.1:8000": f"127.0.0.1:{ports.relay}",
        "127.0.0.1:5000": f"127.0.0.1:{ports.back_end}",
        "/etc/haproxy/voice.example.pem": str(pem),
        "60s": "2s",
    }
    (folder / "haproxy.cfg").write_text(filled(configuration, **places))
    return [program("haproxy"), "-db", "-q", "-f", str(folder / "haproxy.cfg")]


PROXIES = {"nginx": nginx, "haproxy": haproxy}


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[None]:
    """Run a proxy until it listens; at the end it is gone."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            ends_at = time.monotonic() + 20
            while process.poll() is None and time.monotonic() < ends_at:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            else:
                raise AssertionError(f"{command[0]} does not listen:\n{log.read_text()}")
            yield
        finally:
            process.terminate()
            process.wait(10)


@contextmanager
def back_end() -> Iterator[tuple[int, list[tuple[str, str | None, str | None]]]]:
    """Answer every POST, on a port that is given; note its path, and what it says of host and client."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name is http.server's
            asked.append((self.path, self.headers["Host"], self.headers["X-Forwarded-For"]))
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join(10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture(params=PROXIES)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[RelayProcess, Proxy]]:
    """relay with the page's settings, behind one of the page's proxies."""
    program(request.param)
    certificate, port = Certificate.issue(tmp_path), free_port()
    settings = next(text for text in blocks("relay.toml") if "trusted_proxies" in text)
    (tmp_path / "relay.toml").write_text(settings)
    env = {**OPEN, "RELAY_PING_INTERVAL_S": "0.5"}
    with relay_process("--config", str(tmp_path / "relay.toml"), env=env) as relay, back_end() as (site, asked):
        command = PROXIES[request.param](tmp_path, certificate, Ports(port, relay.port, site))
        with running(command, port, tmp_path / "proxy.log"):
            yield relay, Proxy(port, certificate.trust(), asked)


def ask(proxy: Proxy, *lines: str, sender: str = ALICE) -> str:
    """Send a request through the proxy, and return the status line of the answer."""
    with (
        socket.create_connection(("127.0.0.1", proxy.port), timeout=10, source_address=(sender, 0)) as plain,
        proxy.trust.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall("\r\n".join([*lines, "Host: voice.example", "Connection: close", "", ""]).encode())
        return connection.recv(4096).split(b"\r\n")[0].decode()


async def test_a_voice_session_through_the_proxy_is_heard_and_outlives_silence(
    served: tuple[RelayProcess, Proxy],
) -> None:
    relay, proxy = served
    with trio.fail_after(30):
        async with open_talker(proxy.port, trust=proxy.trust, page=ORIGIN, local_address=ALICE) as talker:
            await talker.start()
            await trio.sleep(3)  # longer than the proxy bears silence; relay's pings break it
            await talker.write("good morning")
            done = await talker.expect("relay.audio.done")
    assert done["samples"] == len(talker.answer) > 0
    assert f"peer={ALICE} " in relay.stderr


async def test_the_limit_per_address_counts_the_proxys_clients_whatever_they_say_of_themselves(
    served: tuple[RelayProcess, Proxy],
) -> None:
    _, proxy = served
    arguments = {"trust": proxy.trust, "page": ORIGIN}
    with trio.fail_after(30):
        async with open_talker(proxy.port, **arguments, local_address=ALICE) as first:  # type: ignore[arg-type]
            await first.start()
            with pytest.RaisesGroup(ConnectionRejected, flatten_subgroups=True) as caught:
                async with open_talker(proxy.port, **arguments, local_address=ALICE):  # type: ignore[arg-type]
                    pass
            assert [error.status_code for error in caught.value.exceptions] == [429]  # type: ignore[union-attr]
            upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
            asked = ("GET /v1/realtime HTTP/1.1", f"Origin: {ORIGIN}", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
            assert " 429" in ask(proxy, *asked, *upgrade, "X-Forwarded-For: 198.51.100.7")
            async with open_talker(proxy.port, **arguments, local_address=BOB) as second:  # type: ignore[arg-type]
                await second.start()


async def test_the_goodbye_at_sigterm_comes_through_the_proxy(served: tuple[RelayProcess, Proxy]) -> None:
    relay, proxy = served
    with trio.fail_after(30):
        async with open_talker(proxy.port, trust=proxy.trust, page=ORIGIN, local_address=ALICE) as talker:
            await talker.start()
            relay.process.terminate()
            error = await talker.expect("error")
            assert error["error"]["code"] == "relay_shutting_down"
            with pytest.raises(ConnectionClosed) as closed:
                await talker.expect("nothing")
            assert closed.value.reason is not None
            assert closed.value.reason.code == 1012
    assert relay.process.wait(12) == 0


def test_the_page_is_served_and_strangers_get_no_ticket(served: tuple[RelayProcess, Proxy]) -> None:
    _, proxy = served
    assert " 200" in ask(proxy, "GET / HTTP/1.1")
    assert " 403" in ask(proxy, "POST /v1/realtime/client_secrets HTTP/1.1", "Content-Length: 0")


def test_the_page_gets_its_tickets_from_the_back_end_under_the_same_origin(served: tuple[RelayProcess, Proxy]) -> None:
    _, proxy = served
    assert " 201" in ask(proxy, f"POST {TICKET_PATH} HTTP/1.1", "Content-Length: 0")
    assert " 404" in ask(proxy, f"POST {TICKET_PATH}/more HTTP/1.1", "Content-Length: 0")
    assert proxy.asked == [(TICKET_PATH, "voice.example", ALICE)]


def test_the_settings_of_the_page_are_accepted(tmp_path: Path) -> None:
    own, behind = blocks("relay.toml")
    for text in (own, behind):
        (tmp_path / "relay.toml").write_text(text)
        config = load({"config": str(tmp_path / "relay.toml")}, TICKETS)
        assert config.is_exposed
    assert "tls_certificate_file" in own
    assert config.trusted_proxies == ("127.0.0.1",)
    assert config.ticket_url == TICKET_PATH


def test_the_unit_gives_sessions_their_time_and_keeps_no_core() -> None:
    [text] = blocks("relay.service")
    unit = configparser.RawConfigParser(comment_prefixes="#")
    unit.optionxform = str  # type: ignore[assignment]  # names keep their capitals
    unit.read_string(text)
    service = unit["Service"]
    assert float(service["TimeoutStopSec"]) > load({}, {}).drain_s + 3
    assert (service["LimitCORE"], service["ExecReload"]) == ("0", "/bin/kill -HUP $MAINPID")
    assert service["ExecStart"].split()[1] == "serve"
