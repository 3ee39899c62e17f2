"""A session on real TCP with the pump of a process, for what takes the short way: a fake browser, a fake upstream.

async with open_road() as road:                     # started and ready
    await road.browser.send(voice(0))
    assert road.short["up"] == 1                    # what took the short way is counted
"""

from __future__ import annotations

import ctypes
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import trio
import trustme

from relay import openssl, wire
from relay._native import ffi
from relay.addresses import Address
from relay.admission import Admission
from relay.audio import native_info
from relay.browser import BrowserLeg, browser_limits
from relay.config import Config
from relay.core.openai_json import OpenAIJson
from relay.core.relay_v1 import RelayV1
from relay.errors import RelayError
from relay.limits import client_settings
from relay.pump import FDINFO, Pump
from relay.secure_stream import Ciphertext, SecureStream
from relay.session import Services, Session
from relay.target import target_for
from relay.tcp import TcpStream
from relay.tls_stream import TlsStream
from relay.turnstile import Turnstile
from relay.way_stream import with_short_way
from tests.peers import FakeBrowser, FakeUpstream, loopback_pair
from tests.session.rig import delta_event

RATE_HZ = 48_000
SOUND = {"encoding": "f32le", "rate_hz": RATE_HZ}
START = {"type": "relay.start", "audio": {"input": SOUND, "output": SOUND}}
BAD_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)  # of TLS: it cannot be authentic
RESPONSE = {"type": "response.created", "event_id": "e3", "response": {"id": "resp_1"}}


OpenRoad = Callable[..., AbstractAsyncContextManager["Road"]]
"""`open_road`, to an upstream that is chosen already."""


@dataclass
class Road:
    """One session on TCP, with its two peers."""

    browser: FakeBrowser
    upstream: FakeUpstream
    session: Session
    pump: Pump
    frames: list[bytes] = field(default_factory=list)
    texts: list[dict[str, Any]] = field(default_factory=list)
    reason: RelayError | None = None
    ended: trio.Event = field(default_factory=trio.Event)
    short: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})

    async def hear(self, kind: str) -> dict[str, Any]:
        """Read the browser's side until this event; everything is kept."""
        while True:
            message = await self.browser.receive()
            if isinstance(message, bytes):
                self.frames.append(message)
                continue
            self.texts.append(json.loads(message))
            if self.texts[-1]["type"] == kind:
                return self.texts[-1]

    async def hear_answer(self, count: int) -> None:
        """Let an answer begin, and hear so many frames of it: only what is announced takes the short way."""
        await self.upstream.send_json(RESPONSE)
        for index in range(count):
            await self.answer(1)
            await self.hear_frames(index + 1)

    async def hear_frames(self, count: int) -> None:
        """Read the browser's side until it has got so many frames."""
        while len(self.frames) < count:
            message = await self.browser.receive()
            (self.frames if isinstance(message, bytes) else self.texts).append(
                message if isinstance(message, bytes) else json.loads(message)  # type: ignore[arg-type]
            )

    async def answer(self, count: int, *, item: str = "item_1", ms: int = 20) -> None:
        """The upstream speaks at the pace at which it is heard."""
        for _ in range(count):
            await self.upstream.send_json(delta_event(item, ms, response="resp_1"))


LIBSSL = ctypes.CDLL("libssl.so.3")  # Python's `ssl` knows nothing of new keys
LIBSSL.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
LIBSSL.SSL_do_handshake.argtypes = [ctypes.c_void_p]

PeerTls = trio.SSLStream[trio.SocketStream]


class Tls:
    """TLS between relay and one of its peers; `lent` to C (relay/openssl.py), or not, as where C finds no OpenSSL."""

    def __init__(self, *, lent: bool = True, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        authority = trustme.CA()
        self._lent = lent
        self._trusting, self._serving = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.configure_trust(self._trusting)
        authority.issue_cert("localhost").configure_cert(self._serving)
        self._serving.maximum_version = newest
        self._peers: dict[trio.abc.Stream, int] = {}

    async def dial(self, near: trio.SocketStream) -> TlsStream:
        """relay's end towards an upstream, when both have shaken hands."""
        return await self._shake_hands(TlsStream(TcpStream(near), self._trusting, "localhost"))

    async def receive(self, near: trio.SocketStream) -> TlsStream:
        """relay's end towards a browser, when both have shaken hands."""
        return await self._shake_hands(SecureStream(Ciphertext(near, Turnstile()), self._serving))

    async def _shake_hands(self, stream: TlsStream) -> TlsStream:
        assert stream.handle
        if not self._lent:
            stream.handle = ffi.NULL
        await stream.do_handshake()
        return stream

    def serve(self, far: trio.SocketStream) -> PeerTls:
        """The upstream's end."""
        return self._peer(partial(trio.SSLStream, far, self._serving, server_side=True, https_compatible=True))

    def visit(self, far: trio.SocketStream) -> PeerTls:
        """The browser's end."""
        visit = partial(trio.SSLStream, far, self._trusting, server_hostname="localhost", https_compatible=True)
        return self._peer(visit)

    def _peer(self, make: Callable[[], Any]) -> PeerTls:
        stream: PeerTls
        stream, handle = openssl.lent(make)  # type: ignore[assignment]  # it makes a connection, which is what counts
        self._peers[stream] = int(ffi.cast("uintptr_t", handle))
        return stream

    def change_keys(self, peer: trio.abc.Stream, times: int = 1) -> None:
        """Have a peer change its keys, and ask for new ones of relay's; it says so in front of its next word."""
        requested = 1
        for _ in range(times):
            assert LIBSSL.SSL_key_update(self._peers[peer], requested) == 1
            assert LIBSSL.SSL_do_handshake(self._peers[peer]) == 1


@asynccontextmanager
async def open_road(
    config: Config | None = None,
    *,
    short_way: bool = True,
    json_client: bool = False,
    tls: Tls | None = None,
    https: Tls | None = None,
    fdinfo: Path = FDINFO,
) -> AsyncIterator[Road]:
    """Run a session for the length of the block, started and ready: with TLS to the upstream, to the browser."""
    config = config or Config(upstream="ws://127.0.0.1:9/v1/realtime")
    handles = native_info().live_handles
    pump = Pump(fdinfo)
    async with loopback_pair() as (far, near), loopback_pair() as (up_near, up_far), trio.open_nursery() as nursery:

        async def dial(address: Address) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            stream = await tls.dial(up_near) if tls else up_near
            return with_short_way(stream) if short_way else stream

        target = target_for(config, config.upstream)
        services = Services(config, Admission(config), target, dial, pump=pump if short_way else None)
        stream, visitor = await _meet(https, near, far)
        socket = wire.WebSocket(
            with_short_way(stream) if short_way else stream,
            role="server",
            limits=browser_limits(config),
            subprotocol="relay.v1",
        )
        client = (OpenAIJson if json_client else RelayV1)(client_settings("relay_test", config))
        session = Session("relay_test", BrowserLeg(socket), client, services)
        nursery.start_soon(pump.run)
        browser = FakeBrowser(visitor)
        if not json_client:
            await browser.send_json(START)
        road: list[Road] = []

        async def run() -> None:
            reason = await session.run()
            if road:
                road[0].reason = reason
                road[0].ended.set()

        nursery.start_soon(run)
        upstream = await FakeUpstream.accept(tls.serve(up_far) if tls else up_far)
        road.append(Road(browser, upstream, session, pump))
        await _begin(road[0], "session.updated" if json_client else "relay.ready")
        _count(road[0])
        yield road[0]
        nursery.cancel_scope.cancel()
        for peer in (far, up_far):
            peer.socket.close()  # or the session waits a second for their goodbyes
    del session.passed  # _count made it part of a circle
    assert pump.count == 0
    assert native_info().live_handles <= handles  # fewer if the garbage of an earlier test went meanwhile


async def _meet(
    https: Tls | None, near: trio.SocketStream, far: trio.SocketStream
) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    """relay's end and the browser's."""
    if https is None:
        return near, far
    visitor = https.visit(far)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(visitor.do_handshake)
        return await https.receive(near), visitor


async def _begin(road: Road, last: str) -> None:
    session = {"id": "sess_1", "object": "realtime.session", "type": "realtime"}
    await road.upstream.send_json({"type": "session.created", "event_id": "e1", "session": session})
    update = await road.upstream.receive_json()
    await road.upstream.send_json({"type": "session.updated", "event_id": "e2", "session": update["session"]})
    await road.hear(last)


def _count(road: Road) -> None:
    """Count what takes the short way, so that no test passes on the careful one alone."""
    take_note = road.session.passed

    def passed(counts: Any) -> None:
        road.short["up"] += counts.up_events
        road.short["down"] += counts.down_events
        take_note(counts)

    road.session.passed = passed  # type: ignore[method-assign, assignment]


def voice(index: int, ms: int = 20) -> bytes:
    """A frame that differs from all others."""
    return bytes(np.random.default_rng(index).uniform(-0.5, 0.5, RATE_HZ * ms // 1000).astype("<f4").tobytes())
