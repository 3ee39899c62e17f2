"""Measure what strangers can do to a conversation that is under way: how late its audio gets upstream.

    python -m tests.attacks.fairness

One person talks over TLS, a frame every 20 ms. The strangers, in a process of their own, have no ticket and stay within
what one address may open. Load generator, upstream and relay share the machine: compare with the line "alone".
"""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from tests.certificates import Certificate
from tests.peers import FakeBrowser, FakeUpstream
from tests.processes import ROOT, RelayProcess, relay_process
from tests.server.key_changer import KeyChanger
from tests.server.upstreams import GONE, open_upstream_server, start, state

FRAME_S = 0.02
CONNECTIONS = 200
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n"


def ask_without_end(port: int) -> None:
    """Ask on as many connections as one address may have, on each anew when it has its answer."""
    connections = [_secured(port) for _ in range(CONNECTIONS)]
    while True:
        for connection in connections:
            connection.sendall(REQUEST)
        for connection in connections:
            connection.recv(4_096)


def shake_hands_at_once(port: int) -> None:
    """Have as many handshakes begin in one moment as one address may."""
    context = _context()
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    secured = [context.wrap_socket(one, do_handshake_on_connect=False) for one in connections]
    for one in secured:
        one.setblocking(False)
        with suppress(ssl.SSLWantReadError):
            one.do_handshake()
    time.sleep(60)


def change_keys_without_end(port: int) -> None:
    """Ask for new keys as fast as one can, and come back when relay hangs up."""
    while True:
        with socket.create_connection(("127.0.0.1", port)) as connection, suppress(AssertionError):
            changer = KeyChanger(connection)
            changer.say(REQUEST)
            while changer.change():
                pass
        time.sleep(1 / 20)  # which is how often one address may


STRANGERS: dict[str, Callable[[int], None]] = {
    f"requests on {CONNECTIONS} connections": ask_without_end,
    f"{CONNECTIONS} handshakes at once": shake_hands_at_once,
    "new keys without end": change_keys_without_end,
}


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _secured(port: int) -> ssl.SSLSocket:
    return _context().wrap_socket(socket.create_connection(("127.0.0.1", port)))


class Talk:
    """A conversation, and when each frame of it was sent and came upstream."""

    def __init__(self) -> None:
        self._sent_s: list[float] = []
        self._came_s: list[float] = []
        self._news = trio.Condition()

    async def play(self, upstream: FakeUpstream) -> None:
        """Be the upstream: note when audio comes."""
        while True:
            if (await upstream.receive_json())["type"] == "input_audio_buffer.append":
                self._came_s.append(trio.current_time())
                async with self._news:
                    self._news.notify()

    async def _has_come(self, frames: int) -> None:
        with trio.fail_after(30):
            async with self._news:
                while len(self._came_s) < frames:
                    await self._news.wait()

    async def late_ms(self, browser: FakeBrowser, seconds: float) -> list[float]:
        """Talk for so long; return how late each frame came, sorted."""
        first, due_s = len(self._sent_s), trio.current_time()
        for _ in range(round(seconds / FRAME_S)):
            await trio.sleep_until(due_s)
            due_s += FRAME_S
            self._sent_s.append(trio.current_time())
            await browser.send(bytes(2 * 480))
        await self._has_come(len(self._sent_s))
        pairs = zip(self._sent_s[first:], self._came_s[first:], strict=True)
        return sorted((came_s - sent_s) * 1000 for sent_s, came_s in pairs)


@asynccontextmanager
async def open_secured_browser(relay: RelayProcess) -> AsyncIterator[FakeBrowser]:
    """Start a session over TLS."""
    tcp = await trio.open_tcp_stream("127.0.0.1", relay.port)
    assert relay.trust is not None
    stream = trio.SSLStream(tcp, relay.trust, server_hostname="127.0.0.1")
    host = f"127.0.0.1:{relay.port}"
    async with tcp:
        browser = await FakeBrowser.dial(
            stream, host=host, headers=[("Origin", relay.origin)], subprotocols=["relay.v1"]
        )
        await start(browser)
        yield browser


@contextmanager
def strangers(number: int, port: int) -> Iterator[None]:
    """Let them at it for the length of the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.attacks.fairness", str(number), str(port)], cwd=ROOT
    ) as process:
        try:
            yield
        finally:
            process.kill()


async def measure(seconds: float) -> None:
    """Print a line for each kind of strangers."""
    talk = Talk()
    with TemporaryDirectory() as folder:
        async with open_upstream_server(talk.play) as url:
            with relay_process("--upstream", url, certificate=Certificate.issue(Path(folder))) as relay:
                async with open_secured_browser(relay) as browser, trio.open_nursery() as nursery:
                    nursery.start_soon(_read, browser)
                    await _tell("alone", talk, relay, browser, seconds)
                    for number, name in enumerate(STRANGERS):
                        with strangers(number, relay.port):
                            await _tell(name, talk, relay, browser, seconds)
                        await trio.sleep(12)  # until they count as gone
                    nursery.cancel_scope.cancel()


async def _read(browser: FakeBrowser) -> None:
    """Take what relay says, and answer nothing: the microphone is sign of life enough."""
    with suppress(*GONE):
        while await browser.stream.receive_some(65_536):
            pass


async def _tell(name: str, talk: Talk, relay: RelayProcess, browser: FakeBrowser, seconds: float) -> None:
    late_ms = await talk.late_ms(browser, seconds)
    p50, p99 = (late_ms[int(share * len(late_ms))] for share in (0.5, 0.99))
    worst_ms = (await state(relay))["worst_late_ms"]
    late = f"p50 {p50:5.1f}  p99 {p99:5.1f}  most {late_ms[-1]:5.1f} ms"
    print(f"{name:28} {late}; the loop by {worst_ms} ms at most so far", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        list(STRANGERS.values())[int(sys.argv[1])](int(sys.argv[2]))
    else:
        trio.run(measure, 5.0)
