"""An upstream in the test's own process, on a real socket, that does what a test writes down; and browsers in numbers.

It shares no code with relay (tests/peers.py), is light enough for hundreds of sessions, and can do what no simulator
would: flood, stop in the middle, send what is not WebSocket.
"""

from __future__ import annotations

import json
import re
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import trio
from wsproto.utilities import RemoteProtocolError

from tests.peers import FakeBrowser, FakeUpstream, PeerEnded, PeerRefused
from tests.processes import RelayProcess

GONE = (PeerEnded, PeerRefused, RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError)

Play = Callable[[FakeUpstream], Awaitable[None]]

FORMAT = {"encoding": "s16le", "rate_hz": 24_000}
START: dict[str, Any] = {"type": "relay.start", "audio": {"input": FORMAT, "output": FORMAT}}


async def begin(upstream: FakeUpstream) -> None:
    """Play the upstream's side of a session's start."""
    session = {"id": "sess_1", "type": "realtime"}
    await upstream.send_json({"type": "session.created", "event_id": "e1", "session": session})
    update = await upstream.receive_json()
    await upstream.send_json({"type": "session.updated", "event_id": "e2", "session": update["session"]})


async def listen(upstream: FakeUpstream) -> None:
    """Take what comes, and answer nothing."""
    while True:
        await upstream.receive()


async def answer_typed_text(upstream: FakeUpstream) -> None:
    """Answer each `response.create` with an empty response."""
    for number in count():
        while (await upstream.receive_json())["type"] != "response.create":
            pass
        for kind in ("response.created", "response.done"):
            await upstream.send_json({"type": kind, "event_id": "e", "response": {"id": f"resp_{number}"}})


@asynccontextmanager
async def open_upstream_server(play: Play = listen, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve for the length of the block; each connection's session begins, then `play` has it. Yields the URL."""

    async def serve_one(stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(*GONE):
                upstream = await FakeUpstream.accept(trio.SSLStream(stream, tls, server_side=True) if tls else stream)
                await begin(upstream)
                await play(upstream)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        nursery.start_soon(trio.serve_listeners, serve_one, listeners)
        yield f"{'wss' if tls else 'ws'}://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1/realtime"
        nursery.cancel_scope.cancel()


def port_of(url: str) -> int:
    return int(url.split(":")[2].split("/")[0])


@asynccontextmanager
async def open_browser(
    relay: RelayProcess, *, port: int | None = None, protocol: str = "relay.v1"
) -> AsyncIterator[FakeBrowser]:
    """Connect as relay's own page does, through `port` if something lies between. PeerRefused has the status."""
    async with await trio.open_tcp_stream("127.0.0.1", port or relay.port) as tcp:
        host, stream = f"127.0.0.1:{relay.port}", _secured(tcp, relay.trust)
        origin = [("Origin", f"{'https' if relay.trust else 'http'}://{host}")]
        yield await FakeBrowser.dial(stream, host=host, headers=origin, subprotocols=[protocol])


def _secured(tcp: trio.SocketStream, trust: ssl.SSLContext | None) -> trio.abc.Stream:
    return trio.SSLStream(tcp, trust, server_hostname="localhost", https_compatible=True) if trust else tcp


async def start(browser: FakeBrowser) -> None:
    """Start a session in relay.v1, and wait until it stands."""
    await browser.send_json(START)
    while (await browser.receive_json())["type"] != "relay.ready":
        pass


async def start_openai(browser: FakeBrowser) -> None:
    """Start a session in OpenAI's JSON, and wait until it stands."""
    await browser.send_json({"type": "session.update", "session": {"type": "realtime"}})
    while (await browser.receive_json())["type"] != "session.updated":
        pass


async def end_of(browser: FakeBrowser) -> tuple[str, int]:
    """Read to the end; return the code of the last error and the close code."""
    code = ""
    try:
        while True:
            message = await browser.receive()
            event = json.loads(message) if isinstance(message, str) else {}
            if event.get("type") == "error":
                code = event["error"]["code"]
    except PeerEnded as end:
        return code, end.code


def open_files(relay: RelayProcess) -> int:
    """Return how many descriptors the process has open, without what it looks up in /proc when it starts."""
    return sum(_is_lasting(file) for file in Path(f"/proc/{relay.process.pid}/fd").iterdir())


def _is_lasting(file: Path) -> bool:
    try:
        return not str(file.readlink()).startswith("/proc/")
    except FileNotFoundError:  # it has been closed since
        return False


def memory_bytes(relay: RelayProcess) -> int:
    """Return how much memory the process has in RAM."""
    lines = Path(f"/proc/{relay.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


async def settle(relay: RelayProcess, files: int, *, deadline_s: float = 20.0) -> None:
    """Wait until the process has at most `files` descriptors open. AssertionError if that does not happen in time."""
    until_s = trio.current_time() + deadline_s
    while (now := open_files(relay)) > files:
        assert trio.current_time() < until_s, f"{now} descriptors open, {files} before"
        await trio.sleep(0.02)


async def state(relay: RelayProcess) -> dict[str, int]:
    """Ask the process what it holds (SIGUSR1)."""
    seen = relay.log_bytes
    relay.process.send_signal(signal.SIGUSR1)
    while True:
        await trio.sleep(0.01)
        if found := re.search(r" server.state (.*)\n", relay.log_from(seen)):
            return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", found[1])}


def ended(relay: RelayProcess) -> list[str]:
    """Return the reasons of all sessions that ended, from the log."""
    lines = [line for line in relay.stderr.splitlines() if "session.ended" in line]
    return [line.split(" reason=")[1].split(" ")[0] for line in lines]
